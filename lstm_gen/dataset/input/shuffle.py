"""Shuffling: the window in each row of each batch, a pure function of seed, epoch and step.

Nothing is drawn in sequence and no buffer is filled: the millionth step costs as much as the first,
on any machine. Random numbers come from Philox4x32-10 (a key and a counter become four random
words), the generator of TensorFlow's stateless functions. An epoch's permutation is a Feistel
network over the smallest near-square rectangle that holds all windows: each coordinate in turn is
shifted by a random amount that depends on the other, which is invertible; positions outside the
range are permuted again. Needs no TensorFlow.

Source: Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
Black and Rogaway 2002, Ciphers with arbitrary finite domains.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.config.training import WindowConfig

_PHILOX_ROUNDS = 10
_FEISTEL_ROUNDS = 8
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_INCREMENTS = 0x9E3779B9, 0xBB67AE85

# Purposes of random numbers. With the seed they are the key, so no two uses share a number.
ORDER, PHASE, AUGMENTATION = range(3)


class Windows(NamedTuple):
    """Windows of consecutive batches.

    Attributes:
      rows: int64 [batches, rows], place in the global batch.
      segments: int64 [batches, rows], index of the segment within the split.
      starts: int64 [batches, rows], first frame within the segment.
      weights: float32 [batches, rows], 1, or 0 for padding of a last batch.
      uniforms: float32 [batches, rows, 4], random numbers in [0, 1) for augmentation.
    """

    rows: np.ndarray
    segments: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    uniforms: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """Order in which a pipeline reads the windows of a split.

    In training each epoch has every window once: it permutes them and draws for each segment
    the first frame of its first window, as far as that leaves their number unchanged. Epochs
    follow each other without a gap, so one batch may end an epoch and begin the next. Otherwise
    windows come once, in the order of their segments, and padding fills the last batch.

    Attributes:
      n_frames: int64 [segments], length of each segment.
      window: Length and hop of the windows.
      seed: Determines, with the epoch, all random numbers; 0 to 2^31 - 1.
      training: Whether to shuffle, endlessly.
      batch_size: Rows of a global batch. Replicas have equal parts of it, in order.
      replicas: Indices of the replicas that this pipeline serves; their batches alternate: all
        of one step, then all of the next.
      n_replicas: Number of replicas of all pipelines.
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
        """Index of each segment's first window, and the number of windows at the end."""
        return np.append(0, np.cumsum(count_windows(self.n_frames, self.window)))

    @property
    def n_steps(self) -> int | None:
        """Number of global batches; None if endless."""
        return None if self.training else -(-int(self._edges[-1]) // self.batch_size)

    def windows(self, first_step: int, n_steps: int) -> Windows:
        """Return the windows of the replicas' batches of some steps."""
        size = self.batch_size // self.n_replicas
        local = np.arange(self.replicas.start * size, self.replicas.stop * size)
        steps = np.arange(first_step, first_step + n_steps)
        rows, steps = (values.ravel() for values in np.meshgrid(local, steps))
        epochs, positions = np.divmod(steps * self.batch_size + rows, self._edges[-1])
        segments, starts = self._locate(positions, epochs)
        weights = np.ones(rows.shape, np.float32) if self.training else np.float32(epochs == 0)
        uniforms = uniform(self.seed, AUGMENTATION, positions, epochs)
        columns = (rows, segments, starts, weights, uniforms)
        return Windows(*(column.reshape(-1, size, *column.shape[1:]) for column in columns))

    def _locate(self, positions: np.ndarray, epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the segment and the first frame of the windows at positions of epochs."""
        windows, phases = positions, np.zeros_like(positions)
        if self.training:
            windows = permute(positions, epochs, int(self._edges[-1]), self.seed)
        segments = np.searchsorted(self._edges, windows, side="right") - 1
        if self.training:
            spare = (self.n_frames[segments] - self.window.frames) % self.window.hop
            phases = integers(spare + 1, self.seed, PHASE, segments, epochs)
        return segments, phases + (windows - self._edges[segments]) * self.window.hop


def count_windows(n_frames: int | np.ndarray, window: WindowConfig) -> np.ndarray:
    """Return the number of windows in segments of these lengths; the phase does not change it."""
    return np.maximum(0, 1 + (np.asarray(n_frames) - window.frames) // window.hop)


def permute(positions: np.ndarray, epochs: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the elements at these positions of the permutations of these epochs.

    Args:
      positions: int64 [k], 0 to n - 1.
      epochs: int64 [k], 0 to 2^32 - 1.
      n: Number of elements, up to 2^62.
      seed: Determines the permutation, with the epoch.

    Returns:
      int64 [k]; over all positions of an epoch, each number from 0 to n - 1 once.
    """
    found = _scramble(positions, epochs, n, seed)
    while (outside := found >= n).any():
        found[outside] = _scramble(found[outside], epochs[outside], n, seed)
    return found


def philox(seed: int, purpose: int, *counter: Any) -> np.ndarray:
    """Return four random words for each counter.

    Args:
      seed: Of the run, 0 to 2^31 - 1.
      purpose: `ORDER`, `PHASE` or `AUGMENTATION`.
      *counter: Up to four integers or arrays of them, 0 to 2^32 - 1, broadcast against each
        other; 0 for those left out.

    Returns:
      uint64 [..., 4], each 0 to 2^32 - 1.
    """
    given = [np.asarray(word).astype(np.uint64) for word in counter]
    zero = np.zeros((), np.uint64)
    a, b, c, d = np.broadcast_arrays(*given, *[zero] * (4 - len(given)))
    first, second = seed, purpose
    for _ in range(_PHILOX_ROUNDS):
        ab, cd = a * _FACTORS[0], c * _FACTORS[1]
        a, b = cd >> _HALF ^ b ^ np.uint64(first), cd & _LOW
        c, d = ab >> _HALF ^ d ^ np.uint64(second), ab & _LOW
        first, second = ((k + i) % 2**32 for k, i in zip((first, second), _INCREMENTS, strict=True))
    return np.stack([a, b, c, d], axis=-1)


def integers(limit: Any, seed: int, purpose: int, *counter: Any) -> np.ndarray:
    """Return a random integer from 0 to `limit` - 1 for each counter, int64.

    Args:
      limit: Integers from 1 to 2^31, broadcast against the counters.
      seed: See `philox`.
      purpose: See `philox`.
      *counter: See `philox`.
    """
    word = philox(seed, purpose, *counter)[..., 0]
    return (word * np.asarray(limit).astype(np.uint64) >> _HALF).astype(np.int64)


def uniform(seed: int, purpose: int, *counter: Any) -> np.ndarray:
    """Return four random numbers in [0, 1) for each counter, float32 [..., 4]."""
    # A float32 holds 24 bits: no number is rounded up to 1.
    return ((philox(seed, purpose, *counter) >> np.uint64(8)) * 2.0**-24).astype(np.float32)


def _scramble(places: np.ndarray, epochs: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Permute the cells of the smallest near-square rectangle with at least `n` cells."""
    height = math.isqrt(n - 1) + 1
    width = -(-n // height)
    row, column = np.divmod(places, width)
    for step in range(0, _FEISTEL_ROUNDS, 2):
        row = (row + _shift(column, step, epochs, seed)) % height
        column = (column + _shift(row, step + 1, epochs, seed)) % width
    return row * width + column


def _shift(coordinate: np.ndarray, step: int, epochs: np.ndarray, seed: int) -> np.ndarray:
    """Return random 62-bit integers: enough bits that the remainder is unbiased."""
    words = philox(seed, ORDER, coordinate, step, epochs)
    return (words[..., 0] << np.uint64(30) | words[..., 1] >> np.uint64(2)).astype(np.int64)
