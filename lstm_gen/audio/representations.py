"""Representations of sound as frames, each with its inverse.

A frame is a row of `AudioConfig.channels` values. `analyse` makes frames from a recording,
`as_segment` makes consecutive frames independent of those before them, and `invert` returns
their waveform. `of` returns the representation of an `AudioConfig`.
"""

import abc
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from lstm_gen.audio import dictionary, frequency_scales, stft
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig
from lstm_gen.platform import errors

# No recording comes near either, and squares of larger values overflow.
_LARGEST_LOG = 60.0
_LARGEST_LINEAR = 1e9
_INT16_SCALE = 32768  # decoders of 16-bit audio divide by it
# Steps of stored phase in half a turn. Between -1 and 1 the type holds every multiple of a step.
_PHASE_STEPS = {"float16": 1 << 11, "float32": 1 << 23}
_BLOCK_SAMPLES = 1 << 16
_PICTURE_SECONDS = 0.05  # about, of the analysis window of a waveform's spectrogram


class Analysis(NamedTuple):
    """Frames of a signal.

    Attributes:
      frames: [frames, channels], of the stored type; not a segment yet.
      power: float32 [frames]; below `log_floor` is silence.
      n_samples: Length of the signal.
    """

    frames: np.ndarray
    power: np.ndarray
    n_samples: int


