"""Vertex AI custom jobs: settings, job specification, submission.

The specification is a plain dict with the field names of the API's JSON; `submit` sends the same
one that `to_yaml` writes.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import lstm_gen
from lstm_gen.config import fields
from lstm_gen.platform import errors, gcs

COMMANDS = {"train": "train_model", "prepare": "create_tfrecord", "generate": "generate_songs"}
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_SECONDS_PER_HOUR = 3600
# TensorFlow uses v5e TPUs as pluggable devices. On a machine without one these variables end the
# process, so the job sets them, not the image.
_V5E_ENVIRONMENT = {
    "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
    "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": "/lib/libtpu.so",
}


class Machine(NamedTuple):
    """Machine type of Vertex AI.

    Attributes:
      what: Description.
      machine_type: Name in the API.
      accelerator: Accelerator type in the API; "" if there is none, or if the machine type
        implies it.
      n_accelerators: Number of accelerators.
      topology: Topology of the chips, for v5e TPUs; else "".
    """

    what: str
    machine_type: str
    accelerator: str = ""
    n_accelerators: int = 0
    topology: str = ""

    @property
    def is_tpu(self) -> bool:
        """Whether the machine has TPUs."""
        return bool(self.topology) or self.accelerator.startswith("TPU")

    @property
    def image(self) -> str:
        """Name of the container image, built from docker/NAME.Dockerfile."""
        return "tpu" if self.is_tpu else "gpu"


MACHINES = {
    "cpu": Machine("16 CPUs", "n2-standard-16"),
    "gpu": Machine("one L4", "g2-standard-12", "NVIDIA_L4", 1),
    "gpu-a100": Machine("one A100", "a2-highgpu-1g", "NVIDIA_TESLA_A100", 1),
    "gpu-8": Machine("8 L4", "g2-standard-96", "NVIDIA_L4", 8),
    "gpu-8-a100": Machine("8 A100", "a2-highgpu-8g", "NVIDIA_TESLA_A100", 8),
    "tpu-v2": Machine("8 cores of TPU v2", "cloud-tpu", "TPU_V2", 8),
    "tpu-v3": Machine("8 cores of TPU v3", "cloud-tpu", "TPU_V3", 8),
    "tpu-v5e-1": Machine("one TPU v5e chip", "ct5lp-hightpu-1t", topology="1x1"),
    "tpu-v5e-4": Machine("4 TPU v5e chips", "ct5lp-hightpu-4t", topology="2x2"),
    "tpu-v5e-8": Machine("8 TPU v5e chips", "ct5lp-hightpu-8t", topology="2x4"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobConfig(fields.Settings):
    """Job: command, machine, bucket."""

    project: str = fields.setting("", "Google Cloud project to bill; its id.")
    region: str = fields.setting(
        "",
        "Region of the job, as europe-west4. Not every region has every machine; reading is free "
        "in the bucket's own region.",
    )
    bucket: str = fields.setting(
        "",
        "Google Cloud Storage bucket of the job's inputs and outputs, with or without gs://. Paths "
        "in the command's flags are in it: --data_dir=dataset is gs://BUCKET/dataset.",
    )
    name: str = fields.setting(
        "run",
        "Name of the job and, for training, of the run gs://BUCKET/NAME. The same name with the "
        "same flags resumes that run.",
    )
    command: str = fields.setting(
        "train",
        "Command to run: "
        + ", ".join(f"{name} is {script}.py" for name, script in COMMANDS.items())
        + ". Its flags follow after --.",
        choices=tuple(COMMANDS),
    )
    machine: str = fields.setting(
        "gpu",
        "Machine of each host: "
        + "; ".join(f"{name} is {machine.what}" for name, machine in MACHINES.items())
        + ". --use_tpu is added for TPUs.",
        choices=tuple(MACHINES),
    )
    hosts: int = fields.setting(
        1,
        "Hosts that train together, each with this machine; --batch_size is split over all.",
        at_least=1,
    )
    spot: bool = fields.setting(
        False,
        "Use Spot capacity: cheaper, but hosts are preempted. The job restarts and resumes from "
        "its newest checkpoint.",
    )
    image: str = fields.setting(
        "",
        "Container image. By default that of this version, pushed by `make image`: "
        "REGION-docker.pkg.dev/PROJECT/lstm-gen/gpu (or tpu).",
    )
    tensorboard: str = fields.setting(
        "",
        "Vertex AI TensorBoard that shows the training live: its number, or "
        "projects/P/locations/R/tensorboards/N. Needs --service_account. The logs are in "
        "gs://BUCKET/NAME/logs in any case.",
    )
    service_account: str = fields.setting(
        "",
        "Service account of the job, NAME@PROJECT.iam.gserviceaccount.com; it needs Storage Object "
        "User on the bucket. By default the project's own for Vertex AI.",
    )
    disk_gb: int = fields.setting(
        100,
        "Boot disk of each host; training stages its dataset there.",
        unit="GB",
        at_least=100,
    )
    timeout_hours: float = fields.setting(
        24.0,
        "Time limit: the job ends after it, done or not, which bounds its cost.",
        unit="h",
        above=0,
    )

    def check(self) -> None:
        """Raise InputError for missing names and for machines that cannot run the command."""
        for name in ("project", "region", "bucket"):
            value = getattr(self, name)
            errors.require(bool(value), f"a Vertex AI job needs --{name}", **{name: value})
        errors.require(
            _NAME.fullmatch(self.name) is not None,
            "name must be lower-case letters, digits and dashes, at most 63, a letter first",
            name=self.name,
        )
        self._check_machine()
        errors.require(
            not self.tensorboard or (self.command == "train" and bool(self.service_account)),
            "--tensorboard is for training and needs --service_account=NAME@PROJECT.iam."
            "gserviceaccount.com, an account that may write to it",
            command=self.command,
            service_account=self.service_account,
        )

    def _check_machine(self) -> None:
        machine = MACHINES[self.machine]
        errors.require(
            self.hosts == 1 or (self.command == "train" and not machine.is_tpu),
            "several hosts are for training on CPUs or GPUs; a TPU is one host here; to prepare "
            "on several hosts see --runner of create_tfrecord.py",
            hosts=self.hosts,
            command=self.command,
            machine=self.machine,
        )
        errors.require(
            self.command != "prepare" or self.machine == "cpu",
            "preparation runs on CPUs; use --machine=cpu",
            machine=self.machine,
        )

    @property
    def bucket_name(self) -> str:
        """Name of the bucket, without "gs://"."""
        return self.bucket.removeprefix(gcs.SCHEME).strip("/")

    @property
    def parent(self) -> str:
        """Parent resource of the jobs of this project and region."""
        return f"projects/{self.project}/locations/{self.region}"


def build_spec(job: JobConfig, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the job as a CustomJobSpec in the API's JSON form.

    Args:
      job: Settings.
      arguments: Flags of the command; paths in them are in the bucket.
    """
    spec: dict[str, Any] = {
        "workerPoolSpecs": _pools(job, arguments),
        "scheduling": {
            "timeout": f"{round(job.timeout_hours * _SECONDS_PER_HOUR)}s",
            "strategy": "SPOT" if job.spot else "STANDARD",
            # Hosts train synchronously: a restarted one cannot join the others.
            "restartJobOnWorkerRestart": job.hosts > 1,
        },
    }
    if job.command == "train":
        # Vertex AI sets AIP_MODEL_DIR and the like from it; training writes the run there.
        spec["baseOutputDirectory"] = {"outputUriPrefix": f"gs://{job.bucket_name}/{job.name}"}
    if job.service_account:
        spec["serviceAccount"] = job.service_account
    if job.tensorboard:
        full = "/" in job.tensorboard
        spec["tensorboard"] = (
            job.tensorboard if full else f"{job.parent}/tensorboards/{job.tensorboard}"
        )
    return spec


