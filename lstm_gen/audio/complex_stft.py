"""The short-time Fourier transform with its phase: what went in comes out.

With phase "instantaneous_frequency" a frame holds ln(power + log_floor) of every bin, then by
how much every bin's phase went on since the frame before, beyond what its centre frequency
does in a hop. Phases are in half turns, -1 to 1. A segment's first frame holds the
phase itself. Steps are differences of phases rounded to a grid so coarse that the stored type
holds every difference exactly: summing them up never drifts, and a phase is off by one
step of the grid at most (a 2048th of a half turn in float16), however long the recording.

With "real_imaginary" a frame holds the real part of every bin, then its imaginary part, in units
of n_fft / 4: a sine of amplitude 1 has magnitude 1.

Source: Engel et al. 2019, GANSynth (instantaneous frequency); the grid is our own.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from lstm_gen.audio import log_stft, stft
from lstm_gen.config.audio import AudioConfig

# Steps per half turn. Between -1 and 1 the type holds every multiple of a step.
_GRID = {"float16": 1 << 11, "float32": 1 << 23}
_BLOCK_FRAMES = 128

n_frames = stft.n_frames


def extract(blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
    """Yield frames, float32 [frames, 2 * bins]; in place of phase steps the phases themselves."""
    for spectrum in stft.stft_blocks(blocks, audio):
        kept = spectrum[:, : audio.n_bins_resolved]
        if not audio.is_logarithmic:
            yield np.concatenate([kept.real, kept.imag], axis=1) / _unit(audio)
        else:
            half_turns = np.angle(kept) / np.float32(np.pi)
            yield np.concatenate([stft.log_power(kept, audio), half_turns], axis=1)


def power(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return each frame's power summed over bins, float32 [frames]."""
    if not audio.is_logarithmic:
        return np.square(frames * _unit(audio)).sum(axis=1)
    return log_stft.power(frames[:, : audio.n_bins_resolved], audio)


def as_segment(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return consecutive frames as they are stored: each phase as a step from the one before."""
    if not audio.is_logarithmic:
        return frames
    n_bins = audio.n_bins_resolved
    grid = _GRID[frames.dtype.name]
    segment = frames.copy()
    before = np.zeros((1, n_bins))
    for block in _blocks(len(frames)):
        turned = frames[block, n_bins:].astype(np.float64) - centre_phase(block, audio)
        rounded = np.rint(turned * grid)
        steps = np.diff(rounded, axis=0, prepend=before)
        segment[block, n_bins:] = ((steps + grid) % (2 * grid) - grid) / grid
        before = rounded[-1:]
    return segment


def invert(
    frames: np.ndarray, audio: AudioConfig, n_iterations: int | None, n_samples: int
) -> np.ndarray:
    """Return the signal of a segment, float32 [n_samples]; bins that were cropped are 0.

    Args:
      frames: float [frames, 2 * bins].
      audio: The analysis.
      n_iterations: Griffin-Lim steps that make frames agree which a model made; by default
        none, for those of a recording do agree.
      n_samples: Length of the signal.
    """
    from lstm_gen.audio import inversion  # compiled loops, which those who only analyse never need

    spectrum = to_spectrum(frames, audio)
    return inversion.refine(spectrum, audio, n_iterations or 0, n_samples)


def to_spectrum(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the transform of a segment, complex64 [frames, 1 + n_fft // 2]."""
    n_bins = audio.n_bins_resolved
    spectrum = np.zeros((len(frames), 1 + audio.n_fft // 2), np.complex64)
    if not audio.is_logarithmic:
        spectrum.real[:, :n_bins] = frames[:, :n_bins] * _unit(audio)
        spectrum.imag[:, :n_bins] = frames[:, n_bins:] * _unit(audio)
        return spectrum
    turned = np.zeros(n_bins)
    for block in _blocks(len(frames)):
        # In double precision, where sums of steps on the grid are exact.
        sums = turned + np.cumsum(frames[block, n_bins:], axis=0, dtype=np.float64)
        turned = sums[-1] % 2
        phase = ((sums + centre_phase(block, audio)) % 2 * np.pi).astype(np.float32)
        magnitude = np.sqrt(stft.log_to_power(frames[block, :n_bins], audio))
        spectrum.real[block, :n_bins] = magnitude * np.cos(phase)
        spectrum.imag[block, :n_bins] = magnitude * np.sin(phase)
    return spectrum


def picture(frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(power) [frames, bins] and the frequencies of the bins, Hz."""
    n_bins = audio.n_bins_resolved
    log_power = frames[:, :n_bins]
    if not audio.is_logarithmic:
        spectrum = (frames[:, :n_bins] + 1j * frames[:, n_bins:]) * _unit(audio)
        log_power = stft.log_power(spectrum, audio)
    return log_stft.picture(log_power, audio)


def centre_phase(frames: slice, audio: AudioConfig) -> np.ndarray:
    """Return how far bins have turned at their centre frequency, half turns.

    Args:
      frames: From which frame, counted from the start of the sound, to which.
      audio: The analysis.

    Returns:
      float64 [frames, bins], 0 to 2.
    """
    samples = np.arange(frames.start, frames.stop)[:, np.newaxis] * audio.hop_length % audio.n_fft
    turns = samples * np.arange(audio.n_bins_resolved) % audio.n_fft
    return turns * (2 / audio.n_fft)


def _unit(audio: AudioConfig) -> np.float32:
    """Return the magnitude in the transform of a sine of amplitude 1."""
    return np.float32(audio.n_fft / 4)


def _blocks(n_frames: int) -> Iterator[slice]:
    """Yield runs of frames, so that what is in double precision stays small."""
    for start in range(0, n_frames, _BLOCK_FRAMES):
        yield slice(start, min(start + _BLOCK_FRAMES, n_frames))
