"""Which excerpt of which segment stands in each row of each batch, without TensorFlow.

A function of its settings and of the step asked for: the millionth step costs what the first
one does.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from lstm_gen import config
from lstm_gen.data import draws, order


class Excerpts(NamedTuple):
    """What to read for some batches.

    Attributes:
      segments: int64 [steps, batch], counted through the split.
      starts: int64 [steps, batch], first frame within the segment.
      weights: float32 [steps, batch], 1, or 0 for what only fills a batch.
      chances: float32 [steps, batch, 4], random numbers in [0, 1) to vary the excerpt by.
    """

    segments: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    chances: np.ndarray


def count_windows(n_frames: int | np.ndarray, window: config.WindowConfig) -> np.ndarray:
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
      batch_size: Rows of one batch of this pipeline.
      input_pipeline_id: Which of the pipelines that take turns with the rows this one is.
      num_input_pipelines: How many there are.
    """

    n_frames: np.ndarray
    window: config.WindowConfig
    seed: int
    training: bool
    batch_size: int
    input_pipeline_id: int = 0
    num_input_pipelines: int = 1

    @functools.cached_property
    def _edges(self) -> np.ndarray:
        """Number of each segment's first window, and last of all the number of windows."""
        return np.append(0, np.cumsum(count_windows(self.n_frames, self.window)))

    @property
    def n_steps(self) -> int | None:
        """Batches in all; None if there is no end."""
        rows = self.batch_size * self.num_input_pipelines
        return None if self.training else -(-int(self._edges[-1]) // rows)

    def excerpts(self, first_step: int, n_steps: int) -> Excerpts:
        """Return what to read for the batches of some steps."""
        rows = first_step * self.batch_size + np.arange(n_steps * self.batch_size)
        rows = rows * self.num_input_pipelines + self.input_pipeline_id
        epochs, positions = np.divmod(rows, self._edges[-1])
        segments, starts = self._place(positions, epochs)
        weights = np.ones(rows.shape, np.float32) if self.training else np.float32(epochs == 0)
        chances = draws.uniform(self.seed, draws.AUGMENTATION, positions, epochs)
        columns = (segments, starts, weights, chances)
        return Excerpts(*(c.reshape(n_steps, self.batch_size, *c.shape[1:]) for c in columns))

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
