"""Mergeable statistics of frames, and their normalisation per channel."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

# Channels that hardly change are not scaled up to a deviation of 1. In nats, about 0.9 dB: the
# highest bands of many recordings stay at the log floor but for a rare event; divided by their
# own deviation, that event would be dozens of deviations away.
_SMALLEST_OF_LOGS = 0.2
_SMALLEST_OF_PHASES = 0.05  # half turns; steps of noise have a deviation of 0.58
_SMALLEST_FRACTION = 1e-3  # of the channels' root mean square, where values are linear
_SMALLEST = 1e-6  # the same for digital silence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Normalisation of frames for a model: (x - mean) / std, per channel.

    Attributes:
      mean: float32 [channels]: the mean over the training split, or (min_max) the middle between
        its extremes.
      std: float32 [channels], positive: the standard deviation, or (min_max) half the range.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], channels: int, path: str, remedy: str
    ) -> "Normalisation":
        """Return the normalisation that a file holds as two lists, `mean` and `std`.

        Args:
          values: JSON values.
          channels: Length of both lists.
          path: The file, for the error.
          remedy: What to do if the values are wrong, for the error.

        Raises:
          InputError: If a list is of another length, a value is NaN or infinite, or a deviation is
            not positive.
        """
        mean, std = (np.asarray(values[name], np.float32) for name in ("mean", "std"))
        errors.require(
            mean.shape == std.shape == (channels,)
            and bool(np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()),
            f"{path} must hold a finite mean and a positive std per channel; {remedy}",
            mean=mean.shape,
            std=std.shape,
            channels=channels,
        )
        return cls(mean=mean, std=std)

    def to_dict(self) -> dict[str, list[float]]:
        """Return mean and std as JSON values."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @property
    def scale(self) -> np.ndarray:
        """Factor of `frames * scale + offset`, which is `apply` but for rounding."""
        return 1 / self.std

    @property
    def offset(self) -> np.ndarray:
        """Summand of `frames * scale + offset`."""
        return -self.mean / self.std

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Return normalised frames [..., channels], float32."""
        return (np.asarray(frames, np.float32) - self.mean) / self.std

    def undo(self, frames: np.ndarray) -> np.ndarray:
        """Return frames [..., channels] of normalised ones, float32."""
        return np.asarray(frames, np.float32) * self.std + self.mean


@dataclasses.dataclass(kw_only=True)
class Statistics:
    """Sums and extremes over frames, per channel; those of parts merge into those of the whole.

    Attributes:
      count: Frames.
      total: float64 [channels], sum of the values.
      squares: float64 [channels], sum of their squares.
      low: float64 [channels], the least value; 0 while there are no frames.
      high: float64 [channels], the greatest value; 0 while there are no frames.
    """

    count: int
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def zero(cls, channels: int) -> "Statistics":
        """Return the statistics of no frames."""
        return cls(count=0, **{name: np.zeros(channels) for name in _SUMS})

    def add(self, frames: np.ndarray) -> None:
        """Add frames, float [n, channels], rounded as they are stored."""
        for start in range(0, len(frames), _ROWS):
            rows = frames[start : start + _ROWS]
            values = rows.astype(np.float64)
            self.merge(
                Statistics(
                    count=len(values),
                    total=values.sum(axis=0),
                    squares=np.einsum("ij,ij->j", values, values),
                    low=rows.min(axis=0).astype(np.float64),
                    high=rows.max(axis=0).astype(np.float64),
                )
            )

    def merge(self, other: "Statistics") -> None:
        """Add the statistics of other frames."""
        if not other.count:
            return
        self.low = np.minimum(self.low, other.low) if self.count else other.low
        self.high = np.maximum(self.high, other.high) if self.count else other.high
        self.count += other.count
        self.total = self.total + other.total
        self.squares = self.squares + other.squares

    @property
    def mean(self) -> np.ndarray:
        """Mean over at least one frame, float64 [channels]."""
        return np.asarray(self.total / self.count)

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation over at least one frame, float64 [channels]."""
        return np.sqrt(np.maximum(self.squares / self.count - np.square(self.mean), 0))

    def normalisation(self, audio: AudioConfig) -> Normalisation:
        """Return the normalisation set in `audio`, of at least one frame."""
        whole = self._pool() if audio.representation == "waveform" else self
        if audio.normalisation == "min_max":
            mean, std = (whole.low + whole.high) / 2, (whole.high - whole.low) / 2
        else:
            mean, std = whole.mean, whole.deviation
        std = np.maximum(std, _smallest_std(std, audio))
        return Normalisation(
            mean=np.broadcast_to(mean, self.total.shape).astype(np.float32),
            std=np.broadcast_to(std, self.total.shape).astype(np.float32),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON values, which hold float64 exactly."""
        return {"count": self.count, **{name: getattr(self, name).tolist() for name in _SUMS}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Statistics":
        """Return the statistics of `to_dict`'s values.

        Raises:
          KeyError: If something is missing.
          TypeError: If something is not a number.
          ValueError: If something is not a number.
        """
        sums = {name: np.array(values[name], np.float64) for name in _SUMS}
        return cls(count=int(values["count"]), **sums)

    def _pool(self) -> "Statistics":
        """Return the statistics over all channels: a waveform's are consecutive samples."""
        return Statistics(
            count=self.count * self.total.size,
            total=self.total.sum(keepdims=True),
            squares=self.squares.sum(keepdims=True),
            low=self.low.min(keepdims=True),
            high=self.high.max(keepdims=True),
        )


_ROWS = 256  # at a time: in float64 they stay in a core's cache
_SUMS = ("total", "squares", "low", "high")


def _smallest_std(std: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the least divisor of each channel, float64 [channels]."""
    if not audio.is_logarithmic:
        least = max(_SMALLEST_FRACTION * float(np.sqrt(np.square(std).mean())), _SMALLEST)
        return np.full(std.size, least)
    smallest = np.full(std.size, _SMALLEST_OF_LOGS)
    if audio.has_phase_steps:
        smallest[audio.n_bins_resolved :] = _SMALLEST_OF_PHASES
    return smallest
