"""Statistics that turn features into what a model sees, and back."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Per-band statistics of the training split: a model sees (x - mean) / std.

    Attributes:
      mean: float32 [channels].
      std: float32 [channels], positive.
    """

    mean: np.ndarray
    std: np.ndarray

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Return features [..., channels] as a model sees them, float32."""
        return (np.asarray(frames, np.float32) - self.mean) / self.std

    def undo(self, frames: np.ndarray) -> np.ndarray:
        """Return a model's frames [..., channels] as features, float32."""
        return np.asarray(frames, np.float32) * self.std + self.mean
