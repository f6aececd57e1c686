"""Failpoints: places in the code at which a test can kill the program.

    LSTM_GEN_FAILPOINT=shard.published:2:/tmp/fired python create_tfrecord.py ...

kills the process group, workers included, with SIGKILL the second time that any one process
reaches the point, after creating the named file as evidence. Without the variable a point costs
the comparison of a string.
"""

import os
import pathlib
import signal
from collections import Counter

_VARIABLE = "LSTM_GEN_FAILPOINT"
_WANTED, _, _REST = os.environ.get(_VARIABLE, "").partition(":")
_reached: Counter[str] = Counter()

POINTS = (
    *("dataset.removed", "stale.removed"),
    *("shard.opened", "shard.filled", "shard.synced", "shard.verified", "shard.published"),
    *("file.written", "file.synced", "file.renamed"),
    *("receipt.written", "manifest.written", "tfds.written", "dataset.written"),
)
"""Points of a preparation, in the order in which they are first reached."""

TRAINING_POINTS = (
    *("state.written", "file.written", "file.synced", "file.renamed", "state.replaced"),
    *("state.committed", "state.removed", "call.done", "model.saved"),
)
"""Every point of a training; all but `model.saved` (only after a best validation) at each save."""


def reach(point: str) -> None:
    """Kill the process group if this is the point requested; else do nothing."""
    if point != _WANTED:
        return
    _reached[point] += 1
    count, _, mark = _REST.partition(":")
    if _reached[point] == int(count):
        pathlib.Path(mark).touch()
        os.killpg(0, signal.SIGKILL)
