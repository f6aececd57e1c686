"""Output heads: mixture density over the next frame, mean for squared error; loudness clamp.

The mixture head is the default: a frame of music has several likely successors (hold, decay, the
next onset), and a unimodal head predicts their mean, a drone. With x the current frame and y the
one to predict:

    b = a * x                              per-band copy skip, learned
    u = (y - b) (I - A)                    A strictly upper triangular, one for all frames
    p(u | h) = sum_k pi_k(h) N(u; mu_k(h), diag s_k(h)^2),  s = floor + softplus(raw)

The transform has determinant 1, so p(y | h) = p(u | h). Without the sigma floor the density has no
bound, since bands at the log floor are constant.

Source: mixture densities for sequences, Graves 2013 (arXiv 1308.0850); a mixture over
real vectors in place of a softmax, GIVT, Tschannen et al. 2023 (arXiv 2312.02116).
The triangular transform and the copy skip are this project's measurements.
"""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import rng

_LOG_2PI = math.log(2.0 * math.pi)
_START_SIGMA = 0.6
# For weights that enter the density: float32 under every policy, also inside `call`.
_FLOAT32: dict[str, Any] = {"dtype": "float32", "autocast": False}
_UNBOUNDED = 1e9
_FEW = 4  # batches this many times smaller than the mixture read single components' weights


def _softplus_inverse(value: float) -> float:
    return math.log(math.expm1(value))


