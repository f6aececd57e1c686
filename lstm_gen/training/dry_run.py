"""What a training will take, found out by training a little of it in memory; nothing is kept."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import pipeline
from lstm_gen.platform import precision
from lstm_gen.runs import run as runs
from lstm_gen.training import batches, loop
from lstm_gen.training import step as steps

_SECONDS = 5.0  # of steps that are timed
_FEWEST_CALLS, _MOST_CALLS = 3, 30
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Preflight(NamedTuple):
    """What a training takes on this machine.

    Attributes:
      n_parameters: Trainable values of the model.
      state_bytes: What is kept from step to step: the model and its optimizers' state.
      peak_bytes: Most memory that was in use so far: of the GPU where there is one, else of this
        process, the program itself included.
      on_gpu: Whether that is a GPU's memory.
      steps_per_epoch: Steps that see every window once.
      start_seconds: Of building, tracing and compiling, up to the end of the first steps.
      step_seconds: Of one step, reading its windows included; the median.
    """

    n_parameters: int
    state_bytes: int
    peak_bytes: int
    on_gpu: bool
    steps_per_epoch: float
    start_seconds: float
    step_seconds: float


def measure(
    run: runs.Run, dataset: manifest.Dataset, steps_per_call: int, strategy: tf.distribute.Strategy
) -> Preflight:
    """Train for some seconds, in memory, and say what the whole would take.

    Args:
      run: The run that is planned.
      dataset: What it would be trained on.
      steps_per_call: Optimizer steps between two looks at the loss.
      strategy: Where the model lives.

    Raises:
      InputError: If the batch cannot be shared out among the devices.
    """
    start = time.perf_counter()
    loop.set_up(run.training, strategy)
    with strategy.scope(), precision.of_new_layers(run.training.precision):
        model = run.build_model()
        objectives = run.family.objectives(model, run.signal)
        optimizers = [
            steps.make_optimizer(run.training, momentum=one.momentum) for one in objectives
        ]
        for optimizer, objective in zip(optimizers, objectives, strict=True):
            optimizer.build(objective.variables)
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
    return Preflight(
        n_parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
        state_bytes=sum(_bytes(owner.variables) for owner in (model, *optimizers)),
        peak_bytes=peak_bytes,
        on_gpu=on_gpu,
        steps_per_epoch=pipeline.windows_per_epoch(dataset, "train", run.window)
        / run.training.batch_size,
        start_seconds=start_seconds,
        step_seconds=step_seconds,
    )


def describe(found: Preflight, n_steps: int) -> str:
    """Return in lines what a training of so many steps takes."""
    seconds = found.start_seconds + n_steps * found.step_seconds
    whose = "the GPU's, at its peak" if found.on_gpu else "this process at its peak"
    return "\n".join(
        [
            f"model     {found.n_parameters:,} parameters; with the optimizer's state "
            f"{found.state_bytes / 1e6:.1f} MB",
            f"memory    {found.peak_bytes / 1e9:.2f} GB, {whose}",
            f"epoch     {found.steps_per_epoch:.1f} steps, "
            f"{_duration(found.steps_per_epoch * found.step_seconds)}",
            f"speed     {found.step_seconds:.4f} s a step on this machine, measured; "
            f"{found.start_seconds:.0f} s to start",
            f"finish    {_duration(seconds)} for {n_steps} steps; validations, rollouts and "
            "checkpoints come on top",
        ]
    )


def _median_seconds(call: Callable[[], None]) -> float:
    taken: list[float] = []
    while len(taken) < _FEWEST_CALLS or (sum(taken) < _SECONDS and len(taken) < _MOST_CALLS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _bytes(variables: list[Any]) -> int:
    return sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)


def _peak_bytes() -> tuple[int, bool]:
    """Return the most memory that was in use, bytes, and whether it is a GPU's."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        peaks = (tf.config.experimental.get_memory_info(gpu.name[-5:])["peak"] for gpu in gpus)
        return max(peaks), True
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT, False


def _duration(seconds: float) -> str:
    """Return a time as people say it."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
