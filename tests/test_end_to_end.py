"""The three commands as a user runs them, on seconds of plucked tones."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import processes
import pytest
import soundfile
import tiny

from lstm_gen.dataset.format import manifest

ROOT = pathlib.Path(__file__).parents[1]
RATE, HOP = 8000, 128
PREPARE = [
    *("--input_dir=recordings", "--data_dir=dataset", "--workers=1", f"--sample_rate={RATE}"),
    *(f"--hop_length={HOP}", "--n_fft=512", "--n_mels=12", "--validation_fraction=0.2"),
    *("--block_seconds=1", "--guard_seconds=0.1"),
]
TRAIN = [
    *("--data_dir=dataset", "--run_dir=run", "--timesteps=16", "--layers=1", "--units=8"),
    *("--batch_size=4", "--components=2", "--steps_per_call=3", "--validate_every_steps=6"),
    *("--checkpoint_every_steps=3", "--sample_every_steps=6", "--sample_seconds=0.5"),
]
# Runs a command many times in one process, which spares TensorFlow's start; what is printed
# at the end is each time's exit status (null for an exception), stdout and stderr.
REPEAT = """
import contextlib, importlib, io, json, sys, traceback
from lstm_gen.cli import command
module = importlib.import_module(command.COMMANDS[sys.argv[1]].module)
results = []
for arguments in json.load(sys.stdin):
    out, err, status = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command.execute(module.main, module.SETTINGS, [sys.argv[1], *arguments])
        except Exception:
            traceback.print_exc()
    results.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""


TENSORFLOWS = re.compile(
    r"absl::InitializeLog|oneDNN|cuInit|cuda|cpu_feature_guard|^[IWE]0000", re.M
)
"""What TensorFlow writes to stderr on every start, and what nobody can act on."""


class Case(NamedTuple):
    """A command line that must be refused with these words."""

    arguments: list[str]
    words: str


