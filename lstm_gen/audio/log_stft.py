"""ln(power) of the bins of the short-time Fourier transform: all of the magnitude, no phase."""

from collections.abc import Iterable, Iterator

import numpy as np

from lstm_gen.audio import stft
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig

n_frames = stft.n_frames


def extract(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Yield frames, float32 [frames, bins]: ln(power + log_floor), the lowest bins first."""
    for spectrum in stft.stft_blocks(blocks, audio):
        yield stft.log_power(spectrum[:, : audio.n_bins_resolved], audio)


def power(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return each frame's power summed over bins, float32 [frames]."""
    return stft.log_to_power(frames, audio).sum(axis=1)


def as_segment(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return frames as they are: none refers to another."""
    del audio
    return frames


def invert(
    frames: np.ndarray, audio: AudioConfig, n_iterations: int | None, n_samples: int
) -> np.ndarray:
    """Return a signal of these magnitudes, float32 [n_samples]; bins that were cropped are 0.

    The phase starts as the magnitude's gradients imply and is refined by fast Griffin-Lim.
    """
    from lstm_gen.audio import inversion  # compiled loops, which those who only analyse never need

    n_iterations = INVERSION_ITERATIONS["standard"] if n_iterations is None else n_iterations
    spectrum = inversion.guess_spectrum(power_of_bins(frames, audio), audio)
    return inversion.refine(spectrum, audio, n_iterations, n_samples)


def power_of_bins(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the power of every bin of the transform, float32 [frames, 1 + n_fft // 2].

    Args:
      frames: float [frames, bins], ln(power + log_floor) of the lowest bins.
      audio: Gives the floor, and how many bins there are in all; the others are 0.
    """
    powers = np.zeros((len(frames), 1 + audio.n_fft // 2), np.float32)
    powers[:, : audio.n_bins_resolved] = stft.log_to_power(frames, audio)
    return powers


def picture(frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(power) [frames, bins] and the frequencies of the bins, Hz."""
    bins_hz = np.arange(audio.n_bins_resolved) * (audio.sample_rate / audio.n_fft)
    return frames, bins_hz
