"""Compiled inner loops of `inversion`.

Arrays are C-contiguous float32 or complex64, time on the slow axis. A mel bank is passed as
`segments` (unsigned [n_mels + 2]: the bins between neighbouring band edges), `rising` and
`falling` (float32 [bins]: a bin's weight in the band that its segment leads into, and in the
one before) and `blend` (rising's fraction of the two).
"""

from typing import Any

import numpy as np

from lstm_gen.platform import jit

_TINY = np.float32(1e-30)
_LEAST_RATIO, _MOST_RATIO = np.float32(1e-3), np.float32(1e3)


@jit.kernel(fastmath=True)
def cut_frames(
    signal: np.ndarray, window: np.ndarray, hop_length: int, first: int, frames: np.ndarray
) -> None:
    """Fill `frames` [frames, n_fft] with windowed parts of `signal`, from frame `first` on."""
    for row in range(frames.shape[0]):
        start = (first + row) * hop_length
        part = signal[start : start + window.size]
        for index in range(window.size):
            frames[row, index] = part[index] * window[index]


@jit.kernel(fastmath=True)
def overlap_add(
    frames: np.ndarray, window: np.ndarray, hop_length: int, first: int, signal: np.ndarray
) -> None:
    """Add windowed `frames` [frames, n_fft] to `signal`, from frame `first` on."""
    for row in range(frames.shape[0]):
        start = (first + row) * hop_length
        part = signal[start : start + window.size]
        for index in range(window.size):
            part[index] += frames[row, index] * window[index]


