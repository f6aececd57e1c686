"""Metrics of frames: variation, loudness, modulation, texture, repetition, copies, energy scores.

`clips` is a sequence of float arrays [frames, mels]. A metric pools all frames of all clips and
never compares frames across the edge of a clip.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.spatial
import scipy.special
import scipy.stats

Clips = Sequence[np.ndarray]

MODULATION_SECONDS = 6.0
"""Window of the modulation spectrum; two periods of its lowest band's lower edge."""

STACK_FRAMES = 8
"""Frames of a stack, the local texture that the Fréchet distance compares."""

PATCH_FRAMES = 32
"""Frames of a patch, long enough that two patches of one piece rarely agree by chance."""

TINY = 1e-30
"""Least divisor of a ratio."""

_MODULATION_HZ = (0.3, 21.0)
_MODULATION_BANDS = 9
_MEL_GROUPS = 8
_MODULATION_RESOLUTION_HZ = 0.05  # so that the narrowest band holds a few bins
_MODULATION_FLOOR = 0.03  # power added to each cell: less than 0.17 deviations are no modulation
_EDGE_SECONDS = 5.0
_COMPONENTS = 32
_MAX_STACKS = 20_000
_MAX_QUERIES = 256
_QUERY_HOP_FRAMES = 8


def chunks(clips: Clips, length: int) -> Iterator[np.ndarray]:
    """Yield consecutive chunks of `length` of each clip; a shorter rest is left out."""
    for clip in clips:
        for start in range(0, len(clip) - length + 1, length):
            yield clip[start : start + length]


def variance_ratio(frames: np.ndarray, reference: np.ndarray) -> float:
    """Return the ratio of two sets' variances, each [frames, mels], the median over mels.

    The median, because the variance of bands that seldom leave the log floor is a matter of chance:
    between minutes of one recording the ratio of mean variances was found to vary by a factor of 3.
    Bands in which the reference is constant are left out; NaN if all are.
    """
    variances, reference_variances = np.var(frames, axis=0), np.var(reference, axis=0)
    varying = reference_variances > TINY
    if not varying.any():
        return float("nan")
    return float(np.median(variances[varying] / reference_variances[varying]))


def differences(clips: Clips) -> np.ndarray:
    """Return the differences of successive frames of all clips, [differences, mels]."""
    return np.concatenate([np.diff(clip, axis=0) for clip in clips])


def kurtosis(frame_differences: np.ndarray) -> float:
    """Return the kurtosis of each band's differences (3 for a Gaussian), the median over mels.

    The median, because the kurtosis of a band that hardly ever leaves the log floor is unbounded
    and would dominate a mean. A constant band counts as 0.
    """
    varying = np.ptp(frame_differences, axis=0) > 0
    values = np.zeros(varying.shape)
    values[varying] = scipy.stats.kurtosis(frame_differences[:, varying], fisher=False)
    return float(np.median(values))


def flux(frame_differences: np.ndarray) -> np.ndarray:
    """Return the spectral flux, [differences]: rises of log power, the mean over mels."""
    return np.mean(np.maximum(frame_differences, 0), axis=1)


