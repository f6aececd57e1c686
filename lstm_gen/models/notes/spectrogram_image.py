"""Spectrogram images: levels from -1 to 1 and gated phase steps, with the loudness apart.

A frame of `complex_stft` holds ln(power) and phase steps. Levels are relative to the loudest bin of
the example, 0 dB at 1 and -80 dB at -1; the loudness of the example is a separate number. The phase
step of a silent bin is noise, so a gate removes it: 0 below -70 dB, 1 above -60 dB. The first frame
holds the phase itself, which is inaudible: it is dropped, and reconstruction starts with
phases that agree at the frame's centre, a half turn from one bin to the next.

Source: Engel et al. 2019, GANSynth (log-magnitude and instantaneous frequency); gate and
reference are our own.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.platform import errors

_UNIT = 40 * math.log(10) / 10  # nats of power in a level of 1
_LOUDEST = 50.0  # nats; frames must stay below 60


def require_phase(audio: AudioConfig) -> None:
    """Raise InputError unless frames hold levels and phase steps."""
    errors.require(
        audio.has_phase_steps,
        "frames must hold levels and phase steps; make the dataset with "
        "--representation=complex_stft --phase=instantaneous_frequency",
        representation=audio.representation,
        phase=audio.phase,
    )


def gate(level: Any) -> Any:
    """Return the gate of phase steps at a level, 0 to 1."""
    return tf.clip_by_value(4.0 * (level + 0.75), 0.0, 1.0)


def amplitude(level: Any) -> Any:
    """Return the amplitude of levels relative to the loudest, 0.0001 to 1."""
    return tf.exp((level - 1.0) * (_UNIT / 2))


def peak_normalised(level: Any) -> Any:
    """Return levels, float32 [examples, frames, bins], shifted so that each example's peak is 1.

    A generator that misses the few loudest bins, which weigh next to nothing in a mean, then has
    all other levels wrong.
    """
    loudest = tf.reduce_max(level, axis=[1, 2], keepdims=True)
    return tf.maximum(level + (1.0 - loudest), -1.0)


def from_frames(frames: Any, spec: base.FrameSpec) -> tuple[Any, Any]:
    """Return normalised frames as images.

    Args:
      frames: float32 [examples, frames, 2 * bins].
      spec: Their representation and normalisation.

    Returns:
      Images, float32 [examples, frames, bins, 2]: level, -1 to 1, and gated phase step, half turns.
      Loudness, float32 [examples, 1]: about 1 for the loudest of the dataset, 1 less per 40 dB.
    """
    n_bins = spec.audio.n_bins_resolved
    features = frames * spec.std + spec.mean
    power, steps = features[..., :n_bins], features[..., n_bins:]
    peak = tf.reduce_max(power, axis=[1, 2], keepdims=True)
    level = tf.maximum(1.0 + (power - peak) / _UNIT, -1.0)
    later = tf.constant(np.arange(frames.shape[1]) > 0, tf.float32)[:, tf.newaxis]
    loudness = 1.0 + (peak[:, :, 0] - _reference(spec)) / _UNIT
    return tf.stack([level, steps * gate(level) * later], axis=-1), loudness


def to_frames(image: Any, loudness: Any, spec: base.FrameSpec) -> Any:
    """Return normalised frames, float32 [examples, frames, 2 * bins]; inverts `from_frames`."""
    audio = spec.audio
    peak = _reference(spec) + (loudness[:, :, tf.newaxis] - 1.0) * _UNIT
    power = peak + (image[..., 0] - 1.0) * _UNIT
    power = tf.clip_by_value(power, math.log(audio.log_floor), _LOUDEST)
    start = -np.float32(np.arange(audio.n_bins_resolved) % 2)
    first = tf.constant(np.arange(image.shape[1]) == 0)[:, tf.newaxis]
    steps = tf.where(first, start, image[..., 1])
    return (tf.concat([power, steps], axis=-1) - spec.mean) / spec.std


def _reference(spec: base.FrameSpec) -> float:
    """Return an estimate of the dataset's highest ln(power)."""
    deviations = 3.0 if spec.audio.normalisation == "standard" else 1.0
    n_bins = spec.audio.n_bins_resolved
    return float(np.max(spec.mean[:n_bins] + deviations * spec.std[:n_bins]))
