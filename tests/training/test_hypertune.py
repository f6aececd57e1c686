import json
import pathlib

import pytest

from lstm_gen.training import hypertune


def test_a_trial_says_its_newest_metrics(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hypertune" / "output.metrics"
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_FILE", str(path))
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "7")
    report = hypertune.Report()
    for step in range(1, 121):
        report.add(step, "likelihood_loss", step / 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["global_step"] for line in lines] == [str(step) for step in range(21, 121)]
    assert lines[-1].pop("timestamp") > 0
    assert lines[-1] == {
        "trial": "7",
        "likelihood_loss": "60.0",
        "global_step": "120",
        "checkpoint_path": "",
    }
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_TAG", "quality")
    report.add(121, "likelihood_loss", 1.0)
    assert json.loads(path.read_text().splitlines()[-1])["quality"] == "1.0"


def test_outside_a_study_nothing_is_said(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUD_ML_HP_METRIC_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    hypertune.Report().add(1, "likelihood_loss", 0.5)
    assert list(tmp_path.iterdir()) == []