class Representation(abc.ABC):
    """Computation, storage, inversion and plotting of one kind of frame.

    Attributes:
      default_iterations: Iterations of `invert` that frames of a recording need.
    """

    default_iterations = INVERSION_ITERATIONS["standard"]

    def __init__(self, audio: AudioConfig) -> None:
        self.audio = audio

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames of a signal."""
        return stft.n_frames(n_samples, self.audio)

    @abc.abstractmethod
    def extract(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames of a streamed signal, float32 [frames, channels]; at least one array."""

    @abc.abstractmethod
    def power(self, frames: np.ndarray) -> np.ndarray:
        """Return the power of extracted frames, summed over frequency, float32 [frames]."""

    def as_segment(self, frames: np.ndarray) -> np.ndarray:
        """Return consecutive extracted frames of the stored type as they are stored."""
        return frames

    @abc.abstractmethod
    def invert(self, frames: np.ndarray, n_iterations: int, n_samples: int, /) -> np.ndarray:
        """Return the waveform of a segment, float32 [n_samples]."""

    @abc.abstractmethod
    def picture(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ln(power) [columns, rows], and each row's frequency, Hz, rising."""


class LogMel(Representation):
    """ln(power) of mel bands: few values, close to hearing; no phase, coarse in pitch."""

    def extract(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield ln(mel power + log_floor), float32 [frames, n_mels]."""

        def log_mel(spectrum: np.ndarray) -> np.ndarray:
            return stft.log_power(
                frequency_scales.sum_bands(stft.power(spectrum), self.audio), self.audio
            )

        return stft.map_chunks(log_mel, blocks, self.audio)

    def power(self, frames: np.ndarray) -> np.ndarray:
        """Return each frame's power summed over bands."""
        return stft.log_to_power(frames, self.audio).sum(axis=1)

    def invert(self, frames: np.ndarray, n_iterations: int, n_samples: int, /) -> np.ndarray:
        """Return a waveform that has these frames; see `inversion.invert`."""
        from lstm_gen.audio import inversion  # numba takes a second; analysis never needs it

        return inversion.invert(frames, self.audio, n_iterations, n_samples)

    def picture(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ln(power) [frames, n_mels] and the centres of the bands, Hz."""
        return frames, frequency_scales.band_edges(self.audio)[1:-1]


class Spectrum(Representation):
    """Base of frames that hold the lowest bins of the transform; the bins above are inverted as 0.

    Attributes:
      n_bins: Number of bins held.
    """

    def __init__(self, audio: AudioConfig) -> None:
        super().__init__(audio)
        self.n_bins = audio.n_bins_resolved

    @abc.abstractmethod
    def frames_of(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the frames of a transform of `n_bins` bins."""

    def extract(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield frames, float32 [frames, channels], the lowest bins first."""
        return stft.map_chunks(
            lambda spectrum: self.frames_of(spectrum[:, : self.n_bins]), blocks, self.audio
        )

    @abc.abstractmethod
    def to_spectrum(self, frames: np.ndarray) -> np.ndarray:
        """Return the transform of a segment, complex64 [frames, 1 + n_fft // 2]."""

    def invert(self, frames: np.ndarray, n_iterations: int, n_samples: int, /) -> np.ndarray:
        """Return the waveform; fast Griffin-Lim makes frames consistent that a model generated."""
        from lstm_gen.audio import inversion  # as in `LogMel.invert`

        return inversion.refine(self.to_spectrum(frames), self.audio, n_iterations, n_samples)

    def log_power(self, frames: np.ndarray) -> np.ndarray:
        """Return ln(power + log_floor) of the bins, [frames, bins]."""
        return frames[:, : self.n_bins]

    def power(self, frames: np.ndarray) -> np.ndarray:
        """Return each frame's power summed over bins."""
        return stft.log_to_power(self.log_power(frames), self.audio).sum(axis=1)

    def picture(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ln(power) [frames, bins] and the frequencies of the bins, Hz."""
        bins_hz = np.arange(self.n_bins) * (self.audio.sample_rate / self.audio.n_fft)
        return self.log_power(frames), bins_hz


class LogStft(Spectrum):
    """ln(power) of FFT bins: all of the magnitude, no phase."""

    def frames_of(self, spectrum: np.ndarray) -> np.ndarray:
        """Return ln(power + log_floor)."""
        return stft.log_power(stft.power(spectrum), self.audio)

    def to_spectrum(self, frames: np.ndarray) -> np.ndarray:
        """Return a transform of these magnitudes, its phase estimated from their gradients."""
        from lstm_gen.audio import inversion  # as in `LogMel.invert`

        return inversion.estimate_spectrum(self.bin_power(frames), self.audio)

    def bin_power(self, frames: np.ndarray) -> np.ndarray:
        """Return the power of every bin of the transform, float32 [frames, 1 + n_fft // 2]."""
        powers = np.zeros((len(frames), 1 + self.audio.n_fft // 2), np.float32)
        powers[:, : self.n_bins] = stft.log_to_power(frames, self.audio)
        return powers


class Activations(Representation):
    """ln(power) of the atoms of a fitted dictionary: few values, and notes of real spectra."""

    @property
    def atoms(self) -> np.ndarray:
        """The dictionary, float32 [n_atoms, 1 + n_fft // 2], each spectrum of unit energy.

        Raises:
          InputError: If the analysis comes without it.
        """
        arrays = self.audio.fitted.arrays if self.audio.fitted else {}
        errors.require(
            dictionary.NAME in arrays,
            "frames of activations need the dictionary of their dataset; use the analysis of a "
            "dataset or a run, which have it",
            n_atoms=self.audio.n_atoms,
        )
        return arrays[dictionary.NAME]

    def extract(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield ln(activation^2 + log_floor), float32 [frames, n_atoms]."""
        atoms = self.atoms

        def log_activations(spectrum: np.ndarray) -> np.ndarray:
            found = dictionary.activate(np.sqrt(stft.power(spectrum)), atoms)
            return stft.log_power(np.square(found), self.audio)

        return stft.map_chunks(log_activations, blocks, self.audio)

    def bin_power(self, frames: np.ndarray) -> np.ndarray:
        """Return the power of every bin of the transform, float32 [frames, 1 + n_fft // 2]."""
        activations = np.sqrt(stft.log_to_power(frames, self.audio))
        return np.square(activations @ self.atoms)

    def power(self, frames: np.ndarray) -> np.ndarray:
        """Return each frame's power summed over bins."""
        return self.bin_power(frames).sum(axis=1)

    def invert(self, frames: np.ndarray, n_iterations: int, n_samples: int, /) -> np.ndarray:
        """Return the waveform of these magnitudes, its phase estimated and then refined."""
        from lstm_gen.audio import inversion  # as in `LogMel.invert`

        spectrum = inversion.estimate_spectrum(self.bin_power(frames), self.audio)
        return inversion.refine(spectrum, self.audio, n_iterations, n_samples)

    def picture(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ln(power) [frames, bins] and the frequencies of the bins, Hz."""
        bins_hz = np.linspace(0, self.audio.sample_rate / 2, 1 + self.audio.n_fft // 2)
        return stft.log_power(self.bin_power(frames), self.audio), bins_hz


class InstantaneousFrequency(Spectrum):
    """ln(power) of FFT bins, then each bin's phase step from the frame before.

    Phase is in half turns, -1 to 1. A step leaves out the advance at the bin's centre frequency.
    A segment's first frame holds the phase itself. Steps are differences of phases rounded to a
    grid so coarse that the stored type holds every difference exactly: their sum never drifts,
    and a phase is off by one step of the grid at most (a 2048th of a half turn in float16),
    however long the recording.

    Source: Engel et al. 2019, GANSynth (instantaneous frequency); the grid is our own.
    """

    default_iterations = 0

    def frames_of(self, spectrum: np.ndarray) -> np.ndarray:
        """Return ln(power + log_floor), then phases: `as_segment` turns them into steps."""
        half_turns = np.angle(spectrum) / np.float32(np.pi)
        return np.concatenate(
            [stft.log_power(stft.power(spectrum), self.audio), half_turns], axis=1
        )

    def as_segment(self, frames: np.ndarray) -> np.ndarray:
        """Return frames with each phase as a step from the one before."""
        grid = _PHASE_STEPS[frames.dtype.name]
        segment = frames.copy()
        before = np.zeros((1, self.n_bins))
        for block in stft.frame_blocks(len(frames)):
            phase = frames[block, self.n_bins :].astype(np.float64)
            rounded = np.rint((phase - stft.centre_phase(block, self.audio)) * grid)
            steps = np.diff(rounded, axis=0, prepend=before)
            segment[block, self.n_bins :] = ((steps + grid) % (2 * grid) - grid) / grid
            before = rounded[-1:]
        return segment

    def to_spectrum(self, frames: np.ndarray) -> np.ndarray:
        """Return the transform of a segment, complex64 [frames, 1 + n_fft // 2]."""
        n_bins = self.n_bins
        spectrum = np.zeros((len(frames), 1 + self.audio.n_fft // 2), np.complex64)
        last = np.zeros(n_bins)
        for block in stft.frame_blocks(len(frames)):
            # In double precision, where sums of steps on the grid are exact.
            sums = last + np.cumsum(frames[block, n_bins:], axis=0, dtype=np.float64)
            last = sums[-1] % 2
            half_turns = (sums + stft.centre_phase(block, self.audio)) % 2
            phase = (half_turns * np.pi).astype(np.float32)
            magnitude = np.sqrt(stft.log_to_power(frames[block, :n_bins], self.audio))
            spectrum.real[block, :n_bins] = magnitude * np.cos(phase)
            spectrum.imag[block, :n_bins] = magnitude * np.sin(phase)
        return spectrum


class RealImaginary(Spectrum):
    """The real part of every bin, then its imaginary part, in units of n_fft / 4.

    A sine of amplitude 1 has magnitude 1.
    """

    default_iterations = 0

    def __init__(self, audio: AudioConfig) -> None:
        super().__init__(audio)
        self._unit = np.float32(audio.n_fft / 4)

    def frames_of(self, spectrum: np.ndarray) -> np.ndarray:
        """Return both parts, one after the other."""
        return np.concatenate([spectrum.real, spectrum.imag], axis=1) / self._unit

    def to_spectrum(self, frames: np.ndarray) -> np.ndarray:
        """Return the transform of frames, complex64 [frames, 1 + n_fft // 2]."""
        spectrum = np.zeros((len(frames), 1 + self.audio.n_fft // 2), np.complex64)
        spectrum.real[:, : self.n_bins] = frames[:, : self.n_bins] * self._unit
        spectrum.imag[:, : self.n_bins] = frames[:, self.n_bins :] * self._unit
        return spectrum

    def power(self, frames: np.ndarray) -> np.ndarray:
        """Return each frame's power summed over bins."""
        return np.square(frames * self._unit).sum(axis=1)

    def log_power(self, frames: np.ndarray) -> np.ndarray:
        """Return ln(power + log_floor) of the bins, [frames, bins]."""
        spectrum = self.to_spectrum(frames)[:, : self.n_bins]
        return stft.log_power(stft.power(spectrum), self.audio)


class Waveform(Representation):
    """The samples themselves, `hop_length` consecutive ones in a frame."""

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames; the last one is padded with zeros."""
        return -(-n_samples // self.audio.hop_length)

    def extract(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield frames, float32 [frames, hop_length]; the only array may be empty."""
        hop = self.audio.hop_length
        pending = np.zeros(0, np.float32)
        for block in blocks:
            pending = np.concatenate([pending, block], dtype=np.float32, casting="same_kind")
            whole = len(pending) // hop * hop
            if whole >= _BLOCK_SAMPLES:
                yield pending[:whole].reshape(-1, hop)
                pending = pending[whole:]
        padding = self.n_frames(len(pending)) * hop - len(pending)
        yield np.pad(pending, (0, padding)).reshape(-1, hop)

    def power(self, frames: np.ndarray) -> np.ndarray:
        """Return the power of each frame's Fourier transform, summed over bins, float32 [frames].

        Source: Parseval's theorem.
        """
        return np.square(frames).sum(axis=1) * np.float32(self.audio.hop_length / 2)

    def invert(self, frames: np.ndarray, _n_iterations: int, n_samples: int, /) -> np.ndarray:
        """Return the samples, float32 [n_samples]."""
        samples = np.asarray(frames, np.float32).reshape(-1)[:n_samples]
        return np.pad(samples, (0, n_samples - samples.size))

    def picture(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ln(power) [columns, bins] and the frequencies of the bins, Hz."""
        n_fft = max(16, 1 << round(math.log2(self.audio.sample_rate * _PICTURE_SECONDS)))
        analysis = LogStft(
            dataclasses.replace(
                self.audio, representation="log_stft", n_fft=n_fft, hop_length=n_fft // 4
            )
        )
        samples = np.asarray(frames, np.float32).reshape(-1)
        return analysis.picture(np.concatenate(list(analysis.extract([samples]))))


_CLASSES: dict[str, type[Representation]] = {
    "log_mel": LogMel,
    "activations": Activations,
    "log_stft": LogStft,
    "instantaneous_frequency": InstantaneousFrequency,
    "real_imaginary": RealImaginary,
    "waveform": Waveform,
}


def of(audio: AudioConfig) -> Representation:
    """Return the representation of an analysis."""
    is_complex = audio.representation == "complex_stft"
    return _CLASSES[audio.phase if is_complex else audio.representation](audio)


def n_frames(n_samples: int, audio: AudioConfig) -> int:
    """Return the number of frames of a signal."""
    return of(audio).n_frames(n_samples)


def analyse(blocks: Iterable[np.ndarray], audio: AudioConfig, dtype: str = "float32") -> Analysis:
    """Return the frames of a streamed signal; the result does not depend on the blocks.

    Args:
      blocks: float [samples] each, of any lengths; together the signal.
      audio: The analysis.
      dtype: Stored type of the frames. Nothing else is kept in memory, whatever the length.

    Raises:
      InputError: If a value is not finite, or too large for the type.
    """
    representation = of(audio)
    n_samples = 0

    def count() -> Iterator[np.ndarray]:
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    stored, power = [], []
    for frames in representation.extract(count()):
        stored.append(quantise(frames, dtype))
        power.append(representation.power(frames))
    found = Analysis(np.concatenate(stored), np.concatenate(power), n_samples)
    # int16 cannot hold NaN or infinity, which the power shows; float16 overflows in the frames.
    finite = np.isfinite(found.power).all() and np.isfinite(found.frames).all()
    errors.require(bool(finite), "samples must give finite frames")
    return found


def as_segment(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return consecutive frames of an `Analysis` as a segment, independent of frames before it.

    Where frames hold phase steps, the first one holds the phase itself. A window cut from the
    middle of a segment lacks it, and so each bin's phase is known but for a constant: pitch and
    loudness are right, the shape of the wave is not.

    Returns:
      The same shape and type; `invert` takes it.
    """
    return of(audio).as_segment(frames)


def extract(samples: np.ndarray, audio: AudioConfig, dtype: str = "float32") -> np.ndarray:
    """Return the frames of a signal as one segment, [frames, channels] of the stored type.

    Raises:
      InputError: If a value is not finite, or too large for the type.
    """
    return as_segment(analyse([samples], audio, dtype).frames, audio)


def invert(
    frames: np.ndarray,
    audio: AudioConfig,
    n_iterations: int | None = None,
    n_samples: int | None = None,
) -> np.ndarray:
    """Return the waveform of a segment.

    Args:
      frames: [frames, channels] as stored, or float values of a model.
      audio: The analysis that made (or a model that imitates) them.
      n_iterations: Iterations of the inversion (see `INVERSION_ITERATIONS`); None for as many as
        frames of a recording need, which is 0 where phase is stored. Unused for a waveform.
      n_samples: Length of the waveform; by default a hop for every frame.

    Returns:
      float32 [n_samples]; the same for the same arguments.

    Raises:
      InputError: If the frames are not finite or do not have `channels` values.
    """
    frames = dequantise(np.asarray(frames))
    errors.require(
        frames.ndim == 2 and frames.shape[1] == audio.channels and len(frames) > 0,
        "frames must be [frames, channels] with at least one frame",
        shape=frames.shape,
        channels=audio.channels,
    )
    _require_sane(frames, audio)
    representation = of(audio)
    if n_iterations is None:
        n_iterations = representation.default_iterations
    n_samples = len(frames) * audio.hop_length if n_samples is None else n_samples
    return representation.invert(frames, n_iterations, n_samples)


def picture(frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectrogram of a segment, to be drawn.

    Args:
      frames: [frames, channels] as stored, or float values of a model.
      audio: The analysis.

    Returns:
      ln(power), float [columns, rows], the columns evenly spaced over the segment; and the
      frequency of each row, Hz, rising.
    """
    return of(audio).picture(dequantise(np.asarray(frames)))


def quantisation_step(dtype: str) -> float:
    """Return the value of a stored 1: 1, or for int16 a 32768th of full scale."""
    return 1 / _INT16_SCALE if dtype == "int16" else 1.0


def quantise(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return values rounded to the nearest that a stored type holds.

    Args:
      values: float32, any shape.
      dtype: "float16", "float32" or "int16" (value * 32768, for samples; beyond full scale
        they are clipped).

    Returns:
      The same shape; infinite where float16 cannot hold a value; undefined where int16 is given
      NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # `analyse` checks for them
        if dtype == "int16":
            scaled = np.rint(values * np.float32(_INT16_SCALE))
            return np.clip(scaled, -_INT16_SCALE, _INT16_SCALE - 1).astype(np.int16)
        return values.astype(dtype)


def dequantise(stored: np.ndarray) -> np.ndarray:
    """Return stored values as float32."""
    values = np.asarray(stored, np.float32)
    return values * np.float32(quantisation_step("int16")) if stored.dtype == np.int16 else values


def _require_sane(frames: np.ndarray, audio: AudioConfig) -> None:
    """Refuse the frames of a model that has diverged."""
    most = _LARGEST_LOG if audio.is_logarithmic else _LARGEST_LINEAR
    largest = float((frames if audio.is_logarithmic else np.abs(frames)).max())
    errors.require(
        bool(np.isfinite(frames).all()) and largest < most,
        f"frames must be finite and below {most:g}",
        largest=largest,
    )
