"""Vertex AI jobs, checked against the types of Google's SDK where it is installed."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

import lstm_gen
from lstm_gen.platform import errors
from tools import vertex

ROOT = pathlib.Path(__file__).parents[2]
WHERE = {"project": "p", "region": "europe-west4", "bucket": "gs://b"}
TENSORBOARD = {"tensorboard": "42", "service_account": "a@p.iam.gserviceaccount.com"}
JOBS = [
    *({"machine": machine} for machine in vertex.MACHINES),
    *({"machine": "gpu-8", "hosts": hosts, "spot": True} for hosts in (2, 5)),
    {"machine": "cpu", "hosts": 3, "name": "a-1", "disk_gb": 500, "timeout_hours": 1.5},
    {"machine": "cpu", "command": "prepare"},
    {"command": "generate"},
    {"command": "generate", "machine": "tpu-v5e-1", "image": "i"},
    TENSORBOARD,
]


def make_job(**values: Any) -> vertex.JobConfig:
    """Return a job of the test's project."""
    return vertex.JobConfig(**WHERE | values)


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the container of each worker pool."""
    return [pool["containerSpec"] for pool in spec["workerPoolSpecs"]]


@pytest.mark.parametrize("values", JOBS)
def test_the_sdk_accepts_every_job(values: dict[str, Any]) -> None:
    types = pytest.importorskip("google.cloud.aiplatform_v1", reason="make test-vertex has it")
    spec = vertex.build_spec(make_job(**values), [])
    parsed = types.CustomJobSpec.from_json(json.dumps(spec))
    kept = types.CustomJobSpec.to_dict(
        parsed, preserving_proto_field_name=False, use_integers_for_enums=False
    )
    assert_within(spec, kept)
    machine = parsed.worker_pool_specs[0].machine_spec
    assert machine.machine_type == vertex.MACHINES[values.get("machine", "gpu")].machine_type


def assert_within(spec: Any, kept: Any) -> None:
    """Check that the SDK's values contain ours; it adds defaults and writes int64 as strings."""
    if isinstance(spec, dict):
        assert set(spec) <= set(kept)
        for name, value in spec.items():
            assert_within(value, kept[name])
    elif isinstance(spec, list):
        assert len(spec) == len(kept)
        for one, other in zip(spec, kept, strict=True):
            assert_within(one, other)
    else:
        assert str(spec) == str(kept)


def test_the_sdk_rejects_unknown_fields() -> None:
    types = pytest.importorskip("google.cloud.aiplatform_v1", reason="make test-vertex has it")
    spec = vertex.build_spec(make_job(), []) | {"replicas": 1}
    with pytest.raises(Exception, match="replicas"):
        types.CustomJobSpec.from_json(json.dumps(spec))


def test_the_submitted_job_is_the_written_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("google.cloud.aiplatform_v1", reason="make test-vertex has it")
    calls: list[Any] = []

    class Client:
        def __init__(self, client_options: dict[str, str]) -> None:
            calls.append(client_options["api_endpoint"])

        def create_custom_job(self, parent: str, custom_job: Any) -> Any:
            calls.extend([parent, custom_job])
            return sdk.CustomJob(name=f"{parent}/customJobs/7")

    monkeypatch.setattr(sdk, "JobServiceClient", Client)
    job = make_job(machine="tpu-v3", spot=True)
    assert vertex.submit(job, []) == "projects/p/locations/europe-west4/customJobs/7"
    endpoint, parent, sent = calls
    assert (endpoint, parent) == ("europe-west4-aiplatform.googleapis.com", job.parent)
    assert sent.display_name == "lstm-gen-train-run"
    assert sent.job_spec == sdk.CustomJobSpec.from_json(json.dumps(vertex.build_spec(job, [])))


def test_missing_credentials_are_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("google.cloud.aiplatform_v1", reason="make test-vertex has it")
    from google.auth import exceptions

    def refuse(**_: Any) -> None:
        raise exceptions.DefaultCredentialsError("no credentials")

    monkeypatch.setattr(sdk, "JobServiceClient", refuse)
    with pytest.raises(errors.StorageError, match="gcloud auth application-default login"):
        vertex.submit(make_job(), [])


def test_a_training_is_one_container_in_the_bucket() -> None:
    spec = vertex.build_spec(make_job(), ["--data_dir=dataset", "--steps=9"])
    (container,) = containers(spec)
    assert container == {
        "imageUri": f"europe-west4-docker.pkg.dev/p/lstm-gen/gpu:{lstm_gen.__version__}",
        "command": ["train_model"],
        "args": ["--noread_local", "--gcs_bucket=b", "--data_dir=dataset", "--steps=9"],
    }
    assert spec["baseOutputDirectory"] == {"outputUriPrefix": "gs://b/run"}
    assert spec["scheduling"]["strategy"] == "STANDARD"
    assert spec["scheduling"]["timeout"] == "86400s"


