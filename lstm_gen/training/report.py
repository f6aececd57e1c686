"""Reports of a training for the terminal: data before it, result after it, estimate by a dry run.

A dry run measures memory, speed and the time to finish by some training steps in memory.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lstm_gen.config.training import TrainingConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.platform import devices, errors
from lstm_gen.runs import run as runs
from lstm_gen.training import batches, loop
from lstm_gen.training import step as steps

_TIMED_SECONDS = 5.0
_MIN_CALLS, _MAX_CALLS = 3, 30
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Measurement(NamedTuple):
    """Memory and speed of a training on this machine.

    Attributes:
      n_parameters: Trainable values of the model.
      state_bytes: Size of the model and its optimizers' state.
      peak_bytes: Peak memory: of the fullest GPU if there is one, else of this process.
      on_gpu: Whether `peak_bytes` is a GPU's memory.
      steps_per_epoch: Steps of one pass over the training windows.
      start_seconds: Time to build, trace and compile, and for the first steps.
      step_seconds: Median time of a step, with reading its windows.
    """

    n_parameters: int
    state_bytes: int
    peak_bytes: int
    on_gpu: bool
    steps_per_epoch: float
    start_seconds: float
    step_seconds: float


def describe_data(dataset: manifest.Dataset, window: WindowConfig, training: TrainingConfig) -> str:
    """Return the size of the splits and of an epoch, in minutes, windows and steps.

    Raises:
      InputError: If the training split holds less than a batch of windows, or the validation split
        is neither empty nor as long as a window.
    """
    split = dataset.splits["train"]
    windows = pipeline.windows_per_epoch(dataset, "train", window)
    errors.require(
        windows >= training.batch_size,
        "the training split must hold at least one batch of windows; lower --batch_size or "
        "--timesteps, or add recordings",
        windows=windows,
        batch_size=training.batch_size,
        timesteps=window.timesteps,
    )
    held_out = dataset.splits["validation"]
    errors.require(
        not held_out.n_records or pipeline.windows_per_epoch(dataset, "validation", window) > 0,
        "the validation split must hold a window, or nothing; lower --timesteps, or make the "
        "dataset again with a larger --block_seconds or with --validation_fraction=0",
        validation_seconds=held_out.seconds,
        timesteps=window.timesteps,
    )
    epochs = training.steps * training.batch_size / windows
    return (
        f"data      {split.seconds / 60:.1f} min to train on, {held_out.seconds / 60:.1f} min held "
        f"out; {windows} windows of {window.timesteps} frames "
        f"({window.timesteps / dataset.audio.frames_per_second:.1f} s) an epoch\n"
        f"training  {training.steps} steps of {training.batch_size} windows, {epochs:.0f} epochs"
    )


def describe_result(
    result: loop.Result,
    training: TrainingConfig,
    baseline_scores: dict[str, float],
    adversarial: bool = False,
) -> str:
    """Return the steps done, the best validation and, for likelihoods, the baselines beside it.

    Args:
      result: Of the training.
      training: Its settings.
      baseline_scores: Name of a simple predictor to its negative log-likelihood, nats per frame and
        dimension.
      adversarial: Whether the model's losses are adversarial; then no step is the best.
    """
    progress = result.progress
    lines = [f"steps     {progress.step} of {training.steps}"]
    if result.resumed_from:
        lines[0] += f", resumed after {result.resumed_from}"
    if result.stopped_early:
        lines[0] += ", stopped early: validation no longer improves"
    if progress.best_step and not adversarial:
        lines.append(f"best      step {progress.best_step}, loss {progress.best_loss:.4f}")
    scores = dict(baseline_scores)
    if "nats_per_dim" in result.validation:
        scores["this model, last validation"] = result.validation["nats_per_dim"]
    if scores:
        lines.append("held out  nats per frame and dimension, lower is better")
        lines += [f"  {value:8.4f}  {name}" for name, value in _sorted(scores)]
    return "\n".join(lines)


def measure(
    run: runs.Run, dataset: manifest.Dataset, steps_per_call: int, strategy: tf.distribute.Strategy
) -> Measurement:
    """Train for some seconds without writing anything, and measure.

    Args:
      run: The planned run.
      dataset: Its dataset.
      steps_per_call: Optimizer steps per call of the compiled loop.
      strategy: Devices of the model.

    Raises:
      InputError: If the batch cannot be divided among the devices.
    """
    start = time.perf_counter()
    loop.set_up(run.training, strategy)
    with strategy.scope(), devices.layer_precision(run.training.precision):
        model = run.build_model()
        objectives = model.objectives()
        optimizers = steps.make_optimizers(run.training, objectives)
    train_call = steps.make_train_call(strategy, objectives, optimizers, run.training)
    iterator = iter(batches.training(strategy, run, dataset, start_step=0))

    def call() -> None:
        metrics = train_call(iterator, tf.constant(0), tf.constant(steps_per_call))
        for values in metrics.values():
            values.numpy()

    call()
    start_seconds = time.perf_counter() - start
    step_seconds = _median_seconds(call) / steps_per_call
    peak_bytes, on_gpu = _peak_bytes()
    return Measurement(
        n_parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        state_bytes=sum(_bytes(owner.variables) for owner in (model, *optimizers)),
        peak_bytes=peak_bytes,
        on_gpu=on_gpu,
        steps_per_epoch=pipeline.windows_per_epoch(dataset, "train", run.window)
        / run.training.batch_size,
        start_seconds=start_seconds,
        step_seconds=step_seconds,
    )


def describe_measurement(found: Measurement, n_steps: int) -> str:
    """Return lines for the terminal, with the estimated time of a training of `n_steps`."""
    seconds = found.start_seconds + n_steps * found.step_seconds
    memory = "peak of the GPU" if found.on_gpu else "peak of this process"
    return "\n".join(
        [
            f"model     {found.n_parameters:,} parameters; with the optimizer's state "
            f"{found.state_bytes / 1e6:.1f} MB",
            f"memory    {found.peak_bytes / 1e9:.2f} GB, {memory}",
            f"epoch     {found.steps_per_epoch:.1f} steps, "
            f"{_duration(found.steps_per_epoch * found.step_seconds)}",
            f"speed     {found.step_seconds:.4f} s a step, measured on this machine; "
            f"{found.start_seconds:.0f} s to start and compile",
            f"finish    about {_duration(seconds)} for {n_steps} steps, without validations, "
            "rollouts and checkpoints",
        ]
    )


def _sorted(scores: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])


def _median_seconds(call: Callable[[], None]) -> float:
    taken: list[float] = []
    while len(taken) < _MIN_CALLS or (sum(taken) < _TIMED_SECONDS and len(taken) < _MAX_CALLS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _bytes(variables: list[Any]) -> int:
    return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)


def _peak_bytes() -> tuple[int, bool]:
    """Return the peak memory, bytes, and whether it is a GPU's."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        # "/device:GPU:10" is "GPU:10" to this function.
        names = [gpu.name.rpartition("device:")[2] for gpu in gpus]
        return max(tf.config.experimental.get_memory_info(name)["peak"] for name in names), True
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT, False


def _duration(seconds: float) -> str:
    """Return a time in hours, minutes or seconds, whichever is readable."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
