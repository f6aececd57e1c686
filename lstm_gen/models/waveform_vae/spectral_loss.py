"""How far apart the spectra of two signals are, at several resolutions.

A squared error of samples is blind to what is quiet: a spectrum's logarithm is not. One window
length tells notes apart, another tells when they begin; hence several.

Source: R. Yamamoto, E. Song, J.-M. Kim, Parallel WaveGAN, 2020 (arXiv 1910.11480); the parts are
spectral convergence and log-magnitude distance.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_FLOOR = 1e-5  # of power, where 1 is white noise of deviation 1
_LEAST_HEEDED = 0.03  # of the gradient of spectra, while nothing of the waveform is explained


def multi_resolution_distance(
    signal: Any, other: Any, windows: Sequence[int] = (64, 128, 256, 512)
) -> Any:
    """Return the mean over resolutions of both parts' sum, float32 [batch].

    Args:
      signal: float32 [batch, samples], what ought to be; of a deviation near 1.
      other: The same shape, what is.
      windows: Lengths of the Hann windows, samples, each with three quarters overlap.
    """
    return tf.add_n([_distance(signal, other, window) for window in windows]) / len(windows)


def heeded(spectral: Any, ratio: Any) -> Any:
    """Return the distance of spectra, its gradient as strong as the waveform is explained.

    What knows nothing of the waveform yet is farther from a spectrum's gaps with every sound that
    it makes than with none, and would learn to be silent.

    Args:
      spectral: float32 [batch].
      ratio: Power over squared error, its logarithm, [batch]; 0 for silence.
    """
    share = tf.stop_gradient(tf.clip_by_value(1.0 - tf.exp(-ratio), _LEAST_HEEDED, 1.0))
    return share * spectral + tf.stop_gradient((1.0 - share) * spectral)


def _distance(signal: Any, other: Any, window: int) -> Any:
    """Return spectral convergence plus mean distance of log magnitudes, float32 [batch]."""
    wanted, found = _magnitudes(signal, window), _magnitudes(other, window)
    convergence = tf.sqrt(_sum(tf.square(wanted - found)) / _sum(tf.square(wanted)) + 1e-8)
    logs = tf.abs(tf.math.log(wanted) - tf.math.log(found))
    return convergence + tf.reduce_mean(logs, axis=[1, 2])


def _magnitudes(signal: Any, window: int) -> Any:
    """Return magnitudes, never below the floor, float32 [batch, frames, bins]."""
    transform = tf.signal.stft(signal, window, window // 4, window, pad_end=True)
    power = tf.square(tf.math.real(transform)) + tf.square(tf.math.imag(transform))
    white = 0.375 * window  # the sum of a Hann window's squares
    return tf.sqrt(power / white + _FLOOR)


def _sum(values: Any) -> Any:
    return tf.reduce_sum(values, axis=[1, 2])
