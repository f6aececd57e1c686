"""ln(power) of mel bands: few values, near to hearing; no phase, and little of fine pitch."""

from collections.abc import Iterable, Iterator

import numpy as np

from lstm_gen.audio import stft
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig

n_frames = stft.n_frames


def extract(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Yield frames, float32 [frames, n_mels]: ln(mel power + log_floor)."""
    return stft.log_mel_blocks(blocks, audio)


def power(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return each frame's power summed over bands, float32 [frames]."""
    return stft.log_to_power(frames, audio).sum(axis=1)


def as_segment(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return frames as they are: none refers to another."""
    del audio
    return frames


def invert(
    frames: np.ndarray, audio: AudioConfig, n_iterations: int | None, n_samples: int
) -> np.ndarray:
    """Return a signal that has these frames; see `inversion.invert`."""
    from lstm_gen.audio import inversion  # compiled loops, which those who only analyse never need

    n_iterations = INVERSION_ITERATIONS["standard"] if n_iterations is None else n_iterations
    return inversion.invert(frames, audio, n_iterations, n_samples)


def picture(frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(power) [frames, n_mels] and the centres of the bands, Hz."""
    return frames, stft.mel_band_edges(audio)[1:-1]
