"""Reconstruction losses: phase-weighted squared error, and the multi-resolution STFT loss.

Source: R. Yamamoto, E. Song, J.-M. Kim, Parallel WaveGAN, 2020 (arXiv 1910.11480), for spectral
convergence and log-magnitude distance; the phase weight and the gated gradient are our own.
"""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from lstm_gen.models import base

_PHASE_RANGE = 60 * math.log(10) / 10  # 60 dB in nats of power
_POWER_FLOOR = 1e-5  # where 1 is white noise of deviation 1
_MIN_GATE = 0.03  # of the gradient, while the waveform is not explained at all


def phase_weight(frames: Any, spec: base.FrameSpec) -> Any:
    """Return the weight of each value of normalised frames in a squared error.

    Levels and waveform parts weigh 1. The instantaneous frequency of a bin without energy is
    noise, and most bins hold none: a phase weighs (1 - d / 60 dB)^2, at least 0, for a level d
    below the example's loudest.

    Args:
      frames: float32 [batch, frames, channels], the target.
      spec: The frames' representation and normalisation.

    Returns:
      float32, broadcastable to `frames`.
    """
    audio = spec.audio
    if not audio.has_phase_steps:
        return tf.ones([1, 1, 1])
    n_bins = audio.n_bins_resolved
    level = frames[..., :n_bins] * spec.std[:n_bins] + spec.mean[:n_bins]
    below = tf.reduce_max(level, axis=[1, 2], keepdims=True) - level
    weight = tf.square(tf.maximum(0.0, 1.0 - below / _PHASE_RANGE))
    return tf.concat([tf.ones_like(weight), weight], axis=-1)


def weighted_squared_error(target: Any, prediction: Any, spec: base.FrameSpec) -> Any:
    """Return the mean squared error of each example under `phase_weight`, float32 [batch]."""
    weight = phase_weight(target, spec)
    error = weight * tf.square(prediction - target)
    total = tf.reduce_sum(weight * tf.ones_like(target), axis=[1, 2])
    return tf.reduce_sum(error, axis=[1, 2]) / total


def multi_resolution_stft(
    target: Any, prediction: Any, windows: Sequence[int] = (64, 128, 256, 512)
) -> Any:
    """Return the multi-resolution STFT loss of each example, float32 [batch].

    A squared error of samples ignores quiet components; log magnitudes do not. Long windows
    resolve pitch, short ones onsets. The loss is the mean over window lengths of spectral
    convergence plus mean absolute difference of log magnitudes.

    Args:
      target: float32 [batch, samples], of a deviation near 1.
      prediction: The same shape.
      windows: Lengths of the Hann windows, samples, each with three quarters overlap.
    """
    return tf.add_n([_stft_loss(target, prediction, one) for one in windows]) / len(windows)


def gated(spectral: Any, log_snr: Any) -> Any:
    """Return the spectral loss with its gradient scaled by the explained part of the waveform.

    While a decoder explains nothing of the waveform, any sound is farther from the gaps of the
    target's spectrum than silence, so the full gradient would teach silence.

    Args:
      spectral: float32 [batch].
      log_snr: Logarithm of power over squared error, [batch]; 0 for silence.
    """
    gate = tf.stop_gradient(tf.clip_by_value(1.0 - tf.exp(-log_snr), _MIN_GATE, 1.0))
    return gate * spectral + tf.stop_gradient((1.0 - gate) * spectral)


def _stft_loss(target: Any, prediction: Any, window: int) -> Any:
    """Return spectral convergence plus mean log-magnitude distance, float32 [batch]."""
    wanted, found = _magnitudes(target, window), _magnitudes(prediction, window)
    convergence = tf.sqrt(_sum(tf.square(wanted - found)) / _sum(tf.square(wanted)) + 1e-8)
    logs = tf.abs(tf.math.log(wanted) - tf.math.log(found))
    return convergence + tf.reduce_mean(logs, axis=[1, 2])


def _magnitudes(samples: Any, window: int) -> Any:
    """Return floored STFT magnitudes, float32 [batch, frames, bins]."""
    transform = tf.signal.stft(samples, window, window // 4, window, pad_end=True)
    power = tf.square(tf.math.real(transform)) + tf.square(tf.math.imag(transform))
    white = 0.375 * window  # the sum of a Hann window's squares
    return tf.sqrt(power / white + _POWER_FLOOR)


def _sum(values: Any) -> Any:
    return tf.reduce_sum(values, axis=[1, 2])
