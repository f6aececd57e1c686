"""A Vertex AI custom job: from what is asked for to the description that Google's API takes.

Pure functions from configurations to plain values, spelled as the API's JSON is. What `submit`
sends is what `to_yaml` shows: there is one description.
"""

import dataclasses
import json
import re
from typing import Any, NamedTuple

import lstm_gen
from lstm_gen.config import fields
from lstm_gen.platform import errors, gcs

COMMANDS = {"train": "train_model", "prepare": "create_tfrecord", "generate": "generate_songs"}
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_SECONDS_PER_HOUR = 3600
# Version 5e TPUs are reached through TensorFlow's plug-in interface; set on a machine without
# one these end the process, so they are the job's and not the image's.
_V5E_ENVIRONMENT = {
    "NEXT_PLUGGABLE_DEVICE_USE_C_API": "true",
    "TF_PLUGGABLE_DEVICE_LIBRARY_PATH": "/lib/libtpu.so",
}


class Machine(NamedTuple):
    """A kind of machine that Vertex AI rents out.

    Attributes:
      what: It in words.
      machine_type: Its name there.
      accelerator: What it has beside processors, as the API names it; "" where the machine's
        own name says that, or it has nothing.
      n_accelerators: How many of them.
      topology: How a version 5e TPU's chips are connected; "" for all else.
    """

    what: str
    machine_type: str
    accelerator: str = ""
    n_accelerators: int = 0
    topology: str = ""

    @property
    def is_tpu(self) -> bool:
        """Whether it is a TPU."""
        return bool(self.topology) or self.accelerator.startswith("TPU")

    @property
    def image(self) -> str:
        """Which of our images it runs: that of docker/IMAGE.Dockerfile."""
        return "tpu" if self.is_tpu else "gpu"


