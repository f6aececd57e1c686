"""What a frame may hold, each with its inverse; the one place through which everybody goes.

A representation is a module of the functions that `Representation` lists. A frame of any
is a row of `AudioConfig.channels` values. Frames come from a recording with `analyse`, become a
segment that stands on its own with `as_segment`, and sound again with `invert`.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from lstm_gen.audio import complex_stft, dtypes, log_mel, log_stft, waveform
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

# No recording comes near either, and squares of larger values overflow.
_LARGEST_LOG = 60.0
_LARGEST_LINEAR = 1e9


class Representation(Protocol):
    """What a module of a representation defines."""

    def n_frames(self, n_samples: int, audio: AudioConfig) -> int:
        """Return how many frames a signal has."""

    def extract(self, blocks: Iterable[np.ndarray], audio: AudioConfig) -> Iterator[np.ndarray]:
        """Yield a streamed signal's frames, float32 [frames, channels]; at least one array."""

    def power(self, frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
        """Return the power of extracted frames, float32 [frames]; below `log_floor` is silence."""

    def as_segment(self, frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
        """Return consecutive extracted frames, rounded already, as they are stored."""

    def invert(
        self,
        frames: np.ndarray,
        audio: AudioConfig,
        n_iterations: int | None,
        n_samples: int,
    ) -> np.ndarray:
        """Return the signal of a segment, float32 [n_samples]."""

    def picture(self, frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
        """Return ln(power) [columns, rows], and each row's frequency, Hz, rising."""


_REPRESENTATIONS: dict[str, Representation] = {
    "log_mel": log_mel,
    "log_stft": log_stft,
    "complex_stft": complex_stft,
    "waveform": waveform,
}


class Analysis(NamedTuple):
    """The frames of a signal.

    Attributes:
      frames: [frames, channels], of the type that is stored; not a segment yet.
      power: float32 [frames], how loud each is; what is below `log_floor` is silence.
      n_samples: Length of the signal.
    """

    frames: np.ndarray
    power: np.ndarray
    n_samples: int


def n_frames(n_samples: int, audio: AudioConfig) -> int:
    """Return how many frames a signal has."""
    return _of(audio).n_frames(n_samples, audio)


def analyse(blocks: Iterable[np.ndarray], audio: AudioConfig, dtype: str = "float32") -> Analysis:
    """Return the frames of a streamed signal; the result does not depend on the blocks.

    Args:
      blocks: float [samples] each, of any lengths; together the signal.
      audio: The analysis.
      dtype: What frames are stored as. Only they are kept, whatever the length.

    Raises:
      InputError: If a value is not finite, or too large for the type.
    """
    representation = _of(audio)
    n_samples = 0

    def count() -> Iterator[np.ndarray]:
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    stored, power = [], []
    for frames in representation.extract(count(), audio):
        stored.append(dtypes.store(frames, dtype))
        power.append(representation.power(frames, audio))
    found = Analysis(np.concatenate(stored), np.concatenate(power), n_samples)
    # The power tells of what integers cannot, the frames of what their type does not reach to.
    finite = np.isfinite(found.power).all() and np.isfinite(found.frames).all()
    errors.require(bool(finite), "samples must give finite frames")
    return found


def as_segment(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return consecutive frames of an `Analysis` as a segment that stands on its own.

    A segment refers to nothing before it. Where frames hold steps of phase, the first one holds
    the phase itself; a window that is cut from the middle of a segment lacks it, and so
    knows each bin's phase but for a constant: pitch and loudness are there, the shape of the
    wave is not.

    Returns:
      The same shape and type; `invert` takes it.
    """
    return _of(audio).as_segment(frames, audio)


def extract(samples: np.ndarray, audio: AudioConfig, dtype: str = "float32") -> np.ndarray:
    """Return a signal's frames as one segment, [frames, channels] as stored.

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
    """Return the signal of a segment.

    Args:
      frames: [frames, channels] as stored, or float values of a model.
      audio: The analysis that made (or a model that imitates) them.
      n_iterations: Steps of the search for what is missing (see `INVERSION_ITERATIONS`); None for
        as many as frames of a recording need, which where phase is stored is 0. A waveform needs
        none ever.
      n_samples: Length of the signal; by default a hop for every frame.

    Returns:
      float32 [n_samples]; the same for the same arguments.

    Raises:
      InputError: If the frames are not finite or do not have `channels` values.
    """
    frames = dtypes.load(np.asarray(frames))
    errors.require(
        frames.ndim == 2 and frames.shape[1] == audio.channels and len(frames) > 0,
        "frames must be [frames, channels] with at least one frame",
        shape=frames.shape,
        channels=audio.channels,
    )
    _require_sane(frames, audio)
    n_samples = len(frames) * audio.hop_length if n_samples is None else n_samples
    return _of(audio).invert(frames, audio, n_iterations, n_samples)


def picture(frames: np.ndarray, audio: AudioConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return what a spectrogram shows of a segment.

    Args:
      frames: [frames, channels] as stored, or float values of a model.
      audio: The analysis.

    Returns:
      ln(power), float [columns, rows], the columns evenly spaced over the segment; and the
      frequency of each row, Hz, rising.
    """
    return _of(audio).picture(dtypes.load(np.asarray(frames)), audio)


def _require_sane(frames: np.ndarray, audio: AudioConfig) -> None:
    """Refuse what a model that ran away makes."""
    most = _LARGEST_LOG if audio.is_logarithmic else _LARGEST_LINEAR
    largest = float((frames if audio.is_logarithmic else np.abs(frames)).max())
    errors.require(
        bool(np.isfinite(frames).all()) and largest < most,
        f"frames must be finite and below {most:g}",
        largest=largest,
    )


def _of(audio: AudioConfig) -> Representation:
    """Return the functions of a representation."""
    return _REPRESENTATIONS[audio.representation]
