"""Stateless random draws: the same seed gives the same numbers, eager or compiled.

TensorFlow's default generator differs between eager execution and XLA. Philox does not, but
what is made of its bits does, so only bits are drawn and the rest is done here. A seed is
an int32 or int64 tensor of shape [2].
"""

import math
from typing import Any

import tensorflow as tf

_ALGORITHM = "philox"


def seed_for(seed: Any, purpose: int) -> Any:
    """Return an independent seed for one purpose (or song, or step) of a seed."""
    return tf.random.experimental.stateless_fold_in(seed, purpose, alg=_ALGORITHM)


def normal(shape: Any, seed: Any) -> Any:
    """Return float32 standard normal draws, at most 5.3 from 0."""
    odd = tf.cast(2 * _bits(shape, seed, 23) + 1, tf.float32)  # from 1 to 2^24 - 1, all exact
    return math.sqrt(2.0) * tf.math.erfinv(odd * 2.0**-23 - 1.0)


def uniform(shape: Any, seed: Any) -> Any:
    """Return float32 draws from [0, 1)."""
    return tf.cast(_bits(shape, seed, 24), tf.float32) * 2.0**-24


def _bits(shape: Any, seed: Any, count: int) -> Any:
    """Return int32 draws from [0, 2^count)."""
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg=_ALGORITHM)
    return tf.bitwise.bitwise_and(bits, (1 << count) - 1)


def dropout(values: Any, rate: float, seed: Any) -> Any:
    """Zero a share of the values and scale the rest, so that the expectation stays."""
    if rate == 0.0:
        return values
    kept = uniform(tf.shape(values), seed) >= rate
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
    share = level * uniform([tf.shape(frames)[0], 1, 1], seed_for(seed, 0))
    return tf.sqrt(1.0 - share**2) * frames + share * normal(tf.shape(frames), seed_for(seed, 1))
