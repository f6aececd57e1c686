"""How much of a sound comes back through a model, beside what a linear code of the same rate keeps.

An error is given as the share of it that is gone: 0 for the training split's mean spectrum, 1 for
all as it was. It is squared, in normalised frames, over all held-out frames alike; a phase step
counts as its bin's level (`models.layers.weighting`), for in bins without sound it is noise.

Beside it stand two predictors that no model of more than a still picture should lose to:

  window mean   each window's own mean spectrum, told for nothing: level and colour, no time
  patch PCA     the principal components of training patches, as many numbers per second

`segments` is a sequence of float32 [frames, channels], normalised.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from lstm_gen.evaluation import notes
from lstm_gen.models import base
from lstm_gen.models.common import losses, pca
from lstm_gen.models.latents.latent_model import LatentModel

Segments = Sequence[np.ndarray]
Labels = Mapping[str, np.ndarray]

_MOST_AT_ONCE = 32  # segments
_COUNTED_FRAMES = 960  # of which most strides are a part
_WIDEST_PATCH = 1 << 13  # values; its components take minutes and gigabytes beyond that
_MEDIAN_SECONDS = 2.0  # of a note, that its pitch is taken from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """How many numbers a sound becomes.

    Attributes:
      size: Numbers of a latent step.
      stride: Frames of a latent step; below 1 where a frame has several.
    """

    size: int
    stride: float

    def per_second(self, frames_per_second: float) -> float:
        """Return the numbers of a second of sound."""
        return self.size / self.stride * frames_per_second

    @property
    def patch(self) -> tuple[int, int]:
        """Frames of a patch of whole frames, and the numbers that it may become."""
        frames = max(1, round(self.stride))
        return frames, round(self.size * frames / self.stride)


def reconstruct(model: LatentModel, segments: Segments, labels: Labels) -> list[np.ndarray]:
    """Return a model's reconstructions of segments.

    Args:
      model: The trained model.
      segments: Of any lengths.
      labels: "label/NAME" to an array with a row for each segment.
    """
    made: list[np.ndarray] = [np.zeros(0)] * len(segments)
    for some in _alike(segments):
        frames = np.stack([segments[i] for i in some])
        own = {name: rows[some] for name, rows in labels.items()}
        latents = model.encode(frames, own)
        decoded = model.decode(latents, frames.shape[1], own)
        for index, one in zip(some, decoded, strict=True):
            made[index] = one
    return made


def rate(model: LatentModel, labels: Labels) -> Rate:
    """Return how many numbers a sound becomes; `labels` has one row."""
    silence = np.zeros((1, _COUNTED_FRAMES, model.spec.channels), np.float32)
    steps, size = model.encode(silence, labels).shape[1:]
    return Rate(size=size, stride=_COUNTED_FRAMES / steps)


def explained(segments: Segments, made: Segments, spec: base.FrameSpec, mean: np.ndarray) -> float:
    """Return the share of the mean predictor's squared error that is gone.

    Args:
      segments: What was held out.
      made: The same as a model, or a predictor, gives it back.
      spec: Frame spec of the segments.
      mean: float32 [channels], what knows nothing predicts: the mean of the training split.
    """
    left = whole = 0.0
    for true, other in zip(segments, made, strict=True):
        weight = np.asarray(losses.phase_weight(true[np.newaxis], spec))[0]
        left += float(np.sum(weight * np.square(other - true), dtype=np.float64))
        whole += float(np.sum(weight * np.square(mean - true), dtype=np.float64))
    return 1 - left / whole


def window_means(segments: Segments, timesteps: int) -> list[np.ndarray]:
    """Return each segment with every window of `timesteps` frames replaced by its own mean."""
    return [
        np.concatenate(
            [
                np.broadcast_to(part.mean(axis=0), part.shape)
                for part in np.split(segment, range(timesteps, len(segment), timesteps))
            ]
        )
        for segment in segments
    ]


def patch_pca(train: Segments, asked: Rate) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a linear code of that rate and back, fitted to the training split.

    Returns:
      A function from a segment to what the code leaves of it, or None if patches are too wide.
    """
    stride, size = asked.patch
    width = stride * train[0].shape[1]
    if width > _WIDEST_PATCH:
        return None
    found = pca.fit((pca.patches(frames, stride) for frames in train), size)

    def code(segment: np.ndarray) -> np.ndarray:
        rows = pca.patches(segment, stride) - found.mean
        back = rows @ found.vectors @ found.vectors.T + found.mean
        return np.asarray(back.reshape(-1, segment.shape[1])[: len(segment)])

    return code


def snr_db(true: np.ndarray, made: np.ndarray) -> float:
    """Return the signal-to-noise ratio of a waveform that came back, dB."""
    error = np.sum(np.square(true - made, dtype=np.float64))
    return float(10 * np.log10(np.sum(np.square(true, dtype=np.float64)) / max(error, 1e-30)))


def pitch_error_cents(samples: np.ndarray, sample_rate: int, pitch: float) -> float:
    """Return how far a note is from a pitch, cents, 0 or more; infinite for silence.

    Args:
      samples: float32 [n]; its first two seconds are listened to.
      sample_rate: Hz.
      pitch: MIDI note number.
    """
    note = samples[: round(_MEDIAN_SECONDS * sample_rate)]
    return abs(notes.pitch_error_cents(note, sample_rate, pitch)) if np.any(note) else float("inf")


def _alike(segments: Segments) -> Iterator[list[int]]:
    """Yield the places of segments of equal length, some at a time."""
    by_length: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        by_length.setdefault(len(segment), []).append(index)
    for places in by_length.values():
        for start in range(0, len(places), _MOST_AT_ONCE):
            yield places[start : start + _MOST_AT_ONCE]
