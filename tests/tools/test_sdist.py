"""The source distribution that images are made of, installed and used as a container does."""

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
RATE = 4000
# A path of an environment that already has everything the package requires: with it a fresh one
# need not be filled for minutes. `make test-sdist` fills one.
INSTALLED = os.environ.get("SDIST_VENV", "")


def call(*command: str | pathlib.Path, cwd: pathlib.Path, **environment: str) -> str:
    """Run a command that must succeed; return what it printed."""
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
    return call("git", "ls-files", cwd=ROOT).splitlines()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory, tracked: list[str]) -> pathlib.Path:
    """Return the source distribution of the project's files, built beside a copy of them."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in tracked:
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    printed = call(sys.executable, "-c", BUILD, str(folder), cwd=folder / "source")
    return folder / printed.splitlines()[-1]


@pytest.fixture(scope="module")
def bin_dir(tmp_path_factory: pytest.TempPathFactory, sdist: pathlib.Path) -> pathlib.Path:
    """Return the programs of an environment into which the distribution was installed."""
    if INSTALLED:
        return pathlib.Path(INSTALLED, "bin")
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    installer = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options]
    call(*installer, f"--prefix={folder}", "--ignore-installed", str(sdist), cwd=folder)
    # After its own packages come ours, but no editable one: .pth files count in site-packages only.
    (packages / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_it_holds_every_file_of_the_project(sdist: pathlib.Path, tracked: list[str]) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert not set(tracked) - held


@pytest.mark.faults
def test_the_three_commands_run_where_it_is_installed(
    bin_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "recordings").mkdir()
    seconds = np.arange(20 * RATE) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * seconds) * np.exp(-(seconds % 0.5) * 4)
    soundfile.write(tmp_path / "recordings" / "tone.wav", tone, RATE)
    where = call(
        bin_dir / "python", "-c", "import lstm_gen; print(lstm_gen.__file__)", cwd=tmp_path
    )
    assert where.startswith(str(bin_dir.parent)), "the test must not run this checkout"
    prepare = [f"--sample_rate={RATE}", "--n_fft=256", "--hop_length=128", "--n_mels=8"]
    train = ["--timesteps=16", "--layers=1", "--units=8", "--batch_size=2", "--components=2"]
    steps = ["--steps=4", "--validate_every_steps=2", "--sample_every_steps=0", "--nobaselines"]
    job = {"AIP_MODEL_DIR": f"{tmp_path}/job/model", "TF_CPP_MIN_LOG_LEVEL": "3"}
    call(bin_dir / "create_tfrecord", *prepare, "--workers=1", cwd=tmp_path)
    call(bin_dir / "train_model", *train, *steps, cwd=tmp_path, **job)
    parts = {path.name for path in (tmp_path / "job").iterdir()}
    assert parts >= {"checkpoints", "model", "logs"}
    songs = ["--run_dir=job", "--n_songs=1", "--seconds=1"]
    printed = call(bin_dir / "generate_songs", *songs, cwd=tmp_path, **job)
    assert "songs/song-000.wav" in printed
    assert soundfile.info(tmp_path / "songs" / "song-000.wav").samplerate == RATE
    presets = bin_dir.parent.glob("lib/python*/site-packages/flags/presets/*.flags")
    assert len(list(presets)) >= 3
