"""Mixtures of Gaussians fitted to rows of numbers, and what they say of the rest of a row."""

import warnings
from typing import NamedTuple

import numpy as np

_ITERATIONS = 60
_ENOUGH = 1e-4  # nats per row that an iteration must gain, or it is the last
_REGULARISATION = 1e-2  # of a variance that is 1, so that a component of few rows has a shape


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


def fit(rows: np.ndarray, n_components: int, seed: int) -> Mixture:
    """Fit a mixture with full covariances.

    Args:
      rows: [rows, size], of about unit variance.
      n_components: At most; no more than there are rows.
      seed: Of the start.

    Returns:
      The mixture; the same for the same rows and seed.
    """
    # Half a second that commands which fit nothing would wait for too.
    from sklearn import exceptions, mixture

    model = mixture.GaussianMixture(
        min(n_components, len(rows)),
        tol=_ENOUGH,
        reg_covar=_REGULARISATION,
        max_iter=_ITERATIONS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # Fewer clusters than components, or a gain still in the last iteration, is no failure.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        model.fit(np.asarray(rows, np.float64))
    return Mixture(model.weights_, model.means_, model.covariances_)


def condition(joint: Mixture, size: int) -> Conditional:
    """Return the density of all but the first `size` values, given those."""
    means, whole = joint.means, joint.covariances
    seen = whole[:, :size, :size]
    gains = np.linalg.solve(seen, whole[:, :size, size:])
    whiteners = np.linalg.inv(np.linalg.cholesky(seen))
    logs = np.log(joint.weights) + np.log(np.diagonal(whiteners, axis1=1, axis2=2)).sum(axis=1)
    weights = np.exp(logs - logs.max())
    return Conditional(
        weights=weights / weights.sum(),
        seen=means[:, :size],
        whiteners=whiteners,
        gains=gains,
        means=means[:, size:],
        covariances=whole[:, size:, size:] - whole[:, size:, :size] @ gains,
    )
