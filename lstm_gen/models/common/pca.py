"""Principal component analysis (PCA) of patches of frames."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.linalg


class Components(NamedTuple):
    """Principal components.

    Attributes:
      mean: float32 [width].
      vectors: float32 [width, size], orthonormal columns in order of falling variance.
      deviations: float32 [size], standard deviation along each column.
    """

    mean: np.ndarray
    vectors: np.ndarray
    deviations: np.ndarray


def patches(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return consecutive frames side by side, [..., steps, stride * channels].

    The last patch is padded with the last frame.
    """
    frames = padded(frames, stride)
    return frames.reshape(*frames.shape[:-2], -1, stride * frames.shape[-1])


def padded(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return frames, [..., frames, channels], the last repeated up to a multiple of `stride`."""
    width = [(0, 0)] * frames.ndim
    width[-2] = (0, -frames.shape[-2] % stride)
    return np.pad(frames, width, mode="edge")


def fit(rows: Iterable[np.ndarray], size: int) -> Components:
    """Return the first principal components of rows, in one pass and width x width memory.

    Args:
      rows: float [rows, width] each.
      size: Number of components; those beyond `width` are 0.
    """
    count, total, product = 0, 0.0, np.zeros((0, 0), np.float32)
    for chunk in rows:
        if not count:
            product = np.zeros((chunk.shape[1],) * 2, np.float32)
        product += chunk.T @ chunk
        total = total + chunk.sum(axis=0, dtype=np.float64)
        count += len(chunk)
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
