import dataclasses
import pathlib

import pytest
import tiny

from lstm_gen.config.training import TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.platform import errors
from lstm_gen.training import loop, report, state

RESULT = loop.Result(
    progress=state.Progress(step=40, best_loss=0.25, best_step=30),
    resumed_from=0,
    stopped_early=False,
    validation={},
)
TRAINING = TrainingConfig(steps=40, batch_size=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    train = [tiny.make_frames(1875, 1), tiny.make_frames(30, 2)]
    held_out = [tiny.make_frames(55, 3)]
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"), train, held_out)


def test_data_is_described_in_minutes_windows_and_epochs(dataset: manifest.Dataset) -> None:
    window = WindowConfig(timesteps=50)
    text = report.describe_data(dataset, window, TRAINING)
    # 1905 frames at 31.25 a second; a window holds 51 frames and moves by 50: 37 of them.
    assert "1.0 min to train on, 0.0 min held out; 37 windows of 50 frames (1.6 s) an epoch" in text
    assert "40 steps of 4 windows, 4 epochs" in text.splitlines()[1]


def test_less_than_a_batch_is_refused(dataset: manifest.Dataset) -> None:
    with pytest.raises(errors.InputError, match="windows=37, batch_size=64, timesteps=50"):
        report.describe_data(
            dataset,
            WindowConfig(timesteps=50),
            dataclasses.replace(TRAINING, batch_size=64),
        )


def test_a_validation_split_without_a_window_is_refused_before_training(
    dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    window = WindowConfig(timesteps=60)
    with pytest.raises(errors.InputError, match="the validation split must hold a window"):
        report.describe_data(dataset, window, TRAINING)
    nothing_held_out = tiny.make_dataset(tmp_path, [tiny.make_frames(600, 1)], validation=())
    assert "0.0 min held out" in report.describe_data(nothing_held_out, window, TRAINING)


def test_a_result_stands_among_the_baselines() -> None:
    result = dataclasses.replace(RESULT, validation={"nats_per_dim": 0.25, "other": 9.0})
    text = report.describe_result(result, TRAINING, {"static": 1.25, "linear": 0.125})
    assert text.splitlines() == [
        "steps     40 of 40",
        "best      step 30, loss 0.2500",
        "held out  nats per frame and dimension, lower is better",
        "    1.2500  static",
        "    0.2500  this model, last validation",
        "    0.1250  linear",
    ]


def test_a_result_says_how_it_came_about() -> None:
    result = dataclasses.replace(RESULT, resumed_from=20, stopped_early=True)
    first, *rest = report.describe_result(result, TrainingConfig(steps=90), {}).splitlines()
    assert first == "steps     40 of 90, resumed after 20, stopped early: " + (
        "validation no longer improves"
    )
    assert rest == ["best      step 30, loss 0.2500"]
    assert report.describe_result(RESULT, TRAINING, {}, adversarial=True) == "steps     40 of 40"
    unvalidated = dataclasses.replace(RESULT, progress=state.Progress(step=40))
    assert report.describe_result(unvalidated, TRAINING, {}) == "steps     40 of 40"
