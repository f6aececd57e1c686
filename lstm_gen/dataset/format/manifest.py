"""Manifest of a dataset: its JSON files.

`dataset.json` is the dataset: readers take shard names, counts, sizes and hashes from it, never
from a listing, and its own checksum covers it, so no file can change unnoticed. It is written
last; a directory without it holds no dataset. `manifest.jsonl` has a line per file found.

`dataset_info.json` and `features.json` repeat the contents for TensorFlow Datasets, in which a
feature "label/pitch" is `example["label"]["pitch"]`; nothing here reads them, and writing them
does not need that library:

    builder = tensorflow_datasets.builder_from_directory("dataset")
    for example in builder.as_dataset(split="train[:50%]"): ...

Source: tensorflow_datasets/core/proto/{dataset_info,feature}.proto, version 4.9.
"""

import atexit
import dataclasses
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.audio import fitted, normalisation, representations
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig, Fitted
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig, TranspositionConfig
from lstm_gen.dataset.format import integrity, labels, records
from lstm_gen.dataset.format.labels import Vocabulary
from lstm_gen.platform import errors, storage

DATASET_FILE = "dataset.json"
MANIFEST_FILE = "manifest.jsonl"
TFDS_FILES = ("dataset_info.json", "features.json")
FILES = (DATASET_FILE, MANIFEST_FILE, fitted.FILE, *TFDS_FILES)
SCHEMA = 3
SPLITS = ("train", "validation", "test")
# Statuses of files, in `manifest.jsonl` under "verdict"; docs/formats.md repeats the table.
# fmt: off
STATUSES = {
    "ok": "its frames are in the dataset",
    "duplicate": "the same content as a recording whose name comes earlier, or a link to a folder "
                 "that is searched anyway",
    "not_audio": "a suffix that is not of audio",
    "not_a_file": "a pipe, a socket or a device",
    "outside": "a link that leads out of the folder of recordings",
    "missing": "a broken or circular link, or a file deleted since the search",
    "bad_name": "a name with an empty, `.` or `..` part, which could leave the folder",
    "denied": "no permission to read it, or a disk error",
    "empty": "no bytes, or no sample at the rate of the dataset",
    "unreadable": "no audio in a format that can be decoded, or damaged",
    "truncated": "shorter than its structure states: copied in part, or the recorder was cut off",
    "bad_channels": "no channel, or more than 32",
    "bad_rate": "a sample rate outside 1 to 384 kHz",
    "not_finite": "samples that are NaN, infinite or far beyond full scale",
    "too_long": "too long to be analysed as one recording; split it",
    "too_short": "fewer than two frames are left after trimming",
    "silent": "digital silence",
    "needs_ffmpeg": "a format that ffmpeg decodes, and ffmpeg is not installed",
    "memory": "decoding it took more memory than a worker may use",
    "crashed": "its worker process died",
    "failed": "another error, named in the detail",
}
# fmt: on

# Every other status means that a recording is missing from the dataset.
NOT_BAD = frozenset({"ok", "duplicate", "not_audio"})
_AGAIN = "make it again with create_tfrecord.py"
_TFDS_PREFIX = "tensorflow_datasets.core.features."
_SHARD_NAME = re.compile(r".*-(?P<index>\d{5})-of-(?P<count>\d{5})\.tfrecord")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard(integrity.File):
    """One TFRecord file.

    Attributes:
      records: Number of segments.
      frames: Frames of each segment, in order, from which window counts follow.
    """

    records: int
    frames: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """Shards of one split, and their totals."""

    recordings: int
    shards: tuple[Shard, ...]
    seconds: float

    @property
    def n_records(self) -> int:
        """Segments in the split."""
        return sum(shard.records for shard in self.shards)

    @property
    def n_frames(self) -> int:
        """Frames in the split."""
        return sum(sum(shard.frames) for shard in self.shards)

    @property
    def n_bytes(self) -> int:
        """Bytes of the split's shards."""
        return sum(shard.bytes for shard in self.shards)


class UnusedRows(NamedTuple):
    """Label rows that match no recording: their number, and the keys of the first few."""

    total: int
    first: tuple[str, ...]


