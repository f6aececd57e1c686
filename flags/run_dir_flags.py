"""Where the run is: written by train_model.py, read by the commands after it."""

from absl import flags

from flags import storage_flags

_RUN_DIR = flags.DEFINE_string(
    "run_dir", "run", "Directory of the run: configuration, checkpoints, weights, logs, samples."
)


def input_dir() -> str:
    """Return where to read the run."""
    return storage_flags.input_path(_RUN_DIR.value)


def output_dir() -> str:
    """Return where to write the run."""
    return storage_flags.output_path(_RUN_DIR.value)
