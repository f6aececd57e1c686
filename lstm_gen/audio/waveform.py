"""The samples themselves: a frame is `hop_length` consecutive ones."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from lstm_gen.audio import log_stft
from lstm_gen.config.audio import AudioConfig

_BLOCK_SAMPLES = 1 << 16
_PICTURE_SECONDS = 0.05  # of the window of a picture, about


def n_frames(n_samples: int, audio: AudioConfig) -> int:
    """Return how many frames a signal has; the last one is filled up with zeros."""
    return -(-n_samples // audio.hop_length)


def extract(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Yield frames, float32 [frames, hop_length]; at least one array, perhaps of no frame."""
    pending = np.zeros(0, np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block], dtype=np.float32, casting="same_kind")
        whole = len(pending) // audio.hop_length * audio.hop_length
        if whole >= _BLOCK_SAMPLES:
            yield pending[:whole].reshape(-1, audio.hop_length)
            pending = pending[whole:]
    padding = n_frames(len(pending), audio) * audio.hop_length - len(pending)
    yield np.pad(pending, (0, padding)).reshape(-1, audio.hop_length)


def power(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the power of each frame's Fourier transform, summed over bins, float32 [frames].

    Source: Parseval's theorem.
    """
    return np.square(frames).sum(axis=1) * np.float32(audio.hop_length / 2)


def as_segment(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return frames as they are: none refers to another."""
    del audio
    return frames


def invert(
    frames: np.ndarray, audio: AudioConfig, n_iterations: int | None, n_samples: int
) -> np.ndarray:
    """Return the samples, float32 [n_samples]."""
    del n_iterations, audio
    samples = np.asarray(frames, np.float32).reshape(-1)[:n_samples]
    return np.pad(samples, (0, n_samples - samples.size))


def picture(frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(power) [columns, bins] and the frequencies of the bins, Hz."""
    n_fft = max(16, 1 << round(math.log2(audio.sample_rate * _PICTURE_SECONDS)))
    analysis = dataclasses.replace(
        audio, representation="log_stft", n_fft=n_fft, hop_length=n_fft // 4
    )
    samples = np.asarray(frames, np.float32).reshape(-1)
    return log_stft.picture(np.concatenate(list(log_stft.extract([samples], analysis))), analysis)
