"""What will be written, decided before anything is decoded: recordings, splits and shards.

The plan is a function of the files' names and contents and of the configuration, never of
the number of workers, the order of a listing or the clock. So are, therefore, the shards.
Which shard a recording is in follows from its content alone, so that another recording,
one that has changed or one that is gone, leaves all shards but its own as they are.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig
from lstm_gen.dataset.format import integrity, manifest, records
from lstm_gen.dataset.format.labels import Values
from lstm_gen.dataset.prepare import discover, label_sources, splits
from lstm_gen.platform import storage

_SHARD_BYTES = 128 << 20  # two blocks of TensorFlow's bucket client
_SPREAD = 16  # shards per split, so that work spreads, and for few bytes no more of them
_NO_LABELS = LabelConfig()
# Bytes of one second of audio, to guess from a file's size how much it will become.
_PCM_BYTES_PER_SECOND, _FLAC_BYTES_PER_SECOND, _CODED_BYTES_PER_SECOND = 176_400, 88_200, 12_000
_PCM = frozenset({".wav", ".wave", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".snd"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """A file that looks like audio.

    Attributes:
      name: "/"-separated, relative to the folder of recordings.
      n_bytes: Size of the file.
      sha256: Of its content, hexadecimal; empty if it cannot be read.
      same_as: Name of the recording with the same content that stands for it, or empty.
      problem: Why it cannot be read, or empty.
      labels: What is known of it; every label, whether it has it or not.
      token: Tells whether the file may have changed since it was hashed (see `storage.Stamp`).
    """

    name: str
    n_bytes: int
    sha256: str
    same_as: str = ""
    problem: str = ""
    labels: Values = dataclasses.field(default_factory=dict, hash=False)
    token: str = dataclasses.field(default="", compare=False)

    @property
    def id(self) -> int:
        """What its segments carry: `recording_id` of its content."""
        return records.recording_id(self.sha256)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Recordings that one worker writes to shards of its own, in this order.

    Attributes:
      name: Of the task, unlike that of any other.
      shards: Split to shard name; one split, or under split "blocks" each of them.
      recordings: What the shards hold.
      n_bytes: Size of the recordings' files.
      digest: sha256 over all that determines the shards' content.
    """

    name: str
    shards: dict[str, str]
    recordings: tuple[Recording, ...]
    n_bytes: int
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole preparation.

    Attributes:
      recordings: Every audio file found, by name.
      left_out: The other files found, by name.
      split: The split configuration, "auto" decided.
      kinds: Label to kind.
      unused_rows: Keys of rows of labels that are of no recording.
      tasks: Units of work, in the order of their shards.
      digest: sha256 over all that determines the dataset's content.
    """

    recordings: tuple[Recording, ...]
    left_out: tuple[discover.LeftOut, ...]
    split: SplitConfig
    kinds: Mapping[str, str]
    unused_rows: tuple[str, ...]
    tasks: tuple[Task, ...]
    digest: str


def make(
    input_dir: str,
    audio: AudioConfig,
    segment: SegmentConfig,
    split: SplitConfig,
    known: integrity.HashCache,
    label_source: LabelConfig = _NO_LABELS,
) -> Plan:
    """Find and hash the recordings below a folder, and decide what goes where.

    Raises:
      InputError: If the folder is missing or holds no recordings, or its labels cannot be read.
    """
    names, left_out = discover.find(input_dir)
    table = label_sources.read(label_source, input_dir, names)
    recordings = _mark_duplicates(_examine(input_dir, names, known, table.values))
    usable = [r for r in recordings if not (r.same_as or r.problem)]
    split = splits.resolve(split, len(usable))
    settings = {
        "schema": manifest.SCHEMA,
        "audio": fields.to_dict(audio),
        "segment": fields.to_dict(segment),
        "split": fields.to_dict(split),
    }
    found = {
        "recordings": [[r.name, r.sha256, r.labels] for r in recordings],
        "left_out": left_out,
        "label_source": fields.to_dict(label_sources.without_folder(label_source)),
        "kinds": table.kinds,
        "unused_rows": table.unused_rows,
    }
    return Plan(
        recordings=tuple(recordings),
        left_out=tuple(left_out),
        split=split,
        kinds=table.kinds,
        unused_rows=table.unused_rows,
        tasks=tuple(_assign(usable, audio, segment, split, settings)),
        digest=_digest({**settings, **found}),
    )


def _examine(
    input_dir: str,
    names: list[str],
    known: integrity.HashCache,
    values: Mapping[str, Values],
) -> list[Recording]:
    """Return the recordings with sizes, hashes and labels."""
    found = known.find(input_dir, names)
    known.save()  # whatever ends this run, the next one need not read them again
    return [
        Recording(
            name=name,
            n_bytes=digest.n_bytes,
            sha256=digest.sha256,
            # Wherever the folder is, the same.
            problem=digest.problem.replace(storage.join(input_dir, name), name),
            labels=values.get(name, {}),
            token=digest.token,
        )
        for name, digest in zip(names, found, strict=True)
    ]


def _mark_duplicates(recordings: list[Recording]) -> list[Recording]:
    """Let the first by name stand for every recording of the same content."""
    first: dict[str, str] = {}
    marked = []
    for recording in recordings:
        stands = first.setdefault(recording.sha256, recording.name) if recording.sha256 else ""
        same_as = stands if stands not in ("", recording.name) else ""
        marked.append(dataclasses.replace(recording, same_as=same_as))
    return marked


def _assign(
    recordings: list[Recording],
    audio: AudioConfig,
    segment: SegmentConfig,
    split: SplitConfig,
    settings: dict[str, object],
) -> list[Task]:
    """Return the tasks: one per shard, or under split "blocks" one per shard of each split."""
    if split.split == "blocks":
        wanted = {"validation": split.validation_fraction, "test": split.test_fraction}
        held_out = [name for name, fraction in wanted.items() if fraction > 0]
        groups = {("train", *held_out): recordings}
    else:
        assigned = (
            splits.assign_named([r.name for r in recordings], split)
            if split.split == "pattern"
            else splits.assign_recordings([r.sha256 for r in recordings], split)
        )
        groups = {
            (name,): [r for r, other in zip(recordings, assigned, strict=True) if other == name]
            for name in manifest.SPLITS
        }
    tasks = []
    for names, members in groups.items():
        n_bytes = sum(_record_bytes(r, audio, segment) for r in members)
        shared_out = share_out(members, n_bytes)
        for index, group in enumerate(shared_out):
            if not group:
                continue  # no file: a folder of three songs is no folder of sixteen shards
            number = f"{index:05d}-of-{len(shared_out):05d}"
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


def share_out(recordings: Sequence[Recording], record_bytes: float) -> list[list[Recording]]:
    """Return the recordings of each shard, decided by their content.

    The content hash picks one of a power of two of shards, so a recording stays where it is
    whatever others come and go, usable or not, until there are bytes enough to double it.

    Args:
      recordings: With content, all different.
      record_bytes: What they will take in records, about.
    """
    if not recordings:
        return []
    n_shards = _SPREAD
    while n_shards * _SHARD_BYTES < record_bytes:
        n_shards *= 2
    shards: list[list[Recording]] = [[] for _ in range(n_shards)]
    for recording in sorted(recordings, key=lambda r: r.sha256):
        shards[recording.id % n_shards].append(recording)
    return shards


def _digest(values: dict[str, object]) -> str:
    """Return sha256 of the one JSON text of the values."""
    return hashlib.sha256(fields.to_json(values).encode()).hexdigest()


def _record_bytes(recording: Recording, audio: AudioConfig, segment: SegmentConfig) -> float:
    """Return a guess, from the size of its file, of what a recording will take in records."""
    suffix = discover.suffix(recording.name)
    coded = _FLAC_BYTES_PER_SECOND if suffix == ".flac" else _CODED_BYTES_PER_SECOND
    seconds = recording.n_bytes / (_PCM_BYTES_PER_SECOND if suffix in _PCM else coded)
    value_bytes = 4 if segment.dtype == "float32" else 2
    return seconds * audio.frames_per_second * audio.channels * value_bytes
