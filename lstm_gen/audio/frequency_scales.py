"""Frequency scales: mels with their filter bank, and MIDI notes.

A mel scale is linear in frequency up to its break and logarithmic above it. With its break at
1000 Hz it is Slaney's, with librosa's numbers: 200/3 Hz a mel, then 27 mels to a factor of 6.4.
With another break it is the same scale with all frequencies in proportion: up to 500 Hz, 100/3 Hz
a mel, above it again 27 mels to a factor of 6.4. So wherever the break lies, a mel just above it
is 3 % wider than one below. Bands are evenly spaced in mels, and a lower break gives more of them
to low notes.
"""

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


def hz_to_mel(frequency_hz: np.ndarray, break_hz: float) -> np.ndarray:
    """Return mels: 15 from 0 Hz to the break, evenly; above it 27 to a factor of 6.4."""
    ratio = np.asarray(frequency_hz, np.float64) / break_hz
    return np.where(ratio < 1, 15 * ratio, 15 + 27 * np.log(np.maximum(ratio, 1)) / np.log(6.4))


def mel_to_hz(mels: np.ndarray, break_hz: float) -> np.ndarray:
    """Return the frequency of mels, Hz; the inverse of `hz_to_mel`."""
    mels = np.asarray(mels, np.float64)
    return break_hz * np.where(mels < 15, mels / 15, 6.4 ** ((np.maximum(mels, 15) - 15) / 27))


def band_edges(audio: AudioConfig) -> np.ndarray:
    """Return the frequencies at which bands begin, peak and end.

    Returns:
      float64 [n_mels + 2], Hz: band `i` rises from entry `i` to `i + 1` and falls to `i + 2`.
    """
    ends_hz = np.array([audio.fmin_hz, audio.fmax_resolved_hz])
    lowest, highest = hz_to_mel(ends_hz, audio.mel_break_hz)
    return mel_to_hz(np.linspace(lowest, highest, audio.n_mels + 2), audio.mel_break_hz)


@functools.cache
def filter_bank(audio: AudioConfig) -> np.ndarray:
    """Return the triangular bands that sum power over frequency.

    Returns:
      float32 [n_mels, 1 + n_fft // 2], read-only; each band has unit area over Hz.

    Source: Slaney 1998, Auditory Toolbox (linear below 1 kHz, logarithmic above); the break at
    another frequency is our own.
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


def empty_bands(audio: AudioConfig) -> int:
    """Return the number of bands so narrow that they lie between two FFT bins: always silent."""
    return int(np.sum(~filter_bank(audio).any(axis=1)))


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