def display_name(job: JobConfig) -> str:
    """Return the job's name in the console."""
    return f"lstm-gen-{job.command}-{job.name}"


def to_yaml(spec: dict[str, Any]) -> str:
    """Return a specification as YAML for `gcloud ai custom-jobs create --config`.

    Raises:
      InputError: If the extra "cloud" is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise _missing_extra(error) from error
    return str(yaml.safe_dump(spec, sort_keys=False))


def submit(job: JobConfig, arguments: Sequence[str]) -> str:
    """Submit the job and return its resource name.

    Raises:
      InputError: If the extra "cloud" is not installed.
      StorageError: If the API rejects the job or does not answer.
    """
    try:
        from google.api_core import exceptions as api_errors
        from google.auth import exceptions as auth_errors
        from google.cloud import aiplatform_v1
    except ImportError as error:
        raise _missing_extra(error) from error
    request = {"displayName": display_name(job), "jobSpec": build_spec(job, arguments)}
    try:
        client = aiplatform_v1.JobServiceClient(
            client_options={"api_endpoint": f"{job.region}-aiplatform.googleapis.com"}
        )
        custom_job = aiplatform_v1.CustomJob.from_json(json.dumps(request))
        return str(client.create_custom_job(parent=job.parent, custom_job=custom_job).name)
    except (api_errors.GoogleAPIError, auth_errors.GoogleAuthError) as error:
        raise errors.StorageError(
            f"Vertex AI rejected the job; log in with `gcloud auth application-default login` and "
            f"check --project and --region. Received: {error}"
        ) from error


def _pools(job: JobConfig, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Return the worker pools: the chief, then the other hosts."""
    counts = [1, job.hosts - 1] if job.hosts > 1 else [1]
    return [_pool(job, count, arguments) for count in counts]


def _pool(job: JobConfig, n_hosts: int, arguments: Sequence[str]) -> dict[str, Any]:
    machine = MACHINES[job.machine]
    container: dict[str, Any] = {
        "imageUri": job.image or _default_image(job),
        "command": [COMMANDS[job.command]],
        "args": [*_own_flags(job), *arguments],  # the user's come last and override
    }
    if machine.topology:
        container["env"] = [{"name": n, "value": v} for n, v in _V5E_ENVIRONMENT.items()]
    return {
        "machineSpec": _machine_spec(machine),
        "replicaCount": n_hosts,
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": job.disk_gb},
        "containerSpec": container,
    }


def _machine_spec(machine: Machine) -> dict[str, Any]:
    spec: dict[str, Any] = {"machineType": machine.machine_type}
    if machine.accelerator:
        spec["acceleratorType"] = machine.accelerator
        spec["acceleratorCount"] = machine.n_accelerators
    if machine.topology:
        spec["tpuTopology"] = machine.topology
    return spec


def _own_flags(job: JobConfig) -> list[str]:
    """Return the flags that place the command's files in the bucket, and choose the TPU."""
    flags = ["--noread_local", f"--gcs_bucket={job.bucket_name}"]
    return [*flags, "--use_tpu"] if MACHINES[job.machine].is_tpu else flags


def _default_image(job: JobConfig) -> str:
    """Return the image of this version in the project's registry, as `make image` names it."""
    kind = MACHINES[job.machine].image
    return f"{job.region}-docker.pkg.dev/{job.project}/lstm-gen/{kind}:{lstm_gen.__version__}"


def _missing_extra(error: ImportError) -> errors.InputError:
    return errors.InputError(
        f"Vertex AI jobs need pip install 'lstm_gen[cloud]'. Received: {error}"
    )
