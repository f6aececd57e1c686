"""`representations` as TensorFlow operations: a signal's frames, and a signal of frames.

For graphs that are served without this program; the numbers are those of each representation's own
module but for rounding.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import graph_inversion, stft
from lstm_gen.config.audio import AudioConfig

_GRID = 1 << 23  # steps of phase in a half turn, as `complex_stft` has them in float32


def extract(samples: Any, audio: AudioConfig) -> Any:
    """Return a signal's frames as one segment, float32 [frames, channels].

    Args:
      samples: float32 [samples]; for a waveform at least one.
      audio: The analysis.
    """
    if audio.representation == "waveform":
        padding = -tf.shape(samples)[0] % audio.hop_length
        return tf.reshape(tf.pad(samples, [[0, padding]]), [-1, audio.hop_length])
    spectrum = graph_inversion.stft(samples, audio)
    if audio.representation == "log_mel":
        bank = stft.mel_filter_bank(audio)
        mel = tf.matmul(graph_inversion.power_of(spectrum), bank, transpose_b=True)
        return tf.math.log(mel + audio.log_floor)
    kept = spectrum[:, : audio.n_bins_resolved]
    if not audio.is_logarithmic:
        parts = tf.concat([tf.math.real(kept), tf.math.imag(kept)], axis=1)
        return parts / (audio.n_fft / 4)
    loudness = tf.math.log(graph_inversion.power_of(kept) + audio.log_floor)
    if audio.representation == "log_stft":
        return loudness
    return tf.concat([loudness, _phase_steps(tf.math.angle(kept), audio)], axis=1)


def invert(frames: Any, audio: AudioConfig, n_iterations: int) -> Any:
    """Return the signal of a segment, float32 [frames * hop_length].

    Args:
      frames: float32 [frames, channels], finite.
      audio: The analysis.
      n_iterations: Steps of the search for what is missing.
    """
    if audio.representation == "waveform":
        return tf.reshape(frames, [-1])
    if audio.representation == "log_mel":
        return graph_inversion.invert(frames, audio, n_iterations)
    if audio.representation == "complex_stft":
        return graph_inversion.refine(_to_spectrum(frames, audio), audio, n_iterations)
    power = _all_bins(graph_inversion.log_to_power(frames, audio), audio)
    spectrum = graph_inversion.guess_spectrum(power, audio)
    return graph_inversion.refine(spectrum, audio, n_iterations)


def _to_spectrum(frames: Any, audio: AudioConfig) -> Any:
    """Return the transform of `complex_stft.to_spectrum`, complex64 [frames, 1 + n_fft // 2]."""
    first, second = tf.split(frames, 2, axis=1)
    if audio.is_logarithmic:
        turned = tf.cumsum(tf.cast(second, tf.float64), axis=0)
        half_turns = (turned + _centre_phase(tf.shape(frames)[0], audio)) % 2
        phase = tf.cast(half_turns * np.pi, tf.float32)
        magnitude = tf.sqrt(graph_inversion.log_to_power(first, audio))
        first, second = magnitude * tf.cos(phase), magnitude * tf.sin(phase)
    else:
        first, second = (part * (audio.n_fft / 4) for part in (first, second))
    return tf.complex(_all_bins(first, audio), _all_bins(second, audio))


def _phase_steps(radians: Any, audio: AudioConfig) -> Any:
    """Return phases as steps from frame to frame, half turns, on the grid of float32."""
    phase = tf.cast(radians / np.float32(np.pi), tf.float64)
    rounded = tf.round((phase - _centre_phase(tf.shape(phase)[0], audio)) * _GRID)
    steps = rounded - tf.pad(rounded[:-1], [[1, 0], [0, 0]])
    return tf.cast(((steps + _GRID) % (2 * _GRID) - _GRID) / _GRID, tf.float32)


def _centre_phase(n_frames: Any, audio: AudioConfig) -> Any:
    """Return how far bins have turned at their centre frequency, half turns [frames, bins]."""
    samples = tf.range(n_frames)[:, tf.newaxis] * audio.hop_length % audio.n_fft
    turns = samples * tf.range(audio.n_bins_resolved) % audio.n_fft
    return tf.cast(turns, tf.float64) * (2 / audio.n_fft)


def _all_bins(values: Any, audio: AudioConfig) -> Any:
    """Return values of the lowest bins with zeros for those that were cropped."""
    return tf.pad(values, [[0, 0], [0, 1 + audio.n_fft // 2 - audio.n_bins_resolved]])
