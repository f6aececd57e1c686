"""The command as a user runs it, on models of a few units that were never trained."""

import dataclasses
import pathlib
import subprocess

import processes
import pytest
import tiny

from lstm_gen.dataset.format import manifest
from lstm_gen.runs import run as runs


def _evaluate(*flags: str) -> subprocess.CompletedProcess[str]:
    return processes.run_python("-m", "tools.evaluate_songs", "--device=cpu", *flags)


def _make_run(folder: pathlib.Path, dataset: manifest.Dataset, **changes: object) -> str:
    # Fields of several types by name.
    run = dataclasses.replace(tiny.make_run(dataset), **changes)  # type: ignore[arg-type]
    runs.open_or_create(str(folder), run)
    runs.save_model(str(folder), run.build_model(), 3, {"nats_per_dim": 0.25})
    return str(folder)


@pytest.fixture
def dataset(tmp_path: pathlib.Path) -> manifest.Dataset:
    long = [tiny.make_frames(200, seed) for seed in range(4)]
    return tiny.make_dataset(tmp_path / "dataset", long[:2], long[2:])


def test_runs_stand_side_by_side_beside_real_music(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    named = [_make_run(tmp_path / name, dataset) for name in ("one", "two")]
    flags = [f"--run_dir={path}" for path in named]
    output = tmp_path / "table.md"
    done = _evaluate(*flags, "--n_songs=2", "--seconds=4", f"--output={output}")
    assert done.returncode == 0, done.stderr
    text = output.read_text("utf-8")
    assert text.strip() == done.stdout.strip()
    columns = " | ".join(["held-out music", "training music", *named])
    assert f"| figure | accept | {columns} |" in text
    assert f"| {named[0]}, step 3 | 0.250 |" in text
    assert "| VAR(3), full covariance |" in text
    assert "| generated clips | ≥ 16 | 2 | 2 | 2 | 2 |" in text


@pytest.mark.parametrize(
    ("fingerprint", "message"),
    [("another", "must be of the same dataset"), (None, "hold trained weights")],
)
def test_what_cannot_be_compared_is_one_line(
    tmp_path: pathlib.Path, dataset: manifest.Dataset, fingerprint: str | None, message: str
) -> None:
    one = _make_run(tmp_path / "one", dataset)
    other = str(tmp_path / "other")
    run = tiny.make_run(dataset)
    if fingerprint:
        run = dataclasses.replace(run, fingerprint=fingerprint)
    runs.open_or_create(other, run)
    done = _evaluate(f"--run_dir={one}", f"--run_dir={other}", "--n_songs=2", "--seconds=4")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
