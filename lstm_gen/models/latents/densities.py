"""Mixtures of Gaussians kept in variables that do not train: fitted once, drawn from in graphs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models.common import rng
from lstm_gen.models.latents import gmm

Keep = Callable[[str, list[int]], Any]  # a name and a shape to a variable, which holds zeros
_MOST_ROWS = 60_000


class Mixture:
    """A mixture of single steps.

    Args:
      keep: Creates a variable of the layer that keeps the mixture.
      name: What its variables' names begin with.
      n_components: Most components.
      size: Values of a step.
    """

    def __init__(self, keep: Keep, name: str, n_components: int, size: int) -> None:
        self.size = size
        self._fitted = keep(f"fitted_{name}", [])
        self._log_weights = keep(f"{name}_log_weights", [n_components])
        self._means = keep(f"{name}_means", [n_components, size])
        self._factors = keep(f"{name}_factors", [n_components, size, size])

    @property
    def fitted(self) -> bool:
        """Whether there is anything to draw from."""
        return bool(self._fitted.numpy() > 0)

    @property
    def _n_components(self) -> int:
        return int(self._log_weights.shape[0])

    def fit(self, sequences: Sequence[np.ndarray], seed: int) -> None:
        """Fit the density.

        Args:
          sequences: Steps that follow each other, [steps, size] each, of about unit variance.
          seed: Of where fitting starts.
        """
        found = gmm.fit(_some(np.concatenate(sequences)), self._n_components, seed)
        self._assign(found.weights, found.means, found.covariances)

    def draw(self, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Return steps that know nothing of each other.

        Args:
          normal: Draws, float32 [songs, steps, size].
          uniform: Draws from [0, 1), float32 [songs, steps].
          temperature: Factor on deviations from the components' means.

        Returns:
          float32 [songs, steps, size].
        """
        chosen = choose(self._log_weights, uniform)
        return chosen @ self._means + temperature * self._coloured(chosen, normal)

    def _coloured(self, chosen: Any, normal: Any) -> Any:
        """Return draws with the covariance of the chosen component, the shape of `normal`."""
        factors = tf.convert_to_tensor(self._factors)
        each = tf.einsum("kij,...j->...ki", factors, normal)
        return tf.einsum("...k,...ki->...i", chosen, each)

    def _assign(self, weights: Any, means: Any, covariances: Any) -> None:
        """Set the variables; components that were not needed have no weight."""
        missing = self._n_components - len(weights)
        logs = np.log(weights / weights.sum())
        self._log_weights.assign(np.pad(logs, (0, missing), constant_values=-1e9))
        self._means.assign(_pad(means, missing))
        self._factors.assign(_pad(np.linalg.cholesky(covariances), missing))
        self._fitted.assign(1.0)


class SequenceMixture(Mixture):
    """A mixture of a step and the steps before it, drawn from given those.

    Args:
      keep: See `Mixture`.
      name: See `Mixture`.
      n_components: See `Mixture`.
      size: See `Mixture`.
      history: Steps that a step depends on.
      history_size: Principal components of those that it sees, at most all of them.
    """

    def __init__(
        self, keep: Keep, name: str, n_components: int, size: int, history: int, history_size: int
    ) -> None:
        super().__init__(keep, name, n_components, size)
        self._history, self._seen_size = history, min(history_size, history * size)
        width = self._seen_size
        self._basis = keep(f"{name}_past_basis", [history * size, width])
        self._seen = keep(f"{name}_past_means", [n_components, width])
        self._whiteners = keep(f"{name}_past_whiteners", [n_components, width, width])
        self._gains = keep(f"{name}_past_gains", [n_components, width, size])

    def fit(self, sequences: Sequence[np.ndarray], seed: int) -> None:
        """Fit the density; nothing happens where no sequence has so many steps."""
        width = self._seen_size
        joint = [self._with_past(one) for one in sequences if len(one) > self._history]
        if not joint or sum(map(len, joint)) < 2 * (width + self.size):
            return
        past, now = np.split(_some(np.concatenate(joint)), [-self.size], axis=1)
        _, basis = np.linalg.eigh(past.T @ past)
        basis = basis[:, ::-1][:, :width]
        both = gmm.fit(np.hstack([past @ basis, now]), self._n_components, seed)
        found = gmm.condition(both, width)
        missing = self._n_components - len(found.weights)
        self._basis.assign(basis)
        self._seen.assign(_pad(found.seen, missing))
        self._whiteners.assign(_pad(found.whiteners, missing))
        self._gains.assign(_pad(found.gains, missing))
        self._assign(found.weights, found.means, found.covariances)

    def draw_next(self, past: Any, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Return the next step.

        Args:
          past: The last ones, oldest first, float32 [songs, history, size].
          normal: Draws, float32 [songs, size].
          uniform: Draws from [0, 1), float32 [songs].
          temperature: Factor on deviations from what the past leads to.

        Returns:
          float32 [songs, size].
        """
        apart = (tf.reshape(past, [past.shape[0], -1]) @ self._basis)[:, tf.newaxis] - self._seen
        white = tf.einsum("kij,nkj->nki", tf.convert_to_tensor(self._whiteners), apart)
        chosen = choose(self._log_weights - 0.5 * tf.reduce_sum(tf.square(white), axis=-1), uniform)
        led = tf.einsum("nk,nki,kij->nj", chosen, apart, tf.convert_to_tensor(self._gains))
        return chosen @ self._means + led + temperature * self._coloured(chosen, normal)

    def _with_past(self, steps: np.ndarray) -> np.ndarray:
        """Return each step behind those before it, oldest first, [steps, (history + 1) * size]."""
        count = len(steps) - self._history
        return np.hstack([steps[lag : lag + count] for lag in range(self._history + 1)])


def choose(logits: Any, uniform: Any) -> Any:
    """Return the component that a draw from [0, 1) falls on, one-hot [..., components]."""
    return tf.one_hot(rng.choose(logits, uniform), logits.shape[-1])


def _some(rows: np.ndarray) -> np.ndarray:
    """Return rows evenly chosen, no more than are needed."""
    return rows[:: -(-len(rows) // _MOST_ROWS)]


def _pad(values: np.ndarray, missing: int) -> np.ndarray:
    """Return values with as many zeros more, along the first axis."""
    return np.pad(values, [(0, missing), *[(0, 0)] * (values.ndim - 1)])
