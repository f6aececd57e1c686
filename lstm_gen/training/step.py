"""Training step of every family: gradient of each objective, clipping, update.

Each objective of a family has its own optimizer. Several steps run on the device per call, so that
Python's overhead is per call and not per step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.platform import devices

Metrics = dict[str, Any]


class _Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule times a variable."""

    def __init__(self, schedule: Any, scale: Any) -> None:
        self._schedule, self._scale = schedule, scale

    def __call__(self, step: Any) -> Any:
        return self._schedule(step) * self._scale


def make_optimizer(
    training: TrainingConfig, scale: Any = 1.0, momentum: float = 0.9
) -> keras.optimizers.Optimizer:
    """Return Adam (AdamW with weight decay) with a linear warm-up and a cosine decay.

    Args:
      training: Learning-rate schedule, weight decay and decay of the averaged weights.
      scale: float32 variable, factor on the learning rate.
      momentum: Adam's beta_1.
    """
    decay_steps = max(1, training.steps - training.warmup_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if training.warmup_steps else training.learning_rate,
        decay_steps=decay_steps,
        alpha=training.final_learning_rate_fraction,
        warmup_target=training.learning_rate if training.warmup_steps else None,
        warmup_steps=training.warmup_steps,
    )
    # beta_2 below Keras's default: a run on a small corpus has hundreds of steps, not millions.
    options: dict[str, Any] = {
        "beta_1": momentum,
        "beta_2": 0.99,
        "use_ema": training.ema > 0,
    }
    if training.ema:
        options["ema_momentum"] = training.ema
    if training.weight_decay:
        options["weight_decay"] = training.weight_decay
    kind = keras.optimizers.AdamW if training.weight_decay else keras.optimizers.Adam
    return kind(_Scaled(schedule, scale), **options)


def make_optimizers(
    training: TrainingConfig, objectives: Sequence[base.Objective], scale: Any = 1.0
) -> list[keras.optimizers.Optimizer]:
    """Return the optimizer of each objective, built; for the arguments see `make_optimizer`."""
    optimizers = [make_optimizer(training, scale, one.momentum) for one in objectives]
    for optimizer, objective in zip(optimizers, objectives, strict=True):
        optimizer.build(objective.variables)
    return optimizers


def make_replica_step(
    objectives: Sequence[base.Objective],
    optimizers: Sequence[keras.optimizers.Optimizer],
    training: TrainingConfig,
) -> Callable[[base.Batch, Any], Metrics]:
    """Return the step of one replica, to be called in its context; see `make_train_call`.

    Returns:
      (batch of the replica, step) -> metric name to the replica's part of the sum, or the norm.
    """

    def replica_step(batch: base.Batch, step: Any) -> Metrics:
        metrics: Metrics = {}
        for objective, optimizer in zip(objectives, optimizers, strict=True):
            gradients, sums = _accumulate(objective, batch, step, training)
            gradients, norm = _clip(gradients, training.clip_norm)
            optimizer.apply(gradients, objective.variables)
            metrics |= sums | {f"{objective.name}_gradient_norm": norm}
        return metrics

    return replica_step


def make_train_call(
    strategy: tf.distribute.Strategy,
    objectives: Sequence[base.Objective],
    optimizers: Sequence[keras.optimizers.Optimizer],
    training: TrainingConfig,
) -> Callable[[Any, Any, Any], Metrics]:
    """Return a function that runs several optimizer steps on the device.

    Args:
      strategy: Devices of the model.
      objectives: Objectives of a step, in order.
      optimizers: Optimizer of each objective, already built.
      training: Batch size, clipping and seed.

    Returns:
      (iterator, first step, number of steps) -> metric name to float32 [steps].
    """
    replica_step = make_replica_step(objectives, optimizers, training)
    compiled = _compiled(strategy, objectives, replica_step)

    @tf.function
    def train_call(iterator: Any, first_step: Any, n_steps: Any) -> Metrics:
        names = _metric_names(objectives)
        arrays = {name: tf.TensorArray(tf.float32, n_steps) for name in names}
        for index in tf.range(n_steps):
            metrics = strategy.run(compiled, args=(next(iterator), first_step + index))
            arrays = {
                name: array.write(index, _reduce(strategy, name, metrics[name]))
                for name, array in arrays.items()
            }
        return {name: array.stack() for name, array in arrays.items()}

    return train_call


