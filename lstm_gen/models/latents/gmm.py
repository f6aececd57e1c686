"""Gaussian mixtures: fitted by expectation maximisation, conditioned, sampled in TensorFlow.

`MixturePrior` and `SequencePrior` keep a fitted mixture in variables that do not train.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lstm_gen.models.common import rng

_ITERATIONS = 60
_TOLERANCE = 1e-4  # gain of the log-likelihood, nats per row, below which fitting stops
_REGULARISATION = 1e-2  # of a variance that is 1, so that a component of few rows has a shape
_MAX_ROWS = 60_000

AddVariable = Callable[[str, list[int]], Any]
"""A name and a shape to a new variable of zeros."""


class Mixture(NamedTuple):
    """A mixture of Gaussians.

    Attributes:
      weights: float64 [components], of sum 1.
      means: float64 [components, size].
      covariances: float64 [components, size, size].
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class Conditional(NamedTuple):
    """A mixture's density of the last values of a row, given the first ones, x.

    Component k has the weight w_k exp(-|W_k (x - s_k)|^2 / 2), not normalised, and the mean
    m_k + G_k^T (x - s_k).

    Attributes:
      weights: w, float64 [components], of sum 1.
      given_means: s, [components, first].
      whiteners: W, [components, first, first].
      gains: G, [components, first, last].
      means: m, [components, last].
      covariances: [components, last, last].
    """

    weights: np.ndarray
    given_means: np.ndarray
    whiteners: np.ndarray
    gains: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def fit(rows: np.ndarray, n_components: int, seed: int) -> Mixture:
    """Fit a mixture with full covariances; deterministic.

    Args:
      rows: [rows, size], of about unit variance.
      n_components: Most components; no more than there are rows.
      seed: Of the initialisation.
    """
    # Half a second that commands which fit nothing would wait for too.
    from sklearn import exceptions, mixture

    model = mixture.GaussianMixture(
        min(n_components, len(rows)),
        tol=_TOLERANCE,
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
    """Return the density of all but the first `size` values of a row, given those."""
    means, whole = joint.means, joint.covariances
    given = whole[:, :size, :size]
    gains = np.linalg.solve(given, whole[:, :size, size:])
    whiteners = np.linalg.inv(np.linalg.cholesky(given))
    logs = np.log(joint.weights) + np.log(np.diagonal(whiteners, axis1=1, axis2=2)).sum(axis=1)
    weights = np.exp(logs - logs.max())
    return Conditional(
        weights=weights / weights.sum(),
        given_means=means[:, :size],
        whiteners=whiteners,
        gains=gains,
        means=means[:, size:],
        covariances=whole[:, size:, size:] - whole[:, size:, :size] @ gains,
    )


class MixturePrior:
    """A fitted mixture of independent steps.

    Args:
      add_variable: Creates a variable of the layer that owns the prior.
      name: Prefix of the variables' names.
      n_components: Most components.
      size: Values of a step.
    """

    def __init__(self, add_variable: AddVariable, name: str, n_components: int, size: int) -> None:
        self.size = size
        self._fitted = add_variable(f"fitted_{name}", [])
        self._log_weights = add_variable(f"{name}_log_weights", [n_components])
        self._means = add_variable(f"{name}_means", [n_components, size])
        self._factors = add_variable(f"{name}_factors", [n_components, size, size])

    @property
    def fitted(self) -> bool:
        """Whether `fit` has set the variables."""
        return bool(self._fitted.numpy() > 0)

    @property
    def _n_components(self) -> int:
        return int(self._log_weights.shape[0])

    def fit(self, sequences: Sequence[np.ndarray], seed: int) -> None:
        """Fit the mixture.

        Args:
          sequences: Consecutive steps, [steps, size] each, of about unit variance.
          seed: Of the initialisation.
        """
        found = fit(_subsample(np.concatenate(sequences)), self._n_components, seed)
        self._assign(found.weights, found.means, found.covariances)

    def sample(self, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Draw independent steps.

        Args:
          normal: Standard normal draws, float32 [songs, steps, size].
          uniform: Draws from [0, 1), float32 [songs, steps].
          temperature: Factor on deviations from the components' means.

        Returns:
          float32 [songs, steps, size].
        """
        component = choose(self._log_weights, uniform)
        return component @ self._means + temperature * self._colour(component, normal)

    def _colour(self, component: Any, normal: Any) -> Any:
        """Return draws with the covariance of the chosen component, the shape of `normal`."""
        factors = tf.convert_to_tensor(self._factors)
        each = tf.einsum("kij,...j->...ki", factors, normal)
        return tf.einsum("...k,...ki->...i", component, each)

    def _assign(self, weights: Any, means: Any, covariances: Any) -> None:
        """Set the variables; surplus components have weight 0."""
        missing = self._n_components - len(weights)
        logs = np.log(weights / weights.sum())
        self._log_weights.assign(np.pad(logs, (0, missing), constant_values=-1e9))
        self._means.assign(_pad(means, missing))
        self._factors.assign(_pad(np.linalg.cholesky(covariances), missing))
        self._fitted.assign(1.0)


class SequencePrior(MixturePrior):
    """A fitted autoregressive mixture: the density of a step given the steps before it.

    Args:
      add_variable: See `MixturePrior`.
      name: See `MixturePrior`.
      n_components: See `MixturePrior`.
      size: See `MixturePrior`.
      history: Steps that a step depends on.
      history_size: Principal components of the history that are used, at most all of them.
    """

    def __init__(
        self,
        add_variable: AddVariable,
        name: str,
        n_components: int,
        size: int,
        history: int,
        history_size: int,
    ) -> None:
        super().__init__(add_variable, name, n_components, size)
        self._history, self._width = history, min(history_size, history * size)
        width = self._width
        self._basis = add_variable(f"{name}_past_basis", [history * size, width])
        self._past_means = add_variable(f"{name}_past_means", [n_components, width])
        self._whiteners = add_variable(f"{name}_past_whiteners", [n_components, width, width])
        self._gains = add_variable(f"{name}_past_gains", [n_components, width, size])

    def fit(self, sequences: Sequence[np.ndarray], seed: int) -> None:
        """Fit the mixture; without enough sequences longer than the history, do nothing."""
        width = self._width
        joint = [self._with_past(one) for one in sequences if len(one) > self._history]
        if not joint or sum(map(len, joint)) < 2 * (width + self.size):
            return
        past, now = np.split(_subsample(np.concatenate(joint)), [-self.size], axis=1)
        _, basis = np.linalg.eigh(past.T @ past)
        basis = basis[:, ::-1][:, :width]
        both = fit(np.hstack([past @ basis, now]), self._n_components, seed)
        found = condition(both, width)
        missing = self._n_components - len(found.weights)
        self._basis.assign(basis)
        self._past_means.assign(_pad(found.given_means, missing))
        self._whiteners.assign(_pad(found.whiteners, missing))
        self._gains.assign(_pad(found.gains, missing))
        self._assign(found.weights, found.means, found.covariances)

    def sample_next(self, past: Any, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Draw the next step.

        Args:
          past: The last steps, oldest first, float32 [songs, history, size].
          normal: Standard normal draws, float32 [songs, size].
          uniform: Draws from [0, 1), float32 [songs].
          temperature: Factor on deviations from the conditional means.

        Returns:
          float32 [songs, size].
        """
        difference = (tf.reshape(past, [past.shape[0], -1]) @ self._basis)[:, tf.newaxis]
        difference -= self._past_means
        white = tf.einsum("kij,nkj->nki", tf.convert_to_tensor(self._whiteners), difference)
        logits = self._log_weights - 0.5 * tf.reduce_sum(tf.square(white), axis=-1)
        component = choose(logits, uniform)
        shift = tf.einsum(
            "nk,nki,kij->nj", component, difference, tf.convert_to_tensor(self._gains)
        )
        mean = component @ self._means + shift
        return mean + temperature * self._colour(component, normal)

    def _with_past(self, steps: np.ndarray) -> np.ndarray:
        """Return each step after its history, oldest first, [steps, (history + 1) * size]."""
        count = len(steps) - self._history
        return np.hstack([steps[lag : lag + count] for lag in range(self._history + 1)])


def choose(logits: Any, uniform: Any) -> Any:
    """Return the component that each draw from [0, 1) selects, one-hot [..., components]."""
    return tf.one_hot(rng.choose(logits, uniform), logits.shape[-1])


def _subsample(rows: np.ndarray) -> np.ndarray:
    """Return evenly spaced rows, at most 60,000."""
    return rows[:: -(-len(rows) // _MAX_ROWS)]


def _pad(values: np.ndarray, missing: int) -> np.ndarray:
    """Return values with zeros appended along the first axis."""
    return np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)])
