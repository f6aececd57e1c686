"""Reconstructions: which runs, and which recordings they are listened to on.

Its `--run_dir` takes several, so this module stands in for `run_dir_flags` and is never loaded
beside it.
"""

from absl import flags

from flags import storage_flags

_RUN_DIR = flags.DEFINE_multi_string(
    "run_dir", ["run"], "Run directory; give it several times to compare runs."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "The runs' dataset, if it is no longer where they were trained on it."
)
_INPUT_DIR = flags.DEFINE_string(
    "input_dir",
    "",
    "The recordings that the dataset was made of: those held out are sent through each model and "
    "back as sound. When not given, only frames are compared.",
)
_PCA_SOUNDS = flags.DEFINE_boolean(
    "pca_sounds", True, "Listen to the reconstructions of patch PCA too, beside the models'."
)
_OUTPUT = flags.DEFINE_string("output", "", "Markdown file to write the table to, if any.")


def run_dirs() -> list[str]:
    """Return where to read the runs, each once."""
    return [storage_flags.input_path(path) for path in dict.fromkeys(_RUN_DIR.value)]


def data_dir() -> str:
    """Return where to read the dataset; "" for where the runs say it is."""
    return storage_flags.input_path(_DATA_DIR.value) if _DATA_DIR.value else ""


def input_dir() -> str:
    """Return where the recordings are; "" for nowhere."""
    return storage_flags.input_path(_INPUT_DIR.value) if _INPUT_DIR.value else ""


def pca_sounds() -> bool:
    """Return whether to listen to the linear code too."""
    return bool(_PCA_SOUNDS.value)


def output() -> str:
    """Return the file to write; "" for none."""
    return storage_flags.output_path(_OUTPUT.value) if _OUTPUT.value else ""
