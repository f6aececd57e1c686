"""A preparation that is stopped or cannot continue: one line, and nothing left behind."""

import errno
import os
import pathlib
import re
import signal
import time

import material
import preparations
import pytest
import soundfile

from lstm_gen.audio import files
from lstm_gen.dataset.format import integrity, manifest
from lstm_gen.dataset.prepare import plan, shards
from lstm_gen.platform import errors

# A recording that takes for ever; it says which process has it in hand.
ENDLESS = """
import os, pathlib, time
from lstm_gen.audio import files
read_blocks = files.read_blocks
def wait(path, *arguments, **named):
    if path.endswith("4.wav"):
        pathlib.Path(__file__).with_name(f"worker-{os.getpid()}").touch()
        time.sleep(120)
    return read_blocks(path, *arguments, **named)
files.read_blocks = wait
"""
NO_ROOM = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (12000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
"""


@pytest.mark.parametrize(
    ("number", "everyone"),  # of the process group, as Ctrl-C does, or the parent alone
    [
        (signal.SIGINT, True),
        (signal.SIGTERM, False),
        pytest.param(signal.SIGINT, False, marks=pytest.mark.faults),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.faults),
        pytest.param(signal.SIGHUP, True, marks=pytest.mark.faults),
    ],
)
def test_a_signal_ends_it(
    number: signal.Signals,
    everyone: bool,
    recordings: pathlib.Path,
    dataset: manifest.Dataset,
    tmp_path: pathlib.Path,
) -> None:
    data_dir, site, scratch = (tmp_path / name for name in ("out", "site", "scratch"))
    for folder in (site, scratch):
        folder.mkdir()
    (site / "sitecustomize.py").write_text(ENDLESS)
    environment = {"PYTHONPATH": f"{site}:{preparations.ROOT}", "TMPDIR": str(scratch)}
    process = preparations.start(recordings, data_dir, **environment)
    worker = wait_for_worker(site)
    (os.killpg if everyone else os.kill)(process.pid, number)
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    lines = [line for line in complaints.replace("\r", "\n").splitlines() if line.strip()]
    printed = [line for line in lines if not line.startswith("preparing")]
    reason = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert printed == [f"error: {reason}"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert list(scratch.iterdir()) == []
    assert not list(data_dir.rglob("*.tmp-*"))
    before = preparations.shards_done(data_dir)
    preparations.finish(preparations.start(recordings, data_dir))
    assert preparations.tree(data_dir) == preparations.tree(pathlib.Path(dataset.data_dir))
    assert before.items() <= preparations.shards_done(data_dir).items()


def wait_for_worker(site: pathlib.Path) -> int:
    """Return the process that has the endless recording in hand."""
    for _ in range(600):
        for mark in site.glob("worker-*"):
            return int(mark.name.removeprefix("worker-"))
        time.sleep(0.05)
    pytest.fail("no worker began the endless recording")


def test_no_room_for_a_shard(
    recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    data_dir = tmp_path / "out"
    (tmp_path / "sitecustomize.py").write_text(NO_ROOM)
    process = preparations.start(recordings, data_dir, PYTHONPATH=f"{tmp_path}:{preparations.ROOT}")
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 1
    (printed,) = (line for line in complaints.replace("\r", "\n").splitlines() if "error" in line)
    assert re.fullmatch(rf"error: File too large: {data_dir}/\w+-.*\.tfrecord\.tmp-\d+", printed)
    assert not list(data_dir.rglob("*.tmp-*"))
    before = preparations.shards_done(data_dir)
    preparations.finish(preparations.start(recordings, data_dir))
    assert preparations.tree(data_dir) == preparations.tree(pathlib.Path(dataset.data_dir))
    assert before.items() <= preparations.shards_done(data_dir).items()


def make_task(folder: pathlib.Path, data_dir: pathlib.Path) -> tuple[plan.Job, plan.Task]:
    """Return the first task of a preparation of two recordings."""
    folder.mkdir()
    for index in range(2):
        soundfile.write(folder / f"{index}.wav", material.tone(3, 200 + index), material.RATE)
    job = material.make_job(folder, data_dir, split="recording")
    planned = plan.make(job, integrity.HashCache())
    data_dir.mkdir()
    return job, planned.tasks[0]


@pytest.mark.parametrize("change", ["other", "gone", "touched"])
def test_a_recording_that_changes_before_it_is_read(change: str, tmp_path: pathlib.Path) -> None:
    job, task = make_task(tmp_path / "in", tmp_path / "out")
    path = tmp_path / "in" / task.recordings[0].name
    if change == "touched":
        os.utime(path)
        shards.write_task(job, task)
        assert plan.load_receipt(job.data_dir, task)
        return
    path.unlink()
    if change == "other":
        soundfile.write(path, material.tone(3, 999), material.RATE)
    with pytest.raises(errors.InputError, match=rf"must not change.*changed '{path}'"):
        shards.write_task(job, task)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_while_reading_is_no_status(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    job, task = make_task(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(files, "read_blocks", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*\.tfrecord\.tmp-\d+'"):
        shards.write_task(job, task)
    assert list((tmp_path / "out").iterdir()) == []
