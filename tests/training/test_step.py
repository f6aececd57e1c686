import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.training import step

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")
WEIGHT = np.array([0.0, 3.0, 4.0], np.float32)


def make_objective(name: str, variable: tf.Variable, direction: np.ndarray) -> base.Objective:
    """Return an objective whose gradient is `direction` times the mean of the batch's values."""

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        values = batch["values"] * tf.reduce_sum(variable * direction)
        drawn = rng.uniform(values.shape, seed) * (1.0 if training else 0.0)
        return base.Loss(values, {f"{name}_drawn": drawn})

    return base.Objective(
        name=name, loss=loss, variables=[variable], metric_names=(f"{name}_drawn",)
    )


def train(
    objectives: list[base.Objective], calls: list[tuple[int, int]], clip_norm: float = 0.0
) -> list[dict[str, np.ndarray]]:
    """Run (first step, steps) calls with plain descent at rate 1; the batch's mean is 2."""
    training = TrainingConfig(batch_size=4, clip_norm=clip_norm, seed=9)
    optimizers = [keras.optimizers.SGD(1.0) for _ in objectives]
    for optimizer, objective in zip(optimizers, objectives, strict=True):
        optimizer.build(objective.variables)
    call = step.make_train_call(STRATEGY, objectives, optimizers, training)
    batch = {"values": tf.constant([1.0, 2.0, 2.0, 3.0]), "row": tf.range(4)}
    iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return [
        {name: values.numpy() for name, values in call(iterator, *map(tf.constant, each)).items()}
        for each in calls
    ]


@pytest.mark.parametrize(
    ("clip_norm", "moved"),
    [(0.0, 2 * WEIGHT), (100.0, 2 * WEIGHT), (1.0, WEIGHT / 5), (10.0, 2 * WEIGHT)],
)
def test_gradients_are_clipped_to_their_global_norm(clip_norm: float, moved: np.ndarray) -> None:
    variable = tf.Variable(np.zeros(3, np.float32))
    (metrics,) = train([make_objective("one", variable, WEIGHT)], [(0, 1)], clip_norm)
    np.testing.assert_allclose(variable.numpy(), -moved, rtol=1e-6)
    np.testing.assert_allclose(metrics["one_gradient_norm"], [10.0], rtol=1e-6)
    assert metrics["one_loss"] == [0.0]


def test_each_objective_moves_its_own_variables() -> None:
    first, second = tf.Variable(WEIGHT), tf.Variable(WEIGHT)
    objectives = [make_objective("a", first, WEIGHT), make_objective("b", second, -3 * WEIGHT)]
    (metrics,) = train(objectives, [(0, 2)])
    np.testing.assert_allclose(first, WEIGHT - 2 * 2 * WEIGHT, rtol=1e-6)
    np.testing.assert_allclose(second, WEIGHT + 2 * 6 * WEIGHT, rtol=1e-6)
    assert set(metrics) == {
        f"{name}_{what}" for name in "ab" for what in ("loss", "gradient_norm", "drawn")
    }
    # Losses are those before each step: 2 w.d, then w has moved by 2 d.
    np.testing.assert_allclose(metrics["a_loss"], [50, -50], rtol=1e-6)
    np.testing.assert_allclose(metrics["b_loss"], [-150, -1050], rtol=1e-6)


@pytest.mark.xla
def test_only_what_has_no_kernels_of_its_own_is_compiled_as_a_whole() -> None:
    """A numpy function stands for a kernel: XLA knows none."""

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        one = tf.numpy_function(lambda: np.float32(1), [], tf.float32)
        drawn = rng.uniform(batch["values"].shape, seed) * (1.0 if training else 0.0)
        total = tf.reduce_sum(variable) * tf.reshape(one, [])
        return base.Loss(batch["values"] * total, {"a_drawn": drawn})

    variable = tf.Variable(WEIGHT)
    objective = base.Objective(name="a", loss=loss, variables=[variable], metric_names=("a_drawn",))
    train([objective], [(0, 1)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="PyFunc"):
        train([dataclasses.replace(objective, jit_compile=True)], [(0, 1)])


def test_one_call_of_many_steps_is_many_calls_of_one() -> None:
    results = []
    for calls in ([(5, 3)], [(5, 1), (6, 2)]):
        variable = tf.Variable(WEIGHT)
        metrics = train([make_objective("one", variable, WEIGHT)], calls)
        joined = {name: np.concatenate([each[name] for each in metrics]) for name in metrics[0]}
        results.append((variable.numpy(), joined))
    (weight, whole), (other, parts) = results
    np.testing.assert_array_equal(weight, other)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])
    seeds = [rng.seed_for(rng.seed_from(9, rng.TRAINING, 0), step) for step in (5, 6, 7)]
    expected = [rng.uniform([4], seed).numpy().mean() for seed in seeds]
    np.testing.assert_allclose(whole["one_drawn"], expected, rtol=1e-6)


