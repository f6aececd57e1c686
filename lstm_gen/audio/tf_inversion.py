"""Frames and their inversion as TensorFlow operations, for graphs that are served on their own.

The same steps in the same order as `representations` and `inversion`, so the numbers agree but for
rounding. The mel bank, whose bins a compiled loop visits one by one, is a product of matrices
here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import (
    dictionary,
    frequency_scales,
    inversion,
    representations,
    start_spectrum,
    stft,
)
from lstm_gen.config.audio import AudioConfig

_GRID = 1 << 23  # steps of phase in a half turn, as `representations` has them in float32
_TURN = 2 * np.pi
_TINY = 1e-30
_LEAST_RATIO, _MOST_RATIO = 1e-3, 1e3

Fit = Callable[[Any, Any], Any]
"""(power [frames, bins], whether to over-relax) -> power closer to the mel."""


def extract(samples: Any, audio: AudioConfig) -> Any:
    """Return the frames of a signal as one segment, float32 [frames, channels].

    Args:
      samples: float32 [samples]; for a waveform at least one.
      audio: The analysis.
    """
    if audio.representation == "waveform":
        padding = -tf.shape(samples)[0] % audio.hop_length
        return tf.reshape(tf.pad(samples, [[0, padding]]), [-1, audio.hop_length])
    edge = audio.n_fft // 2
    spectrum = _stft(tf.pad(samples, [[edge, edge]]), audio)
    if audio.representation == "log_mel":
        bank = frequency_scales.filter_bank(audio)
        mel = tf.matmul(_power(spectrum), bank, transpose_b=True)
        return tf.math.log(mel + audio.log_floor)
    if audio.representation == "activations":
        found = _activate(tf.sqrt(_power(spectrum)), representations.Activations(audio).atoms)
        return tf.math.log(tf.square(found) + audio.log_floor)
    kept = spectrum[:, : audio.n_bins_resolved]
    if not audio.is_logarithmic:
        parts = tf.concat([tf.math.real(kept), tf.math.imag(kept)], axis=1)
        return parts / (audio.n_fft / 4)
    log_power = tf.math.log(_power(kept) + audio.log_floor)
    if audio.representation == "log_stft":
        return log_power
    return tf.concat([log_power, _phase_steps(tf.math.angle(kept), audio)], axis=1)


def invert(frames: Any, audio: AudioConfig, n_iterations: int) -> Any:
    """Return the waveform of a segment, float32 [frames * hop_length].

    Args:
      frames: float32 [frames, channels], finite.
      audio: The analysis.
      n_iterations: Iterations, as of `representations.invert`.
    """
    if audio.representation == "waveform":
        return tf.reshape(frames, [-1])
    if audio.representation == "log_mel":
        return _invert_mel(frames, audio, n_iterations)
    if audio.representation == "complex_stft":
        return _refine(_to_spectrum(frames, audio), audio, n_iterations)
    if audio.representation == "activations":
        atoms = representations.Activations(audio).atoms
        power = tf.square(tf.matmul(tf.sqrt(_log_to_power(frames, audio)), atoms))
    else:
        power = _all_bins(_log_to_power(frames, audio), audio)
    return _refine(_estimate_spectrum(power, audio), audio, n_iterations)


def _phase_steps(radians: Any, audio: AudioConfig) -> Any:
    """Return phases as steps from frame to frame, half turns, on the grid of float32."""
    phase = tf.cast(radians / np.float32(np.pi), tf.float64)
    rounded = tf.round((phase - _centre_phase(tf.shape(phase)[0], audio)) * _GRID)
    steps = rounded - tf.pad(rounded[:-1], [[1, 0], [0, 0]])
    return tf.cast(((steps + _GRID) % (2 * _GRID) - _GRID) / _GRID, tf.float32)


def _to_spectrum(frames: Any, audio: AudioConfig) -> Any:
    """Return the transform of frames with phase, complex64 [frames, 1 + n_fft // 2]."""
    first, second = tf.split(frames, 2, axis=1)
    if audio.is_logarithmic:
        turned = tf.cumsum(tf.cast(second, tf.float64), axis=0)
        half_turns = (turned + _centre_phase(tf.shape(frames)[0], audio)) % 2
        phase = tf.cast(half_turns * np.pi, tf.float32)
        magnitude = tf.sqrt(_log_to_power(first, audio))
        first, second = magnitude * tf.cos(phase), magnitude * tf.sin(phase)
    else:
        first, second = (part * (audio.n_fft / 4) for part in (first, second))
    return tf.complex(_all_bins(first, audio), _all_bins(second, audio))


def _centre_phase(n_frames: Any, audio: AudioConfig) -> Any:
    """Return the phase advance of bins at their centre frequency, half turns [frames, bins]."""
    samples = tf.range(n_frames)[:, tf.newaxis] * audio.hop_length % audio.n_fft
    turns = samples * tf.range(audio.n_bins_resolved) % audio.n_fft
    return tf.cast(turns, tf.float64) * (2 / audio.n_fft)


def _all_bins(values: Any, audio: AudioConfig) -> Any:
    """Return values of the lowest bins with zeros for those that were cropped."""
    return tf.pad(values, [[0, 0], [0, 1 + audio.n_fft // 2 - audio.n_bins_resolved]])


def _invert_mel(log_mel: Any, audio: AudioConfig, n_iterations: int) -> Any:
    """Return the waveform of `inversion.invert`, float32 [frames * hop_length]."""
    mel = _log_to_power(log_mel, audio)
    scale = tf.reduce_max(mel)
    mel = mel / tf.maximum(scale, _TINY)
    start = _start_power(mel, audio)
    schedule = inversion.schedule(n_iterations)
    n_fits = schedule[0].n_fits if schedule else 0

    def fit(power: Any, over_relax: Any) -> Any:
        for _ in range(n_fits):
            power = _fit_mel(power, mel, audio, over_relax)
        return power

    return _search(_estimate_spectrum(start, audio), start, fit, audio, schedule) * tf.sqrt(scale)


def _refine(spectrum: Any, audio: AudioConfig, n_iterations: int) -> Any:
    """Return the waveform of `inversion.refine`, float32 [frames * hop_length]."""
    loudest = tf.reduce_max(tf.abs(spectrum))
    scaled = _times(spectrum, 1 / tf.maximum(loudest, _TINY))
    schedule = [inversion.GRIFFIN_LIM] * n_iterations
    return _search(scaled, _power(scaled), lambda power, _: power, audio, schedule) * loudest


def _estimate_spectrum(power: Any, audio: AudioConfig) -> Any:
    """Return a spectrum of this power, complex64, its phase estimated from the gradients."""
    phase = integrate_phase(tf.math.log(power + 1e-20) * 0.5, audio)
    magnitude = tf.sqrt(power)
    return tf.complex(magnitude * tf.cos(phase), magnitude * tf.sin(phase))


def _log_to_power(logs: Any, audio: AudioConfig) -> Any:
    """Return the power of logarithms, as `stft.log_to_power` does."""
    power = tf.exp(logs) - audio.log_floor
    return tf.where(power < audio.log_floor * stft.ROUNDING, 0.0, power)


def _power(spectrum: Any) -> Any:
    """Return the power of a transform, float32 of its shape."""
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def _search(
    spectrum: Any,
    start: Any,
    fit: Fit,
    audio: AudioConfig,
    schedule: Sequence[inversion.Step],
) -> Any:
    """Return the waveform after all steps from `spectrum` of power `start`."""
    gain = _synthesis_gain(tf.shape(spectrum)[0], audio)
    steps = np.array(schedule, np.float32).reshape(-1, len(inversion.Step._fields))

    def iterate(state: Any, step: Any) -> Any:
        spectrum, previous = state
        projected = _stft(_istft(spectrum, audio) * gain, audio)
        spectrum = projected + _times(projected - previous, step[0])
        power = fit((1 - step[1]) * start + step[1] * _power(projected), step[2] > 0)
        return _times(spectrum, tf.sqrt(power / (_power(spectrum) + _TINY))), projected

    if schedule:
        spectrum, _ = tf.foldl(iterate, tf.constant(steps), (spectrum, spectrum))
    edge = audio.n_fft // 2
    n_samples = tf.shape(spectrum)[0] * audio.hop_length
    signal = (_istft(spectrum, audio) * gain)[edge : edge + n_samples - 1]
    return tf.pad(signal, [[0, 1]])  # the last sample belongs to a frame beyond the last


def _start_power(mel: Any, audio: AudioConfig) -> Any:
    """Return a smooth power spectrum that has the mel power."""
    grid = start_spectrum.grid(audio)
    mel_density = tf.gather(mel, grid.bands, axis=1) / grid.area
    density = tf.math.log(mel_density + start_spectrum.EPSILON)
    lower, upper = (tf.gather(density, side, axis=1) for side in (grid.lower, grid.upper))
    logs = lower + grid.fraction * (upper - lower)
    weights = audio.fitted.arrays.get(start_spectrum.NAME) if audio.fitted else None
    if weights is not None:
        change = tf.matmul(_features(density), weights.astype(np.float32))
        logs += 2 * tf.clip_by_value(change, -start_spectrum.RANGE, start_spectrum.RANGE)
    power = tf.exp(logs) * grid.reached.astype(np.float32)
    for _ in range(inversion.START_STEPS):
        power = _fit_mel(power, mel, audio, tf.constant(False))
    return power


def _features(density: Any) -> Any:
    """Return the features of the start spectrum's map, as `start_spectrum` has them."""
    mean = tf.reduce_mean(density, axis=1, keepdims=True)
    relative = (density - mean) / start_spectrum.SPREAD
    before = tf.concat([relative[:1], relative[:-1]], axis=0)
    after = tf.concat([relative[1:], relative[-1:]], axis=0)
    return tf.concat([before, relative, after, tf.ones_like(relative[:, :1])], axis=1)


def _activate(magnitudes: Any, atoms: np.ndarray) -> Any:
    """Return the activations of a dictionary's atoms, as `dictionary.activate` does."""
    tiny = dictionary.TINY
    scale = 1 / (atoms.sum(axis=1) + np.float32(tiny))

    def step(activations: Any, _: Any) -> Any:
        ratio = magnitudes / (tf.matmul(activations, atoms) + tiny)
        return tf.maximum(activations * tf.matmul(ratio, atoms, transpose_b=True) * scale, tiny)

    first = tf.maximum(tf.matmul(magnitudes, atoms, transpose_b=True), tiny)
    return tf.foldl(step, tf.range(dictionary.STEPS), first)


def _fit_mel(power: Any, mel: Any, audio: AudioConfig, over_relax: Any) -> Any:
    """Take one Richardson-Lucy step from a power to the mel."""
    bank = frequency_scales.filter_bank(audio)
    weights = bank / np.maximum(bank.sum(axis=0), np.float32(_TINY))
    ratio = mel / (tf.matmul(power, bank, transpose_b=True) + start_spectrum.EPSILON)
    bounded = tf.clip_by_value(ratio, _LEAST_RATIO, _MOST_RATIO)
    ratio = tf.where(over_relax, bounded * tf.sqrt(bounded), ratio)
    return power * tf.matmul(ratio, weights)


def _synthesis_gain(n_frames: Any, audio: AudioConfig) -> Any:
    """Return the inverse of the overlap-added squared windows; 0 outside of the signal."""
    square = np.square(stft.hann_window(audio.n_fft))
    weight = tf.signal.overlap_and_add(tf.tile(square[np.newaxis], [n_frames, 1]), audio.hop_length)
    edge = audio.n_fft // 2
    place = tf.range(tf.shape(weight)[0]) - edge
    inside = (place >= 0) & (place < n_frames * audio.hop_length - 1)
    return tf.where(inside, 1 / tf.maximum(weight, 1e-6), 0.0)


def _istft(spectrum: Any, audio: AudioConfig) -> Any:
    """Return the windowed inverse transforms, overlapped and added, float32 [padded samples]."""
    frames = tf.signal.irfft(spectrum, [audio.n_fft]) * stft.hann_window(audio.n_fft)
    return tf.signal.overlap_and_add(frames, audio.hop_length)


def _stft(padded: Any, audio: AudioConfig) -> Any:
    """Return the transform of a padded signal, complex64 [frames, bins]."""
    frames = tf.signal.frame(padded, audio.n_fft, audio.hop_length)
    return tf.signal.rfft(frames * stft.hann_window(audio.n_fft))


def _times(spectrum: Any, factor: Any) -> Any:
    return tf.complex(tf.math.real(spectrum) * factor, tf.math.imag(spectrum) * factor)


def integrate_phase(log_magnitude: Any, audio: AudioConfig) -> Any:
    """Return the phase estimated from a magnitude, as `inversion_kernels.integrate_phase` does.

    There a bin takes its phase from a neighbour computed just before it. Which neighbour depends on
    the magnitude alone, so here the start of each bin's chain of neighbours, its root, is found
    for all frames before any phase is computed.

    Args:
      log_magnitude: float32 [frames, bins].
      audio: Gives `n_fft` and `hop_length`.

    Returns:
      Radians, float32 [frames, bins].
    """
    n_bins = 1 + audio.n_fft // 2
    bins = np.arange(n_bins)
    gamma = inversion.GAMMA * audio.n_fft**2
    slope = _slope(log_magnitude, audio.hop_length * audio.n_fft / gamma / 2)
    turn = _TURN * ((audio.hop_length * bins) % audio.n_fft) / audio.n_fft
    advance = turn + (_shift(slope, 1, 0.0, axis=0) + slope) / 2
    offset = _offset(log_magnitude, -gamma / (audio.hop_length * audio.n_fft) / 2)
    root = _roots(log_magnitude)
    beyond_root = offset - tf.gather(offset, root, batch_dims=1)

    def advance_frame(now: Any, frame: Any) -> Any:
        advance, root, beyond_root = frame
        now = now + advance
        return tf.gather(now - _TURN * tf.floor(now / _TURN), root) + beyond_root

    phase = tf.scan(advance_frame, (advance, root, beyond_root), tf.zeros([n_bins], tf.float64))
    return tf.cast(phase + np.pi * (bins % 2), tf.float32)  # frames start at their edge


def _slope(loud: Any, along_time: float) -> Any:
    """Return each bin's frequency beyond that of its centre, radians a hop, float64."""
    above = tf.concat([loud[:, 1:], loud[:, -1:]], axis=1)
    below = tf.concat([loud[:, :1], loud[:, :-1]], axis=1)
    return along_time * tf.cast(above - below, tf.float64)


def _offset(loud: Any, along_bins: float) -> Any:
    """Return each bin's phase relative to bin 0, by the gradient along frequency, float64."""
    after = tf.concat([loud[1:], loud[-1:]], axis=0)
    before = tf.concat([loud[:1], loud[:-1]], axis=0)
    change = after[:, 1:] - before[:, 1:] + after[:, :-1] - before[:, :-1]
    steps = along_bins * tf.cast(change, tf.float64) / 2
    return tf.pad(tf.cumsum(steps, axis=1), [[0, 0], [1, 0]])


def _roots(loud: Any) -> Any:
    """Return the bin that each bin's phase comes from, int32 [frames, bins]: itself, if by time."""
    past = _shift(loud, 1, -np.inf, axis=0)
    left, right = _shift(loud, 1, -np.inf), _shift(loud, -1, -np.inf)
    # Bins beside the edge count as their own outer neighbour.
    outer_right = tf.concat([right[:, :-1], loud[:, -1:]], axis=1)
    outer_left = tf.concat([loud[:, :1], left[:, 1:]], axis=1)
    from_left = (left > loud) & (left >= outer_right) & (left >= past)
    from_right = (right > loud) & (right > outer_left) & (right >= past)
    climbed = tf.gather(_last_true(~from_left), _next_true(~from_right), batch_dims=1)
    peaks = (loud >= outer_left) & (loud >= outer_right)
    return tf.gather(_peak_roots(loud, past, peaks), climbed, batch_dims=1)


def _peak_roots(loud: Any, past: Any, peaks: Any) -> Any:
    """Return the peak that each peak's phase comes from; all other bins are their own."""
    n_bins = loud.shape[1]
    before = _shift(_last_true(peaks), 1, -1)
    after = _shift(_next_true(peaks), -1, n_bins)
    left = tf.where(before >= 0, _at(loud, before), -np.inf)
    right = tf.where(after < n_bins, _at(loud, after), -np.inf)
    left_valley = _valleys(loud, peaks)
    right_valley = _at(left_valley, after)
    left_rival = tf.where(left > loud, left_valley, -np.inf)
    right_rival = tf.where(right > loud, right_valley, -np.inf)
    from_left = (left > loud) & (left_valley > past) & (left_valley >= right_rival)
    from_right = (right > loud) & (right_valley > past) & (right_valley > left_rival)
    up = _at(_last_true(peaks & ~from_left), _next_true(peaks & ~from_right))
    return tf.where(peaks, up, tf.range(n_bins))


def _valleys(loud: Any, peaks: Any) -> Any:
    """Return, at peaks, the least value since the peak before, both included."""
    lowest = tf.minimum(loud, _shift(loud, 1, np.inf))
    begins = _shift(peaks, 1, True)
    for step in _doublings(loud.shape[1]):
        reached = _shift(lowest, step, np.inf)
        lowest = tf.where(begins, lowest, tf.minimum(lowest, reached))
        begins = begins | _shift(begins, step, True)
    return lowest


def _last_true(mask: Any) -> Any:
    """Return the last bin at or before each one at which the mask holds, int32; -1 for none."""
    found = tf.where(mask, tf.range(mask.shape[1]), -1)
    for step in _doublings(mask.shape[1]):
        found = tf.maximum(found, _shift(found, step, -1))
    return found


def _next_true(mask: Any) -> Any:
    """Return the first bin at or after each one at which the mask holds; `bins` for none."""
    n_bins = mask.shape[1]
    found = tf.where(mask, tf.range(n_bins), n_bins)
    for step in _doublings(n_bins):
        found = tf.minimum(found, _shift(found, -step, n_bins))
    return found


def _doublings(n_bins: int) -> list[int]:
    """Return 1, 2, 4 ... below the number of bins: sums over all in a few steps."""
    return [1 << power for power in range((n_bins - 1).bit_length())]


def _at(values: Any, index: Any) -> Any:
    """Return each frame's values at an index; an index outside of the bins gives any value."""
    return tf.gather(values, tf.clip_by_value(index, 0, values.shape[1] - 1), batch_dims=1)


def _shift(values: Any, by: int, fill: Any, axis: int = 1) -> Any:
    """Return the values moved to later places, earlier if negative, and `fill` for the others."""
    count = min(abs(by), values.shape[axis] or abs(by))
    body = values[:, :-count] if axis else values[:-count]
    if by < 0:
        body = values[:, count:] if axis else values[count:]
    edge = tf.fill(
        [count, tf.shape(values)[1]] if not axis else [tf.shape(values)[0], count],
        tf.cast(fill, values.dtype),
    )
    return tf.concat([edge, body] if by > 0 else [body, edge], axis=axis)
