"""Principal components of patches: the best linear code, in closed form."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.linalg


class Components(NamedTuple):
    """A linear code.

    Attributes:
      mean: float32 [width].
      vectors: float32 [width, size], orthonormal columns, the one of most variance first.
      deviations: float32 [size], deviation along each of them.
    """

    mean: np.ndarray
    vectors: np.ndarray
    deviations: np.ndarray


def patches(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return consecutive frames side by side, [..., steps, stride * channels].

    A rest that does not fill a patch is filled up with the last frame.
    """
    frames = padded(frames, stride)
    return frames.reshape(*frames.shape[:-2], -1, stride * frames.shape[-1])


def padded(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return frames, [..., frames, channels], the last repeated up to a multiple of `stride`."""
    width = [(0, 0)] * frames.ndim
    width[-2] = (0, -frames.shape[-2] % stride)
    return np.pad(frames, width, mode="edge")


def fit(rows: Iterable[np.ndarray], size: int) -> Components:
    """Return the first principal components of rows.

    Args:
      rows: float [some, width] each, read once.
      size: Components; the vectors beyond `width` are 0.

    Returns:
      The components, found in one pass and memory of width x width.
    """
    count, total, product = 0, 0.0, np.zeros((0, 0), np.float32)
    for some in rows:
        if not count:
            product = np.zeros((some.shape[1],) * 2, np.float32)
        product += some.T @ some
        total = total + some.sum(axis=0, dtype=np.float64)
        count += len(some)
    mean = np.asarray(total / count)
    covariance = product / np.float32(count) - np.outer(mean, mean).astype(np.float32)
    width = len(mean)
    kept = min(size, width)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[width - kept, width - 1])
    padding = ((0, 0), (0, size - kept))
    return Components(
        mean=mean.astype(np.float32),
        vectors=np.pad(vectors[:, ::-1], padding).astype(np.float32),
        deviations=np.pad(np.sqrt(np.maximum(values[::-1], 0)), padding[1]).astype(np.float32),
    )