def modulation_spectrum_db(
    clips: Clips, window_frames: int, frames_per_second: float
) -> np.ndarray:
    """Return the modulation spectrum of the bands.

    Args:
      clips: Clips of `window_frames` or more; shorter ones are left out.
      window_frames: Length of one periodogram's Hann window; windows overlap by half.
      frames_per_second: Frame rate, Hz.

    Returns:
      Level, dB, [9, 8]: modulation bands, equal in log rate from 0.3 to 21 Hz (or half the
      frame rate), by groups of neighbouring mels. Levels are averaged over windows, not powers:
      a few loud windows of a short recording would dominate a mean power.
    """
    taper = np.hanning(window_frames + 2)[1:-1, np.newaxis]
    size = max(window_frames, int(np.ceil(frames_per_second / _MODULATION_RESOLUTION_HZ)))
    rates_hz = np.fft.rfftfreq(size, 1 / frames_per_second)
    levels = []
    for clip in clips:
        for start in range(0, len(clip) - window_frames + 1, max(1, window_frames // 2)):
            window = clip[start : start + window_frames]
            spectrum = np.fft.rfft((window - window.mean(axis=0)) * taper, size, axis=0)
            power = _modulation_cells(np.abs(spectrum) ** 2 / np.sum(taper**2), rates_hz)
            levels.append(10 * np.log10(power + _MODULATION_FLOOR))
    return np.mean(levels, axis=0)


def loudness(frames: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return the loudness of each frame, the log of its total mel power, nats, [frames].

    Args:
      frames: Normalised log-mel frames, [frames, mels].
      mean: The normalisation's mean of each mel, [mels].
      std: Its standard deviation, [mels].
    """
    return np.asarray(scipy.special.logsumexp(frames * std + mean, axis=1))


def drift(clip_loudness: Sequence[np.ndarray], frames_per_second: float) -> float:
    """Return the mean loudness of the clips' last 5 s minus that of their first 5 s, nats.

    Of a clip shorter than 10 s the halves are compared.
    """
    edge = round(_EDGE_SECONDS * frames_per_second)
    spans = [(clip, max(1, min(edge, len(clip) // 2))) for clip in clip_loudness]
    return float(np.mean([clip[-span:].mean() - clip[:span].mean() for clip, span in spans]))


def local_frechet(candidates: Sequence[Clips], train: Clips) -> list[float]:
    """Return each candidate's Fréchet distance to the training clips, in local texture.

    A stack of 8 frames less its mean over time holds no level, so the distance depends on how
    frames change and not on which notes sound. Stacks are reduced to the first 32 principal
    components of the training stacks, unscaled. Few stacks overestimate the distance: compare it
    with that of held-out clips.

    Source: Dowson and Landau 1982, the Fréchet distance of Gaussians.
    """
    reference = _stacks(train)
    centred = reference - reference.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    basis = vectors[:, -_COMPONENTS:]
    target = _gaussian(reference @ basis)
    return [frechet(_gaussian(_stacks(clips) @ basis), target) for clips in candidates]


def frechet(left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the squared Fréchet distance of two Gaussians, each (mean, covariance)."""
    values, vectors = np.linalg.eigh(left[1])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ right[1] @ root), 0))
    mean_distance = np.sum((left[0] - right[0]) ** 2)
    return float(mean_distance + np.trace(left[1]) + np.trace(right[1]) - 2 * np.sum(cross))


def repetition(clips: Clips, chunk_frames: int, least_frames: int) -> float:
    """Return the correlation of a patch with the most similar earlier one, mean, from -1 to 1.

    A patch less its mean over time, so that a held chord alone does not count, is correlated
    with all patches of its chunk that begin `least_frames` or more earlier, and the best is
    taken. Longer chunks hold more candidates, so compare only equal `chunk_frames`.

    Args:
      clips: Clips; each is cut into whole chunks, the rest is left out.
      chunk_frames: Frames of a chunk, more than `PATCH_FRAMES + least_frames`.
      least_frames: Least distance from a patch to an earlier one, frames.

    Returns:
      The mean over patches; NaN if no clip fills a chunk.
    """
    best = []
    for chunk in chunks(clips, chunk_frames):
        patches = _patches(chunk)
        patches -= patches.mean(axis=1, keepdims=True)
        flat = patches.reshape(len(patches), -1)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        starts = range(least_frames, len(flat), _QUERY_HOP_FRAMES)
        best += [np.max(flat[: start - least_frames + 1] @ flat[start]) for start in starts]
    return float(np.mean(best)) if best else float("nan")


def nearest_distance(clips: Clips, train: Clips, most: int = _MAX_QUERIES) -> float:
    """Return the distance of a patch to the nearest training patch, the median over patches.

    All patches of the training clips are candidates, and at most `most` patches of `clips`, evenly
    spaced, are measured.
    """
    queries = np.concatenate([_patches(chunk) for chunk in chunks(clips, PATCH_FRAMES)])
    chosen = np.linspace(0, len(queries) - 1, min(most, len(queries))).round()
    flat = queries.reshape(len(queries), -1)[chosen.astype(int)]
    nearest = np.full(len(flat), np.inf)
    for clip in train:
        if len(clip) >= PATCH_FRAMES:
            candidates = _patches(clip).reshape(len(clip) - PATCH_FRAMES + 1, -1)
            inner = flat @ candidates.T
            squares = np.sum(candidates**2, axis=1)
            nearest = np.minimum(nearest, np.min(squares - 2 * inner, axis=1))
    return float(np.median(np.sqrt(np.maximum(nearest + np.sum(flat**2, axis=1), 0))))