def test_only_training_has_an_output_directory() -> None:
    for command, module in (("prepare", "create_tfrecord"), ("generate", "generate_songs")):
        spec = vertex.build_spec(make_job(command=command, machine="cpu"), [])
        assert "baseOutputDirectory" not in spec
        assert containers(spec)[0]["command"] == [module]


def test_the_first_of_several_hosts_is_a_pool_of_its_own() -> None:
    spec = vertex.build_spec(make_job(machine="gpu-8", hosts=4, spot=True), [])
    first, others = spec["workerPoolSpecs"]
    assert (first.pop("replicaCount"), others.pop("replicaCount")) == (1, 3)
    assert first == others
    assert spec["scheduling"]["strategy"] == "SPOT"
    assert spec["scheduling"]["restartJobOnWorkerRestart"]


@pytest.mark.parametrize("machine", [name for name in vertex.MACHINES if name.startswith("tpu")])
def test_a_tpu_is_one_host_with_its_own_flag_and_image(machine: str) -> None:
    spec = vertex.build_spec(make_job(machine=machine), [])
    (pool,) = spec["workerPoolSpecs"]
    container = pool["containerSpec"]
    assert container["args"][-1] == "--use_tpu"
    assert "/lstm-gen/tpu:" in container["imageUri"]
    plugged_in = {variable["name"] for variable in container.get("env", [])}
    assert ("NEXT_PLUGGABLE_DEVICE_USE_C_API" in plugged_in) == ("v5e" in machine)
    assert ("tpuTopology" in pool["machineSpec"]) == ("v5e" in machine)


def test_a_tensorboard_has_its_full_resource_name() -> None:
    spec = vertex.build_spec(make_job(**TENSORBOARD), [])
    assert spec["tensorboard"] == "projects/p/locations/europe-west4/tensorboards/42"
    full = "projects/q/locations/r/tensorboards/1"
    assert (
        vertex.build_spec(make_job(**TENSORBOARD | {"tensorboard": full}), [])["tensorboard"]
        == full
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"project": ""}, "needs --project"),
        ({"region": ""}, "needs --region"),
        ({"bucket": ""}, "needs --bucket"),
        ({"name": "My Run"}, "name must be lower-case"),
        ({"name": ""}, "name must be lower-case"),
        ({"command": "fly"}, "command must be one of train"),
        ({"machine": "abacus"}, "machine must be one of cpu"),
        ({"hosts": 0}, "hosts must be at least 1"),
        ({"hosts": 2, "machine": "tpu-v3"}, "a TPU is one host"),
        ({"hosts": 2, "command": "generate"}, "several hosts are for training"),
        ({"command": "prepare", "machine": "gpu"}, "use --machine=cpu"),
        ({"disk_gb": 10}, "disk_gb must be at least 100 GB"),
        ({"timeout_hours": 0.0}, "timeout_hours must be above 0 h"),
        ({"timeout_hours": float("inf")}, "timeout_hours must be above 0 h"),
        ({"tensorboard": "42"}, "needs --service_account"),
        (TENSORBOARD | {"command": "generate"}, "is for training"),
    ],
)
def test_a_job_that_cannot_run_is_an_error_before_submission(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        make_job(**values)


def submit(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool without Google credentials in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "tools.submit_vertex", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_dry_run_writes_the_file_for_gcloud(tmp_path: pathlib.Path) -> None:
    yaml = pytest.importorskip("yaml", reason="make test-vertex has it")
    where = [f"--{name}={value}" for name, value in WHERE.items()]
    result = submit(tmp_path, *where, "--machine=cpu", "--dry_run", "--", "--steps=9", "--nobest")
    assert (result.returncode, result.stderr) == (0, "")
    assert (
        "gcloud ai custom-jobs create --project=p --region=europe-west4 "
        "--display-name=lstm-gen-train-run --config=job.yaml\n" in result.stdout
    )
    written = yaml.safe_load((tmp_path / "job.yaml").read_text())
    assert written == vertex.build_spec(make_job(machine="cpu"), ["--steps=9", "--nobest"])


def test_flags_in_the_wrong_place_are_refused(tmp_path: pathlib.Path) -> None:
    for arguments in (
        ["--steps=9"],
        ["train", "--", "--steps=9"],
        ["--preset=tiny", *(f"--{name}={value}" for name, value in WHERE.items())],
        [],
    ):
        result = submit(tmp_path, *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_help_names_every_machine(tmp_path: pathlib.Path) -> None:
    result = submit(tmp_path, "--help")
    assert result.stdout.startswith("Vertex AI submission of the three commands")
    for machine in vertex.MACHINES:
        assert machine in result.stdout
