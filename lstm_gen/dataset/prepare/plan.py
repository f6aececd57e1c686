"""Plan of a preparation: the job, its tasks, and the receipts of finished tasks.

The plan is a pure function of the files' names and contents and of the configuration; the number
of workers, the order of a listing and the clock do not matter. The shard of a recording depends
on its content alone, so adding, changing or removing a recording changes only that shard; but
frames of `activations` depend on every recording that their dictionary is fitted to. A receipt
records the results of a finished task; a later run takes it instead of repeating the task.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_gen.audio import fitted, normalisation
from lstm_gen.config import dataset as dataset_config
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig, TranspositionConfig
from lstm_gen.dataset.format import integrity, labels, manifest
from lstm_gen.dataset.prepare import discover, label_sources, splits
from lstm_gen.platform import failpoints, storage

_Sides = list[tuple[discover.Recording, tuple[str, ...]]]  # the splits that may have frames of it
OK = "ok"
_TASKS_DIR = "tasks"
_SHARD_BYTES = 128 << 20  # the unit of work that is repeated after a change or an interruption
FIT_RECORDINGS = 32
"""Recordings, chosen by content, whose training frames arrays of the analysis are fitted to."""

_MIN_SHARDS = 16  # per split: enough tasks for many workers
# Bytes of one second of audio, to estimate a recording's length from its file size.
_PCM_BYTES_PER_SECOND, _FLAC_BYTES_PER_SECOND, _CODED_BYTES_PER_SECOND = 176_400, 88_200, 12_000
_PCM = frozenset({".wav", ".wave", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".snd"})
# Receipts keep these names, so that those of earlier versions stay valid.
_STORED_NAMES = {"status": "verdict", "segments": "pieces"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """Settings of a preparation.

    Attributes:
      input_dir: Folder of recordings, local or gs://.
      data_dir: Dataset directory to write, local or gs://.
      plots_dir: Folder for a spectrogram of each recording; empty for none.
      audio: Analysis.
      segment: Cutting and storage of recordings.
      split: Held-out splits.
      transposition: Transposed copies of what trains.
      label_source: Source of the labels.
    """

    input_dir: str
    data_dir: str
    plots_dir: str
    audio: AudioConfig
    segment: SegmentConfig
    split: SplitConfig
    transposition: TranspositionConfig = dataclasses.field(default_factory=TranspositionConfig)
    label_source: LabelConfig = dataclasses.field(default_factory=LabelConfig)

    def __post_init__(self) -> None:
        dataset_config.require_fit(self.audio, self.segment)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Recordings that one worker writes to shards of its own, in this order.

    Attributes:
      name: Unique.
      shards: Split to shard name; one split, or under split "blocks" each of them.
      recordings: Contents of the shards.
      n_bytes: Size of the recordings' files.
      digest: SHA-256 over everything that determines the shards' content.
    """

    name: str
    shards: dict[str, str]
    recordings: tuple[discover.Recording, ...]
    n_bytes: int
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """All recordings and tasks of a preparation.

    Attributes:
      job: With split "auto" resolved, and the label source without the file's folder.
      recordings: Every audio file found, by name.
      left_out: The other files found, by name.
      kinds: Label to kind.
      unused_rows: Keys of label rows that match no recording.
      tasks: In the order of their shards.
      fit: The task before them that fits arrays of the analysis, if it has any.
      digest: SHA-256 over everything that determines the dataset's content.
    """

    job: Job
    recordings: tuple[discover.Recording, ...]
    left_out: tuple[discover.LeftOut, ...]
    kinds: Mapping[str, str]
    unused_rows: tuple[str, ...]
    tasks: tuple[Task, ...]
    fit: Task | None
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result for one recording.

    Attributes:
      name: Of the recording.
      status: "ok", or the code of the reason why it is left out (`manifest.STATUSES`).
      detail: The reason, in a sentence.
      seconds: Length of the decoded audio.
      frames: Frames of the untrimmed recording.
      kept: Split to number of frames.
      segments: Split to number of segments.
      too_short: Kept frames in no segment: in runs too short for one, or in examples across the
        edge of a split.
      padded_seconds: Zeros added to fill an example.
      left_over_seconds: Audio after the last example.
      transposed: Semitones, as in "+3", of each transposed copy to its `frames`, `frames_kept` and
        `segments`.
    """

    name: str
    status: str
    detail: str = ""
    seconds: float = 0.0
    frames: int = 0
    kept: dict[str, int] = dataclasses.field(default_factory=dict)
    segments: dict[str, int] = dataclasses.field(default_factory=dict)
    too_short: int = 0
    padded_seconds: float = 0.0
    left_over_seconds: float = 0.0
    transposed: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """Results of a finished task.

    Attributes:
      digest: The task's.
      outcomes: Of its recordings, in their order.
      shards: Split to shard.
      checksums: Split to the `storage.checksum` of the shard's file.
      statistics: Of its training frames.
    """

    digest: str
    outcomes: tuple[Outcome, ...]
    shards: dict[str, manifest.Shard]
    checksums: dict[str, str]
    statistics: normalisation.Statistics


def make(job: Job, cache: integrity.HashCache) -> Plan:
    """Find and hash the recordings of a job, and assign them to splits, shards and tasks.

    Args:
      job: Settings.
      cache: Hashes computed before; saved with the new ones.

    Raises:
      InputError: If the folder is missing or holds no recordings, or its labels cannot be read.
    """
    names, left_out = discover.find(job.input_dir)
    table = label_sources.Table()
    if job.label_source.labels != "none":
        table = label_sources.read(job.label_source, job.input_dir, names)
    recordings = discover.hash_recordings(job.input_dir, names, cache, table.values)
    usable = [r for r in recordings if not (r.same_as or r.problem)]
    for recording in usable if job.transposition.copies else ():
        labels.of_copies(recording.labels, job.transposition.copies)  # refuses what is no pitch
    job = dataclasses.replace(
        job,
        split=splits.resolve(job.split, [_estimate_seconds(r) for r in usable]),
        label_source=without_folder(job.label_source),
    )
    settings: dict[str, Any] = {
        "schema": manifest.SCHEMA,
        "audio": fields.to_dict(job.audio),
        "segment": fields.to_dict(job.segment),
        "split": fields.to_dict(job.split),
        **manifest.transposition_values(job.transposition),
    }
    sides = list(zip(usable, splits.assign(usable, job.split), strict=True))
    fit = _make_fit(sides, job, settings)
    if fit and job.audio.representation == "activations":
        settings["fit"] = fit.digest  # the frames depend on it
    found = {
        "recordings": [[r.name, r.sha256, r.labels] for r in recordings],
        "left_out": left_out,
        "label_source": fields.to_dict(job.label_source),
        "kinds": table.kinds,
        "unused_rows": table.unused_rows,
    }
    return Plan(
        job=job,
        recordings=tuple(recordings),
        left_out=tuple(left_out),
        kinds=table.kinds,
        unused_rows=table.unused_rows,
        tasks=tuple(_make_tasks(sides, job, settings)),
        fit=fit,
        digest=_digest({**settings, **found}),
    )


def distribute(
    recordings: Sequence[discover.Recording], record_bytes: float
) -> list[list[discover.Recording]]:
    """Return the recordings of each shard.

    The content hash picks one of a power of two of shards, so a recording keeps its shard
    when others are added or removed, until their number doubles.

    Args:
      recordings: With different contents.
      record_bytes: Estimate of their size in records.
    """
    if not recordings:
        return []
    n_shards = _MIN_SHARDS
    while n_shards * _SHARD_BYTES < record_bytes:
        n_shards *= 2
    shards: list[list[discover.Recording]] = [[] for _ in range(n_shards)]
    for recording in sorted(recordings, key=lambda r: r.sha256):
        shards[recording.id % n_shards].append(recording)
    return shards


def without_folder(source: LabelConfig) -> LabelConfig:
    """Return a source without the folder of its file: a dataset must not depend on it."""
    return dataclasses.replace(source, labels_file=storage.name(source.labels_file))


def state_path(data_dir: str, *names: str) -> str:
    """Return a path for working state: not part of the dataset, free to be deleted."""
    return storage.join(data_dir, integrity.STATE_DIR, *names)


def save_receipt(data_dir: str, task: Task, receipt: Receipt) -> None:
    """Write the receipt of a task, which makes the task finished."""
    values = dataclasses.asdict(receipt)
    values["statistics"] = receipt.statistics.to_dict()
    values["outcomes"] = [
        {_STORED_NAMES.get(name, name): value for name, value in outcome.items()}
        for outcome in values["outcomes"]
    ]
    storage.write_text(_receipt_path(data_dir, task), fields.to_json(values))
    failpoints.reach("receipt.written")


def load_receipt(data_dir: str, task: Task) -> Receipt | None:
    """Return the receipt of a task, or None if this very task is not finished."""
    path = _receipt_path(data_dir, task)
    try:
        values = json.loads(storage.read_text(path))
        return _build_receipt(values) if values.get("digest") == task.digest else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing or damaged: the task is done again


def remove_other_receipts(data_dir: str, tasks: Iterable[Task]) -> None:
    """Delete the receipts of all tasks but these."""
    folder, kept = state_path(data_dir, _TASKS_DIR), {f"{task.name}.json" for task in tasks}
    for name in storage.list_names(folder):
        if name not in kept:
            storage.remove(storage.join(folder, name))


def remove_temporaries(data_dir: str) -> None:
    """Delete receipts that are not completely written."""
    folder = state_path(data_dir, _TASKS_DIR)
    for name in storage.list_names(folder):
        if ".tmp-" in name:
            storage.remove(storage.join(folder, name))


def _make_fit(sides: _Sides, job: Job, settings: dict[str, Any]) -> Task | None:
    """Return the task that fits arrays to a sample of the recordings that have training frames."""
    if not fitted.specs(job.audio):
        return None
    training = sorted((r for r, names in sides if "train" in names), key=lambda r: r.sha256)
    chosen = tuple(training[:FIT_RECORDINGS])
    contents = [r.sha256 for r in chosen]
    return Task(
        name="fit",
        shards={"train": fitted.FILE},
        recordings=chosen,
        n_bytes=sum(r.n_bytes for r in chosen),
        digest=_digest({**settings, "fit": contents}),
    )


def _make_tasks(sides: _Sides, job: Job, settings: dict[str, Any]) -> list[Task]:
    """Return the tasks: one per shard, or under split "blocks" one per shard of every split."""
    groups: dict[tuple[str, ...], list[discover.Recording]] = {}
    for recording, names in sides:
        groups.setdefault(names, []).append(recording)
    tasks = []
    for names in sorted(groups, key=lambda names: manifest.SPLITS.index(names[0])):
        members = groups[names]
        n_copies = 1 + len(job.transposition.copies) if "train" in names else 1
        record_bytes = n_copies * sum(_estimate_bytes(r, job) for r in members)
        distributed = distribute(members, record_bytes)
        for index, group in enumerate(distributed):
            if not group:
                continue  # no file: three songs do not need sixteen shards
            number = f"{index:05d}-of-{len(distributed):05d}"
            shards = {name: f"{name}-{number}.tfrecord" for name in names}
            contents = [[r.name, r.sha256, r.labels] for r in group]
            tasks.append(
                Task(
                    name=f"{'-'.join(names)}-{number}",
                    shards=shards,
                    recordings=tuple(group),
                    n_bytes=sum(r.n_bytes for r in group),
                    digest=_digest({**settings, "shards": shards, "recordings": contents}),
                )
            )
    return tasks


def _digest(values: dict[str, object]) -> str:
    """Return SHA-256 of the values as canonical JSON."""
    return hashlib.sha256(fields.to_json(values).encode()).hexdigest()


def _estimate_bytes(recording: discover.Recording, job: Job) -> float:
    """Return an estimate of a recording's size in records."""
    value_bytes = 4 if job.segment.dtype == "float32" else 2
    frame_bytes = job.audio.channels * value_bytes
    return _estimate_seconds(recording) * job.audio.frames_per_second * frame_bytes


def _estimate_seconds(recording: discover.Recording) -> float:
    """Return an estimate of a recording's length from its file size.

    No file is opened for it: a plan of files in a bucket costs no download.
    """
    suffix = discover.suffix(recording.name)
    coded = _FLAC_BYTES_PER_SECOND if suffix == ".flac" else _CODED_BYTES_PER_SECOND
    return recording.n_bytes / (_PCM_BYTES_PER_SECOND if suffix in _PCM else coded)


def _build_receipt(values: dict[str, Any]) -> Receipt:
    """Return a receipt from its JSON values."""
    names = {stored: name for name, stored in _STORED_NAMES.items()}
    return Receipt(
        digest=values["digest"],
        outcomes=tuple(
            Outcome(**{names.get(name, name): value for name, value in outcome.items()})
            for outcome in values["outcomes"]
        ),
        shards={name: manifest.build_shard(shard) for name, shard in values["shards"].items()},
        checksums=dict(values["checksums"]),
        statistics=normalisation.Statistics.from_dict(values["statistics"]),
    )


def _receipt_path(data_dir: str, task: Task) -> str:
    return state_path(data_dir, _TASKS_DIR, f"{task.name}.json")
