"""Stateless random numbers (Philox): an example's draws depend on a seed and its row alone.

A seed is an int32 tensor of shape [3]: two key words, and the row of the first example in the
global batch. The first axis of all draws is the examples. So a batch draws the same numbers
whether or not it is split over devices, hosts or calls.

TensorFlow's default generator differs between eager execution and XLA. Philox does not, but
TensorFlow's conversion of its bits does, so only bits are drawn and converted here. Each row has
counters of its own, so one operation draws any range of rows.

Source: Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
"""

import math
from typing import Any

import tensorflow as tf

SONGS, TRAINING = range(2)
_PHILOX = 1
_WORDS = 4  # per Philox counter


def seed_from(number: int, use: int, first_row: Any) -> Any:
    """Return the seed of a run for one use.

    Args:
      number: Seed of the run, 0 to 2^31 - 1.
      use: `SONGS` or `TRAINING`.
      first_row: Row of the first example, a scalar.
    """
    return tf.stack([number, use, tf.cast(first_row, tf.int32)])


def seed_for(seed: Any, purpose: Any) -> Any:
    """Return a seed derived for one purpose, step or chunk, for the same rows."""
    words = tf.random.experimental.stateless_fold_in(seed[:2], purpose, alg="philox")
    return tf.concat([words, seed[2:]], axis=0)


def for_loss(seed: Any, batch: Any, training: bool) -> Any:
    """Return a training step's seed; in validation each row always has the same draws."""
    return seed if training else seed_from(0, TRAINING, batch["row"][0])


def normal(shape: Any, seed: Any) -> Any:
    """Return standard normal draws, float32, within 5.3 of 0."""
    odd = tf.cast(2 * _bits(shape, seed, 23) + 1, tf.float32)  # from 1 to 2^24 - 1, all exact
    return math.sqrt(2.0) * tf.math.erfinv(odd * 2.0**-23 - 1.0)


def uniform(shape: Any, seed: Any) -> Any:
    """Return uniform draws from [0, 1), float32."""
    return tf.cast(_bits(shape, seed, 24), tf.float32) * 2.0**-24


def choose(logits: Any, uniform: Any) -> Any:
    """Return categorical samples, int32 [...], by the inverse cumulative distribution.

    Args:
      logits: Unnormalised log weights, float32 [..., components].
      uniform: Draws from [0, 1), float32 [...].
    """
    ends = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    index = tf.reduce_sum(tf.cast(uniform[..., tf.newaxis] >= ends, tf.int32), axis=-1)
    return tf.minimum(index, ends.shape[-1] - 1)  # rounding may leave the last end below 1


def _bits(shape: Any, seed: Any, count: int) -> Any:
    """Return int32 draws from [0, 2^count), of shape [examples, ...]."""
    examples, per_example = shape[0], math.prod(shape[1:])
    counters = -(-per_example // _WORDS)  # of an example
    first = tf.cast(seed[2], tf.uint64) * tf.cast(counters, tf.uint64)
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[examples, counters * _WORDS],
        key=tf.bitcast(seed[:2], tf.uint64)[tf.newaxis],
        counter=tf.stack([first, tf.zeros_like(first)]),
        alg=_PHILOX,
        dtype=tf.int32,
    )
    return tf.reshape(tf.bitwise.bitwise_and(bits[:, :per_example], (1 << count) - 1), shape)


def dropout(values: Any, rate: float, seed: Any) -> Any:
    """Return values with a fraction `rate` zeroed and the rest scaled to keep the expectation."""
    if rate == 0.0:
        return values
    kept = uniform(_shape(values), seed) >= rate
    return tf.where(kept, values / tf.cast(1.0 - rate, values.dtype), tf.zeros_like(values))


def corrupt(frames: Any, level: float, seed: Any, deviations: Any = None) -> Any:
    """Add noise to a sequence at a level drawn for it, keeping its variance.

    sqrt(1 - s^2) x + s d eps with s ~ U(0, level): inputs as imperfect as a model's own frames are
    in a rollout.

    Args:
      frames: float32 [batch, frames, channels].
      level: Largest s, 0 to 1.
      seed: See above.
      deviations: Standard deviation d of each channel, [channels]; None for 1, as of normalised
        frames.

    Returns:
      float32, the shape of `frames`.

    Source: noise on the inputs of an autoregressive audio model, CAM, Pasini et al. 2024
    (arXiv 2411.18447).
    """
    if level == 0.0:
        return frames
    scale = level * uniform([_shape(frames)[0], 1, 1], seed_for(seed, 0))
    noise = normal(_shape(frames), seed_for(seed, 1))
    if deviations is not None:
        noise *= deviations
    return tf.sqrt(1.0 - scale**2) * frames + scale * noise


def _shape(values: Any) -> list[Any]:
    """Return the shape, with the number of examples as a tensor if it is not static."""
    return [values.shape[0] or tf.shape(values)[0], *values.shape[1:]]
