"""What passes between the parent of a preparation and its workers: settings, verdicts, sums.

Apart from the work itself, so that the parent need not import what decodes and analyses. A
receipt says what a finished task left; a later run takes it instead of doing the task again.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from lstm_gen.audio import normalisation
from lstm_gen.config import dataset as dataset_config
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig
from lstm_gen.dataset.format import integrity, manifest
from lstm_gen.dataset.prepare import plan
from lstm_gen.platform import failpoints, storage

OK = "ok"
CRASHED = "crashed"
_TASKS_DIR = "tasks"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What every task of a preparation has in common; `split` has "auto" decided."""

    input_dir: str
    data_dir: str
    plots_dir: str
    audio: AudioConfig
    segment: SegmentConfig
    split: SplitConfig
    label_source: LabelConfig = dataclasses.field(default_factory=LabelConfig)

    def __post_init__(self) -> None:
        dataset_config.require_fit(self.audio, self.segment)


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
      too_short: Kept frames in no segment: in runs too short for one, or in examples that the
        edge of a split runs through.
      padded_seconds: Zeros added to fill an example.
      left_over_seconds: Of the rest that was too short for an example.
    """

    name: str
    verdict: str
    detail: str = ""
    seconds: float = 0.0
    frames: int = 0
    kept: dict[str, int] = dataclasses.field(default_factory=dict)
    pieces: dict[str, int] = dataclasses.field(default_factory=dict)
    too_short: int = 0
    padded_seconds: float = 0.0
    left_over_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a finished task left behind.

    Attributes:
      digest: The task's.
      outcomes: Of its recordings, in their order.
      shards: Split to shard.
      checksums: Split to the checksum of the shard's file, as `storage.checksum` returns it.
      statistics: Of its training frames.
    """

    digest: str
    outcomes: tuple[Outcome, ...]
    shards: dict[str, manifest.Shard]
    checksums: dict[str, str]
    statistics: normalisation.Statistics


def state_path(data_dir: str, *names: str) -> str:
    """Return where working state is kept: no part of the dataset, and free to be deleted."""
    return storage.join(data_dir, integrity.STATE_DIR, *names)


def save_receipt(data_dir: str, task: plan.Task, receipt: Receipt) -> None:
    """Write down that a task is done, which is what makes it so."""
    values = dataclasses.asdict(receipt)
    values["statistics"] = receipt.statistics.to_dict()
    storage.write_text(_receipt_path(data_dir, task), fields.to_json(values))
    failpoints.reach("receipt.written")


def load_receipt(data_dir: str, task: plan.Task) -> Receipt | None:
    """Return what the task left, or None if it has not been done just so."""
    path = _receipt_path(data_dir, task)
    try:
        values = json.loads(storage.read_text(path))
        return _build_receipt(values) if values.get("digest") == task.digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # that it is not there, or damaged: doing the task again mends it


def forget_receipts(data_dir: str, tasks: Iterable[plan.Task]) -> None:
    """Delete the receipts of all tasks but these."""
    folder, kept = state_path(data_dir, _TASKS_DIR), {f"{task.name}.json" for task in tasks}
    for name in storage.list_names(folder):
        if name not in kept:
            storage.remove(storage.join(folder, name))


def remove_temporaries(data_dir: str) -> None:
    """Delete receipts that were begun and not finished."""
    folder = state_path(data_dir, _TASKS_DIR)
    for name in storage.list_names(folder):
        if ".tmp-" in name:
            storage.remove(storage.join(folder, name))


def _build_receipt(values: dict[str, Any]) -> Receipt:
    """Return a receipt from its JSON values."""
    return Receipt(
        digest=values["digest"],
        outcomes=tuple(Outcome(**outcome) for outcome in values["outcomes"]),
        shards={name: manifest.build_shard(shard) for name, shard in values["shards"].items()},
        checksums=dict(values["checksums"]),
        statistics=normalisation.Statistics.from_dict(values["statistics"]),
    )


def _receipt_path(data_dir: str, task: plan.Task) -> str:
    return state_path(data_dir, _TASKS_DIR, f"{task.name}.json")
