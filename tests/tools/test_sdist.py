"""Source distribution, installed and used from folders that are not the project's."""

import os
import pathlib
import subprocess
import sys
import sysconfig
import tarfile
import venv

import numpy as np
import pytest
import soundfile

ROOT = pathlib.Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
INSTALLED_FILES = """
import importlib.metadata
for path in importlib.metadata.files("lstm_gen"):
    print(path)
"""
RATE = 4000
SCRIPTS = {"lstm_gen", "create_tfrecord", "train_model", "generate_songs"}
# An environment in which the distribution and all its requirements are installed, as
# `make test-sdist` makes it. Without it the requirements are those of this interpreter.
INSTALLED = os.environ.get("SDIST_VENV", "")

CLIENT = """
import numpy as np

import lstm_gen
from lstm_gen.dataset.format.manifest import Dataset

dataset: Dataset = lstm_gen.prepare("recordings", "dataset", preset="tiny")
run: lstm_gen.Run = lstm_gen.train("dataset", "run", steps=10)
songs: list[lstm_gen.Song] = lstm_gen.load_run("run").generate(n_songs=2, seconds=5.0)
samples: np.ndarray = songs[0].samples
rate: int = songs[0].sample_rate
frames: int = dataset.splits["train"].n_frames
"""


def call(*command: str | pathlib.Path, cwd: pathlib.Path, **environment: str) -> str:
    """Run a command that must succeed; return its standard output."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", ""), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Return the names of all files of the project."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    return [
        name for name in call("git", "ls-files", cwd=ROOT).splitlines() if (ROOT / name).exists()
    ]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory, tracked: list[str]) -> pathlib.Path:
    """Return the source distribution of the project's files, built from a copy of them."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in tracked:
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    printed = call(sys.executable, "-c", BUILD, str(folder), cwd=folder / "source")
    return folder / printed.splitlines()[-1]


@pytest.fixture(scope="module")
def bin_dir(tmp_path_factory: pytest.TempPathFactory, sdist: pathlib.Path) -> pathlib.Path:
    """Return the programs of an environment in which the distribution is installed."""
    if INSTALLED:
        return pathlib.Path(INSTALLED, "bin")
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Behind its own packages come ours, but no editable one: .pth files work in site-packages only.
    (packages / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed"]
    call(*pip, f"--python={folder / 'bin' / 'python'}", "install", *options, sdist, cwd=folder)
    return folder / "bin"


@pytest.fixture(params=["empty", "colliding"])
def folder(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a folder of a user: empty, or with packages named as those of the project's clone."""
    if request.param == "colliding":
        for name in ("tools", "flags", "benchmarks", "presets", "tests"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not lstm_gen')\n")
    return tmp_path


def test_it_holds_every_file_of_the_project(sdist: pathlib.Path, tracked: list[str]) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert not set(tracked) - held


def test_one_package_is_installed(bin_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    files = call(bin_dir / "python", "-c", INSTALLED_FILES, cwd=tmp_path).splitlines()
    top = {name.partition("/")[0] for name in files if not name.startswith("../")}
    assert {name for name in top if not name.endswith(".dist-info")} == {"lstm_gen"}
    scripts = {pathlib.PurePosixPath(name).name for name in files if name.startswith("../")}
    assert scripts == SCRIPTS
    presets = {name for name in files if name.startswith("lstm_gen/presets/")}
    kept = {path.name for path in (ROOT / "flags" / "presets").glob("*.flags")}
    assert {pathlib.PurePosixPath(name).name for name in presets} == kept
    assert "lstm_gen/py.typed" in files


def test_help_needs_no_clone(bin_dir: pathlib.Path, folder: pathlib.Path) -> None:
    where: list[str | pathlib.Path] = [
        bin_dir / "python",
        "-c",
        "import lstm_gen; print(lstm_gen.__file__)",
    ]
    assert call(*where, cwd=folder).startswith(str(bin_dir.parent)), "this checkout is used"
    overview = call(bin_dir / "python", "-m", "lstm_gen", "--help", cwd=folder)
    commands = [line.split()[1] for line in overview.splitlines() if line.startswith("  lstm_gen ")]
    assert {"prepare", "train", "generate", "check", "export"} <= set(commands)
    for name in commands:
        assert "--preset=" in call(bin_dir / "lstm_gen", name, "--help", cwd=folder)
    for name in SCRIPTS - {"lstm_gen"}:
        assert "--preset=" in call(bin_dir / name, "--help", cwd=folder)


@pytest.mark.slow
def test_a_client_is_typed(bin_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "wrong.py").write_text(
        "import lstm_gen\n\nlstm_gen.load_run(3).generate(preset=2)\n"
    )
    python = f"--python-executable={bin_dir / 'python'}"
    for name, n_errors in (("client.py", 0), ("wrong.py", 2)):
        result = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--no-incremental", python, name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (result.returncode > 0) == (n_errors > 0), result.stdout
        assert result.stdout.count("error:") == n_errors, result.stdout


@pytest.mark.faults
def test_every_command_runs_where_it_is_installed(
    bin_dir: pathlib.Path, folder: pathlib.Path
) -> None:
    (folder / "recordings").mkdir()
    seconds = np.arange(20 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * seconds) * np.exp(-(seconds % 0.5) * 4)
    soundfile.write(folder / "recordings" / "tone.wav", tone, RATE)
    prepare = [f"--sample_rate={RATE}", "--n_fft=256", "--hop_length=128", "--n_mels=8"]
    train = [
        "--nocalibrate",
        "--timesteps=16",
        "--layers=1",
        "--units=8",
        "--batch_size=2",
        "--components=2",
    ]
    steps = ["--steps=4", "--validate_every_steps=2", "--sample_every_steps=0", "--nobaselines"]
    job = {"AIP_MODEL_DIR": f"{folder}/job/model"}
    songs = ["--run_dir=job", "--n_songs=1", "--seconds=1"]
    lstm_gen = bin_dir / "lstm_gen"
    module: list[str | pathlib.Path] = [bin_dir / "python", "-m", "lstm_gen"]
    ways: dict[str, list[list[str | pathlib.Path]]] = {
        "prepare": [[bin_dir / "create_tfrecord"], [lstm_gen, "prepare"]],
        "train": [[bin_dir / "train_model"], [*module, "train"]],
        "generate": [[bin_dir / "generate_songs"], [*module, "generate"]],
    }
    way = int((folder / "tools").exists())
    tiny = "--preset=tiny"
    call(*ways["prepare"][way], tiny, *prepare, "--workers=1", cwd=folder)
    call(*ways["train"][way], tiny, *train, *steps, cwd=folder, **job)
    parts = {path.name for path in (folder / "job").iterdir()}
    assert parts >= {"checkpoints", "model", "logs"}
    printed = call(*ways["generate"][way], tiny, *songs, cwd=folder, **job)
    assert "songs/song-000.wav" in printed
    assert soundfile.info(folder / "songs" / "song-000.wav").samplerate == RATE
    call(lstm_gen, "check", tiny, "--deep", cwd=folder)
    call(*module, "export", "--run_dir=job", "--output_dir=exported/1", cwd=folder)
    assert (folder / "exported" / "1" / "saved_model.pb").exists()
