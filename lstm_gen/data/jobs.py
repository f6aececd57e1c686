"""What passes between the parent of a preparation and its workers: settings, verdicts, sums.

Apart from the work itself, so that the parent need not import what decodes and analyses. A
receipt says what a finished task left; a later run takes it instead of doing the task again.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from lstm_gen import config, failpoints, storage
from lstm_gen.data import manifest, plan

OK = "ok"
CRASHED = "crashed"
STATE_DIR = ".state"
_TASKS_DIR = "tasks"
# In nats, about 0.9 dB. The highest bands of many recordings stay at the log floor but for a rare
# event; divided by their own deviation, that event would be dozens of deviations away.
_SMALLEST_STD = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What every task of a preparation has in common; `split` has "auto" decided."""

    input_dir: str
    data_dir: str
    plots_dir: str
    audio: config.AudioConfig
    segment: config.SegmentConfig
    split: config.SplitConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one recording.

    Attributes:
      name: Of the recording.
      verdict: "ok", or the stable code of why it was left out.
      detail: Why, in a sentence.
      seconds: Length of the audio, decoded.
      frames: Frames of the untrimmed recording.
      kept: Split to the number of its frames.
      pieces: Split to the number of its segments.
      too_short: Kept frames in runs too short for a segment.
    """

    name: str
    verdict: str
    detail: str = ""
    seconds: float = 0.0
    frames: int = 0
    kept: dict[str, int] = dataclasses.field(default_factory=dict)
    pieces: dict[str, int] = dataclasses.field(default_factory=dict)
    too_short: int = 0


@dataclasses.dataclass(kw_only=True)
class Moments:
    """Sums over training frames, per band, from which mean and deviation follow."""

    count: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def zero(cls, n_mels: int) -> "Moments":
        """Return the moments of no frames."""
        return cls(count=0, total=np.zeros(n_mels), squares=np.zeros(n_mels))

    def add(self, frames: np.ndarray) -> None:
        """Take in frames [n, n_mels], as they are stored."""
        values = frames.astype(np.float64)
        self.count += len(values)
        self.total += values.sum(axis=0)
        self.squares += np.square(values).sum(axis=0)

    def merge(self, other: "Moments") -> None:
        """Take in what another worker summed."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation, float32 [n_mels], of at least one frame."""
        mean = self.total / self.count
        variance = np.maximum(self.squares / self.count - np.square(mean), 0)
        std = np.maximum(np.sqrt(variance), _SMALLEST_STD)
        return mean.astype(np.float32), std.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a finished task left behind.

    Attributes:
      digest: The task's.
      outcomes: Of its recordings, in their order.
      shards: Split to shard.
      moments: Of its training frames.
    """

    digest: str
    outcomes: tuple[Outcome, ...]
    shards: dict[str, manifest.Shard]
    moments: Moments


def state_path(data_dir: str, *names: str) -> str:
    """Return where working state is kept: no part of the dataset, and free to be deleted."""
    return storage.join(data_dir, STATE_DIR, *names)


def save_receipt(data_dir: str, task: plan.Task, receipt: Receipt) -> None:
    """Write down that a task is done, which is what makes it so."""
    values = dataclasses.asdict(receipt)
    values["moments"] = {
        "count": receipt.moments.count,
        "total": receipt.moments.total.tolist(),  # JSON keeps a float64 to the bit
        "squares": receipt.moments.squares.tolist(),
    }
    storage.write_text(_receipt_path(data_dir, task), config.to_json(values))
    failpoints.reach("receipt.written")


def load_receipt(data_dir: str, task: plan.Task) -> Receipt | None:
    """Return what the task left, or None if it has not been done just so."""
    path = _receipt_path(data_dir, task)
    try:
        values = json.loads(storage.read_text(path)) if storage.exists(path) else {}
        return _build_receipt(values) if values.get("digest") == task.digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever is wrong with it, doing the task again mends it


def forget_receipts(data_dir: str, tasks: Iterable[plan.Task]) -> None:
    """Delete the receipts of all tasks but these."""
    folder, kept = state_path(data_dir, _TASKS_DIR), {f"{task.name}.json" for task in tasks}
    for name in storage.list_names(folder):
        if name not in kept:
            storage.remove(storage.join(folder, name))


def _build_receipt(values: dict[str, Any]) -> Receipt:
    """Return a receipt from its JSON values."""
    moments = values["moments"]
    return Receipt(
        digest=values["digest"],
        outcomes=tuple(Outcome(**outcome) for outcome in values["outcomes"]),
        shards={name: manifest.build_shard(shard) for name, shard in values["shards"].items()},
        moments=Moments(
            count=moments["count"],
            total=np.array(moments["total"]),
            squares=np.array(moments["squares"]),
        ),
    )


def _receipt_path(data_dir: str, task: plan.Task) -> str:
    return state_path(data_dir, _TASKS_DIR, f"{task.name}.json")
