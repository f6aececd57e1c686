"""What latents are drawn from: one Gaussian, fitted in closed form, each step given the last."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

PRIORS = ("sequence", "gaussian")
_RIDGE = 1e-2  # of the mean variance, added to every covariance
_LARGEST = 0.999  # of what a step may keep of the one before: nothing runs away


class LinearPrior(keras.layers.Layer):
    """A Gaussian over latents with full covariance, and a first-order recursion of the same.

    z_t = mean + (z_{t-1} - mean) @ step + e_t, whose stationary distribution is the Gaussian. All
    of it is in variables that do not train.

    Source: vector autoregression by the Yule-Walker equations.

    Args:
      size: Numbers of a latent step.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        """Create the variables: a standard normal, step by step its own."""
        del input_shape
        square = (self.size, self.size)
        eye = {"initializer": "identity", "trainable": False}
        zero = {"initializer": "zeros", "trainable": False}
        self.mean = self.add_weight(name="mean", shape=(self.size,), **zero)
        self.factor = self.add_weight(name="factor", shape=square, **eye)
        self.step = self.add_weight(name="step", shape=square, **zero)
        self.innovation = self.add_weight(name="innovation", shape=square, **eye)
        self.deviation = self.add_weight(
            name="deviation", shape=(self.size,), initializer="ones", trainable=False
        )
        self.built = True

    def fit(self, sequences: Iterable[np.ndarray]) -> None:
        """Fit all of it to latents, each float [steps, size]."""
        moments = _Moments(self.size)
        for sequence in sequences:
            moments.add(sequence.astype(np.float64))
        mean, covariance, lagged = moments.values()
        variance = np.diag(covariance)
        covariance = covariance + _RIDGE * variance.mean() * np.eye(self.size)
        step = scipy.linalg.solve(covariance, lagged, assume_a="pos")
        radius = float(np.abs(scipy.linalg.eigvals(step)).max())
        step *= min(1.0, _LARGEST / max(radius, 1e-9))
        rest = covariance - step.T @ covariance @ step
        self.mean.assign(mean)
        self.factor.assign(_root(covariance).T)
        self.step.assign(step)
        self.innovation.assign(_root(rest).T)
        self.deviation.assign(np.sqrt(variance))

    def first(self, normal: Any) -> Any:
        """Return latents less their mean, [songs, size], of standard normal draws."""
        return tf.linalg.matmul(normal, self.factor.value)

    def follow(self, last: Any, normal: Any) -> Any:
        """Return the latents after some, less their mean.

        Args:
          last: float32 [songs, size], those before, less their mean.
          normal: float32 [steps, songs, size], standard normal draws.

        Returns:
          float32 [steps, songs, size].
        """
        new = tf.linalg.matmul(normal, self.innovation.value)
        kept = self.step.value
        return tf.scan(lambda before, part: tf.linalg.matmul(before, kept) + part, new, last)


class _Moments:
    """Sums over latents and over pairs of steps."""

    def __init__(self, size: int) -> None:
        self._count = self._pairs = 0
        self._total = np.zeros(size)
        self._product = np.zeros((size, size))
        self._lagged = np.zeros((size, size))
        self._ends = np.zeros((2, size))

    def add(self, rows: np.ndarray) -> None:
        """Take in one sequence, float64 [steps, size]."""
        self._count += len(rows)
        self._pairs += len(rows) - 1
        self._total += rows.sum(axis=0)
        self._product += rows.T @ rows
        self._lagged += rows[:-1].T @ rows[1:]
        self._ends += rows[:-1].sum(axis=0), rows[1:].sum(axis=0)

    def values(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the mean, the covariance, and the covariance of a step with the next."""
        mean = self._total / self._count
        covariance = self._product / self._count - np.outer(mean, mean)
        pairs = max(1, self._pairs)
        before, after = self._ends / pairs
        lagged = self._lagged / pairs - np.outer(before, mean) - np.outer(mean, after)
        lagged += np.outer(mean, mean) * (self._pairs > 0)
        return mean, covariance, lagged


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a root R of a covariance, R @ R.T = covariance; what is below 0 by rounding is 0."""
    values, vectors = scipy.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)))