def test_validation_weighs_and_neither_draws_nor_moves() -> None:
    variable = tf.Variable(WEIGHT)
    call = step.make_validate_call(STRATEGY, [make_objective("one", variable, WEIGHT)])
    sums = call({"values": tf.constant([1.0, 2.0, 7.0]), "weight": tf.constant([1.0, 1.0, 0.0])})
    assert {name: float(value) for name, value in sums.items()} == {
        "weight": 2.0,
        "one_loss": 75.0,
        "one_drawn": 0.0,
    }
    np.testing.assert_array_equal(variable, WEIGHT)


@pytest.mark.parametrize("warmup_steps", [0, 10])
def test_rate_rises_linearly_and_falls_as_a_cosine(warmup_steps: int) -> None:
    training = TrainingConfig(
        steps=50, learning_rate=0.1, warmup_steps=warmup_steps, final_learning_rate_fraction=0.2
    )
    optimizer = step.make_optimizer(training)
    optimizer.build([tf.Variable([0.0])])
    for number in (0, 1, 5, 10, 30, 49, 50, 60):
        optimizer.iterations.assign(number)
        done = min(1.0, (number - warmup_steps) / (50 - warmup_steps))
        cosine = 0.2 + 0.8 * (1 + math.cos(math.pi * done)) / 2
        expected = 0.1 * (number / warmup_steps if number < warmup_steps else cosine)
        assert float(optimizer.learning_rate) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    training = TrainingConfig(steps=5, learning_rate=0.1, warmup_steps=10)
    optimizer = step.make_optimizer(training)
    optimizer.build([tf.Variable([0.0])])
    optimizer.iterations.assign(5)
    assert float(optimizer.learning_rate) == pytest.approx(0.05)


def test_weight_decay_shrinks_what_has_no_gradient() -> None:
    moved = {}
    for decay in (0.0, 0.5):
        training = TrainingConfig(warmup_steps=0, learning_rate=0.1, weight_decay=decay)
        optimizer = step.make_optimizer(training)
        variable = tf.Variable([1.0])
        optimizer.build([variable])
        optimizer.apply([tf.constant([0.0])], [variable])
        moved[decay] = float(variable.numpy()[0])
    assert moved[0.0] == 1.0
    assert moved[0.5] == pytest.approx(1 - 0.1 * 0.5)


def fit(training: TrainingConfig, n_steps: int) -> tuple[Any, Any, dict[str, Any]]:
    """Train a weight on noisy, dropped-out values; return it, its optimizer and the metrics."""
    variable = tf.Variable(WEIGHT)

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        noisy = batch["values"] + rng.normal(batch["values"].shape, seed) * float(training)
        values = tf.reduce_sum((noisy - variable) ** 2, axis=1)
        return base.Loss(values, {"one_drawn": noisy[:, 0]})

    objective = base.Objective(
        name="one", loss=loss, variables=[variable], metric_names=("one_drawn",)
    )
    optimizer = step.make_optimizer(training)
    optimizer.build([variable])
    call = step.make_train_call(STRATEGY, [objective], [optimizer], training)
    values = tf.random.stateless_normal([training.batch_size, 3], [1, 2])
    batch = {"values": values, "row": tf.range(training.batch_size)}
    iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
    metrics = call(iterator, tf.constant(0), tf.constant(n_steps))
    return variable, optimizer, {name: value.numpy() for name, value in metrics.items()}


@pytest.mark.parametrize("accumulate", [2, 4, 12])
def test_a_batch_in_parts_is_the_batch(accumulate: int) -> None:
    """Losses, gradients and the noise of each example; but for the order of the sums."""
    training = TrainingConfig(batch_size=12, warmup_steps=0, learning_rate=0.1)
    whole, _, expected = fit(training, 5)
    parts = dataclasses.replace(training, accumulate=accumulate)
    variable, _, metrics = fit(parts, 5)
    np.testing.assert_allclose(variable, whole, rtol=1e-5)
    assert metrics.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(metrics[name], values, rtol=1e-5, err_msg=name)


def test_averages_are_of_the_weights_after_each_step() -> None:
    training = TrainingConfig(batch_size=4, warmup_steps=0, learning_rate=0.1, ema=0.75)
    averages = None
    for n_steps in (1, 2, 3):
        variable, optimizer, _ = fit(training, n_steps)
        weight = variable.numpy()
        averages = weight if averages is None else 0.75 * averages + 0.25 * weight
        optimizer.finalize_variable_values([variable])
        if n_steps > 1:
            np.testing.assert_allclose(variable, averages, rtol=1e-6)
            assert np.abs(variable.numpy() - weight).max() > 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_knows_how_far_the_training_is(accumulate: int) -> None:
    variable = tf.Variable(0.0)

    def loss(batch: base.Batch, *_: Any) -> base.Loss:
        progress = tf.zeros_like(batch["values"]) + batch["progress"]
        return base.Loss(progress * variable, {"progress": progress})

    objective = base.Objective(
        name="one", loss=loss, variables=[variable], metric_names=("progress",)
    )
    training = TrainingConfig(batch_size=4, steps=8, accumulate=accumulate)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([variable])
    call = step.make_train_call(STRATEGY, [objective], [optimizer], training)
    batch = {"values": tf.ones(4), "row": tf.range(4)}
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    metrics = call(data, tf.constant(3), tf.constant(3))
    np.testing.assert_allclose(metrics["progress"], [3 / 8, 4 / 8, 5 / 8])
