import dataclasses
import os
import pathlib
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import processes
import pytest
import soundfile
import tensorflow as tf
import tiny

from lstm_gen.config import fields
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.models import base
from lstm_gen.models.lstm import model as lstm
from lstm_gen.platform import devices, errors, safetensors
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs
from lstm_gen.training import loop, monitor, state, step

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")
RANDOM = dataclasses.replace(tiny.SETTINGS, dropout=0.1, input_noise=0.2)
DEEP = dataclasses.replace(RANDOM, layers=2, attention_window=3)
Losses = dict[int, float]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def xla() -> None:
    """Compile the steps, as a run does; for the tests of what they compute."""


@pytest.fixture
def pictures() -> None:
    """Draw predictions, as a run does; for the test of what they are."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the other tests the seconds that compiling and drawing take."""
    if "xla" not in request.fixturenames:
        monkeypatch.setattr(devices, "compiles_with_xla", lambda *_: False)
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(monitor.Monitor, "log_prediction", lambda *_: None)


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Losses:
    """Collect the loss of every step that is run from now on."""
    seen: Losses = {}
    make = step.make_train_call

    def make_listening(*arguments: Any) -> Callable[..., Any]:
        call = make(*arguments)

        def listening(iterator: Any, first: Any, count: Any) -> Any:
            metrics = call(iterator, first, count)
            for index, loss in enumerate(metrics["likelihood_loss"].numpy()):
                seen[int(first) + index + 1] = float(loss)
            return metrics

        return listening

    monkeypatch.setattr(step, "make_train_call", make_listening)
    return seen


def train(
    folder: pathlib.Path,
    dataset: manifest.Dataset,
    run: runs.Run | None = None,
    **changed: Any,
) -> loop.Result:
    """Train as the command does."""
    run = run or tiny.make_run(dataset)
    runs.open_or_create(str(folder), run)
    settings = dataclasses.replace(tiny.MONITOR, **changed)
    return loop.train(str(folder), run, dataset, settings, STRATEGY)


def newest(folder: pathlib.Path) -> checkpoints.State:
    state = checkpoints.newest(str(folder))
    assert state is not None
    return state


def values_of(state: checkpoints.State) -> dict[str, np.ndarray]:
    """Return every variable of a state by its name."""
    return dict(safetensors.read(f"{state.path}/state.safetensors", state.specs))


def check_same(first: checkpoints.State, second: checkpoints.State) -> None:
    assert (first.step, first.facts) == (second.step, second.facts)
    one, other = values_of(first), values_of(second)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.usefixtures("xla")
