"""Phase-coherent crossfade and concatenation of examples.

An example starts with a phase and continues in phase steps; a song has steps only. So each seam
gets the step from the song's phase to the example's first one, or the bins of a partial
would drift apart there.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import stft
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base


def crossfade(first: Any, second: Any, overlap: int, spec: base.FrameSpec) -> Any:
    """Return the crossfade from one example to the next.

    Args:
      first: Normalised frames of examples, float32 [examples, frames, 2 * bins].
      second: The examples that follow, the same shape.
      overlap: Frames of the crossfade.
      spec: Their representation and normalisation.

    Returns:
      float32 [examples, overlap + 1, 2 * bins]: the mixed frames, and the next frame of `second`
      with phase steps that continue from them.
    """
    audio, n_bins = spec.audio, spec.audio.n_bins_resolved
    first, second = first * spec.std + spec.mean, second * spec.std + spec.mean
    old, new = _phases(first, audio), _phases(second, audio)
    fraction = tf.constant((np.arange(overlap) + 1) / (overlap + 1), tf.float32)[:, tf.newaxis]
    before = first[:, -overlap:, :n_bins] + tf.math.log(1.0 - fraction)
    after = second[:, :overlap, :n_bins] + tf.math.log(fraction)
    mixed = _transform(before, old[:, -overlap:]) + _transform(after, new[:, :overlap])
    power = tf.math.log(tf.square(tf.abs(mixed)) + audio.log_floor)
    track = tf.concat(
        [
            old[:, -overlap - 1 : -overlap],
            tf.math.angle(mixed) / np.float32(np.pi),
            new[:, overlap : overlap + 1],
        ],
        axis=1,
    )
    power = tf.concat([power, second[:, overlap : overlap + 1, :n_bins]], axis=1)
    steps = _wrapped(track[:, 1:] - track[:, :-1] - _centre(audio, 1, 2))
    return (tf.concat([power, steps], axis=-1) - spec.mean) / spec.std


def concatenate(frames: Any, spec: base.FrameSpec) -> Any:
    """Return the concatenation of examples, phase-coherent.

    Args:
      frames: Normalised frames, float32 [sequences, examples, frames, 2 * bins].
      spec: Their representation and normalisation.

    Returns:
      float32 [sequences, examples * frames, 2 * bins].
    """
    audio, n_bins = spec.audio, spec.audio.n_bins_resolved
    sequences, examples, length = frames.shape[:3]
    features = frames * spec.std + spec.mean
    phases = _phases(tf.reshape(features, [-1, length, features.shape[-1]]), audio)
    phases = tf.reshape(phases, [sequences, examples, length, n_bins])
    seams = _wrapped(phases[:, 1:, 0] - phases[:, :-1, -1] - _centre(audio, 1, 2))
    starts = tf.concat([features[:, :1, 0, n_bins:], seams], axis=1)[:, :, tf.newaxis]
    steps = tf.concat([starts, features[:, :, 1:, n_bins:]], axis=2)
    joined = (tf.concat([features[..., :n_bins], steps], axis=-1) - spec.mean) / spec.std
    return tf.reshape(joined, [sequences, examples * length, frames.shape[-1]])


def _phases(features: Any, audio: AudioConfig) -> Any:
    """Return the phases of examples, half turns, float32 [examples, frames, bins]."""
    steps = features[..., audio.n_bins_resolved :]
    return tf.cumsum(steps, axis=1) + _centre(audio, 0, features.shape[1])


def _centre(audio: AudioConfig, start: int, stop: int) -> Any:
    """Return the phase of bins at their centre frequency, half turns, float32 [frames, bins]."""
    return tf.constant(stft.centre_phase(slice(start, stop), audio), tf.float32)


def _transform(power: Any, phase: Any) -> Any:
    """Return the spectrum of ln(power) and phases, complex64."""
    magnitude, angle = tf.exp(0.5 * power), np.float32(np.pi) * phase
    return tf.complex(magnitude * tf.cos(angle), magnitude * tf.sin(angle))


def _wrapped(steps: Any) -> Any:
    """Return phase differences wrapped to -1 to 1 half turns."""
    return tf.math.floormod(steps + 1.0, 2.0) - 1.0
