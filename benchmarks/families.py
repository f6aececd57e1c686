"""Model family benchmarks: training step beside Keras's `fit` of the same network, and generation.

Each family uses its preset. The baseline is a `keras.Model` of the same layers and losses with a
plain `train_step`, trained by `fit` on one batch in memory, with or without XLA, whichever is
faster. Our figure is for the training loop's call. `lstm_step` measures the lstm family, whose
layer is not Keras's.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import harness
from lstm_gen.audio import representations
from lstm_gen.cli import command, settings
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.platform import devices
from lstm_gen.training import step as steps
from tools import check_tpu
from tools.tpu import lowering

_ROUNDS, _STEPS = 15, 10
_REAL_TIME = 20  # least speed of generation
_REAL_TIME_OF = {"gan": 10}
_N_SONGS, _SECONDS = 4, 20.0
_ITERATIONS = 16


class Plain(keras.Model):
    """Network of a family with a plain `train_step` for Keras's `fit`."""

    def __init__(self, plan: lowering.Plan) -> None:
        super().__init__()
        self.network = plan.family.create(plan.settings, plan.spec)
        self.objectives = self.network.objectives()
        self.own = [keras.optimizers.Adam(1e-3) for _ in self.objectives]
        for optimizer, objective in zip(self.own, self.objectives, strict=True):
            optimizer.build(objective.variables)
        self.clip_norm = plan.training.clip_norm

    def train_step(self, batch: base.Batch) -> dict[str, Any]:
        """Take one optimizer step on every objective."""
        losses = {}
        for optimizer, objective in zip(self.own, self.objectives, strict=True):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    objective.loss(batch, tf.constant([1, 2, 0]), True).per_example
                )
            gradients = tape.gradient(loss, objective.variables)
            if self.clip_norm:
                gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
            optimizer.apply(gradients, objective.variables)
            losses[objective.name] = loss
        return losses


def rows() -> Iterator[harness.Row]:
    """Yield two rows per family, measured in a fresh process: training step and generation."""
    for name in _plans():
        yield from harness.measure_in_process(_measure, name)


def _measure(name: str) -> list[harness.Row]:
    plan = _plans()[name]
    return [_measure_step(name, plan), _measure_songs(name, plan)]


def _plans() -> dict[str, lowering.Plan]:
    """Return the plan of one preset per family, lstm excluded."""
    plans = {}
    line = settings.CommandLine(check_tpu.SETTINGS, command.known_flags)
    for name in settings.preset_names():
        plan, _, _ = check_tpu.read_plan(line.with_preset(name))
        if not plan.family.predicts and plan.settings.family not in plans:
            plans[plan.settings.family] = plan
    return plans


def make_batch(plan: lowering.Plan) -> dict[str, Any]:
    """Return a batch of noise; labels are in the middle of their range."""
    random = np.random.default_rng(0)
    specs = lowering.batch_spec(plan.spec, plan.training.batch_size)
    batch = {name: np.zeros(one.shape, one.dtype.as_numpy_dtype) for name, one in specs.items()}
    batch["frames"] = random.standard_normal(specs["frames"].shape).astype(np.float32)
    batch["weight"] += 1
    batch["row"] = np.arange(plan.training.batch_size)
    for one in plan.spec.conditions:
        batch[f"label/{one.name}"] += (one.minimum + one.maximum) / 2
    return {name: tf.constant(values) for name, values in batch.items()}


def _measure_step(name: str, plan: lowering.Plan) -> harness.Row:
    """Return the speed of our step relative to the faster of Keras's two."""
    data = tf.data.Dataset.from_tensors(make_batch(plan)).repeat()
    ours = _our_steps(plan, data)
    theirs = {}
    for jit in (False, True):
        plain = Plain(plan)
        plain.compile(jit_compile=jit)
        theirs[f"fit, XLA {'on' if jit else 'off'}"] = _fit(plain, data)
    times = harness.interleave({"ours": ours, **theirs}, _ROUNDS)
    best = min(theirs, key=lambda which: statistics.median(times[which]))
    milliseconds = statistics.median(times["ours"]) / _STEPS * 1e3
    return harness.Row(
        what=f"training step, {name}, its preset",
        baseline=f"the same layers and losses in Keras's {best}",
        value=harness.ratio(times[best], times["ours"]),
        unit="x",
        target=1,
        detail=f"{milliseconds:.0f} ms a step of {plan.training.batch_size}",
    )


def _fit(plain: Plain, data: tf.data.Dataset) -> Callable[[], object]:
    return lambda: plain.fit(data, steps_per_epoch=_STEPS, verbose=0)


def _our_steps(plan: lowering.Plan, data: tf.data.Dataset) -> Callable[[], object]:
    """Return a function that takes `_STEPS` steps with the training loop's call."""
    strategy = devices.strategy("cpu")
    with strategy.scope():
        model = plan.family.create(plan.settings, plan.spec)
        objectives = model.objectives()
        optimizers = [steps.make_optimizer(plan.training) for _ in objectives]
        for optimizer, objective in zip(optimizers, objectives, strict=True):
            optimizer.build(objective.variables)
    call = steps.make_train_call(strategy, objectives, optimizers, plan.training)
    stream = iter(data)

    def run() -> None:
        for values in call(stream, tf.constant(0), tf.constant(_STEPS)).values():
            values.numpy()

    return run


def _measure_songs(name: str, plan: lowering.Plan) -> harness.Row:
    """Return the speed of generation relative to real time, inversion included."""
    spec, audio = plan.spec, plan.spec.audio
    model = plan.family.create(plan.settings, spec)
    batch = {key: values.numpy() for key, values in make_batch(plan).items()}
    model.fit_data(lambda: iter([batch] * 4))
    n_frames = round(_SECONDS * audio.frames_per_second)
    labels = {
        f"label/{one.name}": np.full(_N_SONGS, (one.minimum + one.maximum) / 2, np.float32)
        for one in spec.conditions
    }
    request = base.GenerationRequest(n_songs=_N_SONGS, n_frames=n_frames, labels=labels)
    primer = np.zeros((_N_SONGS, 0, spec.channels), np.float32)

    def make() -> float:
        start = time.perf_counter()
        songs = model.generate(request, primer, lambda _: None)
        for song in songs:
            representations.invert(song * spec.std + spec.mean, audio, _ITERATIONS)
        return time.perf_counter() - start

    make()
    seconds = statistics.median(make() for _ in range(3))
    return harness.Row(
        what=f"songs, {name}, {_N_SONGS} of {_SECONDS:g} s, inversion of {_ITERATIONS} iterations",
        baseline="real time",
        value=_N_SONGS * _SECONDS / seconds,
        unit="x",
        target=_REAL_TIME_OF.get(name, _REAL_TIME),
        detail=f"{seconds:.2f} s; frames of {_describe(audio)}, weights not trained",
    )


def _describe(audio: AudioConfig) -> str:
    return f"{audio.representation}, {audio.channels} values, {audio.sample_rate} Hz"
