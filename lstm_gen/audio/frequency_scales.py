"""Frequency scales: Slaney's mels and their filter bank, with librosa's numbers; MIDI notes."""

import functools
from typing import Any

import numpy as np

from lstm_gen.config.audio import AudioConfig

_PART_BANDS = 16


def midi_to_hz(midi: Any) -> Any:
    """Return the frequency of MIDI note numbers, Hz: A4 = 69 at 440 Hz, equal temperament.

    Args:
      midi: A number, array or tensor, whole or not.
    """
    return 440.0 * 2.0 ** ((midi - 69.0) / 12.0)


def hz_to_mel(frequency_hz: np.ndarray) -> np.ndarray:
    """Return Slaney mels: 200/3 Hz each up to 1 kHz, above it 27 to a factor of 6.4."""
    frequency_hz = np.asarray(frequency_hz, np.float64)
    above = 15 + 27 * np.log(np.maximum(frequency_hz, 1000) / 1000) / np.log(6.4)
    return np.where(frequency_hz < 1000, frequency_hz * 3 / 200, above)


def mel_to_hz(mels: np.ndarray) -> np.ndarray:
    """Return the frequency of Slaney mels, Hz; the inverse of `hz_to_mel`."""
    mels = np.asarray(mels, np.float64)
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((np.maximum(mels, 15) - 15) / 27))


def band_edges(audio: AudioConfig) -> np.ndarray:
    """Return the frequencies at which bands begin, peak and end.

    Returns:
      float64 [n_mels + 2], Hz: band `i` rises from entry `i` to `i + 1` and falls to `i + 2`.
    """
    lowest, highest = hz_to_mel(np.array([audio.fmin_hz, audio.fmax_resolved_hz]))
    return mel_to_hz(np.linspace(lowest, highest, audio.n_mels + 2))


@functools.cache
def filter_bank(audio: AudioConfig) -> np.ndarray:
    """Return the triangular bands that sum power over frequency.

    Returns:
      float32 [n_mels, 1 + n_fft // 2], read-only; each band has unit area over Hz.

    Source: Slaney 1998, Auditory Toolbox (linear below 1 kHz, logarithmic above).
    """
    bins_hz = np.linspace(0, audio.sample_rate / 2, 1 + audio.n_fft // 2)
    edges_hz = band_edges(audio)[:, np.newaxis]
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    bank = np.maximum(0, np.minimum(rising, falling)) * (2 / (upper - lower))
    bank = bank.astype(np.float32)
    bank.setflags(write=False)
    return bank


def sum_bands(power: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the mel power, float32 [frames, n_mels], of a power spectrum [frames, bins]."""
    mel = np.empty((len(power), audio.n_mels), np.float32)
    for bands, bins, weights in _parts(audio):
        np.matmul(power[:, bins], weights, out=mel[:, bands])
    return mel


@functools.cache
def _parts(audio: AudioConfig) -> list[tuple[slice, slice, np.ndarray]]:
    """Return the bank in parts of a few bands, each with only the bins that they touch.

    A bin feeds at most two bands. Small dense products with those bins take a quarter of the
    time of one product with the whole bank, most of which is zeros.

    Returns:
      Bands, bins, and float32 weights [bins, bands] of each part.
    """
    bank = filter_bank(audio)
    parts = []
    for first in range(0, audio.n_mels, _PART_BANDS):
        bands = slice(first, min(first + _PART_BANDS, audio.n_mels))
        touched = np.flatnonzero(bank[bands].any(axis=0))
        bins = slice(touched[0], touched[-1] + 1) if touched.size else slice(0, 0)
        parts.append((bands, bins, np.ascontiguousarray(bank[bands, bins].T)))
    return parts
