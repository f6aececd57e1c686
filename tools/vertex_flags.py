"""The job: what runs, on which of Google's machines, and where its files are."""

from absl import flags

from tools import vertex
from tools.vertex import JobConfig

_PROJECT = flags.DEFINE_string("project", "", "Google Cloud project that pays; its id.")
_REGION = flags.DEFINE_string(
    "region",
    "",
    "Where the job runs, as europe-west4. Not every region has every machine; in the bucket's own "
    "region reading costs nothing.",
)
_BUCKET = flags.DEFINE_string(
    "bucket",
    "",
    "Google Cloud Storage bucket of the job's inputs and outputs, with or without gs://. Paths "
    "among the command's flags are in it: --data_dir=dataset is gs://BUCKET/dataset.",
)
_NAME = flags.DEFINE_string(
    "name",
    JobConfig.name,
    "Of the job, and in training of the run, which is gs://BUCKET/NAME. The same name again with "
    "the same flags goes on where that run stopped.",
)
_COMMAND = flags.DEFINE_enum(
    "command",
    JobConfig.command,
    list(vertex.COMMANDS),
    "What to run: "
    + ", ".join(f"{name} is {module}.py" for name, module in vertex.COMMANDS.items())
    + ". Its flags follow after --.",
)
_MACHINE = flags.DEFINE_enum(
    "machine",
    JobConfig.machine,
    list(vertex.MACHINES),
    "Machine of each host: "
    + "; ".join(f"{name} is {machine.what}" for name, machine in vertex.MACHINES.items())
    + ". A TPU gets --use_tpu by itself.",
)
_HOSTS = flags.DEFINE_integer(
    "hosts",
    JobConfig.hosts,
    "Hosts that train together, each with this machine; --batch_size is shared out among all.",
)
_SPOT = flags.DEFINE_boolean(
    "spot",
    JobConfig.spot,
    "Take what is left over: cheaper, and taken away when others want it. The job is then started "
    "again, and goes on from its newest checkpoint.",
)
_IMAGE = flags.DEFINE_string(
    "image",
    JobConfig.image,
    "Container image. By default the one of this version that `make image` pushed: "
    "REGION-docker.pkg.dev/PROJECT/lstm-gen/gpu (or tpu).",
)
_TENSORBOARD = flags.DEFINE_string(
    "tensorboard",
    JobConfig.tensorboard,
    "Vertex AI TensorBoard that shows the training while it runs: its number, or "
    "projects/P/locations/R/tensorboards/N. Needs --service_account. Without it the logs are in "
    "gs://BUCKET/NAME/logs all the same.",
)
_SERVICE_ACCOUNT = flags.DEFINE_string(
    "service_account",
    JobConfig.service_account,
    "Account that the job acts as, NAME@PROJECT.iam.gserviceaccount.com; it needs Storage Object "
    "User on the bucket. By default the project's own for Vertex AI.",
)
_DISK_GB = flags.DEFINE_integer(
    "disk_gb",
    JobConfig.disk_gb,
    "Disk of each host, GB, 100 or more. A training fetches its dataset there.",
)
_TIMEOUT_HOURS = flags.DEFINE_float(
    "timeout_hours",
    JobConfig.timeout_hours,
    "End the job after this long, done or not: a bound on what it can cost.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    "job.yaml",
    "File for the job's description, which `gcloud ai custom-jobs create --config` takes too.",
)
_DRY_RUN = flags.DEFINE_boolean(
    "dry_run", False, "Write the description and stop; nothing is submitted, nothing costs."
)


def config() -> JobConfig:
    """Return the requested job."""
    return JobConfig(
        project=_PROJECT.value,
        region=_REGION.value,
        bucket=_BUCKET.value,
        name=_NAME.value,
        command=_COMMAND.value,
        machine=_MACHINE.value,
        hosts=_HOSTS.value,
        spot=_SPOT.value,
        image=_IMAGE.value,
        tensorboard=_TENSORBOARD.value,
        service_account=_SERVICE_ACCOUNT.value,
        disk_gb=_DISK_GB.value,
        timeout_hours=_TIMEOUT_HOURS.value,
    )


def output() -> str:
    """Return the file for the description."""
    return str(_OUTPUT.value)


def dry_run() -> bool:
    """Whether to stop before anything is submitted."""
    return bool(_DRY_RUN.value)
