"""Where the run is: written by train_model.py, read by the commands after it."""

import os

from absl import flags

from flags import storage_flags
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run

_RUN_DIR = flags.DEFINE_string(
    "run_dir",
    "run",
    "Directory of the run: configuration, checkpoints, weights, logs, samples. Training in a job "
    "of Vertex AI, it is by default where AIP_MODEL_DIR, AIP_CHECKPOINT_DIR and "
    "AIP_TENSORBOARD_LOG_DIR say that its parts go.",
)


def input_dir() -> str:
    """Return where to read the run."""
    return storage_flags.input_path(_RUN_DIR.value)


def output_dir() -> str:
    """Return where to write the run: the flag wins, then Vertex AI's variables, then the default.

    Raises:
      InputError: If the variables do not name parts of one run.
    """
    chosen = "" if _RUN_DIR.present else _job_dir()
    return storage_flags.output_path(chosen or _RUN_DIR.value)


def _job_dir() -> str:
    """Return the directory in which Vertex AI wants the parts of a run; "" outside of a job."""
    parts = {
        "AIP_MODEL_DIR": run.model_dir,
        "AIP_CHECKPOINT_DIR": run.checkpoints_dir,
        "AIP_TENSORBOARD_LOG_DIR": run.logs_dir,
    }
    given = {name: os.environ[name].rstrip("/") for name in parts if os.environ.get(name)}
    if not given:
        return ""
    first = next(iter(given.values()))
    job_dir = first.removesuffix(f"/{storage.name(first)}")
    errors.require(
        all(path == parts[name](job_dir) for name, path in given.items()),
        "the variables must name the parts of one run, DIR/model, DIR/checkpoints and DIR/logs, as "
        "Vertex AI sets them; or give --run_dir, which wins",
        **given,
    )
    return job_dir
