"""Paths of the command line: local or in a bucket, datasets, runs."""

import dataclasses
import os

from lstm_gen.config import fields
from lstm_gen.platform import errors, storage


@dataclasses.dataclass(frozen=True, kw_only=True)
class StorageConfig(fields.Settings):
    """Storage of inputs and outputs: this machine or Google Cloud Storage."""

    read_local: bool = fields.setting(
        True,
        "Read inputs from this machine. --read_local=false reads them under gs://GCS_BUCKET/. "
        "Paths that start with gs:// are used as they are, and /gcs/NAME/ is gs://NAME/.",
    )
    write_local: bool | None = fields.setting(
        None,
        "Write outputs to this machine; --write_local=false writes them under gs://GCS_BUCKET/. "
        "Follows --read_local by default.",
    )
    gcs_bucket: str = fields.setting(
        "",
        "Google Cloud Storage bucket of the paths that are not local, with or without gs://. Log "
        "in with `gcloud auth application-default login`, or name a key file in "
        "GOOGLE_APPLICATION_CREDENTIALS.",
    )

    def resolve(self, path: str, direction: str) -> str:
        """Return where a path of the command line is; "" stays "".

        Args:
          path: Path as given.
          direction: "input" or "output".

        Raises:
          InputError: If it is in a bucket and no bucket is named.
        """
        local = self.read_local
        if direction == "output" and self.write_local is not None:
            local = self.write_local
        return storage.resolve(path, local, self.gcs_bucket) if path else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig(fields.Settings):
    """Dataset."""

    data_dir: str = fields.setting(
        "dataset",
        "Directory of the dataset: TFRecord shards, dataset.json, manifest.jsonl.",
        path="input",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(fields.Settings):
    """Run."""

    run_dir: str = fields.setting(
        "run",
        "Directory of the run: configuration, checkpoints, weights, logs, samples. In a training "
        "job of Vertex AI the default is the directory that AIP_MODEL_DIR, AIP_CHECKPOINT_DIR and "
        "AIP_TENSORBOARD_LOG_DIR name.",
        path="input",
    )


def job_run_dir() -> str:
    """Return the run directory that Vertex AI's variables name; "" outside of a job.

    Raises:
      InputError: If the variables do not name parts of one run.
    """
    from lstm_gen.runs import run  # imports Keras

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
