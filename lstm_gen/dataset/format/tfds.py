"""Two more JSON files, with which TensorFlow Datasets opens a dataset directory.

    builder = tensorflow_datasets.builder_from_directory("dataset")
    for example in builder.as_dataset(split="train[:50%]"): ...

They say again what `dataset.json` says, in that library's words; nothing of ours reads them,
and nothing of that library is needed to write them. A feature "label/pitch" is
`example["label"]["pitch"]` there.

Source: tensorflow_datasets/core/proto/{dataset_info,feature}.proto, version 4.9.
"""

import re
from collections.abc import Sequence
from typing import Any

from lstm_gen.config import fields
from lstm_gen.dataset.format import manifest
from lstm_gen.platform import storage

INFO_FILE = "dataset_info.json"
FEATURES_FILE = "features.json"
FILES = (INFO_FILE, FEATURES_FILE)
_CLASSES = "tensorflow_datasets.core.features."
_PLACE = re.compile(r".*-(?P<index>\d{5})-of-(?P<count>\d{5})\.tfrecord")


def save(dataset: manifest.Dataset) -> None:
    """Write the two files."""
    for name, values in ((INFO_FILE, _info(dataset)), (FEATURES_FILE, _features(dataset))):
        storage.write_text(storage.join(dataset.data_dir, name), fields.to_json(values))


def _info(dataset: manifest.Dataset) -> dict[str, Any]:
    """Return where the shards are and what they hold; its numbers are texts, as in protobuf."""
    return {
        "fileFormat": "tfrecord",
        "name": "lstm_gen",
        "version": f"{manifest.SCHEMA}.0.0",
        "splits": [
            {
                "name": name,
                "filepathTemplate": "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}",
                "numBytes": str(split.n_bytes),
                "shardLengths": [str(n_records) for n_records in _lengths(split.shards)],
            }
            for name, split in dataset.splits.items()
            if split.n_records
        ],
    }


def _lengths(shards: Sequence[manifest.Shard]) -> list[int]:
    """Return the records of each shard by number, 0 where there is no file."""
    places = [_PLACE.fullmatch(shard.name) for shard in shards]
    known = {
        int(place["index"]): shard.records
        for place, shard in zip(places, shards, strict=True)
        if place
    }
    count = max(int(place["count"]) for place in places if place)
    return [known.get(index, 0) for index in range(count)]


def _features(dataset: manifest.Dataset) -> dict[str, Any]:
    """Return what a record holds."""
    features = {
        "frames": _tensor(dataset.segment.dtype, "-1", str(dataset.audio.channels)),
        "recording": _tensor("int64"),
        "start_frame": _tensor("int64"),
    }
    if dataset.labels:
        kinds = {name: _LABELS[label.kind] for name, label in dataset.labels.items()}
        features["label"] = _feature("features_dict.FeaturesDict", featuresDict={"features": kinds})
    return _feature("features_dict.FeaturesDict", featuresDict={"features": features})


def _feature(name: str, **content: Any) -> dict[str, Any]:
    return {"pythonClassName": f"{_CLASSES}{name}", **content}


def _tensor(dtype: str, *dimensions: str) -> dict[str, Any]:
    """Return a number, or an array whose raw bytes are one text; "-1" is a length that varies."""
    encoding = "bytes" if dimensions else "none"
    shape = {"dimensions": list(dimensions)}
    return _feature(
        "tensor_feature.Tensor", tensor={"shape": shape, "dtype": dtype, "encoding": encoding}
    )


_TEXT = _feature("text_feature.Text", text={})
_LABELS = {
    "class": _TEXT,
    "multi": _feature("sequence_feature.Sequence", sequence={"feature": _TEXT, "length": "-1"}),
    "number": _tensor("float32"),
}
