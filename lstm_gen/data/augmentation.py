"""Windows varied as they are read: louder or quieter, higher or lower.

Each window of each epoch is varied by random numbers of its own, which the schedule draws for
its place in the stream: neither the number of devices nor a restart changes them. Shifts in
time come for free, since each epoch cuts its windows elsewhere.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from lstm_gen import config

_NATS_PER_DB = math.log(10) / 10  # of power


def make(
    augment: config.AugmentationConfig, audio: config.AudioConfig
) -> Callable[[Any, Any], Any]:
    """Return the function that varies a batch.

    Args:
      augment: How much.
      audio: What the frames are.

    Returns:
      (frames, float32 [batch, frames, channels], as stored; chances, float32 [batch, 4], in
      [0, 1)) -> frames of the same shape.

    Raises:
      InputError: If frames of this representation cannot be varied so.
    """
    config.require(
        not augment.gain_db or audio.representation in ("log_mel", "log_stft"),
        "gain_db needs a dataset of log_mel or log_stft",
        representation=audio.representation,
    )
    config.require(
        not augment.shift_mels or audio.representation == "log_mel",
        "shift_mels needs a dataset of log_mel",
        representation=audio.representation,
    )

    def vary(frames: Any, chances: Any) -> Any:
        if augment.gain_db:
            gain_db = augment.gain_db * (2 * chances[:, 0] - 1)
            frames = _amplify(frames, gain_db[:, tf.newaxis, tf.newaxis], audio)
        if augment.shift_mels:
            n_shifts = 2 * augment.shift_mels + 1
            shifts = tf.cast(chances[:, 1] * n_shifts, tf.int32) - augment.shift_mels
            frames = _shift(frames, shifts, augment.shift_mels, math.log(audio.log_floor))
        return frames

    return vary


def _amplify(frames: Any, gain_db: Any, audio: config.AudioConfig) -> Any:
    """Return log-mel frames of sound made this much louder; silence stays at the floor."""
    floor = audio.log_floor
    power = tf.maximum(tf.exp(frames) - floor, 0.0)
    return tf.math.log(power * tf.exp(gain_db * _NATS_PER_DB) + floor)


def _shift(frames: Any, shifts: Any, widest: int, silence: float) -> Any:
    """Return frames moved up by this many bands, int32 [batch]; silence moves in."""
    channels = frames.shape[-1]
    padded = tf.pad(frames, [[0, 0], [0, 0], [widest, widest]], constant_values=silence)
    bands = widest - shifts[:, tf.newaxis] + tf.range(channels)
    return tf.gather(padded, bands, axis=2, batch_dims=1)