_NONE_UNUSED = UnusedRows(0, ())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Contents of `dataset.json`.

    Attributes:
      data_dir: The directory, local or gs://.
      audio: Analysis that made the frames, and that inverts them; `describe` leaves out its arrays.
      segment: Cutting and storage of the recordings.
      split: Held-out splits, "auto" resolved.
      normalisation: Of the frames, from the statistics of the training split.
      splits: "train", "validation" and "test" to their shards, perhaps none.
      plan: Digest of the inputs and the configuration.
      fingerprint: Digest of the plan and of the content of every shard.
      transposition: Transposed copies of what trains.
      labels: Vocabulary of the usable recordings' labels.
      label_source: Source of the labels.
      unused_rows: Label rows that match no recording.
      lines: The file `manifest.jsonl`; None until it is saved.
      local_dir: Folder on this machine with the fetched files, if `data_dir` is in a bucket.
    """

    data_dir: str
    audio: AudioConfig
    segment: SegmentConfig
    split: SplitConfig
    normalisation: normalisation.Normalisation
    splits: dict[str, Split]
    plan: str
    fingerprint: str
    transposition: TranspositionConfig = dataclasses.field(default_factory=TranspositionConfig)
    labels: Vocabulary = dataclasses.field(default_factory=dict)
    label_source: LabelConfig = dataclasses.field(default_factory=LabelConfig)
    unused_rows: UnusedRows = _NONE_UNUSED
    lines: integrity.File | None = None
    local_dir: str = ""

    @property
    def files(self) -> list[integrity.File]:
        """Every other file of the dataset."""
        shards = [shard for split in self.splits.values() for shard in split.shards]
        arrays = [integrity.File(**file) for file in fitted.to_dict(self.audio).values()]
        return [*shards, *arrays, *([self.lines] if self.lines else [])]

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """Return stored frames [..., channels] normalised, float32."""
        return self.normalisation.apply(representations.dequantise(np.asarray(frames)))

    def read_segments(self, shard: Shard) -> Iterator[records.Segment]:
        """Yield the segments of a shard in order, every checksum verified.

        Raises:
          InputError: For a record that is cut, corrupt or not a segment, naming it.
        """
        return records.read_segments(self.path(shard), self.audio.channels, self.segment.dtype)

    def path(self, shard: Shard) -> str:
        """Return the path of a shard, on this machine if it was fetched."""
        return storage.join(self.local_dir or self.data_dir, shard.name)


def fingerprint(
    plan_digest: str, shards: Mapping[str, tuple[Shard, ...]], arrays: Fitted | None = None
) -> str:
    """Return the digest of the plan, of the content of every shard, and of the fitted arrays."""
    described: dict[str, Any] = {name: [one.sha256 for one in shards[name]] for name in SPLITS}
    if arrays:
        described["fitted"] = arrays.sha256
    return hashlib.sha256(fields.to_json({"plan": plan_digest, **described}).encode()).hexdigest()


def save(dataset: Dataset) -> Dataset:
    """Write `dataset.json`, which makes the directory a dataset; `manifest.jsonl` exists already.

    Returns:
      The dataset with `lines` set.
    """
    content = storage.read_bytes(storage.join(dataset.data_dir, MANIFEST_FILE))
    sha256 = hashlib.sha256(content).hexdigest()
    lines = integrity.File(name=MANIFEST_FILE, bytes=len(content), sha256=sha256)
    values = {
        "schema": SCHEMA,
        "audio": fields.to_dict(dataset.audio),
        "segment": fields.to_dict(dataset.segment),
        "split": fields.to_dict(dataset.split),
        **transposition_values(dataset.transposition),
        **fitted.to_dict(dataset.audio),
        "normalisation": dataset.normalisation.to_dict(),
        "splits": {name: _split_values(split) for name, split in dataset.splits.items()},
        "labels": labels.to_json(dataset.labels),
        "label_source": fields.to_dict(dataset.label_source),
        "unused_rows": dataset.unused_rows._asdict(),
        "plan": dataset.plan,
        "fingerprint": dataset.fingerprint,
        "manifest": dataclasses.asdict(lines),
    }
    values["checksum"] = checksum(values)
    storage.write_text(storage.join(dataset.data_dir, DATASET_FILE), fields.to_json(values))
    return dataclasses.replace(dataset, lines=lines)


def transposition_values(transposition: TranspositionConfig) -> dict[str, Any]:
    """Return the field of `dataset.json` about transposed copies; none where there are none."""
    return {"transposition": fields.to_dict(transposition)} if transposition.copies else {}


def checksum(values: Mapping[str, Any]) -> str:
    """Return the checksum of the values of `dataset.json` other than the checksum itself."""
    rest = {name: value for name, value in values.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def load(data_dir: str) -> Dataset:
    """Return the dataset of a directory, with size and hash of every file verified.

    A dataset in a bucket is first fetched into a temporary directory, deleted at exit.

    Raises:
      InputError: If there is no dataset, its schema version differs, or one of its files
        is missing or has another size or content; the message names it.
    """
    dataset = describe(data_dir)
    if storage.is_remote(data_dir):
        dataset = _fetch(dataset)
    require_whole(dataset)
    return with_fitted(dataset)


def with_fitted(dataset: Dataset) -> Dataset:
    """Return a dataset that `describe` returned with the arrays of its analysis, if it has any.

    Raises:
      InputError: If their file is missing or has another content.
    """
    audio = dataset.audio
    if audio.fitted:
        path = storage.join(dataset.local_dir or dataset.data_dir, fitted.FILE)
        audio = fitted.read(path, audio, _AGAIN)
    return dataclasses.replace(dataset, audio=audio)


def _fetch(dataset: Dataset) -> Dataset:
    """Download the files of a dataset in a bucket; return the dataset with `local_dir` set."""
    folder = tempfile.mkdtemp(prefix="lstm_gen-dataset-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        storage.stage(dataset.data_dir, [file.name for file in dataset.files], folder)
    except FileNotFoundError as error:
        raise errors.InputError(
            f"every file of the dataset must be there ({error}); {_AGAIN}. "
            f"Received: data_dir={dataset.data_dir!r}"
        ) from error
    return dataclasses.replace(dataset, local_dir=folder)


def require_whole(dataset: Dataset) -> None:
    """Raise InputError, naming the file, unless all files are as they were written."""
    problem = next(find_bad_files(dataset), None)
    if problem:
        raise errors.InputError(f"{problem}; {_AGAIN}. Received: data_dir={dataset.data_dir!r}")


def describe(data_dir: str) -> Dataset:
    """Return the contents of `dataset.json`, without looking at the shards.

    Raises:
      InputError: If it is missing, damaged, or of another schema version.
    """
    values = read_values(data_dir)
    where = storage.join(data_dir, DATASET_FILE)
    errors.require(
        values.get("schema") == SCHEMA,
        f"{DATASET_FILE} must have schema version {SCHEMA}; {_AGAIN}",
        schema=values.get("schema"),
        path=where,
    )
    errors.require(
        values.get("checksum") == checksum(values),
        f"{DATASET_FILE} must be as it was written, but has been changed since; {_AGAIN}",
        path=where,
    )
    try:
        return _build(data_dir, values, where)
    except (KeyError, TypeError, AttributeError) as error:
        raise errors.InputError(
            f"{DATASET_FILE} must be as it was written ({error!r}); {_AGAIN}. Received: {where!r}"
        ) from error


def read_values(data_dir: str) -> dict[str, Any]:
    """Return the JSON object in `dataset.json`.

    Raises:
      InputError: If there is no such file, or it holds no JSON object.
    """
    where = storage.join(data_dir, DATASET_FILE)
    errors.require(
        storage.exists(where),
        f"--data_dir must hold a finished dataset with {DATASET_FILE}; "
        "make one with create_tfrecord.py",
        data_dir=data_dir,
    )
    try:
        values = json.loads(storage.read_text(where))
    except ValueError as error:
        raise errors.InputError(
            f"{DATASET_FILE} must be JSON ({error}); {_AGAIN}. Received: {where!r}"
        ) from error
    errors.require(
        isinstance(values, dict), f"{DATASET_FILE} must be a JSON object; {_AGAIN}", path=where
    )
    return dict(values)


def find_bad_files(dataset: Dataset) -> Iterator[str]:
    """Yield a line for each file that is not as it was written.

    For files in a bucket that are not fetched, only sizes are compared.
    """
    folder = dataset.local_dir or dataset.data_dir
    problems = list(integrity.compare_sizes(folder, dataset.files))
    yield from problems
    if not problems and not storage.is_remote(folder):
        yield from integrity.compare_contents(
            folder, dataset.files, integrity.dataset_cache(folder)
        )


def save_tfds(dataset: Dataset) -> None:
    """Write the two files for TensorFlow Datasets."""
    values_of = (_tfds_info(dataset), _tfds_features(dataset))
    for name, values in zip(TFDS_FILES, values_of, strict=True):
        storage.write_text(storage.join(dataset.data_dir, name), fields.to_json(values))


def save_lines(data_dir: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write `manifest.jsonl`: a line per file found, recordings first."""
    text = "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines)
    storage.write_text(storage.join(data_dir, MANIFEST_FILE), text)


