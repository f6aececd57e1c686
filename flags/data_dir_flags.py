"""Where the dataset is: written by create_tfrecord.py, read by the commands after it."""

from absl import flags

from flags import storage_flags

_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    "dataset",
    "Directory of the dataset: TFRecord shards, dataset.json, manifest.jsonl.",
)


def input_dir() -> str:
    """Return where to read the dataset."""
    return storage_flags.input_path(_DATA_DIR.value)


def output_dir() -> str:
    """Return where to write the dataset."""
    return storage_flags.output_path(_DATA_DIR.value)
