"""A preparation that is told to end, or cannot go on: one line, and nothing left behind."""

import os
import pathlib
import signal
import time

import preparations
import pytest

from lstm_gen.data import manifest

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
def test_told_to_end(
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
    told = [line for line in lines if not line.startswith("preparing")]
    reason = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert told == [f"error: {reason}"]
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
