"""Start spectrum of mel inversion: power between the bands, interpolated and then corrected.

Interpolation gives every bin the density of the bands around it. What it misses (partials within
a band, the usual spectrum of these instruments) is partly linear in the bands: a ridge regression
from the densities of three frames to each bin's error, fitted in closed form to a dataset's
training split, is added. Without it, as for datasets of earlier versions, the interpolation stands
alone.

Source: Hoerl & Kennard 1970 (ridge regression); its use here is our own.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from lstm_gen.audio import frequency_scales, stft
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

EPSILON = 1e-12  # of the loudest mel power
NAME = "spectrum_map"
"""Name of the regression's weights among the fitted arrays."""

RANGE = 6.0
"""Largest correction of a magnitude, nats."""

SPREAD = 3.0
"""Divisor of the features: about the deviation of a band's density within a frame, nats."""

_CONTEXT = 1  # frames on each side
_RIDGE = 10.0  # penalty on the squares of the weights
_FLOOR = 1e-8  # of the loudest bin of a frame: what is below counts as this


class Grid(NamedTuple):
    """Positions of the bins among the mel bands, to interpolate between bands.

    Attributes:
      bands: int [filled], the bands that reach a bin; with many bands, low ones can be too narrow.
      area: float32 [filled], the sum of each band's weights.
      lower: int [bins], the band of `bands` at or below each bin.
      upper: int [bins], the band after it.
      fraction: float32 [bins], position of the bin from `lower` (0) to `upper` (1).
      reached: bool [bins], whether any band reaches the bin.
    """

    bands: np.ndarray
    area: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    fraction: np.ndarray
    reached: np.ndarray


@functools.cache
def grid(audio: AudioConfig) -> Grid:
    """Return the positions of the bins among the bands.

    Raises:
      InputError: If no band reaches a bin.
    """
    bank = frequency_scales.filter_bank(audio)
    area = bank.sum(axis=1)
    filled = np.flatnonzero(area)
    errors.require(
        filled.size > 0,
        "mel bands must reach an FFT bin; move fmin_hz and fmax_hz apart, or use a longer n_fft",
        fmin_hz=audio.fmin_hz,
        fmax_hz=audio.fmax_resolved_hz,
        n_fft=audio.n_fft,
    )
    bins_hz = np.linspace(0, audio.sample_rate / 2, bank.shape[1])
    centres_hz = frequency_scales.band_edges(audio)[1:-1][filled]
    position = np.interp(bins_hz, centres_hz, np.arange(filled.size))
    lower = np.floor(position).astype(np.intp)
    return Grid(
        bands=filled,
        area=area[filled],
        lower=lower,
        upper=np.minimum(lower + 1, filled.size - 1),
        fraction=(position - lower).astype(np.float32),
        reached=np.asarray(bank.any(axis=0)),
    )


def power(mel: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return a smooth power spectrum of mel power, float32 [frames, bins].

    Args:
      mel: float32 [frames, n_mels], its maximum 1.
      audio: The analysis, with the fitted weights if there are any.
    """
    density = _density(mel, audio)
    logs = _interpolate(density, audio)
    weights = audio.fitted.arrays.get(NAME) if audio.fitted else None
    if weights is not None:
        features, weights = _features(density), weights.astype(np.float32)
        for block in stft.frame_blocks(len(features)):
            change = features[block] @ weights
            logs[block] += 2 * np.clip(change, -RANGE, RANGE)
    np.exp(logs, out=logs)
    logs *= grid(audio).reached
    return logs


def shape(audio: AudioConfig) -> tuple[int, int]:
    """Return the shape of the weights: features (bands of three frames, and 1) to bins."""
    return (2 * _CONTEXT + 1) * grid(audio).bands.size + 1, 1 + audio.n_fft // 2


def fit(runs: Iterable[np.ndarray], audio: AudioConfig) -> np.ndarray:
    """Return the ridge regression's weights, float16 of `shape`.

    Args:
      runs: Power spectra, float32 [frames, bins], each of consecutive frames.
      audio: The analysis.
    """
    n_features, n_bins = shape(audio)
    gram, moment = np.zeros((n_features, n_features)), np.zeros((n_features, n_bins))
    for run in runs:
        logs = stft.log_power(frequency_scales.sum_bands(run, audio), audio)
        mel = stft.log_to_power(logs.astype(np.float16), audio)  # as it will be read
        loudest = mel.max()
        if len(run) <= 2 * _CONTEXT or loudest == 0:
            continue
        inner = slice(_CONTEXT, len(run) - _CONTEXT)
        density = _density(mel / loudest, audio)
        features = _features(density)[inner]
        target = run[inner] / loudest
        floor = np.float32(_FLOOR) * target.max(axis=1, keepdims=True) + np.float32(EPSILON)
        start = np.exp(_interpolate(density, audio)[inner])
        missing = np.log(np.maximum(target, floor) / np.maximum(start, floor)) / 2
        gram += features.T @ features
        moment += features.T @ np.clip(missing, -RANGE, RANGE)
    gram += _RIDGE * np.eye(n_features)
    return np.linalg.solve(gram, moment).astype(np.float16)


def _density(mel: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return ln(power per bin) of the bands that reach a bin, [frames, filled]."""
    bank = grid(audio)
    return np.asarray(np.log(mel[:, bank.bands] / bank.area + np.float32(EPSILON)))


def _interpolate(density: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return ln(power) of every bin, [frames, bins], linear between the bands' centres."""
    bank = grid(audio)
    # np.take, because indexing an axis that is not the first returns a transposed layout.
    logs = np.take(density, bank.lower, axis=1)
    logs += bank.fraction * (np.take(density, bank.upper, axis=1) - logs)
    return logs


def _features(density: np.ndarray) -> np.ndarray:
    """Return the densities of three frames, each without its mean, and 1, [frames, features]."""
    relative = (density - density.mean(axis=1, keepdims=True)) / np.float32(SPREAD)
    padded = np.pad(relative, ((_CONTEXT, _CONTEXT), (0, 0)), mode="edge")
    around = [padded[i : i + len(density)] for i in range(2 * _CONTEXT + 1)]
    return np.concatenate([*around, np.ones((len(density), 1), np.float32)], axis=1)