def start(*arguments: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run Python, started anew."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def run(
    folder: pathlib.Path,
    command: str,
    *arguments: str,
    run_python: Callable[..., subprocess.CompletedProcess[str]] = processes.run_python,
) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    result = run_python(str(ROOT / f"{command}.py"), *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert not TENSORFLOWS.search(result.stderr)
    return result


def check_refused(folder: pathlib.Path, command: str, cases: list[Case]) -> None:
    """Check that each command line gives status 1 and one line, and is refused for its words."""
    result = processes.run_python(
        *("-c", REPEAT, command),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        stdin=json.dumps([case.arguments for case in cases]),
    )
    assert result.returncode == 0, result.stderr
    complaints = []
    for case, (status, _, stderr) in zip(cases, json.loads(result.stdout), strict=True):
        one_line = stderr.startswith("error: ") and stderr.count("\n") == 1
        if status != 1 or not one_line or case.words not in stderr:
            complaints.append(f"{case} gave status {status} and\n{stderr}")
    assert not complaints, "\n".join(complaints)


def pluck(seconds: float, seed: int) -> np.ndarray:
    """Return a melody of plucked strings (Karplus and Strong 1983), float64 [samples]."""
    random = np.random.default_rng(seed)
    samples = np.zeros(int(seconds * RATE))
    for start in range(0, len(samples), RATE // 4):
        string = random.uniform(-1, 1, RATE // int(random.choice([196, 247, 294, 392])))
        note = []
        for _ in range(min(RATE // 2, len(samples) - start) // len(string)):
            note.append(string)
            string = 0.498 * (string + np.roll(string, 1))
        sound = np.concatenate(note) if note else np.zeros(0)
        samples[start : start + len(sound)] += 0.3 * sound
    return samples


def chosen(printed: str) -> list[str]:
    """Return the line of the sampling settings."""
    return [line for line in printed.splitlines() if line.startswith("sampling  ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a folder in which a dataset was made and a model trained in two goes."""
    folder = tmp_path_factory.mktemp("end_to_end")
    (folder / "recordings").mkdir()
    for index, suffix in enumerate((".wav", ".flac")):
        soundfile.write(folder / "recordings" / f"{index}{suffix}", pluck(6, index), RATE)
    made = run(folder, "create_tfrecord", *PREPARE, run_python=start)
    assert "next      python train_model.py --data_dir=dataset --run_dir=run" in made.stdout
    first = run(folder, "train_model", *TRAIN, "--steps=6", "--nocalibrate", run_python=start)
    assert "sampling" not in first.stdout
    assert "resuming" not in first.stdout
    second = run(folder, "train_model", *TRAIN, "--steps=9", "--sample_every_steps=0")
    assert "resuming after step 6\n" in second.stdout
    for text in ("min to train on", "best      step"):
        assert text in second.stdout
    assert "VAR(3)" not in second.stdout, "an energy score does not compare with likelihoods"
    assert "python generate_songs.py --run_dir=run --output_dir=songs" in second.stdout
    for text in ("sampling  temperature ", "verdict   ", "next: "):
        assert text in second.stdout
    again = run(folder, "train_model", *TRAIN, "--steps=9", "--sample_every_steps=0")
    assert chosen(again.stdout) == chosen(second.stdout)
    assert "calibrating" not in again.stderr, "that is done once"
    return folder


def test_recordings_become_songs(folder: pathlib.Path) -> None:
    for name in ("dataset/dataset.json", "dataset/manifest.jsonl", "run/config.json"):
        assert (folder / name).is_file(), name
    states = sorted(path.name for path in (folder / "run/checkpoints").iterdir())
    assert states == ["step-00000006", "step-00000009"]
    assert len(list((folder / "run/model").iterdir())) == 1
    assert {path.suffix for path in (folder / "run/samples").iterdir()} == {".png", ".wav"}
    assert list((folder / "run/logs").iterdir())

    arguments = ["--run_dir=run", "--n_songs=2", "--seconds=1", "--subtype=PCM_24"]
    made = run(folder, "generate_songs", *arguments)
    assert made.stdout.splitlines()[:2] == ["songs/song-000.wav", "songs/song-001.wav"]
    assert made.stdout.splitlines()[2].startswith("2 songs in ")
    sounds = []
    for index in range(2):
        path = folder / "songs" / f"song-00{index}.wav"
        assert soundfile.info(path).subtype == "PCM_24"
        samples, rate = soundfile.read(path)
        assert rate == RATE
        assert abs(len(samples) - RATE) <= HOP
        assert np.isfinite(samples).all()
        assert 1e-4 < samples.std() < 1
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert json.loads(path.with_suffix(".json").read_text())["song"] == index
        sounds.append(samples)
    assert np.abs(sounds[0] - sounds[1]).max() > 0


def spoil_dataset(folder: pathlib.Path, name: str, **changed: Any) -> pathlib.Path:
    """Copy the dataset, changing fields of its JSON; return its largest training shard."""
    shutil.copytree(folder / "dataset", folder / name)
    path = folder / name / "dataset.json"
    values = json.loads(path.read_text()) | changed
    path.write_text(json.dumps(values | {"checksum": manifest.checksum(values)}))
    return max((folder / name).glob("train-*"), key=lambda shard: shard.stat().st_size)


def test_a_likelihood_is_printed_beside_those_of_linear_predictors(folder: pathlib.Path) -> None:
    frames = ["--head=mixture", "--patch_frames=1", "--patch_components=0", "--stored_patches=0"]
    settings = [*TRAIN, *frames, "--run_dir=frames", "--sample_every_steps=0", "--steps=3"]
    trained = run(folder, "train_model", *settings)
    for text in ("this model, last validation", "VAR(3), full covariance"):
        assert text in trained.stdout


def test_bad_input_to_training_is_one_line(folder: pathlib.Path) -> None:
    (folder / "empty").mkdir()
    (folder / "taken").mkdir()
    (folder / "taken" / "thesis.txt").touch()
    spoil_dataset(folder, "future", schema=99)
    spoil_dataset(folder, "changed", fingerprint="0" * 64)
    spoil_dataset(folder, "incomplete").unlink()
    cut = spoil_dataset(folder, "cut")
    cut.write_bytes(cut.read_bytes()[:-9])
    before = {path: path.stat().st_mtime_ns for path in (folder / "run").rglob("*")}
    new = [*TRAIN, "--run_dir=new", "--steps=3"]
    cases = [
        Case([*new, "--data_dir=missing"], "must hold a finished dataset"),
        Case([*new, "--data_dir=empty"], "must hold a finished dataset"),
        Case([*new, "--data_dir=recordings/0.wav"], "must hold a finished dataset"),
        Case([*new, "--data_dir=future"], "schema=99"),
        Case([*new, "--data_dir=incomplete"], "is missing"),
        Case([*new, "--data_dir=cut"], "bytes"),
        Case([*new, "--run_dir=taken"], "holds files but no config.json"),
        Case([*new, "--run_dir=recordings/0.wav"], "recordings/0.wav"),
        Case([*new, "--batch_size=0"], "batch_size=0"),
        Case([*new, "--batch_size=99999"], "at least one batch of windows"),
        Case([*new, "--batch_size=many"], "--batch_size=many"),
        Case([*new, "--timesteps=100000"], "at least one batch of windows"),
        Case([*new, "--timesteps=100", "--batch_size=1"], "validation split must hold a window"),
        Case([*new, "--shift=-1"], "shift=-1"),
        Case([*new, "--shift=6"], "shift=6, timesteps=16, patch_frames=4"),
        Case([*new, "--timesteps=18"], "shift=4, timesteps=18, patch_frames=4"),
        Case([*new, "--patch_components=0"], "patch_components=0"),
        Case([*new, "--polarity"], "drop --polarity"),
        Case([*new, "--learning_rate=nan"], "learning_rate=nan"),
        Case([*new, "--dropout=1"], "dropout=1"),
        Case([*new, "--units=10", "--layers=2", "--attention_window=8"], "attention_heads"),
        Case([*new, "--head=softmax"], "head='softmax'"),
        Case([*new, "--model=nameless"], "model='nameless'"),
        Case([*new, "--seed=-1"], "seed"),
        Case([*new, "--seed=99999999999"], "seed"),
        Case([*new, "--device=gpu"], "--device=gpu needs a GPU"),
        Case([*new, "--read_local", "false"], "Received: 'false'"),
        Case([*new, "--noread_local"], "--gcs_bucket=NAME"),
        Case([*new, "--steps_per_call=0"], "steps_per_call=0"),
        Case([*TRAIN, "--steps=12", "--units=9"], "settings.units=9, in run_dir: 8"),
        Case([*TRAIN, "--steps=12", "--learning_rate=0.5"], "training.learning_rate=0.5"),
        Case([*TRAIN, "--steps=12", "--data_dir=changed"], "dataset of run_dir has changed"),
    ]
    check_refused(folder, "train", cases)
    assert not (folder / "new").exists(), "what was refused must not be in the way of what follows"
    assert {path: path.stat().st_mtime_ns for path in (folder / "run").rglob("*")} == before


def test_bad_input_to_generation_is_one_line(folder: pathlib.Path) -> None:
    for name in ("fresh", "damaged", "lonely"):
        shutil.copytree(folder / "run", folder / name)
    shutil.rmtree(folder / "fresh" / "model")
    (weights,) = (folder / "damaged" / "model").iterdir()
    tiny.flip_byte(weights / "state.safetensors")
    values = json.loads((folder / "lonely" / "config.json").read_text())
    values["dataset"]["data_dir"] = "/gone"
    (folder / "lonely" / "config.json").write_text(json.dumps(values))
    (folder / "notes.wav").write_text("do re mi")
    spoil_dataset(folder, "other", fingerprint="1" * 64)
    asked = ["--run_dir=run", "--output_dir=refused", "--n_songs=1", "--seconds=0.2"]
    cases = [
        Case([*asked, "--run_dir=missing"], "that train_model.py has written"),
        Case([*asked, "--run_dir=dataset"], "that train_model.py has written"),
        Case([*asked, "--run_dir=fresh"], "must hold trained weights"),
        Case([*asked, "--run_dir=damaged"], "none of the states"),
        Case([*asked, "--run_dir=lonely"], "must hold a finished dataset"),
        Case([*asked, "--data_dir=other"], "the one that the run was trained on"),
        Case([*asked, "--primer=missing.wav"], "missing.wav"),
        Case([*asked, "--primer=notes.wav"], "notes.wav"),
        Case([*asked, "--seconds=0"], "seconds=0"),
        Case([*asked, "--seconds=inf"], "seconds=inf"),
        Case([*asked, "--n_songs=0"], "n_songs=0"),
        Case([*asked, "--temperature=0"], "temperature=0"),
        Case([*asked, "--sigma_scale=-1"], "sigma_scale=-1"),
        Case([*asked, "--seed=-1"], "seed=-1"),
        Case([*asked, "--format=aac"], "format='aac'"),
        Case([*asked, "--format=flac", "--subtype=FLOAT"], "FLAC holds integers"),
        Case([*asked, "--device=gpu"], "--device=gpu needs a GPU"),
        Case([*asked, "--read_local", "false"], "Received: 'false'"),
        Case([*asked, "song.wav"], "Received: 'song.wav'"),
    ]
    check_refused(folder, "generate", cases)
    assert not (folder / "refused").exists()


@pytest.mark.slow
def test_a_training_that_is_told_to_stop_saves_and_begins_again_when_told_to(
    folder: pathlib.Path,
) -> None:
    arguments = [*TRAIN, "--run_dir=stopped", "--sample_every_steps=0", "--nobaselines"]
    training = processes.Fork(ROOT / "train_model.py", *arguments, "--steps=1000000", cwd=folder)
    try:
        while training.poll() is None and not (folder / "stopped/model").exists():
            time.sleep(0.05)
        training.send_signal(signal.SIGTERM)
        _, said = training.communicate(timeout=60)
    finally:
        training.kill()
    assert training.returncode == 128 + signal.SIGTERM, said
    last = said.splitlines()[-1]
    found = re.fullmatch(
        r"stopped by SIGTERM; step (\d+) is saved, and the same command continues from there", last
    )
    assert found, said
    states = sorted(path.name for path in (folder / "stopped/checkpoints").iterdir())
    assert states[-1] == f"step-{int(found[1]):08d}"

    again = run(folder, "train_model", *arguments, "--nocalibrate", "--steps=3", "--fresh")
    assert f"deleted stopped/checkpoints: {states[0]} to {states[-1]}, 2\n" in again.stdout
    assert "deleted stopped/config.json\n" in again.stdout
    assert "resuming" not in again.stdout
    states = sorted(path.name for path in (folder / "stopped/checkpoints").iterdir())
    assert states == ["step-00000000", "step-00000003"]
