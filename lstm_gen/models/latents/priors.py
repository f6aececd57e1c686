"""What latents are drawn from when songs are made, kept with the model's weights.

    standard   mean 0, deviation 1, each step for itself
    mixture    a mixture of diagonal Gaussians that is trained with the model
    gaussian   one Gaussian with a full covariance, fitted to the latents of the training split
    gmm        a mixture of ten such
    sequence   the same, of a step given the steps before it

Latents that a decoder was trained on are not what their prior says they are: fitting a density
afterwards is cheap and closes most of that gap, and steps of a sequence depend on each other.
But for the mixture that is trained, all values lie in variables that do not train; until
`Priors.fit` has set them only `standard`, and `mixture`, can be drawn from.

Source: a density fitted after training, Ghosh et al. 2020 (arXiv 1903.12436); learned mixtures as
priors, Dilokthanakul et al. 2016 (arXiv 1611.02648); a step's density given the last ones is that
of a joint mixture, conditioned.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, rng
from lstm_gen.models.latents import densities, posterior
from lstm_gen.platform import errors, traced_functions

KINDS = ("sequence", "gmm", "gaussian", "standard", "mixture")
_FITTED = ("sequence", "gmm", "gaussian")
_EFFECTLESS_ROWS = 1.0  # rows' worth of no effect, of what is told
_RARE = 1e-3  # share of the latents on either side beyond which none is drawn
_STEPS_PER_CALL = 64
_DROPPED = 8  # steps of a sequence, which begins at the mean and not in music
_LEAST_SCALE = 1e-6
_UNFITTED = "latents are drawn from the standard normal: priors are fitted when training ends"


class Priors(keras.layers.Layer):
    """The densities of latents, their deviations, and the means of classes.

    What a model is told moves the mean of a latent, linearly; densities are of what remains.

    Attributes:
      size: Values of a latent.
      kinds: What can be drawn from, the default first.

    Args:
      size: Values of a latent.
      kinds: Some of `KINDS`, the default first.
      conditions: What the model is told.
      classes: Labels whose classes have a mean latent each.
      learned: Components of the mixture that is trained; 0 for none.
      components: Components of `gmm`.
      sequence_components: Components of `sequence`.
      history: Steps that a step of `sequence` depends on.
      history_size: Principal components of those that it sees.
    """

    def __init__(
        self,
        size: int,
        kinds: Sequence[str] = (*_FITTED, "standard"),
        conditions: Sequence[base.Condition] = (),
        classes: Sequence[base.Condition] = (),
        learned: int = 0,
        components: int = 10,
        sequence_components: int = 12,
        history: int = 2,
        history_size: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **{"name": "priors"} | kwargs)
        self.size, self.kinds, self.learned = size, tuple(kinds), learned
        self._width, self._classes = conditioning.width(conditions), tuple(classes)
        self._components, self._sequence_components = components, sequence_components
        self._history, self._history_size = history, history_size

    def build(self, input_shape: Any = None) -> None:
        """Create every variable."""
        size = self.size
        self.spread = self._kept("spread", [size], 1.0)
        self._centre = self._kept("centre", [size])
        self._low, self._high = self._kept("low", [size]), self._kept("high", [size])
        if self._width:
            self._effects = self._kept("effects", [self._width, size])
        self._means = {
            one.name: self._kept(f"mean_{one.name}", [one.n_values, size]) for one in self._classes
        }
        self._densities: dict[str, densities.Mixture] = {
            kind: densities.Mixture(self._kept, kind, count, size)
            for kind, count in (("gaussian", 1), ("gmm", self._components))
            if kind in self.kinds
        }
        if "sequence" in self.kinds:
            self._sequence = densities.SequenceMixture(
                self._kept,
                "sequence",
                self._sequence_components,
                size,
                self._history,
                self._history_size,
            )
            self._densities["sequence"] = self._sequence
        if self.learned:
            shape = [self.learned, size]
            self._logits = self.add_weight(name="logits", shape=[self.learned], initializer="zeros")
            normal = keras.initializers.RandomNormal(stddev=1.0)
            self._learned_means = self.add_weight(name="means", shape=shape, initializer=normal)
            self._log_sds = self.add_weight(name="log_sds", shape=shape, initializer="zeros")
        super().build(input_shape)

    def _kept(self, name: str, shape: list[int], value: float = 0.0) -> Any:
        """Return a new variable that does not train."""
        start = keras.initializers.Constant(value)
        return self.add_weight(name=name, shape=shape, initializer=start, trainable=False)

    def class_means(self) -> Mapping[str, np.ndarray]:
        """Return the mean latent of each class of each label, float32 [classes, size]."""
        return {name: np.asarray(variable) for name, variable in self._means.items()}

    def require_fitted(self) -> None:
        """Refuse to say how latents spread and where classes lie before that is known.

        Raises:
          InputError: If the training has not ended.
        """
        errors.require(
            any(one.fitted for one in self._densities.values()),
            "spread and class means are found when training ends; finish the training first",
            fitted=False,
        )

    def resolve(self, asked: str) -> str:
        """Return the prior to draw from.

        Args:
          asked: One of `KINDS`; "" for the first that is fitted, or needs no fitting.

        Raises:
          InputError: If it is not one of this model's, or is not fitted yet.
        """
        if not asked:
            found = next(kind for kind in self.kinds if self._can_draw(kind))
            if found == "standard" != self.kinds[0]:
                logging.log_first_n(logging.WARNING, _UNFITTED, 1)
            return found
        errors.require(
            asked != "mixture" or self.learned > 0,
            "this model was trained without a mixture to draw from; train it with "
            "--prior_components=10, or draw from another prior",
            prior=asked,
        )
        errors.require(
            asked in self.kinds,
            f"the priors of this model are: {', '.join(self.kinds)}",
            prior=asked,
        )
        errors.require(
            self._can_draw(asked),
            "this prior is fitted when training ends, and sequence to latents that are one; finish "
            "the training, or use --prior=standard",
            prior=asked,
        )
        return asked

    def _can_draw(self, kind: str) -> bool:
        if kind in self._densities:
            return self._densities[kind].fitted
        return kind != "mixture" or self.learned > 0

    def learned_log_density(self, latents: Any) -> Any:
        """Return the log density of latents under the trained mixture, nats, [...]."""
        apart = (latents[..., tf.newaxis, :] - self._learned_means) * tf.exp(-self._log_sds)
        each = -0.5 * tf.square(apart) - self._log_sds - 0.5 * math.log(2 * math.pi)
        weights = tf.nn.log_softmax(self._logits)
        return tf.reduce_logsumexp(tf.reduce_sum(each, axis=-1) + weights, axis=-1)

    def divergence(self, latents: Any, mean: Any, log_sd: Any) -> Any:
        """Return how far a belief in latents is from the trained prior, nats, float32 [batch].

        That is the standard normal, or the learned mixture if there is one; from the latter it is
        estimated by the latents that were drawn.

        Args:
          latents: float32 [batch, steps, size], drawn by that belief.
          mean: Its mean, the same shape.
          log_sd: The log of its deviation.
        """
        if not self.learned:
            return tf.reduce_sum(posterior.divergence(mean, log_sd), axis=[1, 2])
        white = (latents - mean) * tf.exp(-log_sd)
        own = -0.5 * tf.square(white) - log_sd - 0.5 * math.log(2 * math.pi)
        prior = tf.reduce_sum(self.learned_log_density(latents), axis=1)
        return tf.reduce_sum(own, axis=[1, 2]) - prior

    def fit(
        self,
        latents: Sequence[np.ndarray],
        labels: Mapping[str, np.ndarray] | None = None,
        told: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """Fit every density to the latents of the training split.

        Args:
          latents: Of each example, float32 [steps, size]; steps of an example follow each other.
          labels: "label/NAME" to the class of each example, -1 if not known.
          told: What the model was told of each example, float32 [examples, width].
          seed: Of where fitting starts.
        """
        rows = np.concatenate(latents).astype(np.float64)
        errors.require(
            len(rows) > 1 and rows.shape[1] == self.size,
            "latents must be two steps or more of the priors' size",
            latents=rows.shape,
        )
        scale = np.maximum(rows.std(axis=0), _LEAST_SCALE)
        self.spread.assign(scale)
        self._centre.assign(rows.mean(axis=0))
        lengths = np.array([len(one) for one in latents])
        self._fit_classes(latents, labels or {})
        rest = (rows - rows.mean(axis=0)) / scale
        if self._width and told is not None:
            effects = _regress(np.repeat(told, lengths, axis=0).astype(np.float64), rest)
            self._effects.assign(effects)
            rest = rest - np.repeat(told @ effects, lengths, axis=0)
        low, high = np.quantile(rest, [_RARE, 1 - _RARE], axis=0)
        self._low.assign(low)
        self._high.assign(high)
        sequences = np.split(rest, np.cumsum(lengths)[:-1])
        for one in self._densities.values():
            one.fit(sequences, seed)

    def _fit_classes(self, latents: Sequence[np.ndarray], labels: Mapping[str, np.ndarray]) -> None:
        """Set the mean latent of each class; of one that never occurs, that of all."""
        for name, variable in self._means.items():
            means = np.repeat(np.asarray(self._centre)[np.newaxis], variable.shape[0], axis=0)
            known = labels.get(f"label/{name}", np.full(len(latents), -1))
            for index in set(known[known >= 0].tolist()):
                own = [one for one, of in zip(latents, known, strict=True) if of == index]
                means[index] = np.concatenate(own).mean(axis=0)
            variable.assign(means)

    def draw(
        self,
        kind: str,
        n_steps: int,
        seed: Any,
        n_songs: int,
        temperature: float,
        told: Any = None,
        alike: bool = False,
    ) -> np.ndarray:
        """Return latents of songs.

        Args:
          kind: What `resolve` returned.
          n_steps: Of each song.
          seed: Of the first song, as in `noise`.
          n_songs: How many.
          temperature: Factor on deviations; 0.8 is calmer, 1 as fitted.
          told: What the songs are to be, float32 [n_songs, width]; None where nothing is told.
          alike: Whether all are made of the draws of the first, so that they differ by what is
            told alone.

        Returns:
          float32 [n_songs, n_steps, size].
        """
        run = _compiled(self, kind, n_songs, 1 if alike else n_songs)
        told = tf.zeros([n_songs, self._width]) if told is None else told
        state = tf.zeros([n_songs, self._history, self.size])
        dropped = _DROPPED if kind == "sequence" else 0
        parts = []
        for chunk in range(-(-(n_steps + dropped) // _STEPS_PER_CALL)):
            drawn, state = run(state, seed, tf.constant(chunk), tf.constant(temperature), told)
            parts.append(drawn.numpy())
        return np.concatenate(parts, axis=1)[:, dropped : dropped + n_steps]

    def placed(self, rest: Any, told: Any) -> Any:
        """Return latents from what remains of them when scale, centre and labels are taken away."""
        if self._width:
            rest += tf.linalg.matmul(told, tf.convert_to_tensor(self._effects))[:, tf.newaxis]
        return rest * self.spread + self._centre

    def bounded(self, rest: Any) -> Any:
        """Return draws kept to where latents were; a sequence that left would not come back."""
        return tf.clip_by_value(rest, self._low, self._high)

    def independent(self, kind: str, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Return steps that know nothing of each other; see `densities.Mixture.draw`."""
        if kind != "mixture":
            return self._densities[kind].draw(normal, uniform, temperature)
        chosen = densities.choose(tf.convert_to_tensor(self._logits), uniform)
        mean, sd = chosen @ self._learned_means, chosen @ tf.exp(self._log_sds)
        return mean + temperature * sd * normal

    def following(self, past: Any, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Return the next step of a sequence; see `densities.SequenceMixture.draw_next`."""
        return self._sequence.draw_next(past, normal, uniform, temperature)


@functools.lru_cache(maxsize=16)
def _compiled(priors: Priors, kind: str, n_songs: int, n_draws: int) -> Any:
    """Return the program that draws some steps of so many songs: one for each, or one for all."""
    shape = [n_songs, _STEPS_PER_CALL, priors.size]

    def draw_latents(past: Any, seed: Any, chunk: Any, temperature: Any, told: Any) -> Any:
        seed = rng.seed_for(seed, chunk)
        normal = rng.normal([n_draws, *shape[1:]], rng.seed_for(seed, 0))
        normal = tf.broadcast_to(normal, shape)
        if kind == "standard":
            return temperature * normal, past
        uniform = rng.uniform([n_draws, shape[1]], rng.seed_for(seed, 1))
        uniform = tf.broadcast_to(uniform, shape[:2])
        if kind != "sequence":
            drawn = priors.independent(kind, normal, uniform, temperature)
            if kind == "mixture":
                return drawn, past
            return priors.placed(priors.bounded(drawn), told), past
        steps = tf.TensorArray(tf.float32, shape[1], element_shape=[n_songs, priors.size])
        for index in tf.range(shape[1]):
            drawn = priors.following(past, normal[:, index], uniform[:, index], temperature)
            step = priors.bounded(drawn)
            steps = steps.write(index, step)
            past = tf.concat([past[:, 1:], step[:, tf.newaxis]], axis=1)
        return priors.placed(tf.transpose(steps.stack(), [1, 0, 2]), told), past

    return traced_functions.program(draw_latents)


def _regress(told: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return how far each value that is told moves each latent, [width, size]."""
    return np.linalg.solve(told.T @ told + _EFFECTLESS_ROWS * np.eye(told.shape[1]), told.T @ rest)
