"""How much each value of a frame counts in a squared error."""

import math
from typing import Any

import tensorflow as tf

from lstm_gen.models import base

_RANGE = 60 * math.log(10) / 10  # 60 dB in nats of power


def of(frames: Any, signal: base.Signal) -> Any:
    """Return the weight of every value of normalised frames, float32, broadcastable to them.

    Levels and parts of waves count 1. The instantaneous frequency of a bin that holds nothing
    but noise is noise, and as all bins have one, most of it is: a phase counts as its bin's level,
    from 1 for the example's loudest to 0 at 60 dB below, squared.

    Args:
      frames: float32 [batch, frames, channels], the true ones.
      signal: What they are.
    """
    audio = signal.audio
    if audio.representation != "complex_stft" or not audio.is_logarithmic:
        return tf.ones([1, 1, 1])
    n_bins = audio.n_bins_resolved
    level = frames[..., :n_bins] * signal.std[:n_bins] + signal.mean[:n_bins]
    below = tf.reduce_max(level, axis=[1, 2], keepdims=True) - level
    share = tf.square(tf.maximum(0.0, 1.0 - below / _RANGE))
    return tf.concat([tf.ones_like(share), share], axis=-1)


def squared_error(frames: Any, made: Any, signal: base.Signal) -> Any:
    """Return the weighted mean squared error of each example, float32 [batch]."""
    weight = of(frames, signal)
    error = weight * tf.square(made - frames)
    total = tf.reduce_sum(weight * tf.ones_like(frames), axis=[1, 2])
    return tf.reduce_sum(error, axis=[1, 2]) / total
