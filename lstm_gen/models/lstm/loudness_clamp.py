"""Loudness clamp: generated frames are at most as loud as the training frames.

About one in a thousand samples of a mixture is far louder than the training data: an audible click,
whose peak makes the rest of the song quiet when the file is normalised.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base

_UNBOUNDED = 1e9


class LoudnessClamp(keras.layers.Layer):
    """Clamp to the maxima of the training frames; the identity until `fit`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)  # in any precision

    def build(self, input_shape: Any) -> None:
        """Create the maxima for frames of this shape."""
        unbounded = keras.initializers.Constant(_UNBOUNDED)
        self.highest = self.add_weight(
            shape=[input_shape[-1]], initializer=unbounded, trainable=False, name="highest"
        )
        self.loudest = self.add_weight(
            shape=[], initializer=unbounded, trainable=False, name="loudest"
        )

    def fit(self, spec: base.FrameSpec, examples: base.Examples) -> None:
        """Set the maxima from the training frames, if their values are logarithms of power."""
        if not spec.audio.is_logarithmic or spec.audio.has_phase_steps:
            return
        highest, loudest = np.full(spec.channels, -_UNBOUNDED), -_UNBOUNDED
        for batch in examples():
            frames = batch["frames"][batch["weight"] > 0]
            highest = np.maximum(highest, frames.max(axis=(0, 1)))
            loudest = max(loudest, float((frames * spec.std).mean(axis=-1).max()))
        self.highest.assign(highest)
        self.loudest.assign(loudest)

    def call(self, frames: Any, std: Any) -> Any:
        """Return normalised frames, [..., channels], clamped.

        Each value is at most its channel's maximum. A frame whose mean, in nats, exceeds that of
        the loudest training frame is lowered by the excess in all channels.

        Args:
          frames: float32 [..., channels].
          std: Standard deviation of each channel, float32 [channels].
        """
        frames = tf.minimum(frames, self.highest)
        level = tf.reduce_mean(frames * std, axis=-1, keepdims=True)
        return frames - tf.nn.relu(level - self.loudest) / std
