"""`inversion` as TensorFlow operations, for a graph that is served without this program.

The same steps in the same order, and so the same signal but for rounding. The mel bank, which a
compiled loop walks through bin by bin, is a product of matrices here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import graph_phase, inversion
from lstm_gen.audio import stft as features
from lstm_gen.config.audio import AudioConfig

_TINY = 1e-30
_LEAST_RATIO, _MOST_RATIO = 1e-3, 1e3

Fit = Callable[[Any, Any], Any]
"""(power [frames, bins], whether to over-relax) -> power nearer to the mel."""


def invert(log_mel: Any, audio: AudioConfig, n_iterations: int) -> Any:
    """Return the signal of `inversion.invert`, a hop of samples for each frame.

    Args:
      log_mel: float32 [frames, n_mels], finite.
      audio: The analysis.
      n_iterations: As there.

    Returns:
      float32 [frames * hop_length].
    """
    mel = log_to_power(log_mel, audio)
    scale = tf.reduce_max(mel)
    mel = mel / tf.maximum(scale, _TINY)
    start = _start_power(mel, audio)
    schedule = inversion.schedule(n_iterations)
    n_fits = schedule[0].n_fits if schedule else 0

    def fit(power: Any, over_relax: Any) -> Any:
        for _ in range(n_fits):
            power = _fit_mel(power, mel, audio, over_relax)
        return power

    return _search(guess_spectrum(start, audio), start, fit, audio, schedule) * tf.sqrt(scale)


def refine(spectrum: Any, audio: AudioConfig, n_iterations: int) -> Any:
    """Return the signal of `inversion.refine`, float32 [frames * hop_length].

    Args:
      spectrum: complex64 [frames, 1 + n_fft // 2].
      audio: Gives `n_fft` and `hop_length`.
      n_iterations: Iterations; 0 for the plain inverse transform.
    """
    loudest = tf.reduce_max(tf.abs(spectrum))
    scaled = _times(spectrum, 1 / tf.maximum(loudest, _TINY))
    schedule = [inversion.GRIFFIN_LIM] * n_iterations
    return _search(scaled, power_of(scaled), lambda power, _: power, audio, schedule) * loudest


def guess_spectrum(power: Any, audio: AudioConfig) -> Any:
    """Return a spectrum of this power, complex64, with the phase that its gradients imply."""
    phase = graph_phase.integrate(tf.math.log(power + 1e-20) * 0.5, audio)
    magnitude = tf.sqrt(power)
    return tf.complex(magnitude * tf.cos(phase), magnitude * tf.sin(phase))


def log_to_power(logs: Any, audio: AudioConfig) -> Any:
    """Return the power behind logarithms, as `features.log_to_power` does."""
    power = tf.exp(logs) - audio.log_floor
    return tf.where(power < audio.log_floor * features.ROUNDING, 0.0, power)


def stft(samples: Any, audio: AudioConfig) -> Any:
    """Return the transform of `features.stft`, complex64 [frames, 1 + n_fft // 2]."""
    edge = audio.n_fft // 2
    return _forward(tf.pad(samples, [[edge, edge]]), audio)


def power_of(spectrum: Any) -> Any:
    """Return the power of a transform, float32 of its shape."""
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def _search(
    spectrum: Any,
    start: Any,
    fit: Fit,
    audio: AudioConfig,
    schedule: Sequence[inversion.Step],
) -> Any:
    """Take the steps from `spectrum` of power `start`; return the signal."""
    gain = _synthesis_gain(tf.shape(spectrum)[0], audio)
    steps = np.array(schedule, np.float32).reshape(-1, len(inversion.Step._fields))

    def go_on(state: Any, step: Any) -> Any:
        spectrum, previous = state
        projected = _forward(_inverse(spectrum, audio) * gain, audio)
        spectrum = projected + _times(projected - previous, step[0])
        power = fit((1 - step[1]) * start + step[1] * power_of(projected), step[2] > 0)
        return _times(spectrum, tf.sqrt(power / (power_of(spectrum) + _TINY))), projected

    if schedule:
        spectrum, _ = tf.foldl(go_on, tf.constant(steps), (spectrum, spectrum))
    edge = audio.n_fft // 2
    n_samples = tf.shape(spectrum)[0] * audio.hop_length
    signal = (_inverse(spectrum, audio) * gain)[edge : edge + n_samples - 1]
    return tf.pad(signal, [[0, 1]])  # the last sample is of a frame that is not there


def _start_power(mel: Any, audio: AudioConfig) -> Any:
    """Return a smooth power spectrum that has the mel power."""
    grid = inversion.grid(audio)
    density = tf.math.log(tf.gather(mel, grid.bands, axis=1) / grid.area + inversion.EPSILON)
    lower, upper = (tf.gather(density, side, axis=1) for side in (grid.lower, grid.upper))
    power = tf.exp(lower + grid.fraction * (upper - lower)) * grid.reached.astype(np.float32)
    for _ in range(inversion.START_STEPS):
        power = _fit_mel(power, mel, audio, tf.constant(False))
    return power


def _fit_mel(power: Any, mel: Any, audio: AudioConfig, over_relax: Any) -> Any:
    """Take one Richardson-Lucy step from a power to the mel."""
    bank = features.mel_filter_bank(audio)
    share = bank / np.maximum(bank.sum(axis=0), np.float32(_TINY))
    ratio = mel / (tf.matmul(power, bank, transpose_b=True) + inversion.EPSILON)
    bounded = tf.clip_by_value(ratio, _LEAST_RATIO, _MOST_RATIO)
    ratio = tf.where(over_relax, bounded * tf.sqrt(bounded), ratio)
    return power * tf.matmul(ratio, share)


def _synthesis_gain(n_frames: Any, audio: AudioConfig) -> Any:
    """Return what overlap-added windows leave to be undone; 0 outside of the signal."""
    square = np.square(features.hann_window(audio.n_fft))
    weight = tf.signal.overlap_and_add(tf.tile(square[np.newaxis], [n_frames, 1]), audio.hop_length)
    edge = audio.n_fft // 2
    place = tf.range(tf.shape(weight)[0]) - edge
    inside = (place >= 0) & (place < n_frames * audio.hop_length - 1)
    return tf.where(inside, 1 / tf.maximum(weight, 1e-6), 0.0)


def _inverse(spectrum: Any, audio: AudioConfig) -> Any:
    """Return the windowed inverse transforms, overlapped and added, float32 [padded samples]."""
    frames = tf.signal.irfft(spectrum, [audio.n_fft]) * features.hann_window(audio.n_fft)
    return tf.signal.overlap_and_add(frames, audio.hop_length)


def _forward(padded: Any, audio: AudioConfig) -> Any:
    """Return the transform of a padded signal, complex64 [frames, bins]."""
    frames = tf.signal.frame(padded, audio.n_fft, audio.hop_length)
    return tf.signal.rfft(frames * features.hann_window(audio.n_fft))


def _times(spectrum: Any, factor: Any) -> Any:
    return tf.complex(tf.math.real(spectrum) * factor, tf.math.imag(spectrum) * factor)
