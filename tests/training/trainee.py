"""A training of a tiny run that notes what every step was given, and may be killed.

    python trainee.py ORDER

where ORDER is JSON of an `Order`.

The log has a line for every step: its number, its loss in hexadecimal, and a digest of the windows
that it was given.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tiny

from lstm_gen.dataset.format import manifest
from lstm_gen.models import base
from lstm_gen.platform import devices, errors
from lstm_gen.runs import run as runs
from lstm_gen.training import loop, monitor, step

SETTINGS = dataclasses.replace(tiny.SETTINGS, dropout=0.1, input_noise=0.2)
MONITOR = dataclasses.replace(
    tiny.MONITOR, steps_per_call=4, validate_every_steps=10, checkpoint_every_steps=5
)
_PLACE = 8191  # prime, and so small that the sums below are exact in float32


class Order(NamedTuple):
    """What is trained.

    Attributes:
      data_dir: The dataset.
      run_dir: The run.
      steps: Its steps.
      log: File to add the steps to.
      stop_before_call: The call of steps before which it sends itself SIGTERM; 0 for none.
    """

    data_dir: str
    run_dir: str
    steps: int
    log: str
    stop_before_call: int = 0


def make_run(dataset: manifest.Dataset, steps: int) -> runs.Run:
    run = tiny.make_run(dataset, steps=steps, ema=0.9, weight_decay=0.01)
    return dataclasses.replace(run, settings=SETTINGS)


def _observed(kind: type[base.AudioModel]) -> Callable[..., tuple[base.Objective, ...]]:
    """Return the family's objectives, with a metric that tells windows and their order apart."""
    original = kind.objectives

    def objectives(model: base.AudioModel) -> tuple[base.Objective, ...]:
        (objective,) = original(model)

        def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
            found = objective.loss(batch, seed, training)
            place = (1 + batch["row"]) * (1 + 3 * batch["start_frame"] + 1009 * batch["recording"])
            return found._replace(
                metrics=found.metrics | {"windows": tf.cast(place % _PLACE, tf.float32)}
            )

        names = (*objective.metric_names, "windows")
        return (dataclasses.replace(objective, loss=loss, metric_names=names),)

    return objectives


def _listening(order: Order) -> Callable[..., Any]:
    """Return a `make_train_call` whose calls are logged and, once, signalled."""
    make, calls = step.make_train_call, itertools.count(1)

    def make_listening(*arguments: Any) -> Callable[..., Any]:
        call = make(*arguments)

        def listening(iterator: Any, first: Any, count: Any) -> Any:
            if next(calls) == order.stop_before_call:
                os.kill(os.getpid(), signal.SIGTERM)
            metrics = call(iterator, first, count)
            values = (metrics[name].numpy().tolist() for name in ("likelihood_loss", "windows"))
            with pathlib.Path(order.log).open("a") as file:
                for index, (loss, windows) in enumerate(zip(*values, strict=True)):
                    line = [int(first) + index + 1, loss.hex(), windows.hex()]
                    file.write(json.dumps(line) + "\n")
            return metrics

        return listening

    return make_listening


def train(order: Order) -> int:
    """Train as ordered; return the exit status."""
    devices.compiles_with_xla = lambda *_: False
    monitor.Monitor.log_prediction = lambda *_: None  # type: ignore[method-assign]
    step.make_train_call = _listening(order)
    dataset = manifest.load(order.data_dir)
    run = make_run(dataset, order.steps)
    run.family.objectives = _observed(run.family)  # type: ignore[method-assign]
    runs.open_or_create(order.run_dir, run)
    try:
        loop.train(order.run_dir, run, dataset, MONITOR, devices.strategy("cpu"))
    except errors.StoppedError as stopped:
        return 128 + stopped.signal_number
    return 0


if __name__ == "__main__":
    raise SystemExit(train(Order(**json.loads(sys.argv[1]))))