MACHINES = {
    "cpu": Machine("16 processors", "n2-standard-16"),
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
class JobConfig:
    """What is to run in the cloud, and on what.

    Attributes:
      project: Google Cloud project that pays.
      region: Where it runs, and where the bucket should be: "europe-west4".
      bucket: Where its inputs and outputs are, with or without "gs://".
      name: Of the job; of a training also of its run, which is in gs://BUCKET/NAME.
      command: A key of `COMMANDS`.
      arguments: That command's flags. Paths in them are in the bucket.
      machine: A key of `MACHINES`.
      hosts: How many of them train together.
      spot: Whether to rent what others can take away: cheaper, and the run resumes.
      image: Container image; "" for the one of this version in the project's own registry.
      tensorboard: Vertex AI TensorBoard to show a training in, its number or full name; or "".
      service_account: Account that the job acts as; "" for the project's default.
      disk_gb: Boot disk of each host, GB; a training keeps its dataset there.
      timeout_hours: When the job is ended, done or not.
    """

    project: str
    region: str
    bucket: str
    name: str = "run"
    command: str = "train"
    arguments: tuple[str, ...] = ()
    machine: str = "gpu"
    hosts: int = 1
    spot: bool = False
    image: str = ""
    tensorboard: str = ""
    service_account: str = ""
    disk_gb: int = 100
    timeout_hours: float = 24.0

    def __post_init__(self) -> None:
        for name in ("project", "region", "bucket"):
            value = getattr(self, name)
            errors.require(bool(value), f"a job in the cloud needs --{name}", **{name: value})
        errors.require(
            _NAME.fullmatch(self.name) is not None,
            "name must be lower-case letters, digits and dashes, 63 at most, a letter first",
            name=self.name,
        )
        errors.require_choice("command", self.command, tuple(COMMANDS))
        errors.require_choice("machine", self.machine, tuple(MACHINES))
        fields.require_least(self, 1, "hosts")
        fields.require_least(self, 100, "disk_gb")
        fields.require_sign(self, "timeout_hours", zero=False)
        self._check_machine()
        errors.require(
            not self.tensorboard or (self.command == "train" and bool(self.service_account)),
            "--tensorboard is for trainings, and needs --service_account=NAME@PROJECT.iam."
            "gserviceaccount.com, an account that may write to it",
            command=self.command,
            service_account=self.service_account,
        )

    def _check_machine(self) -> None:
        machine = MACHINES[self.machine]
        errors.require(
            self.hosts == 1 or (self.command == "train" and not machine.is_tpu),
            "several hosts train together, on processors or GPUs; a TPU is one host here, and to "
            "prepare on several see --runner of create_tfrecord.py",
            hosts=self.hosts,
            command=self.command,
            machine=self.machine,
        )
        errors.require(
            self.command != "prepare" or self.machine == "cpu",
            "preparing needs processors only; use --machine=cpu",
            machine=self.machine,
        )

    @property
    def bucket_name(self) -> str:
        """The bucket without "gs://"."""
        return self.bucket.removeprefix(gcs.SCHEME).strip("/")

    @property
    def parent(self) -> str:
        """What jobs of this project and region are listed under."""
        return f"projects/{self.project}/locations/{self.region}"


def build_spec(job: JobConfig) -> dict[str, Any]:
    """Return the job as a CustomJobSpec, in the API's JSON."""
    spec: dict[str, Any] = {
        "workerPoolSpecs": _pools(job),
        "scheduling": {
            "timeout": f"{round(job.timeout_hours * _SECONDS_PER_HOUR)}s",
            "strategy": "SPOT" if job.spot else "STANDARD",
            # Hosts that train together wait for each other: one that is new is no use alone.
            "restartJobOnWorkerRestart": job.hosts > 1,
        },
    }
    if job.command == "train":
        # Vertex AI makes AIP_MODEL_DIR and its kin of it, and they are where a run's parts are.
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
    """Return what the job is called in the console."""
    return f"lstm-gen-{job.command}-{job.name}"


def to_yaml(spec: dict[str, Any]) -> str:
    """Return a specification as `gcloud ai custom-jobs create --config` reads it.

    Raises:
      InputError: If the extra "cloud" is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise _lacking(error) from error
    return str(yaml.safe_dump(spec, sort_keys=False))


def submit(job: JobConfig) -> str:
    """Submit the job; return its full name.

    Raises:
      InputError: If the extra "cloud" is not installed.
      StorageError: If the API refuses or does not answer.
    """
    try:
        from google.api_core import exceptions as api_errors
        from google.auth import exceptions as auth_errors
        from google.cloud import aiplatform_v1
    except ImportError as error:
        raise _lacking(error) from error
    request = {"displayName": display_name(job), "jobSpec": build_spec(job)}
    try:
        client = aiplatform_v1.JobServiceClient(
            client_options={"api_endpoint": f"{job.region}-aiplatform.googleapis.com"}
        )
        custom_job = aiplatform_v1.CustomJob.from_json(json.dumps(request))
        return str(client.create_custom_job(parent=job.parent, custom_job=custom_job).name)
    except (api_errors.GoogleAPIError, auth_errors.GoogleAuthError) as error:
        raise errors.StorageError(
            f"Vertex AI did not take the job; log in with `gcloud auth application-default login`, "
            f"and look at --project and --region. Received: {error}"
        ) from error


def _pools(job: JobConfig) -> list[dict[str, Any]]:
    """Return the worker pools: the first host alone, then the others."""
    counts = [1, job.hosts - 1] if job.hosts > 1 else [1]
    return [_pool(job, count) for count in counts]


def _pool(job: JobConfig, n_hosts: int) -> dict[str, Any]:
    machine = MACHINES[job.machine]
    container: dict[str, Any] = {
        "imageUri": job.image or _default_image(job),
        "command": [COMMANDS[job.command]],
        "args": _arguments(job),
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


def _arguments(job: JobConfig) -> list[str]:
    """Return the command's flags; the user's come last and win."""
    ours = ["--noread_local", f"--gcs_bucket={job.bucket_name}"]
    if MACHINES[job.machine].is_tpu:
        ours.append("--use_tpu")
    return [*ours, *job.arguments]


def _default_image(job: JobConfig) -> str:
    """Return where `make image` puts the image of this version."""
    kind = MACHINES[job.machine].image
    return f"{job.region}-docker.pkg.dev/{job.project}/lstm-gen/{kind}:{lstm_gen.__version__}"


def _lacking(error: ImportError) -> errors.InputError:
    return errors.InputError(
        f"jobs in the cloud need pip install 'lstm_gen[cloud]'. Received: {error}"
    )
