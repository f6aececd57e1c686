"""Where a training in a job of Vertex AI writes: flags win, then its variables, then defaults."""

import pathlib

import pytest

from lstm_gen.cli import paths, settings, train
from lstm_gen.platform import errors
from lstm_gen.runs import run

VARIABLES = {
    "AIP_MODEL_DIR": "gs://b/base/3/model/",
    "AIP_CHECKPOINT_DIR": "gs://b/base/3/checkpoints/",
    "AIP_TENSORBOARD_LOG_DIR": "gs://b/base/3/logs/",
}


@pytest.fixture(autouse=True)
def outside_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def output_dir(*arguments: str) -> str:
    """Return where a training with these flags writes."""
    line = settings.CommandLine(train.SETTINGS)
    line.parse(["train_model", *arguments])
    return train.output_run_dir(line)


def test_the_default_is_a_directory_here() -> None:
    assert output_dir() == "run"
    assert output_dir("--noread_local", "--gcs_bucket=b") == "gs://b/run"


@pytest.mark.parametrize("names", [list(VARIABLES), *([name] for name in VARIABLES)])
def test_variables_come_before_the_default(
    monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    for name in names:
        monkeypatch.setenv(name, VARIABLES[name])
    for arguments in ((), ("--noread_local", "--gcs_bucket=b")):
        run_dir = output_dir(*arguments)
        assert run_dir == "gs://b/base/3"
    parts = (run.model_dir, run.checkpoints_dir, run.logs_dir)
    assert [f"{part(run_dir)}/" for part in parts] == list(VARIABLES.values())


def test_flags_come_before_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert output_dir("--run_dir=run") == "run"
    assert output_dir("--run_dir=/gcs/b/mine") == "gs://b/mine"
    preset = tmp_path / "job.flags"
    preset.write_text("--run_dir=elsewhere\n")
    assert output_dir(f"--flagfile={preset}") == "elsewhere"


def test_a_run_that_is_read_is_never_the_jobs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIP_MODEL_DIR", VARIABLES["AIP_MODEL_DIR"])
    output_dir()
    assert settings.CommandLine([paths.RunConfig]).build(paths.RunConfig).run_dir == "run"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIP_CHECKPOINT_DIR", "gs://b/base/4/checkpoints/"),
        ("AIP_TENSORBOARD_LOG_DIR", "gs://b/base/3/tensorboard"),
        ("AIP_MODEL_DIR", "model"),
    ],
)
def test_variables_of_no_one_run_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    for known, known_value in VARIABLES.items():
        monkeypatch.setenv(known, known_value)
    monkeypatch.setenv(name, value)
    with pytest.raises(errors.InputError, match="must name the parts of one run"):
        output_dir()
