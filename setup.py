"""Package metadata: requirements, installed packages, console commands."""

import pathlib
import re

from setuptools import find_packages, setup

# TensorFlow is an extra: `tensorflow` and `tensorflow-tpu` are two distributions of the same
# module, and with a requirement on one, pip would install them over each other.
TENSORFLOW = ">=2.19,<2.22"

REQUIREMENTS = [
    "absl-py>=2.1",
    "google-cloud-storage>=3.0",  # imported for gs:// paths only
    "google-crc32c>=1.5",
    "keras>=3.5",
    "librosa>=0.11",
    "matplotlib>=3.8",
    "llvmlite>=0.43",
    "numba>=0.60",
    "numpy>=1.26",
    "pillow>=10.0",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "soundfile>=0.12.1",
    "soxr>=0.4",
    "threadpoolctl>=3.2",
    "tensorboard>=2.19",  # TensorFlow no longer requires it, but cannot write summaries without
    "tqdm>=4.66",
]

EXTRAS = {
    "cpu": [f"tensorflow{TENSORFLOW}"],
    "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
    "tpu": ["tensorflow-tpu==2.19.1"],  # the last version that runs on TPUs
    "cloud": ["google-cloud-aiplatform>=2.0", "PyYAML>=6.0"],
    "beam": ["apache-beam>=2.60"],
    # Private API of JAX is used, hence the exact versions.
    "tpu_check": ["jax==0.10.2", "libtpu==0.0.42.1"],
    "midi": ["mido>=1.3"],
    "bench": ["librosa==0.11.0", "torch==2.13.0"],
    "dev": [
        "librosa==0.11.0",
        "mido==1.3.3",
        "mypy==2.4.1",
        "pytest==9.2.0",
        "pytest-xdist==3.8.0",
        "ruff==0.17.5",
        "setuptools>=77",
        "trustme==1.2.1",
    ],
}


def read_version() -> str:
    """Return `lstm_gen.__version__` without importing the package."""
    text = pathlib.Path(__file__).with_name("lstm_gen").joinpath("__init__.py").read_text("utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("lstm_gen/__init__.py must state __version__")
    return match.group(1)


setup(
    name="lstm_gen",
    version=read_version(),
    description="Recordings to a trained audio generator, and from there to new songs.",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.13",
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    # One top-level name is installed; the presets become data of the package.
    packages=[*find_packages(include=["lstm_gen", "lstm_gen.*"]), "lstm_gen.presets"],
    package_dir={"lstm_gen.presets": "flags/presets"},
    package_data={"lstm_gen": ["py.typed"], "lstm_gen.presets": ["*.flags"]},
    entry_points={
        "console_scripts": [
            "lstm_gen=lstm_gen.cli.command:run_subcommand",
            "create_tfrecord=lstm_gen.cli.prepare:run",
            "train_model=lstm_gen.cli.train:run",
            "generate_songs=lstm_gen.cli.generate:run",
        ]
    },
)
