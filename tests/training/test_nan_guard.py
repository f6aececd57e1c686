"""Stops, roll-backs and refusals of a training, in this process."""

import dataclasses
import os
import pathlib
import signal
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts as primers
from lstm_gen.models import base
from lstm_gen.platform import devices, errors, safetensors
from lstm_gen.runs import checkpoints, lease
from lstm_gen.runs import run as runs
from lstm_gen.training import loop, monitor, nan_guard, state, step, stop_request

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")
Values = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    spare(monkeypatch)


def spare(patch: pytest.MonkeyPatch) -> None:
    """Spare these tests the seconds that compiling and drawing take, and a clock's influence."""
    patch.setattr(devices, "compiles_with_xla", lambda *_: False)
    patch.setattr(monitor.Monitor, "log_prediction", lambda *_: None)
    patch.setattr(loop, "_MAX_CALL_SECONDS", 1e6)


def train(folder: pathlib.Path, run: runs.Run, dataset: manifest.Dataset) -> loop.Result:
    runs.open_or_create(str(folder), run)
    return loop.train(str(folder), run, dataset, tiny.MONITOR, STRATEGY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, dataset: manifest.Dataset) -> pathlib.Path:
    """Return a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        spare(patch)
        train(folder, tiny.make_run(dataset), dataset)
    return folder


def newest(folder: pathlib.Path, part: str = "checkpoints") -> tuple[checkpoints.State, Values]:
    found = checkpoints.newest(str(folder / part))
    assert found is not None
    return found, dict(safetensors.read(f"{found.path}/state.safetensors", found.specs))


def check_same(one: pathlib.Path, other: pathlib.Path) -> None:
    for part in ("checkpoints", "model"):
        (first, values), (second, others) = newest(one, part), newest(other, part)
        assert (first.step, first.facts) == (second.step, second.facts)
        for name, value in values.items():
            np.testing.assert_array_equal(value, others[name], err_msg=name)


def around(
    monkeypatch: pytest.MonkeyPatch, maker: str, before: Callable[[int], None] = lambda _: None
) -> None:
    """Have `before` called with the number of each call of the functions that `maker` makes."""
    make = getattr(step, maker)

    def make_other(*arguments: Any) -> Callable[..., Any]:
        call, count = make(*arguments), iter(range(1, 1000))

        def called(*given: Any) -> Any:
            before(next(count))
            return call(*given)

        return called

    monkeypatch.setattr(step, maker, make_other)


@pytest.mark.parametrize(
    ("maker", "at_call", "number", "saved", "validated"),
    [
        ("make_train_call", 3, signal.SIGTERM, 5, 3),
        ("make_train_call", 1, signal.SIGINT, 1, 0),
        ("make_validate_call", 1, signal.SIGTERM, 3, 0),
        ("make_validate_call", 5, signal.SIGTERM, 6, 3),
    ],
)
def test_a_request_to_stop_saves_and_the_run_ends_as_an_unbroken_one(
    tmp_path: pathlib.Path,
    dataset: manifest.Dataset,
    whole: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    maker: str,
    at_call: int,
    number: signal.Signals,
    saved: int,
    validated: int,
) -> None:
    run = tiny.make_run(dataset)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        around(patch, maker, lambda call: os.kill(os.getpid(), number) if call == at_call else None)
        with pytest.raises(errors.StoppedError, match=f"by {number.name}; step {saved} is") as stop:
            train(tmp_path / "stopped", run, dataset)
    assert stop.value.signal_number == number
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    found, _ = newest(tmp_path / "stopped")
    assert (found.step, found.facts["progress"]["validated_step"]) == (saved, validated)
    assert train(tmp_path / "stopped", run, dataset).resumed_from == saved
    check_same(tmp_path / "stopped", whole)


def test_a_second_request_stops_at_once() -> None:
    with stop_request.listen() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request
        assert request.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_no_signal_is_noted() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def note() -> None:
        with stop_request.listen() as request:
            assert not request
            assert signal.getsignal(signal.SIGTERM) == before

    thread = threading.Thread(target=note)
    thread.start()
    thread.join()


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, at_steps: list[int]) -> None:
    """Make the metric of a step infinite, as often as the step is named."""
    make = step.make_train_call

    def make_spoilt(*arguments: Any) -> Callable[..., Any]:
        call = make(*arguments)

        def spoilt(iterator: Any, first: Any, count: Any) -> Any:
            metrics = call(iterator, first, count)
            for number in range(int(first) + 1, int(first) + int(count) + 1):
                if number in at_steps:
                    at_steps.remove(number)
                    values = metrics[name].numpy()
                    values[number - int(first) - 1] = np.inf
                    metrics[name] = tf.constant(values)
            return metrics

        return spoilt

    monkeypatch.setattr(step, "make_train_call", make_spoilt)


@pytest.mark.parametrize("name", ["likelihood_loss", "likelihood_gradient_norm"])
def test_a_nan_step_is_rolled_back_and_the_rate_lowered_once(
    tmp_path: pathlib.Path,
    dataset: manifest.Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    run = tiny.make_run(dataset)
    planned = [5]
    spoil(monkeypatch, name, planned)
    result = train(tmp_path / "run", run, dataset)
    assert planned == []
    assert result.progress.step == 6
    said = capsys.readouterr().out
    assert f"{name}=inf at step 5, with windows of recording 0" in said
    assert ": back to step 3, with the learning rate times 0.25" in said
    _, values = newest(tmp_path / "run")
    assert values["rate_scale"] == 0.25
    assert all(np.isfinite(value).all() for value in values.values())
    # The rate stays low, and another infinity ends the run.
    longer = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=9))
    planned += [8]
    with pytest.raises(errors.InputError, match=rf"^{name} must stay finite.*inf at step 8, with"):
        train(tmp_path / "run", longer, dataset)
    assert planned == []
    assert newest(tmp_path / "run")[0].step == 6


def test_the_lowered_rate_is_a_quarter(dataset: manifest.Dataset, tmp_path: pathlib.Path) -> None:
    run = tiny.make_run(dataset, warmup_steps=0)
    made = state.State(str(tmp_path), run, dataset, STRATEGY, lease.Lease())
    before = made.learning_rate
    assert before == pytest.approx(run.training.learning_rate)
    slowed = [made.was_slowed]
    made.slow_down(0.25)
    assert [*slowed, made.was_slowed] == [False, True]
    assert made.learning_rate == pytest.approx(before / 4)


def test_nan_weights_are_not_saved(tmp_path: pathlib.Path, dataset: manifest.Dataset) -> None:
    made = state.State(str(tmp_path), tiny.make_run(dataset), dataset, STRATEGY, lease.Lease())
    weight = made.model.trainable_variables[0]
    weight.assign(tf.fill(weight.shape, np.nan))
    with pytest.raises(nan_guard.NonFiniteError, match=r"^model/\S+=nan at step 0$"):
        made.save(keep=2)
    assert not (tmp_path / "checkpoints").exists()


def test_recordings_are_named_as_the_manifest_has_them(
    dataset: manifest.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        {"name": f"{letter}.wav", "segments": {"train": 1}, "sha256": f"{number:015x}" + "0" * 49}
        for number, letter in enumerate("abcde")
    ]
    monkeypatch.setattr(manifest, "load_lines", lambda _: [*lines, {"segments": {}}])
    frames = np.zeros((5, 3, 2))
    batch = {"frames": frames, "recording": np.arange(5)}
    said = nan_guard.describe_recordings([batch], dataset)
    assert said == "with windows of a.wav, b.wav, c.wav and 2 more"
    frames[3, 1, 0] = np.nan
    frames[1, 2, 1] = np.inf
    filled = {"frames": frames + np.nan, "recording": np.full(5, -1)}
    said = nan_guard.describe_recordings([batch, filled], dataset)
    assert said == "with NaN or infinite frames of b.wav, d.wav"


def make_objective() -> base.Objective:
    return base.Objective(
        name="judge",
        loss=lambda *_: pytest.fail("not asked for"),
        variables=[],
        metric_names=("judge_loss",),
        saturation={"judge_loss": (1.4, 0.0)},
    )


def test_a_saturated_loss_is_a_warning_once_each_time() -> None:
    saturation = nan_guard.Saturation([make_objective()], n_steps=100)
    losses = [1.4] * 30 + [0.01] * 30 + [0.5] * 30 + [0.01] * 30
    warned = [
        step
        for step, loss in enumerate(losses)
        if list(saturation.update({"judge_loss": np.array([loss])}))
    ]
    assert len(warned) == 2
    assert 30 + 19 <= warned[0] < 60
    assert 105 < warned[1] < 120  # less than 5 % of the way is left


def test_a_loss_on_its_way_is_no_warning() -> None:
    saturation = nan_guard.Saturation([make_objective()], n_steps=100)
    assert not list(saturation.update({"judge_loss": np.linspace(1.4, 0.1, 100)}))
    text = list(saturation.update({"judge_loss": np.full(40, 0.02)}))
    assert len(text) == 1
    assert "judge_loss has been 0.02 on average for 20 steps" in text[0]


def test_work_that_can_be_repeated_stops_at_once() -> None:
    def fit() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1 << 30):
            pass

    said = pytest.raises(errors.StoppedError, match="SIGTERM; all is kept")
    with stop_request.listen() as request, said, request.immediate("all is kept"):
        fit()
    with stop_request.listen() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request
        with pytest.raises(errors.StoppedError), request.immediate("kept"):
            pytest.fail("it began, though asked to stop before")


def test_a_rollout_is_not_waited_for(dataset: manifest.Dataset, tmp_path: pathlib.Path) -> None:
    request = stop_request.StopRequest()

    def generate(_: Any, __: Any, progress: Any) -> Any:
        progress(1)  # frames done
        request.signal = signal.SIGTERM
        progress(1)
        pytest.fail("it went on")

    run = tiny.make_run(dataset)
    excerpts = primers.Excerpts(np.zeros((1, 4, run.audio.channels), np.float32), {})
    watch = monitor.Monitor(str(tmp_path), run, tiny.MONITOR, excerpts, request)
    watch.log_rollout(3, types.SimpleNamespace(generate=generate))
    assert not (tmp_path / "samples").exists()
