"""What passes between the parent of a preparation and its workers: settings, verdicts, sums.

Apart from the work itself, so that the parent need not import what decodes and analyses.
"""

import dataclasses

import numpy as np

from lstm_gen import config
from lstm_gen.data import manifest

OK = "ok"
# In nats, about 0.9 dB. The highest bands of many recordings stay at the log floor but for a rare
# event; divided by their own deviation, that event would be dozens of deviations away.
_SMALLEST_STD = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What every task of a preparation has in common; `split` has "auto" decided."""

    input_dir: str
    data_dir: str
    plots_dir: str
    audio: config.AudioConfig
    segment: config.SegmentConfig
    split: config.SplitConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one recording.

    Attributes:
      index: Its line in the manifest.
      verdict: "ok", or the stable code of why it was left out.
      detail: Why, in a sentence.
      seconds: Length of the audio, decoded.
      frames: Frames of the untrimmed recording.
      kept: Split to the number of its frames.
      pieces: Split to the number of its segments.
      too_short: Kept frames in runs too short for a segment.
    """

    index: int
    verdict: str
    detail: str = ""
    seconds: float = 0.0
    frames: int = 0
    kept: dict[str, int] = dataclasses.field(default_factory=dict)
    pieces: dict[str, int] = dataclasses.field(default_factory=dict)
    too_short: int = 0


@dataclasses.dataclass(kw_only=True)
class Moments:
    """Sums over training frames, per band, from which mean and deviation follow."""

    count: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def zero(cls, n_mels: int) -> "Moments":
        """Return the moments of no frames."""
        return cls(count=0, total=np.zeros(n_mels), squares=np.zeros(n_mels))

    def add(self, frames: np.ndarray) -> None:
        """Take in frames [n, n_mels], as they are stored."""
        values = frames.astype(np.float64)
        self.count += len(values)
        self.total += values.sum(axis=0)
        self.squares += np.square(values).sum(axis=0)

    def merge(self, other: "Moments") -> None:
        """Take in what another worker summed."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation, float32 [n_mels], of at least one frame."""
        mean = self.total / self.count
        variance = np.maximum(self.squares / self.count - np.square(mean), 0)
        std = np.maximum(np.sqrt(variance), _SMALLEST_STD)
        return mean.astype(np.float32), std.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What a finished task left behind: split to shard, and the sums over its training frames."""

    shards: dict[str, manifest.Shard]
    moments: Moments
