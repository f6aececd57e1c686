"""Statistics of how log-mel frames move: what a dull, noisy or dying rollout gets wrong.

`clips` is a sequence of float arrays [frames, mels]. A statistic pools all frames of all
clips and never looks across a clip's edge.
"""

from collections.abc import Sequence

import numpy as np

Clips = Sequence[np.ndarray]

MODULATION_SECONDS = 6.0
"""Window of the modulation spectrum; two periods of its lowest band's lower edge."""

_MODULATION_HZ = (0.3, 21.0)
_MODULATION_BANDS = 9
_MEL_GROUPS = 8
_MODULATION_RESOLUTION_HZ = 0.05  # so that the narrowest band holds a few bins
_STILL = 0.03  # power added to each cell: a band that moves under 0.17 deviations stands still
_TINY = 1e-30
_EDGE_SECONDS = 5.0
_QUANTILES = 1000


def variance_ratio(frames: np.ndarray, reference: np.ndarray) -> float:
    """Return the ratio of two sets' variances, each [frames, mels], the median over mels.

    The median, because bands that seldom leave the log floor vary by chance: between minutes
    of the same recording the ratio of mean variances was found to move by a factor of 3. Bands
    in which the reference is constant are left out; NaN if all are.
    """
    spread, real_spread = np.var(frames, axis=0), np.var(reference, axis=0)
    moving = real_spread > _TINY
    return float(np.median(spread[moving] / real_spread[moving])) if moving.any() else float("nan")


def changes(clips: Clips) -> np.ndarray:
    """Return all differences of successive frames, [changes, mels]."""
    return np.concatenate([np.diff(clip, axis=0) for clip in clips])


def kurtosis(frame_changes: np.ndarray) -> float:
    """Return the kurtosis of a band's changes (a Gaussian's is 3), the median over mels.

    The median, because a band that hardly ever leaves the log floor has a kurtosis without
    bound that swamps a mean. A constant band counts as 0.
    """
    centred = frame_changes - np.mean(frame_changes, axis=0)
    spread = np.mean(centred**2, axis=0)
    fourth = np.mean(centred**4, axis=0)
    return float(np.median(np.where(spread > 0, fourth / np.maximum(spread, _TINY) ** 2, 0)))


def flux(frame_changes: np.ndarray) -> np.ndarray:
    """Return the spectral flux, [changes]: rises of log power, averaged over mels."""
    return np.mean(np.maximum(frame_changes, 0), axis=1)


def wasserstein(left: np.ndarray, right: np.ndarray) -> float:
    """Return the first Wasserstein distance of two samples of numbers, by their quantiles."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return float(np.mean(np.abs(np.quantile(left, levels) - np.quantile(right, levels))))


def modulation_spectrum_db(
    clips: Clips, window_frames: int, frames_per_second: float
) -> np.ndarray:
    """Return the level of the bands' movement by its rate.

    Args:
      clips: Clips of `window_frames` or more; shorter ones are left out.
      window_frames: Length of one periodogram's Hann window; windows overlap by half.
      frames_per_second: Frame rate, Hz.

    Returns:
      Level, dB, [9, 8]: modulation bands, equal in log rate from 0.3 to 21 Hz (or half the
      frame rate), by groups of neighbouring mels. Levels are averaged over windows, not powers:
      a few loud windows of a short recording would decide a mean power.
    """
    taper = np.hanning(window_frames + 2)[1:-1, np.newaxis]
    size = max(window_frames, int(np.ceil(frames_per_second / _MODULATION_RESOLUTION_HZ)))
    rates_hz = np.fft.rfftfreq(size, 1 / frames_per_second)
    levels = []
    for clip in clips:
        for start in range(0, len(clip) - window_frames + 1, max(1, window_frames // 2)):
            window = clip[start : start + window_frames]
            spectrum = np.fft.rfft((window - window.mean(axis=0)) * taper, size, axis=0)
            power = _in_cells(np.abs(spectrum) ** 2 / np.sum(taper**2), rates_hz)
            levels.append(10 * np.log10(power + _STILL))
    return np.mean(levels, axis=0)


def loudness(frames: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return each frame's loudness, the log of its total mel power, nats, [frames].

    Args:
      frames: Normalised log-mel frames, [frames, mels].
      mean: The normalisation's mean of each mel, [mels].
      std: Its standard deviation, [mels].
    """
    log_power = frames * std + mean
    peak = np.max(log_power, axis=1, keepdims=True)
    return peak[:, 0] + np.log(np.sum(np.exp(log_power - peak), axis=1))


def drift(clip_loudness: Sequence[np.ndarray], frames_per_second: float) -> float:
    """Return the mean loudness of clips' last 5 s minus that of their first 5 s, nats.

    In a clip under 10 s the halves are compared.
    """
    edge = round(_EDGE_SECONDS * frames_per_second)
    spans = [(clip, max(1, min(edge, len(clip) // 2))) for clip in clip_loudness]
    return float(np.mean([clip[-span:].mean() - clip[:span].mean() for clip, span in spans]))


def _in_cells(power: np.ndarray, rates_hz: np.ndarray) -> np.ndarray:
    """Average a [rates, mels] spectrum over modulation bands and mel groups."""
    top = min(_MODULATION_HZ[1], rates_hz[-1])
    edges = np.geomspace(_MODULATION_HZ[0], top, _MODULATION_BANDS + 1)
    first, *_, last = np.searchsorted(rates_hz, edges)
    band = np.searchsorted(edges[1:-1], rates_hz[first:last], side="right")
    rows = np.stack([power[first:last][band == i].mean(axis=0) for i in range(len(edges) - 1)])
    groups = np.array_split(rows, min(_MEL_GROUPS, rows.shape[1]), axis=1)
    return np.stack([group.mean(axis=1) for group in groups], axis=1)
