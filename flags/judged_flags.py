"""What the tools that judge models have in common: which runs, of what dataset, written where.

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
_OUTPUT = flags.DEFINE_string("output", "", "Markdown file to write the tables to, if any.")


def run_dirs() -> list[str]:
    """Return where to read the runs, each once."""
    return [storage_flags.input_path(path) for path in dict.fromkeys(_RUN_DIR.value)]


def data_dir() -> str:
    """Return where to read the dataset; "" for where the runs say it is."""
    return storage_flags.input_path(_DATA_DIR.value) if _DATA_DIR.value else ""


def output() -> str:
    """Return the file to write; "" for none."""
    return storage_flags.output_path(_OUTPUT.value) if _OUTPUT.value else ""