def make_validate_call(
    strategy: tf.distribute.Strategy, objectives: Sequence[base.Objective]
) -> Callable[[Any], Metrics]:
    """Return a function from a batch to weighted sums of the metrics, and the sum of weights."""

    def replica_sums(batch: base.Batch) -> Metrics:
        sums: Metrics = {"weight": tf.reduce_sum(batch["weight"])}
        for objective in objectives:
            loss = objective.loss(batch, tf.zeros([3], tf.int32), False)
            values = loss.metrics | {f"{objective.name}_loss": loss.per_example}
            sums |= {name: tf.reduce_sum(batch["weight"] * v) for name, v in values.items()}
        return sums

    compiled = _compiled(strategy, objectives, replica_sums)

    @tf.function
    def validate_call(batch: base.Batch) -> Metrics:
        sums = strategy.run(compiled, args=(batch,))
        return {name: strategy.reduce("SUM", value, axis=None) for name, value in sums.items()}

    return validate_call


def _compiled(
    strategy: tf.distribute.Strategy,
    objectives: Sequence[base.Objective],
    function: Callable[..., Metrics],
) -> Callable[..., Metrics]:
    """Return a function of the objectives compiled, by XLA where that is possible and faster."""
    jit_compile = all(one.jit_compile for one in objectives)
    compiled: Callable[..., Metrics] = tf.function(
        function, jit_compile=devices.compiles_whole_steps(strategy, jit_compile)
    )
    return compiled


def _accumulate(
    objective: base.Objective,
    batch: base.Batch,
    step: Any,
    training: TrainingConfig,
) -> tuple[list[Any], Metrics]:
    """Return gradients and metrics of a replica's batch, accumulated over micro-batches."""
    count = training.accumulate
    if count == 1:
        return _differentiate(objective, batch, step, training)
    micro_batches = {
        name: tf.reshape(values, [count, values.shape[0] // count, *values.shape[1:]])
        for name, values in batch.items()
    }

    def differentiate(index: Any) -> tuple[list[Any], Metrics]:
        micro_batch = {name: values[index] for name, values in micro_batches.items()}
        return _differentiate(objective, micro_batch, step, training)

    totals = differentiate(0)
    for index in tf.range(1, count):
        totals = tf.nest.map_structure(tf.add, totals, differentiate(index))
    return totals


def _differentiate(
    objective: base.Objective,
    batch: base.Batch,
    step: Any,
    training: TrainingConfig,
) -> tuple[list[Any], Metrics]:
    """Return gradients and metrics of an objective; their sums over replicas are global means."""
    # The draws of an example depend on its row in the global batch, not on its device.
    seed = rng.seed_from(training.seed, rng.TRAINING, batch["row"][0])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(objective.variables)
        loss = objective.loss(
            {**batch, "progress": tf.cast(step, tf.float32) / training.steps},
            rng.seed_for(seed, step),
            True,
        )
        # The sum over replicas of these is the mean over the global batch.
        total = tf.reduce_sum(loss.per_example) / training.batch_size
    gradients = tape.gradient(total, objective.variables)
    sums = {f"{objective.name}_loss": total}
    for name, values in loss.metrics.items():
        sums[name] = tf.reduce_sum(values) / training.batch_size
    return gradients, sums


def _clip(gradients: list[Any], clip_norm: float) -> tuple[list[Any], Any]:
    """Return gradients clipped to a global norm over all replicas, and their norm before."""
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas > 1:
        gradients = context.all_reduce("SUM", gradients)
    norm = tf.linalg.global_norm(gradients)
    scale = tf.minimum(1.0, clip_norm / tf.maximum(norm, 1e-12)) if clip_norm else 1.0
    # The optimizer sums over the replicas again, hence the division.
    return [gradient * (scale / replicas) for gradient in gradients], norm


def _reduce(strategy: tf.distribute.Strategy, name: str, value: Any) -> Any:
    """Return a metric over all replicas; each has its part of the sum, or the same norm."""
    kind = "MEAN" if name.endswith("_gradient_norm") else "SUM"
    return strategy.reduce(kind, value, axis=None)


def _metric_names(objectives: Sequence[base.Objective]) -> list[str]:
    names = [f"{o.name}_{kind}" for o in objectives for kind in ("loss", "gradient_norm")]
    return names + [name for o in objectives for name in o.metric_names]
