"""Loudness of songs: clamp to the loudest training frames, and servo of the level over seconds."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base

_UNBOUNDED = 1e9
_SECONDS = 2.0  # over which the level of the servo is averaged
_PERCENTILES = (5, 95)
_RANGE = 0.7  # nats of power, 3 dB, around the primer's level


def has_loudness(spec: base.FrameSpec) -> bool:
    """Whether the frames are logarithms of power."""
    return spec.audio.is_logarithmic and not spec.audio.has_phase_steps


class LoudnessClamp(keras.layers.Layer):
    """Clamp to the maxima of the training frames; the identity until `fit`.

    About one in a thousand samples of a mixture is far louder than the training data: an audible
    click, whose peak makes the rest of the song quiet when the file is normalised.
    """

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
        if not has_loudness(spec):
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


class LevelServo(keras.layers.Layer):
    """Slow gain that returns a song to the levels of the training recordings; else the identity.

    A model continues what it made, so a passage a little too quiet is continued as one that is, and
    songs sink or grow where music does not. Level is the logarithm of a frame's power, averaged
    over seconds: notes keep their attack and decay. It may vary by `_RANGE` around the primer's,
    within percentiles of the training recordings'.

    Args:
      spec: The frame spec.
      step_frames: Frames of a step.
    """

    def __init__(self, spec: base.FrameSpec, step_frames: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self._mean, self._std = spec.mean, spec.std
        self._has_loudness = has_loudness(spec)
        self._window = max(1, round(_SECONDS * spec.audio.frames_per_second))
        self._rate = min(1.0, step_frames / self._window)

    def build(self, input_shape: Any = None) -> None:
        """Create the limits, which until `fit` nothing exceeds."""
        del input_shape
        constant = keras.initializers.Constant
        self.lowest, self.highest = (
            self.add_weight(shape=[], initializer=constant(limit), trainable=False, name=name)
            for name, limit in (("lowest", -_UNBOUNDED), ("highest", _UNBOUNDED))
        )
        self.built = True

    def fit(self, examples: base.Examples) -> None:
        """Set the limits to low and high percentiles of the levels of the training windows."""
        if not self._has_loudness:
            return
        levels: list[np.ndarray] = []
        for batch in examples():
            frames = batch["frames"][batch["weight"] > 0]
            window = min(self._window, frames.shape[1])
            starts = range(0, frames.shape[1] - window + 1, window)
            levels += [
                np.asarray(self.level(frames[:, start : start + window])) for start in starts
            ]
        lowest, highest = np.percentile(np.concatenate(levels), _PERCENTILES)
        self.lowest.assign(lowest)
        self.highest.assign(highest)

    def level(self, frames: Any) -> Any:
        """Return the mean level of the last seconds, nats, [batch]; 0 if frames have none."""
        if not self._has_loudness:
            return tf.zeros([tf.shape(frames)[0]])
        logarithms = frames[:, -self._window :] * self._std + self._mean
        return tf.reduce_mean(tf.reduce_logsumexp(logarithms, axis=-1), axis=-1)

    def call(self, frames: Any, level: Any, primer_level: Any) -> tuple[Any, Any]:
        """Return the frames of a step with the gain, and the level after them.

        Args:
          frames: float32 [batch, step frames, channels], normalised.
          level: Level before them, nats, [batch].
          primer_level: Level of the primer, nats, [batch].
        """
        middle = tf.clip_by_value(primer_level, self.lowest + _RANGE, self.highest - _RANGE)
        wanted = tf.clip_by_value(level, middle - _RANGE, middle + _RANGE)
        gain = self._rate * (wanted - level)
        frames = frames + gain[:, tf.newaxis, tf.newaxis] / self._std
        return frames, level + self._rate * (self.level(frames) - level)
