"""Which excerpt of which segment stands in each row of each batch, without TensorFlow.

A function of its settings and of the step asked for: the millionth step costs what the first
one does.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.input import draws, order


class Excerpts(NamedTuple):
    """What to read for some batches.

    Attributes:
      rows: int64 [batches, rows], where each stands in its global batch.
      segments: int64 [batches, rows], counted through the split.
      starts: int64 [batches, rows], first frame within the segment.
      weights: float32 [batches, rows], 1, or 0 for what only fills a batch.
      chances: float32 [batches, rows, 4], random numbers in [0, 1) to vary the excerpt by.
    """

    rows: np.ndarray
    segments: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    chances: np.ndarray


def count_windows(n_frames: int | np.ndarray, window: WindowConfig) -> np.ndarray:
    """Return how many windows segments of these lengths give; the phase does not change it."""
    return np.maximum(0, 1 + (np.asarray(n_frames) - window.frames) // window.hop)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """The order in which a pipeline reads the windows of a split.

    In training each epoch has every window once: it permutes them, and draws for each segment
    where its first window starts, so far as their number allows. Epochs follow each other
    without a gap, so a batch may have the end of one and the beginning of the next. Otherwise
    the order is that of the segments, once, and the last batch is filled from the beginning.

    Attributes:
      n_frames: int64 [segments], their lengths.
      window: Which windows to cut.
      seed: Decides all draws, with the epoch.
      training: Whether to permute, endlessly.
      batch_size: Rows of a global batch. Each replica has an equal part of it, in order.
      replicas: Numbers of the replicas that this pipeline reads for, which take turns with its
        batches: all of a step, then all of the next.
      n_replicas: How many replicas there are, those of other pipelines included.
    """

    n_frames: np.ndarray
    window: WindowConfig
    seed: int
    training: bool
    batch_size: int
    replicas: range = range(1)
    n_replicas: int = 1

    @functools.cached_property
    def _edges(self) -> np.ndarray:
        """Number of each segment's first window, and last of all the number of windows."""
        return np.append(0, np.cumsum(count_windows(self.n_frames, self.window)))

    @property
    def n_steps(self) -> int | None:
        """Global batches in all; None if there is no end."""
        return None if self.training else -(-int(self._edges[-1]) // self.batch_size)

    def excerpts(self, first_step: int, n_steps: int) -> Excerpts:
        """Return what to read for the replicas' batches of some steps."""
        size = self.batch_size // self.n_replicas
        share = np.arange(self.replicas.start * size, self.replicas.stop * size)
        steps = np.arange(first_step, first_step + n_steps)
        rows, steps = (values.ravel() for values in np.meshgrid(share, steps))
        epochs, positions = np.divmod(steps * self.batch_size + rows, self._edges[-1])
        segments, starts = self._place(positions, epochs)
        weights = np.ones(rows.shape, np.float32) if self.training else np.float32(epochs == 0)
        chances = draws.uniform(self.seed, draws.AUGMENTATION, positions, epochs)
        columns = (rows, segments, starts, weights, chances)
        return Excerpts(*(column.reshape(-1, size, *column.shape[1:]) for column in columns))

    def _place(self, positions: np.ndarray, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the segment and the first frame of the windows at positions of epochs."""
        windows, phases = positions, np.zeros_like(positions)
        if self.training:
            windows = order.permute(positions, epochs, int(self._edges[-1]), self.seed)
        segments = np.searchsorted(self._edges, windows, side="right") - 1
        if self.training:
            spare = (self.n_frames[segments] - self.window.frames) % self.window.hop
            phases = draws.below(spare + 1, self.seed, draws.PHASE, segments, epochs)
        return segments, phases + (windows - self._edges[segments]) * self.window.hop