class MixtureHead(keras.layers.Layer):
    """Mixture of diagonal Gaussians around a scaled copy of the current frame.

    Args:
      channels: Values per frame.
      components: Mixture components; 1 gives a plain Gaussian head.
      triangular: Whether to learn the triangular transform between bands.
      sigma_floor: Smallest deviation, in units of the normalised frames.
    """

    def __init__(
        self,
        channels: int,
        components: int = 10,
        triangular: bool = True,
        sigma_floor: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.components = components
        self.triangular = triangular
        self.sigma_floor = sigma_floor

    def build(self, input_shape: Any) -> None:
        """Create the weights; the density is computed in float32 under every policy."""
        width, d, k = int(input_shape[-1]), self.channels, self.components
        small = keras.initializers.RandomNormal(stddev=0.3 / math.sqrt(width))
        raw_sigma = _softplus_inverse(_START_SIGMA - self.sigma_floor)
        self.kernel = self.add_weight(
            name="kernel", shape=(width, k * (2 * d + 1)), initializer=small
        )
        self.weight_bias = self.add_weight(
            name="weight_bias", shape=(k,), initializer="zeros", **_FLOAT32
        )
        self.mean_bias = self.add_weight(
            name="mean_bias",
            shape=(k, d),
            initializer=keras.initializers.RandomNormal(stddev=0.3 if k > 1 else 0.0),
            **_FLOAT32,
        )
        self.sigma_bias = self.add_weight(
            name="sigma_bias",
            shape=(k, d),
            initializer=keras.initializers.Constant(raw_sigma),
            **_FLOAT32,
        )
        self.skip = self.add_weight(
            name="skip", shape=(d,), initializer=keras.initializers.Constant(0.5), **_FLOAT32
        )
        if self.triangular:
            self.coupling = self.add_weight(
                name="coupling", shape=(d, d), initializer="zeros", **_FLOAT32
            )
        super().build(input_shape)

    def call(self, hidden: Any) -> tuple[Any, Any, Any]:
        """Return the mixture's parameters.

        Args:
          hidden: [..., width].

        Returns:
          float32 log weights [..., components], means and deviations
          [..., components, channels], of the transformed residual u.
        """
        d, k = self.channels, self.components
        raw = tf.cast(tf.linalg.matmul(hidden, tf.cast(self.kernel, hidden.dtype)), tf.float32)
        weights, means, sigmas = tf.split(raw, [k, k * d, k * d], axis=-1)
        shape = [*raw.shape.as_list()[:-1], k, d]
        log_weights = tf.nn.log_softmax(weights + self.weight_bias)
        means = tf.reshape(means, shape) + self.mean_bias
        sigmas = tf.reshape(sigmas, shape) + self.sigma_bias
        return log_weights, means, self.sigma_floor + tf.nn.softplus(sigmas)

    def negative_log_likelihood(self, hidden: Any, current: Any, target: Any) -> Any:
        """Return -log p(target | hidden, current) in nats per dimension, float32 [...]."""
        log_weights, means, sigmas = self(hidden)
        residual = self._whiten(target - self.skip * current)[..., tf.newaxis, :]
        squares = tf.square((residual - means) / sigmas)
        log_density = -0.5 * tf.reduce_sum(squares + 2.0 * tf.math.log(sigmas) + _LOG_2PI, axis=-1)
        return -tf.reduce_logsumexp(log_weights + log_density, axis=-1) / self.channels

    def mean(self, hidden: Any, current: Any) -> Any:
        """Return the expected frame, float32 [..., channels]."""
        log_weights, means, _ = self(hidden)
        residual = tf.reduce_sum(tf.exp(log_weights)[..., tf.newaxis] * means, axis=-2)
        return self.skip * current + self._colour(residual, self.colouring())

    def sample(
        self,
        hidden: Any,
        current: Any,
        normal: Any,
        uniform: Any,
        scales: tuple[Any, Any],
        colouring: Any,
    ) -> Any:
        """Sample the next frame from given noise.

        Args:
          hidden: [batch, width].
          current: float32 [batch, channels], the current frame.
          normal: float32 [batch, channels], standard normal.
          uniform: float32 [batch], in [0, 1).
          scales: Mixture-weight temperature and factor on the deviations.
          colouring: Result of `colouring()` (constant during a rollout).

        Returns:
          float32 [batch, channels].
        """
        temperature, sigma_scale = scales
        if hidden.shape[0] * _FEW <= self.components:
            mean, sigma = self._chosen(hidden, uniform, temperature)
        else:
            log_weights, means, sigmas = self(hidden)
            pick = tf.one_hot(rng.choose(log_weights / temperature, uniform), self.components)
            mean, sigma = (tf.einsum("bk,bkd->bd", pick, values) for values in (means, sigmas))
        residual = mean + sigma_scale * sigma * normal
        return self.skip * current + self._colour(residual, colouring)

    def _chosen(self, hidden: Any, uniform: Any, temperature: Any) -> tuple[Any, Any]:
        """Return the mean and deviation of a sampled component from that component's weights alone.

        Reading weights bounds a rollout of one song, and these are its largest matrix.
        """
        d, k = self.channels, self.components
        kernel = tf.cast(self.kernel, hidden.dtype)
        weights = tf.cast(tf.linalg.matmul(hidden, kernel[:, :k]), tf.float32)
        log_weights = tf.nn.log_softmax(weights + self.weight_bias)
        chosen = rng.choose(log_weights / temperature, uniform)
        blocks = tf.reshape(kernel[:, k:], [-1, 2, k, d])  # a loop invariant, laid out once
        blocks = tf.gather(tf.transpose(blocks, [2, 1, 0, 3]), chosen)
        raw = tf.cast(tf.einsum("bh,bphd->pbd", hidden, blocks), tf.float32)
        mean = raw[0] + tf.gather(tf.convert_to_tensor(self.mean_bias), chosen)
        sigma = raw[1] + tf.gather(tf.convert_to_tensor(self.sigma_bias), chosen)
        return mean, self.sigma_floor + tf.nn.softplus(sigma)

    def colouring(self) -> Any:
        """Return (I - A)^-1, float32 [channels, channels], or None without a transform."""
        if not self.triangular:
            return None
        identity = tf.eye(self.channels)
        return tf.linalg.triangular_solve(identity - self._strict(), identity, lower=False)

    def _whiten(self, residual: Any) -> Any:
        if not self.triangular:
            return residual
        return residual - tf.linalg.matmul(residual, self._strict())

    def _colour(self, residual: Any, colouring: Any) -> Any:
        return residual if colouring is None else tf.linalg.matmul(residual, colouring)

    def _strict(self) -> Any:
        """Return A: the learned matrix without its diagonal and lower part."""
        upper = tf.linalg.band_part(tf.convert_to_tensor(self.coupling), 0, -1)
        return upper - tf.linalg.band_part(tf.convert_to_tensor(self.coupling), 0, 0)


class MeanHead(keras.layers.Layer):
    """A deterministic mean trained on squared error, as a baseline.

    Its likelihood is that of a Gaussian with one learned deviation per band, trained apart from the
    mean.

    Args:
      channels: Values per frame.
      sigma_floor: Smallest deviation of the likelihood.
    """

    def __init__(self, channels: int, sigma_floor: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.sigma_floor = sigma_floor

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        self.kernel = self.add_weight(name="kernel", shape=(int(input_shape[-1]), self.channels))
        self.bias = self.add_weight(
            name="bias", shape=(self.channels,), initializer="zeros", **_FLOAT32
        )
        self.sigma_bias = self.add_weight(
            name="sigma_bias",
            shape=(self.channels,),
            initializer=keras.initializers.Constant(_softplus_inverse(_START_SIGMA)),
            **_FLOAT32,
        )
        super().build(input_shape)

    def call(self, hidden: Any) -> Any:
        """Return the expected frame, float32 [..., channels]."""
        raw = tf.linalg.matmul(hidden, tf.cast(self.kernel, hidden.dtype))
        return tf.cast(raw, tf.float32) + self.bias

    def losses_of(self, hidden: Any, target: Any) -> tuple[Any, Any]:
        """Return squared error and negative log-likelihood per dimension, float32 [...]."""
        square = tf.square(target - self(hidden))
        sigma = self.sigma_floor + tf.nn.softplus(tf.convert_to_tensor(self.sigma_bias))
        likelihood = 0.5 * (
            tf.stop_gradient(square) / tf.square(sigma) + 2.0 * tf.math.log(sigma) + _LOG_2PI
        )
        return tf.reduce_mean(square, axis=-1), tf.reduce_mean(likelihood, axis=-1)


class LoudnessClamp(keras.layers.Layer):
    """Clamp to the maxima of the training frames; the identity until `fit`.

    About one in a thousand samples of a mixture is far louder than the training data: an audible
    click, whose peak makes the rest of the song quiet when the file is normalised.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)  # in any precision

    def build(self, input_shape: Any) -> None:
        """Create the maxima for frames of this shape."""
        unbounded = keras.initializers.Constant(_UNBOUNDED)
        self.highest = self.add_weight(
            shape=[input_shape[-1]], initializer=unbounded, trainable=False, name="highest"
        )
        self.loudest = self.add_weight(
            shape=[], initializer=unbounded, trainable=False, name="loudest"
        )

    def fit(self, spec: base.FrameSpec, examples: base.Examples) -> None:
        """Set the maxima from the training frames, if their values are logarithms of power."""
        if not spec.audio.is_logarithmic or spec.audio.has_phase_steps:
            return
        highest, loudest = np.full(spec.channels, -_UNBOUNDED), -_UNBOUNDED
        for batch in examples():
            frames = batch["frames"][batch["weight"] > 0]
            highest = np.maximum(highest, frames.max(axis=(0, 1)))
            loudest = max(loudest, float((frames * spec.std).mean(axis=-1).max()))
        self.highest.assign(highest)
        self.loudest.assign(loudest)

    def call(self, frames: Any, std: Any) -> Any:
        """Return normalised frames, [..., channels], clamped.

        Each value is at most its channel's maximum. A frame whose mean, in nats, exceeds that of
        the loudest training frame is lowered by the excess in all channels.

        Args:
          frames: float32 [..., channels].
          std: Standard deviation of each channel, float32 [channels].
        """
        frames = tf.minimum(frames, self.highest)
        level = tf.reduce_mean(frames * std, axis=-1, keepdims=True)
        return frames - tf.nn.relu(level - self.loudest) / std
