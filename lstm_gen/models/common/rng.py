"""Stateless random draws: an example's numbers are a function of a seed and of its row.

A seed is an int32 tensor of shape [3]: two words to draw by, and the row of the global batch
that the first example at hand stands in. The first axis of what is drawn is that of examples.
So a batch that is shared out over devices, hosts or calls draws what it draws in one piece.

TensorFlow's default generator differs between eager execution and XLA. Philox does not, but
what is made of its bits does, so only bits are drawn and the rest is done here. As a row
starts at a counter of its own, rows of any place are drawn by one operation.

Source: Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
"""

import math
from typing import Any

import tensorflow as tf

SONGS, TRAINING = range(2)
_PHILOX = 1
_WORDS = 4  # that Philox makes of a counter


def seed_from(number: int, use: int, first_row: Any) -> Any:
    """Return the seed of a run for one use, for examples from a row on.

    Args:
      number: Of the run, 0 to 2^31 - 1.
      use: `SONGS` or `TRAINING`.
      first_row: Where the first example stands, a scalar.
    """
    return tf.stack([number, use, tf.cast(first_row, tf.int32)])


def seed_for(seed: Any, purpose: Any) -> Any:
    """Return an independent seed for one purpose (or step, or chunk) of a seed, same rows."""
    words = tf.random.experimental.stateless_fold_in(seed[:2], purpose, alg="philox")
    return tf.concat([words, seed[2:]], axis=0)


def normal(shape: Any, seed: Any) -> Any:
    """Return float32 standard normal draws, at most 5.3 from 0."""
    odd = tf.cast(2 * _bits(shape, seed, 23) + 1, tf.float32)  # from 1 to 2^24 - 1, all exact
    return math.sqrt(2.0) * tf.math.erfinv(odd * 2.0**-23 - 1.0)


def uniform(shape: Any, seed: Any) -> Any:
    """Return float32 draws from [0, 1)."""
    return tf.cast(_bits(shape, seed, 24), tf.float32) * 2.0**-24


def choose(logits: Any, uniform: Any) -> Any:
    """Return the component that each draw falls on.

    Args:
      logits: Logarithms of weights of any sum, float32 [..., components].
      uniform: Draws from [0, 1), float32 [...].

    Returns:
      int32 [...].
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
    """Zero a share of the values and scale the rest, so that the expectation stays."""
    if rate == 0.0:
        return values
    kept = uniform(_shape(values), seed) >= rate
    return tf.where(kept, values / tf.cast(1.0 - rate, values.dtype), tf.zeros_like(values))


def corrupt(frames: Any, level: float, seed: Any) -> Any:
    """Mix noise into normalised frames, its share drawn per sequence.

    x_in = sqrt(1 - s^2) x + s eps with s ~ U(0, level), so that the variance stays. A model
    trained on it meets frames that are a little wrong, as its own are in a rollout.

    Args:
      frames: float32 [batch, frames, channels].
      level: Largest share, 0 to 1.
      seed: Stateless seed.

    Returns:
      float32, the shape of `frames`.

    Source: noise on the inputs of an autoregressive audio model, CAM, Pasini et al. 2024
    (arXiv 2411.18447).
    """
    if level == 0.0:
        return frames
    share = level * uniform([_shape(frames)[0], 1, 1], seed_for(seed, 0))
    return tf.sqrt(1.0 - share**2) * frames + share * normal(_shape(frames), seed_for(seed, 1))


def _shape(values: Any) -> list[Any]:
    """Return the shape, its number of examples as a tensor if it is not known."""
    return [values.shape[0] or tf.shape(values)[0], *values.shape[1:]]
