"""Loudness of songs: clamp to the loudest training frames, servo of the level, limits of failures.

A song that runs away is too loud or too restless for a while, one that dies too quiet, one that
freezes too still. Limits are found in real music when a model is calibrated, and stored with its
weights; songs beyond them are drawn again.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import scipy.special
import tensorflow as tf

from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base

_UNBOUNDED = 1e9
_SECONDS = 2.0  # over which the level of the servo is averaged
_PERCENTILES = (5, 95)
_RANGE = 0.7  # nats of power, 3 dB, around the primer's level
_WINDOW_SECONDS = 4.0
_HOP_SECONDS = 0.5
_LIMIT_PERCENTILES = (1, 99)
_MARGIN_NATS = 0.7  # 3 dB
_MARGIN_FACTOR = 1.5


def has_loudness(audio: AudioConfig) -> bool:
    """Whether frames have a loudness and a flux: they are logarithms of power, without phases."""
    return audio.is_logarithmic and not audio.has_phase_steps


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
        if not has_loudness(spec.audio):
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
        self._has_loudness = has_loudness(spec.audio)
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
        half = tf.minimum(_RANGE, (self.highest - self.lowest) / 2)
        middle = tf.clip_by_value(primer_level, self.lowest + half, self.highest - half)
        wanted = tf.clip_by_value(level, middle - half, middle + half)
        gain = self._rate * (wanted - level)
        frames = frames + gain[:, tf.newaxis, tf.newaxis] / self._std
        return frames, level + self._rate * (self.level(frames) - level)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Ranges of the means over any 4 s of a song.

    Attributes:
      quietest: Least loudness, the log of a frame's total power, nats.
      loudest: Largest loudness, nats.
      stillest: Least spectral flux, nats a frame.
      wildest: Largest spectral flux, nats a frame.
    """

    quietest: float
    loudest: float
    stillest: float
    wildest: float


def fit_limits(clips: Sequence[np.ndarray], frames_per_second: float) -> Limits:
    """Return the limits of real music, with margins of 3 dB and half of the flux.

    Args:
      clips: float [frames, channels], logarithms of power, not normalised.
      frames_per_second: Frame rate, Hz.
    """
    windows = [_windows(clip, frames_per_second) for clip in clips]
    levels, fluxes = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    quietest, loudest = np.percentile(levels, _LIMIT_PERCENTILES)
    stillest, wildest = np.percentile(fluxes, _LIMIT_PERCENTILES)
    return Limits(
        quietest=round(float(quietest) - _MARGIN_NATS, 4),
        loudest=round(float(loudest) + _MARGIN_NATS, 4),
        stillest=round(float(stillest) / _MARGIN_FACTOR, 6),
        wildest=round(float(wildest) * _MARGIN_FACTOR, 6),
    )


def excesses(song: np.ndarray, limits: Limits, frames_per_second: float) -> dict[str, float]:
    """Return how far a song is beyond the limits, by the name of the failure; {} if it is within.

    Args:
      song: float [frames, channels], as for `fit_limits`.
      limits: The limits.
      frames_per_second: Frame rate, Hz.

    Returns:
      "fell silent", "grew too loud", "froze" or "ran wild" to the mean excess over all stretches:
      of loudness in nats, of flux in its logarithm. Infinite for frames that are not finite.
    """
    if not np.isfinite(song).all():
        return {"ran wild": math.inf}
    levels, fluxes = _windows(song, frames_per_second)
    changes = np.log(np.maximum(fluxes, 1e-9))
    beyond = {
        "fell silent": limits.quietest - levels,
        "grew too loud": levels - limits.loudest,
        "froze": math.log(max(limits.stillest, 1e-9)) - changes,
        "ran wild": changes - math.log(max(limits.wildest, 1e-9)),
    }
    means = {name: float(np.maximum(values, 0).mean()) for name, values in beyond.items()}
    return {name: value for name, value in means.items() if value > 0}


def measure(frames: np.ndarray) -> np.ndarray:
    """Return the log of the total power of frames of logarithms, nats, [frames]."""
    return np.asarray(scipy.special.logsumexp(frames, axis=-1))


def flux(frames: np.ndarray) -> np.ndarray:
    """Return the mean rise over channels from each frame to the next, nats, [frames - 1]."""
    return np.asarray(np.maximum(np.diff(frames, axis=0), 0).mean(axis=-1))


def _windows(frames: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loudness and flux of stretches of 4 s, or of the whole if it is shorter."""
    levels = measure(frames.astype(np.float64))
    changes = flux(frames.astype(np.float64)) if len(frames) > 1 else np.zeros(1)
    length, hop = (max(1, round(seconds * rate)) for seconds in (_WINDOW_SECONDS, _HOP_SECONDS))
    return _means(levels, length, hop), _means(changes, length, hop)


def _means(values: np.ndarray, length: int, hop: int) -> np.ndarray:
    length = min(length, len(values))
    return np.lib.stride_tricks.sliding_window_view(values, length)[::hop].mean(axis=-1)