def load_lines(data_dir: str) -> list[dict[str, Any]]:
    """Return the lines of `manifest.jsonl`, recordings first."""
    text = storage.read_text(storage.join(data_dir, MANIFEST_FILE))
    return [json.loads(line) for line in text.splitlines()]


def recording_names(lines: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Return the printable names of the recordings that have segments, by recording id.

    Args:
      lines: Of `manifest.jsonl`.
    """
    names = {}
    for line in lines:
        if line.get("segments"):
            name = printable(line["name"])
            names[records.recording_id(line["sha256"])] = name
            for semitones in line.get("transposed", {}):
                copy = records.recording_id(line["sha256"], int(semitones))
                names[copy] = f"{name} ({semitones} semitones)"
    return names


def printable(name: str) -> str:
    """Return a file's name with control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _build(data_dir: str, values: Mapping[str, Any], where: str) -> Dataset:
    """Return the dataset from the values of `dataset.json`."""
    audio = fields.from_dict(AudioConfig, values["audio"], f"{where}: audio")
    audio = dataclasses.replace(audio, fitted=fitted.from_dict(values))
    unused = values["unused_rows"]
    return Dataset(
        data_dir=data_dir,
        audio=audio,
        segment=fields.from_dict(SegmentConfig, values["segment"], f"{where}: segment"),
        split=fields.from_dict(SplitConfig, values["split"], f"{where}: split"),
        normalisation=normalisation.Normalisation.from_dict(
            values["normalisation"], audio.channels, where, _AGAIN
        ),
        splits={name: _build_split(values["splits"][name]) for name in SPLITS},
        plan=values["plan"],
        fingerprint=values["fingerprint"],
        transposition=fields.from_dict(
            TranspositionConfig, values.get("transposition", {}), f"{where}: transposition"
        ),
        labels=labels.from_json(values["labels"]),
        label_source=fields.from_dict(
            LabelConfig, values["label_source"], f"{where}: label_source"
        ),
        unused_rows=UnusedRows(unused["total"], tuple(unused["first"])),
        lines=integrity.File(**values["manifest"]),
    )


def _build_split(values: Mapping[str, Any]) -> Split:
    """Return a split from its JSON values."""
    return Split(
        recordings=values["recordings"],
        shards=tuple(build_shard(shard) for shard in values["shards"]),
        seconds=float(values["seconds"]),
    )


def build_shard(values: Mapping[str, Any]) -> Shard:
    """Return a shard from its JSON values."""
    return Shard(**{**values, "frames": tuple(values["frames"])})


def _split_values(split: Split) -> dict[str, Any]:
    """Return the JSON values of a split; the counts are redundant, for human readers."""
    return {
        "recordings": split.recordings,
        "segments": split.n_records,
        "frames": split.n_frames,
        "seconds": split.seconds,
        "shards": [dataclasses.asdict(shard) for shard in split.shards],
    }


def _tfds_info(dataset: Dataset) -> dict[str, Any]:
    """Return names and sizes of the shards; numbers are strings, as in protobuf's JSON."""
    return {
        "fileFormat": "tfrecord",
        "name": "lstm_gen",
        "version": f"{SCHEMA}.0.0",
        "splits": [
            {
                "name": name,
                "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
                "numBytes": str(split.n_bytes),
                "shardLengths": [str(n_records) for n_records in _shard_lengths(split.shards)],
            }
            for name, split in dataset.splits.items()
            if split.n_records
        ],
    }


def _shard_lengths(shards: Sequence[Shard]) -> list[int]:
    """Return the number of records of each shard, 0 for shards without a file."""
    places = [_SHARD_NAME.fullmatch(shard.name) for shard in shards]
    lengths = {
        int(place["index"]): shard.records
        for place, shard in zip(places, shards, strict=True)
        if place
    }
    count = max(int(place["count"]) for place in places if place)
    return [lengths.get(index, 0) for index in range(count)]


def _tfds_features(dataset: Dataset) -> dict[str, Any]:
    """Return the features of a record."""
    features = {
        "frames": _tfds_tensor(dataset.segment.dtype, "-1", str(dataset.audio.channels)),
        "recording": _tfds_tensor("int64"),
        "start_frame": _tfds_tensor("int64"),
    }
    if dataset.labels:
        kinds = {name: _TFDS_LABELS[label.kind] for name, label in dataset.labels.items()}
        features["label"] = _tfds_feature(
            "features_dict.FeaturesDict", featuresDict={"features": kinds}
        )
    return _tfds_feature("features_dict.FeaturesDict", featuresDict={"features": features})


def _tfds_feature(name: str, **content: Any) -> dict[str, Any]:
    return {"pythonClassName": f"{_TFDS_PREFIX}{name}", **content}


def _tfds_tensor(dtype: str, *dimensions: str) -> dict[str, Any]:
    """Return a scalar, or an array stored as raw bytes; "-1" is a variable length."""
    encoding = "bytes" if dimensions else "none"
    shape = {"dimensions": list(dimensions)}
    return _tfds_feature(
        "tensor_feature.Tensor", tensor={"shape": shape, "dtype": dtype, "encoding": encoding}
    )


_TFDS_TEXT = _tfds_feature("text_feature.Text", text={})
_TFDS_LABELS = {
    "class": _TFDS_TEXT,
    "multi": _tfds_feature(
        "sequence_feature.Sequence", sequence={"feature": _TFDS_TEXT, "length": "-1"}
    ),
    "number": _tfds_tensor("float32"),
}
