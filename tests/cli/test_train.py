"""The end of the training command on several processes."""

import pathlib

import pytest
import tiny

from lstm_gen.cli import train
from lstm_gen.evaluation import calibration
from lstm_gen.platform import devices
from lstm_gen.runs import run as runs
from lstm_gen.training import loop, state


@pytest.mark.parametrize(
    ("is_chief", "expected"), [(True, ["calibrated", "waited"]), (False, ["waited"])]
)
def test_the_chief_of_a_cluster_calibrates_and_all_wait_for_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, is_chief: bool, expected: list[str]
) -> None:
    done = []

    def calibrate(*_: object) -> dict[str, object]:
        done.append("calibrated")
        return {}

    monkeypatch.setattr(devices, "is_chief", lambda _: is_chief)
    monkeypatch.setattr(devices, "wait_for_all", lambda _: done.append("waited"))
    monkeypatch.setattr(calibration, "calibrate", calibrate)
    dataset = tiny.make_dataset(tmp_path / "dataset")
    run, run_dir = tiny.make_run(dataset), str(tmp_path / "run")
    runs.open_or_create(run_dir, run)
    runs.save_model(run_dir, run.build_model(), 7, {})
    job = train.Job(run, run_dir, dataset, tiny.MONITOR, devices.strategy("cpu"))
    result = loop.Result(
        progress=state.Progress(step=7), resumed_from=0, stopped_early=False, validation={}
    )
    train.calibrate(job, result)
    assert done == expected
