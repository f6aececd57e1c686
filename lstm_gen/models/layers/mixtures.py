"""Mixtures of Gaussians fitted to rows of numbers, in numpy: what priors are made of.

Source: expectation-maximisation, Dempster, Laird and Rubin 1977, begun from k-means++, Arthur and
Vassilvitskii 2007.
"""

from typing import NamedTuple

import numpy as np
from scipy.cluster import vq

_ITERATIONS = 60
_ENOUGH = 1e-4  # nats per row that an iteration must gain, or it is the last
_MAX_ROWS = 60_000
_EFFECTLESS_ROWS = 1.0  # rows' worth of no effect, of what is told
_LEAST_ROWS = 1e-3  # that a component may explain, so that none of them divides by nothing


class Mixture(NamedTuple):
    """A mixture of Gaussians.

    Attributes:
      weights: Shares, float64 [components].
      means: float64 [components, size].
      covariances: float64 [components, size, size].
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class Conditional(NamedTuple):
    """A mixture's density of its last values, given the first ones, x.

    Component k has the weight w_k exp(-|W_k (x - s_k)|^2 / 2) among the others, and the mean
    m_k + G_k^T (x - s_k).

    Attributes:
      weights: w, shares, float64 [components].
      seen: s, [components, first].
      whiteners: W, [components, first, first].
      gains: G, [components, first, last].
      means: m, [components, last].
      covariances: [components, last, last].
    """

    weights: np.ndarray
    seen: np.ndarray
    whiteners: np.ndarray
    gains: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def fit(rows: np.ndarray, n_components: int, regularisation: float, seed: int) -> Mixture:
    """Fit a mixture with full covariances.

    Args:
      rows: [rows, size], of about unit variance.
      n_components: At most; no more than there are rows.
      regularisation: Added to every variance, so that a component of few rows has a shape.
      seed: Of the start.

    Returns:
      The mixture; the same for the same rows and seed.
    """
    rows = np.asarray(rows, np.float64)
    shares = _start(rows, min(n_components, len(rows)), seed)
    before = -np.inf
    for _ in range(_ITERATIONS):
        mixture = _maximise(rows, shares, regularisation)
        densities = log_densities(rows, mixture)
        peaks = densities.max(axis=1, keepdims=True)
        totals = peaks + np.log(np.exp(densities - peaks).sum(axis=1, keepdims=True))
        shares = np.exp(densities - totals)
        if totals.mean() - before < _ENOUGH:
            break
        before = float(totals.mean())
    return mixture


def condition(mixture: Mixture, size: int) -> Conditional:
    """Return the density of all but the first `size` values, given those."""
    means, whole = mixture.means, mixture.covariances
    seen = whole[:, :size, :size]
    gains = np.linalg.solve(seen, whole[:, :size, size:])
    whiteners = np.linalg.inv(np.linalg.cholesky(seen))
    logs = np.log(mixture.weights) + np.log(np.diagonal(whiteners, axis1=1, axis2=2)).sum(axis=1)
    weights = np.exp(logs - logs.max())
    return Conditional(
        weights=weights / weights.sum(),
        seen=means[:, :size],
        whiteners=whiteners,
        gains=gains,
        means=means[:, size:],
        covariances=whole[:, size:, size:] - whole[:, size:, :size] @ gains,
    )


def log_densities(rows: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Return the log of weight times density of each component, nats, [rows, components]."""
    found = []
    for weight, mean, covariance in zip(*mixture, strict=True):
        factor = np.linalg.cholesky(covariance)
        scaled = np.linalg.solve(factor, (rows - mean).T)
        constant = np.log(weight) - np.log(np.diag(factor)).sum()
        constant -= 0.5 * len(mean) * np.log(2 * np.pi)
        found.append(constant - 0.5 * np.sum(scaled**2, axis=0))
    return np.stack(found, axis=1)


def _start(rows: np.ndarray, n_components: int, seed: int) -> np.ndarray:
    """Return which component explains which row, to begin with, [rows, components]."""
    random = np.random.default_rng(seed)
    _, nearest = vq.kmeans2(rows, n_components, minit="++", rng=random, missing="warn")
    return np.eye(n_components)[nearest]


def _maximise(rows: np.ndarray, shares: np.ndarray, regularisation: float) -> Mixture:
    """Return the likeliest mixture when it is known which component explains which row."""
    counts = shares.sum(axis=0) + _LEAST_ROWS
    means = shares.T @ rows / counts[:, np.newaxis]
    ridge = regularisation * np.eye(rows.shape[1])
    covariances = []
    for share, mean, count in zip(shares.T, means, counts, strict=True):
        apart = rows - mean
        covariances.append((apart * share[:, np.newaxis]).T @ apart / count + ridge)
    return Mixture(counts / counts.sum(), means, np.stack(covariances))


def with_past(steps: np.ndarray, history: int) -> np.ndarray:
    """Return each step behind the steps before it, oldest first, [steps, (history + 1) * size]."""
    count = len(steps) - history
    return np.concatenate([steps[lag : lag + count] for lag in range(history + 1)], axis=1)


def regress(told: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return how far each value that is told moves each latent, [width, size]."""
    return np.linalg.solve(told.T @ told + _EFFECTLESS_ROWS * np.eye(told.shape[1]), told.T @ rest)


def some(rows: np.ndarray) -> np.ndarray:
    """Return rows evenly chosen, no more than are needed."""
    return rows[:: -(-len(rows) // _MAX_ROWS)]


def pad(values: np.ndarray, missing: int) -> np.ndarray:
    """Return values with as many zeros more, along the first axis."""
    return np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)])