# Segments hold a few bins each: fastmath would vectorise the sums, at twice the time.
@jit.kernel(fastmath=False)
def _sum_bands(
    power: np.ndarray,
    segments: np.ndarray,
    rising: np.ndarray,
    falling: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Write one frame's mel power to sums[1:-1]."""
    sums[0] = 0
    for segment in range(segments.size - 1):
        up = np.float32(0)
        down = np.float32(0)
        for index in range(segments[segment], segments[segment + 1]):
            up += rising[index] * power[index]
            down += falling[index] * power[index]
        sums[segment] += down
        sums[segment + 1] = up


@jit.kernel(fastmath=False)
def _spread(ratios: np.ndarray, segments: np.ndarray, blend: np.ndarray, gains: np.ndarray) -> None:
    """Write each bin's mean of the ratios of its two bands to `gains`."""
    for segment in range(segments.size - 1):
        base = ratios[segment]
        slope = ratios[segment + 1] - base
        for index in range(segments[segment], segments[segment + 1]):
            gains[index] = base + blend[index] * slope


@jit.kernel(fastmath=True)
def _compare(mel: np.ndarray, ratios: np.ndarray, epsilon: float, over_relax: bool) -> None:
    """Replace the band sums in `ratios` by target / sum, to the power 1 or 1.5."""
    for band in range(mel.size):
        ratio: Any = np.float32(mel[band] / (ratios[band + 1] + np.float32(epsilon)))
        if over_relax:
            bounded = min(max(ratio, _LEAST_RATIO), _MOST_RATIO)
            ratio = bounded * np.sqrt(bounded)
        ratios[band + 1] = ratio
    ratios[0] = 0
    ratios[mel.size + 1] = 0


@jit.kernel(fastmath=True)
def _scale(power: np.ndarray, gains: np.ndarray) -> None:
    """Multiply in place."""
    for index in range(power.size):
        power[index] *= gains[index]


@jit.kernel(fastmath=False)
def fit_mel(
    power: np.ndarray,
    mel: np.ndarray,
    segments: np.ndarray,
    rising: np.ndarray,
    falling: np.ndarray,
    blend: np.ndarray,
    n_steps: int,
    epsilon: float,
) -> None:
    """Take Richardson-Lucy steps, in place, from `power` [frames, bins] to `mel`."""
    ratios = np.empty(mel.shape[1] + 2, np.float32)
    gains = np.zeros(power.shape[1], np.float32)
    for row in range(power.shape[0]):
        for _ in range(n_steps):
            _sum_bands(power[row], segments, rising, falling, ratios)
            _compare(mel[row], ratios, epsilon, False)
            _spread(ratios, segments, blend, gains)
            _scale(power[row], gains)


@jit.kernel(fastmath=True)
def _extrapolate(
    projected: np.ndarray,
    previous: np.ndarray,
    start_power: np.ndarray,
    momentum: float,
    consistency: float,
    spectrum: np.ndarray,
    power: np.ndarray,
) -> None:
    """Write one frame's extrapolated spectrum, and the power to fit to the mel."""
    # As float32, or the loop would widen to double precision.
    forward = np.float32(momentum)
    kept = np.float32(consistency)
    rest = np.float32(1) - kept
    for index in range(power.size):
        value = projected[index]
        spectrum[index] = value + forward * (value - previous[index])
        previous[index] = value
        magnitude = value.real * value.real + value.imag * value.imag
        power[index] = rest * start_power[index] + kept * magnitude


@jit.kernel(fastmath=True)
def _set_power(spectrum: np.ndarray, power: np.ndarray) -> None:
    """Set the power of one frame's spectrum, keeping its phase."""
    for index in range(power.size):
        value = spectrum[index]
        magnitude = value.real * value.real + value.imag * value.imag
        spectrum[index] = value * np.sqrt(power[index] / (magnitude + _TINY))


@jit.kernel(fastmath=False)
def joint_step(
    projected: np.ndarray,
    previous: np.ndarray,
    start_power: np.ndarray,
    mel: np.ndarray,
    segments: np.ndarray,
    rising: np.ndarray,
    falling: np.ndarray,
    blend: np.ndarray,
    momentum: float,
    consistency: float,
    over_relax: bool,
    n_fits: int,
    epsilon: float,
    spectrum: np.ndarray,
) -> None:
    """Write the next `spectrum` [frames, bins] from the consistent one, `projected`.

    `previous` is the consistent one before; it becomes `projected`.
    """
    ratios = np.empty(mel.shape[1] + 2, np.float32)
    gains = np.zeros(projected.shape[1], np.float32)
    power = np.empty(projected.shape[1], np.float32)
    for row in range(projected.shape[0]):
        _extrapolate(
            projected[row],
            previous[row],
            start_power[row],
            momentum,
            consistency,
            spectrum[row],
            power,
        )
        for _ in range(n_fits):
            _sum_bands(power, segments, rising, falling, ratios)
            _compare(mel[row], ratios, epsilon, over_relax)
            _spread(ratios, segments, blend, gains)
            _scale(power, gains)
        _set_power(spectrum[row], power)


@jit.kernel(fastmath=True)
def _step_in_time(
    loud: np.ndarray,
    hop_length: int,
    n_fft: int,
    along_time: float,
    slope: np.ndarray,
    now: np.ndarray,
) -> None:
    """Advance every bin's phase by one hop, at the mean of its old and new frequency."""
    n_bins = loud.size
    for index in range(n_bins):
        new_slope = along_time * (loud[min(index + 1, n_bins - 1)] - loud[max(index - 1, 0)])
        turn = 2 * np.pi * ((hop_length * index) % n_fft) / n_fft
        now[index] += turn + (slope[index] + new_slope) / 2
        now[index] -= 2 * np.pi * np.floor(now[index] / (2 * np.pi))
        slope[index] = new_slope


@jit.kernel(fastmath=False)
def _step_in_frequency(
    before: np.ndarray, after: np.ndarray, along_bins: float, offset: np.ndarray
) -> None:
    """Write each bin's phase relative to bin 0, by the gradient along frequency."""
    offset[0] = 0
    for index in range(1, offset.size):
        change = after[index] - before[index] + after[index - 1] - before[index - 1]
        offset[index] = offset[index - 1] + along_bins * change / 2


@jit.kernel(fastmath=False)
def _find_peaks(loud: np.ndarray, peaks: np.ndarray, valleys: np.ndarray) -> int:
    """Write the bins without a louder neighbour, and the lowest value since the peak before."""
    n_peaks = 0
    valley = np.inf
    for index in range(loud.size):
        valley = min(valley, loud[index])
        left = loud[max(index - 1, 0)]
        right = loud[min(index + 1, loud.size - 1)]
        if loud[index] >= left and loud[index] >= right:
            peaks[n_peaks] = index
            valleys[n_peaks] = valley
            n_peaks += 1
            valley = loud[index]
    return n_peaks


@jit.kernel(fastmath=False)
def _link_peaks(
    loud: np.ndarray,
    past: np.ndarray,
    peaks: np.ndarray,
    valleys: np.ndarray,
    offset: np.ndarray,
    now: np.ndarray,
) -> None:
    """Set the phase of peaks from a louder peak beside them, where the valley is above their past.

    A source is louder than the peak set from it, so one sweep in each direction suffices.
    """
    last = peaks.size - 1
    for sweep in range(2):
        for count in range(1, peaks.size):
            rank = count if sweep == 0 else last - count
            side = -1 if sweep == 0 else 1
            peak, source = peaks[rank], peaks[rank + side]
            valley = valleys[max(rank, rank + side)]
            other = rank - side
            rival = -np.inf
            if 0 <= other <= last and loud[peaks[other]] > loud[peak]:
                rival = valleys[max(rank, other)]
            wins = valley >= rival if sweep == 0 else valley > rival
            if loud[source] > loud[peak] and valley > past[peak] and wins:
                now[peak] = now[source] + offset[peak] - offset[source]


@jit.kernel(fastmath=False)
def _descend_slopes(
    loud: np.ndarray, past: np.ndarray, offset: np.ndarray, now: np.ndarray
) -> None:
    """Set the phase of bins from a louder neighbour, where that is louder than their past."""
    last = loud.size - 1
    for index in range(1, last + 1):
        source = loud[index - 1]
        if source > loud[index] and source >= loud[min(index + 1, last)] and source >= past[index]:
            now[index] = now[index - 1] + offset[index] - offset[index - 1]
    for index in range(last - 1, -1, -1):
        source = loud[index + 1]
        if source > loud[index] and source > loud[max(index - 1, 0)] and source >= past[index]:
            now[index] = now[index + 1] + offset[index] - offset[index + 1]


@jit.kernel(fastmath=False)
def integrate_phase(
    log_magnitude: np.ndarray, hop_length: int, n_fft: int, gamma: float, phase: np.ndarray
) -> None:
    """Fill `phase` [frames, bins], radians, by integrating the gradients a magnitude implies.

    Within a frame a bin's phase comes along frequency from its louder neighbour, or along
    time from the frame before, whichever source is louder. A peak has no louder neighbour:
    it goes by time, unless a louder peak next to it reaches it over a valley that is louder
    than its own past. The gradients are those of a Gaussian window exp(-pi t^2 / gamma).
    """
    n_frames, n_bins = log_magnitude.shape
    along_time = hop_length * n_fft / gamma / 2
    along_bins = -gamma / (hop_length * n_fft) / 2
    now = np.zeros(n_bins)
    slope = np.zeros(n_bins)
    offset = np.zeros(n_bins)
    peaks = np.empty(n_bins, np.int64)
    valleys = np.empty(n_bins)
    past = np.full(n_bins, -np.inf, np.float32)
    for frame in range(n_frames):
        loud = log_magnitude[frame]
        after = log_magnitude[min(frame + 1, n_frames - 1)]
        _step_in_time(loud, hop_length, n_fft, along_time, slope, now)
        _step_in_frequency(log_magnitude[max(frame - 1, 0)], after, along_bins, offset)
        n_peaks = _find_peaks(loud, peaks, valleys)
        _link_peaks(loud, past, peaks[:n_peaks], valleys[:n_peaks], offset, now)
        _descend_slopes(loud, past, offset, now)
        for index in range(n_bins):
            phase[frame, index] = now[index] + np.pi * (index % 2)  # frames start at their edge
        past = loud
