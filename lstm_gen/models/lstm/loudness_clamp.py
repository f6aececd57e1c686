"""How loud a frame may become: no louder than any that the model has learnt from.

A mixture has a tail. Once in a thousand frames it draws one that is far louder than music ever
was, which is heard as a knock, and when the song is written its peak makes all the rest soft.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base

_NONE = 1e9


class LoudnessBound(keras.layers.Layer):
    """Holds the largest values of the training frames; until they are known, bounds nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)  # in any precision

    def build(self, input_shape: Any) -> None:
        """Create the bounds for frames of this shape."""
        none = keras.initializers.Constant(_NONE)
        self.highest = self.add_weight(
            shape=[input_shape[-1]], initializer=none, trainable=False, name="highest"
        )
        self.loudest = self.add_weight(shape=[], initializer=none, trainable=False, name="loudest")

    def fit(self, spec: base.FrameSpec, examples: base.Examples) -> None:
        """Take note of the training frames, where values are logarithms of power."""
        if not spec.audio.is_logarithmic or spec.audio.has_phase_steps:
            return
        highest, loudest = np.full(spec.channels, -_NONE), -_NONE
        for batch in examples():
            frames = batch["frames"][batch["weight"] > 0]
            highest = np.maximum(highest, frames.max(axis=(0, 1)))
            loudest = max(loudest, float((frames * spec.std).mean(axis=-1).max()))
        self.highest.assign(highest)
        self.loudest.assign(loudest)

    def call(self, frames: Any, std: Any) -> Any:
        """Return normalised frames, [..., channels], lowered to what was ever heard.

        A value is at most the highest of its channel, and the mean of a frame, in nats, at most
        that of the loudest frame: all its channels are lowered alike.

        Args:
          frames: float32 [..., channels].
          std: What each channel was divided by, float32 [channels].
        """
        frames = tf.minimum(frames, self.highest)
        level = tf.reduce_mean(frames * std, axis=-1, keepdims=True)
        return frames - tf.nn.relu(level - self.loudest) / std
