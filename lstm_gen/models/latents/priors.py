"""Latent priors: the densities that generation samples from, stored with the model's weights.

    standard   standard normal, independent steps
    mixture    a mixture of diagonal Gaussians, trained with the model; independent steps
    gaussian   one Gaussian with full covariance, fitted to the training latents; independent steps
    gmm        a mixture of ten such Gaussians, fitted likewise; independent steps
    sequence   an autoregressive mixture, fitted likewise: each step given the steps before it

The aggregate posterior of a trained model differs from the prior of its training. A density fitted
after training is cheap and closes most of that gap. The fitted densities are variables that do not
train; before `Priors.fit` only `standard` and `mixture` can be sampled.

Source: a density fitted after training, Ghosh et al. 2020 (arXiv 1903.12436); learned mixtures as
priors, Dilokthanakul et al. 2016 (arXiv 1611.02648).
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
from lstm_gen.models.latents import gmm, posterior
from lstm_gen.platform import errors, traced_functions

KINDS = ("sequence", "gmm", "gaussian", "standard", "mixture")
_FITTED = ("sequence", "gmm", "gaussian")
_RIDGE = 1.0  # of the regression of latents on conditioning
_TAIL = 1e-3  # quantile of the latents, on either side, that draws are clipped to
_STEPS_PER_CALL = 64
_BURN_IN = 8  # steps of a sequence, which starts at the mean of all latents
_MIN_SCALE = 1e-6
_UNFITTED = "sampling latents from the standard normal: priors are fitted when training ends"


class Priors(keras.layers.Layer):
    """Priors of a latent space, its scale, and the mean latent of each class.

    Conditioning shifts the mean of a latent linearly; the densities are of the residuals.

    Attributes:
      size: Values of a latent.
      kinds: Priors of this model, the default first.

    Args:
      size: Values of a latent.
      kinds: Some of `KINDS`, the default first.
      conditions: Labels that the model is conditioned on.
      classes: Labels whose classes get a mean latent each.
      learned: Components of the trained mixture; 0 for none.
      components: Components of `gmm`.
      sequence_components: Components of `sequence`.
      history: Steps that a step of `sequence` depends on.
      history_size: Principal components of the history that are used.
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
        self._program = functools.lru_cache(maxsize=16)(self._make_program)

    def build(self, input_shape: Any = None) -> None:
        """Create every variable."""
        size = self.size
        self.spread = self._variable("spread", [size], 1.0)
        self._centre = self._variable("centre", [size])
        self._low, self._high = self._variable("low", [size]), self._variable("high", [size])
        if self._width:
            self._effects = self._variable("effects", [self._width, size])
        self._means = {
            one.name: self._variable(f"mean_{one.name}", [one.n_values, size])
            for one in self._classes
        }
        self._densities: dict[str, gmm.MixturePrior] = {
            kind: gmm.MixturePrior(self._variable, kind, count, size)
            for kind, count in (("gaussian", 1), ("gmm", self._components))
            if kind in self.kinds
        }
        if "sequence" in self.kinds:
            self._sequence = gmm.SequencePrior(
                self._variable,
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

    def _variable(self, name: str, shape: list[int], value: float = 0.0) -> Any:
        """Create a variable that does not train."""
        start = keras.initializers.Constant(value)
        return self.add_weight(name=name, shape=shape, initializer=start, trainable=False)

    def class_means(self) -> Mapping[str, np.ndarray]:
        """Return the mean latent of each class of each label, float32 [classes, size]."""
        return {name: np.asarray(variable) for name, variable in self._means.items()}

    def require_fitted(self) -> None:
        """Raise InputError unless `fit` has been called, as it is when training ends."""
        errors.require(
            any(one.fitted for one in self._densities.values()),
            "latent scale and class means are fitted when training ends; finish the training first",
            fitted=False,
        )

    def resolve(self, requested: str) -> str:
        """Return the prior to sample from.

        Args:
          requested: One of `KINDS`; "" for the first that is fitted, or needs no fitting.

        Raises:
          InputError: If it is not one of this model's, or is not fitted yet.
        """
        if not requested:
            found = next(kind for kind in self.kinds if self._can_sample(kind))
            if found == "standard" != self.kinds[0]:
                logging.log_first_n(logging.WARNING, _UNFITTED, 1)
            return found
        errors.require(
            requested != "mixture" or self.learned > 0,
            "this model was trained without a mixture prior; train one with --prior_components=10, "
            "or use another prior",
            prior=requested,
        )
        errors.require(
            requested in self.kinds,
            f"the priors of this model are: {', '.join(self.kinds)}",
            prior=requested,
        )
        errors.require(
            self._can_sample(requested),
            "this prior is fitted when training ends, sequence only to latents of several steps; "
            "finish the training, or use --prior=standard",
            prior=requested,
        )
        return requested

    def _can_sample(self, kind: str) -> bool:
        if kind in self._densities:
            return self._densities[kind].fitted
        return kind != "mixture" or self.learned > 0

    def learned_log_density(self, latents: Any) -> Any:
        """Return the log density of latents [..., size] under the trained mixture, nats, [...]."""
        difference = (latents[..., tf.newaxis, :] - self._learned_means) * tf.exp(-self._log_sds)
        each = -0.5 * tf.square(difference) - self._log_sds - 0.5 * math.log(2 * math.pi)
        weights = tf.nn.log_softmax(self._logits)
        return tf.reduce_logsumexp(tf.reduce_sum(each, axis=-1) + weights, axis=-1)

    def kl_divergence(self, latents: Any, mean: Any, log_sd: Any) -> Any:
        """Return the KL divergence of a posterior from the trained prior, nats, float32 [batch].

        The prior is the standard normal, or the learned mixture if there is one; the divergence
        from a mixture is estimated from one sample.

        Args:
          latents: A sample of the posterior, float32 [batch, steps, size].
          mean: Its mean, the same shape.
          log_sd: Its log deviation, the same shape.
        """
        if not self.learned:
            return tf.reduce_sum(posterior.kl_divergence(mean, log_sd), axis=[1, 2])
        white = (latents - mean) * tf.exp(-log_sd)
        own = -0.5 * tf.square(white) - log_sd - 0.5 * math.log(2 * math.pi)
        prior = tf.reduce_sum(self.learned_log_density(latents), axis=1)
        return tf.reduce_sum(own, axis=[1, 2]) - prior

    def fit(
        self,
        latents: Sequence[np.ndarray],
        labels: Mapping[str, np.ndarray] | None = None,
        cond: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """Fit every density to the latents of the training split.

        Args:
          latents: Of each example, float32 [steps, size], consecutive steps.
          labels: "label/NAME" to the class of each example, -1 if unknown.
          cond: Conditioning vectors of the examples, float32 [examples, width].
          seed: Of the initialisation.
        """
        rows = np.concatenate(latents).astype(np.float64)
        errors.require(
            len(rows) > 1 and rows.shape[1] == self.size,
            "latents must be two steps or more of the priors' size",
            latents=rows.shape,
        )
        scale = np.maximum(rows.std(axis=0), _MIN_SCALE)
        self.spread.assign(scale)
        self._centre.assign(rows.mean(axis=0))
        lengths = np.array([len(one) for one in latents])
        self._fit_classes(latents, labels or {})
        residuals = (rows - rows.mean(axis=0)) / scale
        if self._width and cond is not None:
            repeated = np.repeat(cond, lengths, axis=0).astype(np.float64)
            effects = _ridge_regression(repeated, residuals)
            self._effects.assign(effects)
            residuals = residuals - np.repeat(cond @ effects, lengths, axis=0)
        low, high = np.quantile(residuals, [_TAIL, 1 - _TAIL], axis=0)
        self._low.assign(low)
        self._high.assign(high)
        sequences = np.split(residuals, np.cumsum(lengths)[:-1])
        for one in self._densities.values():
            one.fit(sequences, seed)

    def _fit_classes(self, latents: Sequence[np.ndarray], labels: Mapping[str, np.ndarray]) -> None:
        """Set the mean latent of each class; for a class without examples, the mean of all."""
        for name, variable in self._means.items():
            means = np.repeat(np.asarray(self._centre)[np.newaxis], variable.shape[0], axis=0)
            indices = labels.get(f"label/{name}", np.full(len(latents), -1))
            for index in set(indices[indices >= 0].tolist()):
                own = [one for one, i in zip(latents, indices, strict=True) if i == index]
                means[index] = np.concatenate(own).mean(axis=0)
            variable.assign(means)

    def draw(
        self,
        kind: str,
        n_steps: int,
        seed: Any,
        n_songs: int,
        temperature: float,
        cond: Any = None,
        share_noise: bool = False,
    ) -> np.ndarray:
        """Sample the latents of songs.

        Args:
          kind: As returned by `resolve`.
          n_steps: Steps of each song.
          seed: Of the first song, see `rng`.
          n_songs: Number of songs.
          temperature: Factor on deviations; below 1 is calmer, 1 as fitted.
          cond: Conditioning vectors of the songs, float32 [n_songs, width]; None without.
          share_noise: Use the noise of the first song for all, so that they differ in their
            conditioning alone.

        Returns:
          float32 [n_songs, n_steps, size].
        """
        run = self._program(kind, n_songs, 1 if share_noise else n_songs)
        cond = tf.zeros([n_songs, self._width]) if cond is None else cond
        state = tf.zeros([n_songs, self._history, self.size])
        skipped = _BURN_IN if kind == "sequence" else 0
        chunks = []
        for chunk in range(-(-(n_steps + skipped) // _STEPS_PER_CALL)):
            latents, state = run(state, seed, tf.constant(chunk), tf.constant(temperature), cond)
            chunks.append(latents.numpy())
        return np.concatenate(chunks, axis=1)[:, skipped : skipped + n_steps]

    def _make_program(self, kind: str, n_songs: int, n_draws: int) -> Any:
        """Return the program that samples a chunk of steps, from one draw per song or for all."""
        shape = [n_songs, _STEPS_PER_CALL, self.size]

        def draw_latents(past: Any, seed: Any, chunk: Any, temperature: Any, cond: Any) -> Any:
            seed = rng.seed_for(seed, chunk)
            normal = rng.normal([n_draws, *shape[1:]], rng.seed_for(seed, 0))
            normal = tf.broadcast_to(normal, shape)
            if kind == "standard":
                return temperature * normal, past
            uniform = rng.uniform([n_draws, shape[1]], rng.seed_for(seed, 1))
            uniform = tf.broadcast_to(uniform, shape[:2])
            if kind == "mixture":
                return self._sample_learned(normal, uniform, temperature), past
            if kind != "sequence":
                sampled = self._densities[kind].sample(normal, uniform, temperature)
                return self._from_residuals(self._clip(sampled), cond), past
            steps = tf.TensorArray(tf.float32, shape[1], element_shape=[n_songs, self.size])
            for index in tf.range(shape[1]):
                sampled = self._sequence.sample_next(
                    past, normal[:, index], uniform[:, index], temperature
                )
                step = self._clip(sampled)
                steps = steps.write(index, step)
                past = tf.concat([past[:, 1:], step[:, tf.newaxis]], axis=1)
            residuals = tf.transpose(steps.stack(), [1, 0, 2])
            return self._from_residuals(residuals, cond), past

        return traced_functions.program(draw_latents)

    def _sample_learned(self, normal: Any, uniform: Any, temperature: Any) -> Any:
        """Return independent steps of the trained mixture, the shape of `normal`."""
        component = gmm.choose(tf.convert_to_tensor(self._logits), uniform)
        mean, sd = component @ self._learned_means, component @ tf.exp(self._log_sds)
        return mean + temperature * sd * normal

    def _from_residuals(self, residuals: Any, cond: Any) -> Any:
        """Return latents: residuals plus the effect of conditioning, scaled and centred."""
        if self._width:
            effects = tf.convert_to_tensor(self._effects)
            residuals += tf.linalg.matmul(cond, effects)[:, tf.newaxis]
        return residuals * self.spread + self._centre

    def _clip(self, residuals: Any) -> Any:
        """Return draws within the fitted range; a sequence that left it would not return."""
        return tf.clip_by_value(residuals, self._low, self._high)


def _ridge_regression(cond: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Return the linear effect of each conditioning value on each latent, [width, size]."""
    gram = cond.T @ cond + _RIDGE * np.eye(cond.shape[1])
    return np.linalg.solve(gram, cond.T @ residuals)