def test_a_killed_run_ends_as_an_unbroken_one(
    tmp_path: pathlib.Path,
    dataset: manifest.Dataset,
    losses: Losses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = dataclasses.replace(tiny.make_run(dataset, steps=9), settings=RANDOM)
    whole = train(tmp_path / "whole", dataset, run)
    assert (whole.resumed_from, whole.progress.step, whole.stopped_early) == (0, 9, False)
    unbroken = dict(losses)
    assert sorted(unbroken) == list(range(1, 10))
    losses.clear()

    validate = loop.Trainer._validate

    def die(trainer: loop.Trainer) -> None:
        if trainer._progress.step == 9:
            raise KeyboardInterrupt
        validate(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_validate", die)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", dataset, run)
    states = tmp_path / "killed" / "checkpoints"
    assert newest(states).step == 6
    # The kill also cost the newest checkpoint a byte: the one before it must do.
    tiny.flip_byte(states / "step-00000006" / "state.safetensors")
    result = train(tmp_path / "killed", dataset, run)
    assert (result.resumed_from, result.progress) == (3, whole.progress)
    assert losses == unbroken
    assert result.validation == whole.validation
    check_same(newest(states), newest(tmp_path / "whole" / "checkpoints"))
    check_same(newest(tmp_path / "killed" / "model"), newest(tmp_path / "whole" / "model"))
    assert [path.name for path in sorted(states.iterdir())] == ["step-00000006", "step-00000009"]


def test_generation_gets_the_weights_that_were_trained(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    run = dataclasses.replace(tiny.make_run(dataset, steps=3), settings=DEEP)
    train(tmp_path / "run", dataset, run)
    model = runs.load(str(tmp_path / "run")).load_model()
    trained = values_of(newest(tmp_path / "run" / "checkpoints"))
    for weight in model.trainable_weights:
        value = trained["model/" + weight.path.removeprefix("lstm/")]
        np.testing.assert_array_equal(weight, value, err_msg=weight.path)


def test_averaged_weights_are_validated_and_kept(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    run = tiny.make_run(dataset, steps=6, ema=0.5)
    result = train(tmp_path / "run", dataset, run, best_weights=False)
    trained = values_of(newest(tmp_path / "run" / "checkpoints"))
    model = runs.load(str(tmp_path / "run")).load_model()
    for weight in model.trainable_weights:
        name = weight.path.removeprefix("lstm/")
        average = trained["optimizer_0/" + weight.path.replace("/", "_") + "_0_average"]
        np.testing.assert_array_equal(weight, average, err_msg=name)
        assert np.abs(average - trained[f"model/{name}"]).max() > 0, "the weights stay as they were"
    assert result.validation["nats_per_dim"] == pytest.approx(score(model, run, dataset), rel=1e-4)


def test_more_steps_go_on_and_the_last_weights_are_kept_without_validation(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tiny.make_dataset(tmp_path / "dataset", validation=())
    first = train(tmp_path / "run", dataset, tiny.make_run(dataset, steps=2))
    assert (first.progress.step, first.validation) == (2, {})
    capsys.readouterr()
    second = train(tmp_path / "run", dataset, tiny.make_run(dataset, steps=4))
    assert (second.resumed_from, second.progress.step) == (2, 4)
    assert "resuming after step 2\n" in capsys.readouterr().out
    assert newest(tmp_path / "run" / "model").step == 4
    assert runs.load(str(tmp_path / "run")).training.steps == 4
    third = train(tmp_path / "run", dataset, tiny.make_run(dataset, steps=4))
    assert (third.resumed_from, third.progress.step) == (4, 4)


def test_patience_ends_a_run_and_the_best_weights_stay(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    # So small a rate moves nothing: each validation equals the first, which is not better.
    run = tiny.make_run(dataset, steps=30, learning_rate=1e-30)
    often: dict[str, Any] = {"patience": 2, "validate_every_steps": 1}
    result = train(tmp_path / "run", dataset, run, **often)
    assert result.stopped_early
    progress = result.progress
    assert (progress.step, progress.best_step, progress.stale) == (3, 1, 2)
    assert newest(tmp_path / "run" / "checkpoints").step == 3
    assert newest(tmp_path / "run" / "model").step == 1
    assert newest(tmp_path / "run" / "model").facts["likelihood_loss"] == result.progress.best_loss
    again = train(tmp_path / "run", dataset, run, **often)
    assert (again.resumed_from, again.progress, again.stopped_early) == (3, progress, True)
    last = train(tmp_path / "run", dataset, run, **often, best_weights=False)
    assert last.progress.step == 3
    assert newest(tmp_path / "run" / "model").step == 3


def test_a_nan_loss_ends_the_run_and_spares_its_checkpoint(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt = tiny.make_frames(140, 1)
    spoilt[70, 2] = np.nan
    dataset = tiny.make_dataset(tmp_path / "dataset", train=(spoilt,))
    run = tiny.make_run(dataset, seed=10)
    batches = pipeline.windows(dataset, "train", run.window, run.training.batch_size, 10)
    finite = [bool(np.isfinite(batch["frames"]).all()) for batch in batches.take(3)]
    assert finite == [True, True, False], "the seed must bring the bad frame in step 3"
    where = r"likelihood_loss=nan at step 3, with NaN or infinite frames of recording 0"
    message = rf"^likelihood_loss must stay finite; .*{where}; .*untouched$"
    with pytest.raises(errors.InputError, match=message):
        train(tmp_path / "run", dataset, run, checkpoint_every_steps=1)
    assert f"{where}: back to step 2, with the learning rate times 0.25" in capsys.readouterr().out
    state = newest(tmp_path / "run" / "checkpoints")
    assert state.step == 2
    assert all(np.isfinite(value).all() for value in values_of(state).values())
    # In the middle of a call of many steps it is named as well.
    with pytest.raises(errors.InputError, match="at step 3, "):
        train(
            tmp_path / "other",
            dataset,
            run,
            steps_per_call=10,
            validate_every_steps=50,
            checkpoint_every_steps=50,
        )
    assert newest(tmp_path / "other" / "checkpoints").step == 0


def test_a_nan_validation_is_not_kept(tmp_path: pathlib.Path) -> None:
    spoilt = tiny.make_frames(40, 1)
    spoilt[20, 2] = np.nan
    dataset = tiny.make_dataset(tmp_path / "dataset", validation=(spoilt,))
    message = r"^validation nats_per_dim must .*=nan at step 3, with NaN .* frames of recording 0;"
    with pytest.raises(errors.InputError, match=message):
        train(tmp_path / "run", dataset)
    assert newest(tmp_path / "run" / "checkpoints").step == 0
    assert checkpoints.newest(str(tmp_path / "run" / "model")) is None


def test_validation_is_the_mean_over_all_windows(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    run = tiny.make_run(dataset, steps=2)
    result = train(tmp_path / "run", dataset, run, best_weights=False)
    model = runs.load(str(tmp_path / "run")).load_model()
    assert result.validation["likelihood_loss"] == pytest.approx(
        score(model, run, dataset), rel=1e-4
    )
    assert result.validation["nats_per_dim"] == result.validation["likelihood_loss"]


def score(model: Any, run: runs.Run, dataset: manifest.Dataset) -> float:
    """Return the loss of a model over the validation windows, all at once."""
    frames = dataset.normalise(tiny.make_frames(40, 3))
    # A quarter of a window apart, so that most frames are scored with context before them.
    starts = range(0, 40 - run.window.frames + 1, run.window.timesteps // 4)
    windows = np.stack([frames[start : start + run.window.frames] for start in starts])
    (objective,) = model.objectives()
    return float(
        np.mean(objective.loss({"frames": windows}, tf.constant([0, 0, 0]), False).per_example)
    )


@pytest.mark.usefixtures("pictures")
def test_a_run_shows_and_plays_what_it_does(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    often = {"sample_every_steps": 3, "histogram_every_steps": 3}
    train(tmp_path / "run", dataset, tiny.make_run(dataset, steps=3), **often)
    samples = tmp_path / "run" / "samples"
    assert sorted(path.name for path in samples.iterdir()) == [
        "step-00000003-prediction.png",
        "step-00000003-song-0.png",
        "step-00000003-song-0.wav",
    ]
    sound, rate = soundfile.read(samples / "step-00000003-song-0.wav")
    assert rate == tiny.AUDIO.sample_rate
    assert np.abs(sound).max() > 0
    tags = set()
    for path in (tmp_path / "run" / "logs").iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {(value.tag, event.step) for value in event.summary.value}
    assert {
        ("train/likelihood_loss", 1),
        ("train/learning_rate", 3),
        ("speed/frames_per_second", 3),
        ("validation/nats_per_dim", 3),
        ("prediction", 3),
        ("song 0", 3),
        ("lstm/head/kernel", 3),
        ("_hparams_/session_start_info", 0),
    } <= tags


def test_a_rollout_that_runs_away_does_not_end_the_run(
    tmp_path: pathlib.Path,
    dataset: manifest.Dataset,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(_: Any, request: base.GenerationRequest, *__: Any) -> np.ndarray:
        return np.full((1, request.n_frames, tiny.AUDIO.n_mels), 1e9, np.float32)

    run = tiny.make_run(dataset, steps=3)
    monkeypatch.setattr(lstm.LSTMModel, "generate", explode)
    result = train(tmp_path / "run", dataset, run, sample_every_steps=3, sample_seconds=0.001)
    assert result.progress.step == 3
    assert "song 0 of step 3 has no sound" in caplog.text


def test_bfloat16_trains_and_ends_near_float32(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        run = tiny.make_run(dataset, steps=30, precision=precision)
        run = dataclasses.replace(run, settings=DEEP)
        result = train(tmp_path / precision, dataset, run, validate_every_steps=30)
        losses[precision] = result.validation["nats_per_dim"]
    # bfloat16 has 8 bits: a step's loss moves in the third digit, here by 30 steps' difference.
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.02)
    assert keras.config.dtype_policy().name == "float32"
    tmp_path /= "bfloat16"
    kinds = {value.dtype for value in values_of(newest(tmp_path / "model")).values()}
    assert kinds == {np.dtype(np.float32)}


def test_a_batch_must_be_divisible_among_devices(
    tmp_path: pathlib.Path, dataset: manifest.Dataset
) -> None:
    three: Any = types.SimpleNamespace(num_replicas_in_sync=3)
    run = tiny.make_run(dataset)
    with pytest.raises(errors.InputError, match="batch_size=4, devices=3, accumulate=1"):
        loop.train(str(tmp_path), run, dataset, tiny.MONITOR, three)


def test_progress_survives_json() -> None:
    for progress in (state.Progress(), state.Progress(step=5, best_loss=1.5, best_step=4, stale=1)):
        text = fields.to_json(progress.facts())
        assert "Infinity" not in text
        assert state.Progress.from_facts(progress.facts()) == progress


TWO_DEVICES = """
import pathlib, sys
import numpy as np
import tiny
from lstm_gen.platform import devices as distribute
from lstm_gen.runs import run as runs
from lstm_gen.training import loop
folder = pathlib.Path(sys.argv[1])
dataset = tiny.make_dataset(folder / "dataset")
run = tiny.make_run(dataset, steps=4, clip_norm=0.5)
weights = []
for count in (2, 1):
    path = str(folder / f"{count} devices")
    runs.open_or_create(path, run)
    strategy = distribute.strategy("cpu", count)
    assert strategy.num_replicas_in_sync == count
    loop.train(path, run, dataset, tiny.MONITOR, strategy)
    weights.append(runs.load(path).load_model().weights)
for one, two in zip(*weights, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5, err_msg=one.path)
"""


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path: pathlib.Path) -> None:
    root = pathlib.Path(__file__).parents[2]
    paths = {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    result = processes.run_python("-c", TWO_DEVICES, tmp_path, env=paths)
    assert result.returncode == 0, result.stderr


def test_a_saturated_loss_is_a_warning(
    dataset: manifest.Dataset,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = lstm.LSTMModel.objectives

    def objectives(model: lstm.LSTMModel) -> tuple[base.Objective, ...]:
        (only,) = original(model)
        return (dataclasses.replace(only, saturation={"likelihood_loss": (1e3, 1e2)}),)

    monkeypatch.setattr(lstm.LSTMModel, "objectives", objectives)
    train(tmp_path / "run", dataset, tiny.make_run(dataset, steps=40))
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning:" in line]
    assert len(warnings) == 1
    assert "likelihood_loss has been" in warnings[0]


def test_the_bar_says_that_the_first_steps_are_compiled(
    dataset: manifest.Dataset, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", dataset)
    said = capsys.readouterr()
    shown = [text for text in said.err.split("\r") if "step" in text]
    assert any(text.startswith("compiling:   0%") for text in shown)
    assert not shown[-1].startswith("compiling")
    assert "100%" in shown[-1]
    assert "fitting the loudness limits and the stored patches to the weights of step" in said.out
    assert "reading the training windows:   0%" in said.err
