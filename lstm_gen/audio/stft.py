"""The short-time Fourier transform and the mel scale; `inversion` goes the way back.

Arrays are frame-major: time is the slow axis, as models want it and as the FFT is fastest.
The numbers are librosa's (periodic Hann window, centred frames over zero padding, Slaney
mel bands with area normalisation), computed in float32 in chunks that stay in cache.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import scipy.fft

from lstm_gen.config.audio import AudioConfig

# 96 frames of 2048 samples and their spectrum are 1.6 MB: they stay in a core's cache.
_CHUNK_FRAMES = 96
_PIECE_BANDS = 16
ROUNDING = 1e-5


@functools.cache
def mel_filter_bank(audio: AudioConfig) -> np.ndarray:
    """Return the triangular bands that sum power over frequency.

    Returns:
      float32 [n_mels, 1 + n_fft // 2], read-only; each band has unit area over Hz.

    Source: Slaney 1998, Auditory Toolbox (linear below 1 kHz, logarithmic above).
    """
    bins_hz = np.linspace(0, audio.sample_rate / 2, 1 + audio.n_fft // 2)
    edges_hz = mel_band_edges(audio)[:, np.newaxis]
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    bank = np.maximum(0, np.minimum(rising, falling)) * (2 / (upper - lower))
    bank = bank.astype(np.float32)
    bank.setflags(write=False)
    return bank


def mel_band_edges(audio: AudioConfig) -> np.ndarray:
    """Return where bands begin, peak and end.

    Returns:
      float64 [n_mels + 2], Hz: band `i` rises from entry `i` to `i + 1` and falls to `i + 2`.
    """
    lowest, highest = hz_to_mel(np.array([audio.fmin_hz, audio.fmax_resolved_hz]))
    return mel_to_hz(np.linspace(lowest, highest, audio.n_mels + 2))


def hz_to_mel(frequency_hz: np.ndarray) -> np.ndarray:
    """Return Slaney mels: 200/3 Hz each up to 1 kHz, above it 27 to a factor of 6.4."""
    frequency_hz = np.asarray(frequency_hz, np.float64)
    above = 15 + 27 * np.log(np.maximum(frequency_hz, 1000) / 1000) / np.log(6.4)
    return np.where(frequency_hz < 1000, frequency_hz * 3 / 200, above)


def mel_to_hz(mels: np.ndarray) -> np.ndarray:
    """Return the frequency of Slaney mels, Hz; the inverse of `hz_to_mel`."""
    mels = np.asarray(mels, np.float64)
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((np.maximum(mels, 15) - 15) / 27))


def n_frames(n_samples: int, audio: AudioConfig) -> int:
    """Return how many frames a signal has: centred on every `hop_length`-th sample."""
    return 1 + n_samples // audio.hop_length


def stft(samples: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the short-time Fourier transform.

    Args:
      samples: float [samples].
      audio: Gives `n_fft` and `hop_length`.

    Returns:
      complex64 [frames, 1 + n_fft // 2], frames = 1 + samples // hop_length.
    """
    return np.concatenate(list(stft_blocks([samples], audio)))


def stft_blocks(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Turn a streamed signal into the transform that `stft` gives for the whole of it.

    Frames are computed in the same chunks however the signal is cut into blocks, so the
    result does not depend on the blocks, to the bit.

    Args:
      blocks: float [samples] each, of any lengths; together the signal.
      audio: Gives `n_fft` and `hop_length`.

    Yields:
      complex64 [frames, 1 + n_fft // 2], at least one frame each; at least one array.
    """
    for span in _spans(blocks, audio):
        yield _spectrum(span, audio)


def log_mel(samples: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the log-mel frames of a signal.

    Args:
      samples: float [samples].
      audio: The analysis.

    Returns:
      float32 [frames, n_mels]: ln(mel power + log_floor), frames = 1 + samples // hop_length.
    """
    return np.concatenate(list(log_mel_blocks([samples], audio)))


def log_mel_blocks(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Turn a streamed signal into the frames that `log_mel` gives for the whole of it.

    As for `stft_blocks`, the result does not depend on the blocks, to the bit.

    Args:
      blocks: float [samples] each, of any lengths; together the signal.
      audio: The analysis.

    Yields:
      float32 [frames, n_mels], at least one frame each; at least one array.
    """
    # Not over `stft_blocks`: a transform that outlives its turn costs the next one its cache.
    for span in _spans(blocks, audio):
        yield np.log(_mel(_spectrum(span, audio), audio) + np.float32(audio.log_floor))


def log_power(spectrum: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return ln(power + log_floor) of a transform, float32 of its shape."""
    return np.log(_power(spectrum) + np.float32(audio.log_floor))


def log_to_power(logs: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the power behind logarithms: the exponential less the floor, at least 0.

    What a float32 logarithm cannot tell from the floor is 0, so that silence comes back.

    Args:
      logs: float, any shape, natural logarithm of power plus `log_floor`.
      audio: Gives `log_floor`.

    Returns:
      float32, the shape of `logs`.
    """
    floor = np.float32(audio.log_floor)
    power = np.exp(np.asarray(logs, np.float32)) - floor
    power[power < floor * np.float32(ROUNDING)] = 0
    return power


@functools.cache
def hann_window(n_fft: int) -> np.ndarray:
    """Return the periodic Hann window, float32 [n_fft]."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window = window.astype(np.float32)
    window.setflags(write=False)
    return window


def _spans(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Cut a padded signal into overlapping spans of `_CHUNK_FRAMES` frames, the last shorter."""
    padding = np.zeros(audio.n_fft // 2, np.float32)
    step = _CHUNK_FRAMES * audio.hop_length
    length = step - audio.hop_length + audio.n_fft
    pending = padding
    for block in itertools.chain(blocks, [padding]):
        pending = np.concatenate([pending, block], dtype=np.float32, casting="same_kind")
        start = 0
        while pending.size - start >= length:
            yield pending[start : start + length]
            start += step
        pending = pending[start:]
    if pending.size >= audio.n_fft:
        yield pending


def _spectrum(span: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the transform of every whole frame in a span, complex64 [frames, bins]."""
    frames = np.lib.stride_tricks.sliding_window_view(span, audio.n_fft)[:: audio.hop_length]
    return scipy.fft.rfft(frames * hann_window(audio.n_fft), axis=-1, workers=1)


def _power(spectrum: np.ndarray) -> np.ndarray:
    """Return the power of a transform, float32 of its shape."""
    return np.square(spectrum.real) + np.square(spectrum.imag)


def _mel(spectrum: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the mel power of a transform, float32 [frames, n_mels]."""
    power = _power(spectrum)
    mel = np.empty((len(power), audio.n_mels), np.float32)
    for bands, bins, weights in _bank_pieces(audio):
        np.matmul(power[:, bins], weights, out=mel[:, bands])
    return mel


@functools.cache
def _bank_pieces(audio: AudioConfig) -> list[tuple[slice, slice, np.ndarray]]:
    """Cut the bank into a few bands each, with only the bins that they touch.

    A bin feeds at most two bands. Small dense products with those bins take a quarter of the
    time of one product with the whole bank, most of which is zeros.

    Returns:
      Bands, bins, and float32 weights [bins, bands] of each piece.
    """
    bank = mel_filter_bank(audio)
    pieces = []
    for first in range(0, audio.n_mels, _PIECE_BANDS):
        bands = slice(first, min(first + _PIECE_BANDS, audio.n_mels))
        touched = np.flatnonzero(bank[bands].any(axis=0))
        bins = slice(touched[0], touched[-1] + 1) if touched.size else slice(0, 0)
        pieces.append((bands, bins, np.ascontiguousarray(bank[bands, bins].T)))
    return pieces