def energy_score(samples: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the energy score of each prediction, float64 [rows]; less is better.

    It is E|X - y| - E|X - X'| / 2 for independent draws X and X' of a prediction and the observed
    y, |.| the root of the mean square. Its expectation is least if y has the predicted
    distribution, and for no other. Pairs are of different samples, so that few do not flatter.

    Args:
      samples: float [samples, rows, values], two samples or more.
      observed: float [rows, values].

    Source: Gneiting and Raftery 2007; the unbiased estimate, Ferro 2014.
    """
    apart = _distance(samples - observed).mean(axis=0)
    n_samples = len(samples)
    spread = np.zeros(len(observed))
    for lag in range(1, n_samples):  # every ordered pair once
        spread += _distance(samples - np.roll(samples, lag, axis=0)).sum(axis=0)
    return np.asarray(apart - spread / (2 * n_samples * (n_samples - 1)))


def marginal_energy_score(drawn: np.ndarray, owners: np.ndarray, observed: np.ndarray) -> float:
    """Return the energy score of one distribution for many observations, as `energy_score`.

    Args:
      drawn: float [n, values], draws.
      owners: int [n], the clip that each is of; pairs are of different clips, where draws are
        independent, or of one if there is only one.
      observed: float [m, values].
    """
    scale = math.sqrt(observed.shape[1])
    apart = scipy.spatial.distance.cdist(drawn, observed).mean()
    different = owners[:, np.newaxis] != owners
    if not different.any():
        different = ~np.eye(len(owners), dtype=bool)
    spread = scipy.spatial.distance.cdist(drawn, drawn)[different].mean()
    return float((apart - spread / 2) / scale)


def _distance(differences: np.ndarray) -> np.ndarray:
    """Return the root mean square over the last axis."""
    return np.sqrt(np.mean(np.square(differences, dtype=np.float64), axis=-1))


def _modulation_cells(power: np.ndarray, rates_hz: np.ndarray) -> np.ndarray:
    """Average a [rates, mels] spectrum over modulation bands and mel groups."""
    top = min(_MODULATION_HZ[1], rates_hz[-1])
    edges = np.geomspace(_MODULATION_HZ[0], top, _MODULATION_BANDS + 1)
    first, *_, last = np.searchsorted(rates_hz, edges)
    band = np.searchsorted(edges[1:-1], rates_hz[first:last], side="right")
    rows = np.stack([power[first:last][band == i].mean(axis=0) for i in range(len(edges) - 1)])
    groups = np.array_split(rows, min(_MEL_GROUPS, rows.shape[1]), axis=1)
    return np.stack([group.mean(axis=1) for group in groups], axis=1)


def _patches(clip: np.ndarray) -> np.ndarray:
    """Return every patch of a clip, float32 [patches, PATCH_FRAMES, mels], a copy."""
    windows = np.lib.stride_tricks.sliding_window_view(clip, PATCH_FRAMES, axis=0)
    return windows.swapaxes(1, 2).astype(np.float32)


def _stacks(clips: Clips) -> np.ndarray:
    """Return stacks less their mean over time, [stacks, mels * STACK_FRAMES], evenly spaced."""
    total = sum(max(0, len(clip) - STACK_FRAMES + 1) for clip in clips)
    hop = max(1, -(-total // _MAX_STACKS))
    found = []
    for clip in clips:
        if len(clip) >= STACK_FRAMES:
            windows = np.lib.stride_tricks.sliding_window_view(clip, STACK_FRAMES, axis=0)[::hop]
            local = windows - windows.mean(axis=2, keepdims=True)
            found.append(local.reshape(len(local), -1))
    return np.concatenate(found)


def _gaussian(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and covariance of rows, float64."""
    rows = values.astype(np.float64)
    mean = rows.mean(axis=0)
    return mean, (rows - mean).T @ (rows - mean) / len(rows)
