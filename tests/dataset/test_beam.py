"""Apache Beam does the same tasks, to the same bytes. Run by `make test-beam`."""

import hashlib
import pathlib

import material
import pytest

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.platform import errors


def tree(folder: str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in pathlib.Path(folder).iterdir()
        if path.is_file()
    }


def test_the_direct_runner_makes_the_same_dataset(
    recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    pytest.importorskip("apache_beam")
    job = material.make_job(recordings, tmp_path / "out", validation_fraction=0.3)
    reported: list[plan.Outcome | None] = []
    made, n_tasks = prepare.prepare(
        job, runner="DirectRunner", progress=lambda outcome, _: reported.append(outcome)
    )
    assert n_tasks == sum(len(split.shards) for split in dataset.splits.values()) > 1
    assert tree(made.data_dir) == tree(dataset.data_dir)
    assert len(reported) == 1 + 6
    assert prepare.prepare(job, runner="DirectRunner")[1] == 0


def test_a_recording_that_kills_its_worker_costs_itself(
    recordings: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("apache_beam")
    material.make_deadly("4.wav", tmp_path / "site", monkeypatch)
    job = material.make_job(recordings, tmp_path / "out", validation_fraction=0.3)
    prepare.prepare(job, runner="DirectRunner")
    lines = {line["name"]: line["verdict"] for line in manifest.load_lines(job.data_dir)}
    assert lines["4.wav"] == "crashed"
    assert sum(status == "ok" for status in lines.values()) == 4


def test_an_unknown_runner_is_one_line(recordings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    job = material.make_job(recordings, tmp_path / "out")
    with pytest.raises(errors.InputError, match=r"Apache Beam.*runner='NoSuchRunner'"):
        prepare.prepare(job, runner="NoSuchRunner")
