"""The two JSON files of a dataset: `dataset.json`, which is the dataset, and `manifest.jsonl`.

Readers take shard names, counts and sizes from `dataset.json` and never from a listing. It
is written last: a directory without it holds no dataset, whatever else it holds.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lstm_gen import config, errors, storage
from lstm_gen.data import plan, splits

DATASET_FILE = "dataset.json"
MANIFEST_FILE = "manifest.jsonl"
_AGAIN = "make it again with create_tfrecord.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One TFRecord file.

    Attributes:
      name: File name in the dataset directory.
      records: Segments in it.
      bytes: Size of the file.
      sha256: Of its content, hexadecimal.
      frames: Frames of each segment, in order; window counts follow without reading.
    """

    name: str
    records: int
    bytes: int
    sha256: str
    frames: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """The shards of one split and what they hold together."""

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset directory, as `dataset.json` describes it.

    Attributes:
      data_dir: Where it is.
      audio: The analysis that made the frames, and that inverts them.
      segment: How recordings were cut and stored.
      split: How frames were held out, "auto" decided.
      mean: float32 [n_mels], of the training frames.
      std: float32 [n_mels], of the training frames, floored so that a constant band is harmless.
      splits: "train", "validation" and "test" to what they hold, perhaps nothing.
      plan: Digest of the inputs and the configuration that it was made from.
      fingerprint: Digest of the plan and of the content of every shard.
    """

    data_dir: str
    audio: config.AudioConfig
    segment: config.SegmentConfig
    split: config.SplitConfig
    mean: np.ndarray
    std: np.ndarray
    splits: dict[str, Split]
    plan: str
    fingerprint: str

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """Return raw log-mel frames [..., n_mels] as float32 of mean 0 and sd 1 per band."""
        return (np.asarray(frames, np.float32) - self.mean) / self.std

    def denormalise(self, frames: np.ndarray) -> np.ndarray:
        """Return normalised frames [..., n_mels] as raw log-mel, float32."""
        return np.asarray(frames, np.float32) * self.std + self.mean

    def path(self, shard: Shard) -> str:
        """Return where a shard is."""
        return storage.join(self.data_dir, shard.name)


def fingerprint(plan_digest: str, shards: Mapping[str, tuple[Shard, ...]]) -> str:
    """Return one digest for all that a dataset holds."""
    described = {name: [shard.sha256 for shard in shards[name]] for name in splits.SPLITS}
    return hashlib.sha256(config.to_json({"plan": plan_digest, **described}).encode()).hexdigest()


def save(dataset: Dataset) -> None:
    """Write `dataset.json`, which makes the directory a dataset."""
    values = {
        "schema": plan.SCHEMA,
        "audio": config.to_dict(dataset.audio),
        "segment": config.to_dict(dataset.segment),
        "split": config.to_dict(dataset.split),
        "normalisation": {"mean": _to_floats(dataset.mean), "std": _to_floats(dataset.std)},
        "splits": {name: _split_values(split) for name, split in dataset.splits.items()},
        "plan": dataset.plan,
        "fingerprint": dataset.fingerprint,
    }
    storage.write_text(storage.join(dataset.data_dir, DATASET_FILE), config.to_json(values))


def load(data_dir: str) -> Dataset:
    """Return the dataset of a directory, having checked that its shards are there and whole.

    Raises:
      InputError: If there is no dataset, another schema version wrote it, or a shard is
        missing or has another size; the message names it.
    """
    dataset = describe(data_dir)
    problem = next(iter(find_bad_shards(dataset)), None)
    if problem:
        raise errors.InputError(f"{problem}; {_AGAIN}. Received: data_dir={data_dir!r}")
    return dataset


def describe(data_dir: str) -> Dataset:
    """Return what `dataset.json` says, without a look at the shards.

    Raises:
      InputError: If it is not there, damaged, or of another schema version.
    """
    values = read_values(data_dir)
    where = storage.join(data_dir, DATASET_FILE)
    config.require(
        values.get("schema") == plan.SCHEMA,
        f"{DATASET_FILE} must have schema version {plan.SCHEMA}; {_AGAIN}",
        schema=values.get("schema"),
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
      InputError: If there is none.
    """
    where = storage.join(data_dir, DATASET_FILE)
    config.require(
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
    config.require(
        isinstance(values, dict), f"{DATASET_FILE} must be a JSON object; {_AGAIN}", path=where
    )
    return dict(values)


def find_bad_shards(dataset: Dataset) -> Iterable[str]:
    """Yield a line for each shard that is missing or has not the size it was written with."""
    for split in dataset.splits.values():
        for shard in split.shards:
            path = dataset.path(shard)
            if not storage.exists(path):
                yield f"shard {shard.name} must be there, but is missing"
            elif (n_bytes := storage.size_bytes(path)) != shard.bytes:
                yield f"shard {shard.name} must have {shard.bytes} bytes, but has {n_bytes}"


def save_lines(data_dir: str, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write `manifest.jsonl`: a line per file found, recordings first, in their order."""
    text = "".join(json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in lines)
    storage.write_text(storage.join(data_dir, MANIFEST_FILE), text)


def load_lines(data_dir: str) -> list[dict[str, Any]]:
    """Return the lines of `manifest.jsonl`; the recordings' come first, by index."""
    text = storage.read_text(storage.join(data_dir, MANIFEST_FILE))
    return [json.loads(line) for line in text.splitlines()]


def _build(data_dir: str, values: Mapping[str, Any], where: str) -> Dataset:
    """Return the dataset that the values of `dataset.json` describe."""
    audio = config.from_dict(config.AudioConfig, values["audio"], f"{where}: audio")
    normalisation = values["normalisation"]
    mean, std = (np.asarray(normalisation[key], np.float32) for key in ("mean", "std"))
    config.require(
        mean.shape == std.shape == (audio.n_mels,)
        and bool(np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()),
        f"{DATASET_FILE} must hold a finite mean and a positive std per band; {_AGAIN}",
        path=where,
    )
    return Dataset(
        data_dir=data_dir,
        audio=audio,
        segment=config.from_dict(config.SegmentConfig, values["segment"], f"{where}: segment"),
        split=config.from_dict(config.SplitConfig, values["split"], f"{where}: split"),
        mean=mean,
        std=std,
        splits={name: _build_split(values["splits"][name]) for name in splits.SPLITS},
        plan=values["plan"],
        fingerprint=values["fingerprint"],
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
    """Return the JSON values of a split; the counts are there for people."""
    return {
        "recordings": split.recordings,
        "segments": split.n_records,
        "frames": split.n_frames,
        "seconds": split.seconds,
        "shards": [dataclasses.asdict(shard) for shard in split.shards],
    }


def _to_floats(values: np.ndarray) -> list[float]:
    """Return an array as JSON numbers."""
    return [float(value) for value in values]
