"""Output heads: samples by energy distance, mixture density, mean.

A frame of music has several likely successors (hold, decay, the next onset), and a head that
predicts one value predicts their mean, a drone.

The energy head is a function of the hidden state and of noise. Two draws y1, y2 of it are trained
by the energy score, |y1 - y| / 2 + |y2 - y| / 2 - |y1 - y2| / 2, which only the true distribution
minimises. All values are drawn jointly, without a density, whose independent noise makes sustained
notes waver.

The mixture head is a density. With x the current frame and y the one to predict:

    b = a * x                              per-band copy skip, learned
    u = (y - b) (I - A)                    A strictly upper triangular, one for all frames
    p(u | h) = sum_k pi_k(h) N(u; mu_k(h), diag s_k(h)^2),  s = floor + softplus(raw)

The transform has determinant 1, so p(y | h) = p(u | h). Without the sigma floor the density has no
bound, since bands at the log floor are constant.

Source: energy score, Gneiting & Raftery 2007, Strictly proper scoring rules; as the loss of an
autoregressive speech model, SLED, Ma et al. 2025 (arXiv 2505.13181). Mixture densities for
sequences, Graves 2013 (arXiv 1308.0850); a mixture over real vectors in place of a softmax, GIVT,
Tschannen et al. 2023 (arXiv 2312.02116).
The triangular transform and the copy skip are this project's measurements.
"""

import functools
import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from lstm_gen.models.common import rng

N_DRAWS = 2
"""Draws of a training step."""

_LOG_2PI = math.log(2.0 * math.pi)
_START_SIGMA = 0.6
# For weights that enter the density: float32 under every policy, also inside `call`.
_FLOAT32: dict[str, Any] = {"dtype": "float32", "autocast": False}
_FEW = 4  # batches this many times smaller than the mixture read single components' weights


def _softplus_inverse(value: float) -> float:
    return math.log(math.expm1(value))


class Draws(NamedTuple):
    """Noise and settings of a sample.

    Attributes:
      normal: Standard normal, float32 [batch, n_normal].
      uniform: In [0, 1), float32 [batch].
      temperature: Of the choice among components, or factor on the normal draws without any.
      sigma_scale: Factor on the normal draws.
    """

    normal: Any
    uniform: Any
    temperature: Any = 1.0
    sigma_scale: Any = 1.0


class Head(keras.layers.Layer):
    """Predicted distribution of the next code, a frame or a patch, given the hidden state.

    Attributes:
      channels: Values of a code.
      n_normal: Standard normal draws that a sample takes.
      metric: Name of the loss.
      trains_on_draws: Whether the training loss is random.
    """

    metric = "nats_per_dim"
    trains_on_draws = False

    def __init__(self, channels: int, n_normal: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels, self.n_normal = channels, n_normal

    def losses(self, hidden: Any, current: Any, target: Any, normal: Any) -> tuple[Any, Any]:
        """Return the loss to train and the metric, float32 [...].

        Args:
          hidden: [..., width].
          current: float32 [..., channels], the current code.
          target: float32 [..., channels], the code to predict.
          normal: Standard normal, float32 [N_DRAWS, ..., n_normal]; None unless the head
            `trains_on_draws`.
        """
        raise NotImplementedError

    def mean(self, hidden: Any, current: Any) -> Any:
        """Return the expected code, or a central one, float32 [..., channels]."""
        raise NotImplementedError

    def constants(self) -> Any:
        """Return what `sample` needs that is constant during a rollout."""
        return None

    def sample(self, hidden: Any, current: Any, draws: Draws, constants: Any = None) -> Any:
        """Sample the next code from given noise, float32 [batch, channels].

        Args:
          hidden: [batch, width].
          current: float32 [batch, channels], the current code.
          draws: Noise and settings.
          constants: Result of `constants()`.
        """
        raise NotImplementedError


class EnergyHead(Head):
    """Network from the hidden state and noise to a sample, around a scaled copy of the code before.

    Args:
      channels: Values of a code.
      noise_size: Normal draws of a sample.
      blocks: Residual blocks.
    """

    metric = "energy_score"
    trains_on_draws = True

    def __init__(self, channels: int, noise_size: int, blocks: int, **kwargs: Any) -> None:
        super().__init__(channels, noise_size, autocast=False, **kwargs)  # call casts
        self.blocks = blocks

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        width = int(input_shape[-1])

        def dense(name: str, size: int, std: float) -> Any:
            initializer = keras.initializers.RandomNormal(stddev=std)
            return self.add_weight(name=name, shape=(size, width), initializer=initializer)

        unit, small = 1.0 / math.sqrt(width), 0.3 / math.sqrt(width)
        noise_unit = 1.0 / math.sqrt(self.n_normal)
        self.from_hidden = dense("from_hidden", width, unit)
        self.from_noise = dense("from_noise", self.n_normal, noise_unit)
        self.norms, self.kernels = [], []
        for i in range(self.blocks):
            norm = keras.layers.LayerNormalization(name=f"norm_{i}")
            norm.build((None, width))
            self.norms.append(norm)
            self.kernels.append(
                (
                    dense(f"block_{i}_kernel", width, unit),
                    dense(f"block_{i}_hidden", width, unit),
                    dense(f"block_{i}_noise", self.n_normal, noise_unit),
                    self.add_weight(name=f"block_{i}_bias", shape=(width,), initializer="zeros"),
                    dense(f"block_{i}_output", width, small),
                )
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(width, self.channels),
            initializer=keras.initializers.RandomNormal(stddev=0.1 / math.sqrt(width)),
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.channels,), initializer="zeros", **_FLOAT32
        )
        self.skip = self.add_weight(
            name="skip",
            shape=(self.channels,),
            initializer=keras.initializers.Constant(0.7),
            **_FLOAT32,
        )
        super().build(input_shape)

    def call(self, hidden: Any, current: Any, normal: Any) -> Any:
        """Return samples, float32 [..., channels], one for each row of noise [..., n_normal]."""
        cast = functools.partial(tf.cast, dtype=hidden.dtype)
        noise = cast(normal)
        x = tf.linalg.matmul(hidden, cast(self.from_hidden))
        x = x + tf.linalg.matmul(noise, cast(self.from_noise))
        for norm, (kernel, from_hidden, from_noise, bias, output) in zip(
            self.norms, self.kernels, strict=True
        ):
            inner = tf.linalg.matmul(norm(x), cast(kernel)) + cast(bias)
            inner += tf.linalg.matmul(hidden, cast(from_hidden))
            inner += tf.linalg.matmul(noise, cast(from_noise))
            x = x + tf.linalg.matmul(tf.nn.gelu(inner), cast(output))
        learned = tf.cast(tf.linalg.matmul(x, cast(self.kernel)), tf.float32)
        return self.skip * current + learned + self.bias

    def losses(self, hidden: Any, current: Any, target: Any, normal: Any) -> tuple[Any, Any]:
        """Return the energy score of two samples, twice; see `Head`.

        It is per square root of the dimensions, so that codes of any width have similar scores.
        """
        first, second = (self(hidden, current, draw) for draw in tf.unstack(normal))
        score = 0.5 * (_norm(first - target) + _norm(second - target) - _norm(first - second))
        score = score / math.sqrt(self.channels)
        return score, score

    def mean(self, hidden: Any, current: Any) -> Any:
        """Return the sample at zero noise; see `Head`."""
        return self(hidden, current, tf.zeros([*_shape(hidden)[:-1], self.n_normal]))

    def sample(self, hidden: Any, current: Any, draws: Draws, constants: Any = None) -> Any:
        """Sample the next code, with the noise times both scales; see `Head`."""
        del constants
        return self(hidden, current, draws.temperature * draws.sigma_scale * draws.normal)


def _shape(values: Any) -> list[Any]:
    """Return the shape, a tensor where a size is not static."""
    return [size or tf.shape(values)[axis] for axis, size in enumerate(values.shape)]


def _norm(difference: Any) -> Any:
    """Return Euclidean norms over the last axis; the constant keeps gradients finite at 0."""
    return tf.sqrt(tf.reduce_sum(tf.square(difference), axis=-1) + 1e-6)


class MixtureHead(Head):
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
        super().__init__(channels, channels, **kwargs)
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

    def losses(self, hidden: Any, current: Any, target: Any, normal: Any) -> tuple[Any, Any]:
        """Return -log p(target | hidden, current) in nats per dimension, twice; see `Head`."""
        del normal
        nats = self.negative_log_likelihood(hidden, current, target)
        return nats, nats

    def negative_log_likelihood(self, hidden: Any, current: Any, target: Any) -> Any:
        """Return -log p(target | hidden, current) in nats per dimension, float32 [...]."""
        log_weights, means, sigmas = self(hidden)
        residual = self._whiten(target - self.skip * current)[..., tf.newaxis, :]
        squares = tf.square((residual - means) / sigmas)
        log_density = -0.5 * tf.reduce_sum(squares + 2.0 * tf.math.log(sigmas) + _LOG_2PI, axis=-1)
        return -tf.reduce_logsumexp(log_weights + log_density, axis=-1) / self.channels

    def mean(self, hidden: Any, current: Any) -> Any:
        """Return the expected frame; see `Head`."""
        log_weights, means, _ = self(hidden)
        residual = tf.reduce_sum(tf.exp(log_weights)[..., tf.newaxis] * means, axis=-2)
        return self.skip * current + self._colour(residual, self.constants())

    def sample(self, hidden: Any, current: Any, draws: Draws, constants: Any = None) -> Any:
        """Sample the next frame, given the inverse transform as a constant; see `Head`."""
        normal, uniform, temperature, sigma_scale = draws
        if hidden.shape[0] * _FEW <= self.components:
            mean, sigma = self._chosen(hidden, uniform, temperature)
        else:
            log_weights, means, sigmas = self(hidden)
            pick = tf.one_hot(rng.choose(log_weights / temperature, uniform), self.components)
            mean, sigma = (tf.einsum("bk,bkd->bd", pick, values) for values in (means, sigmas))
        residual = mean + sigma_scale * sigma * normal
        return self.skip * current + self._colour(residual, constants)

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

    def constants(self) -> Any:
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


class MeanHead(Head):
    """A deterministic mean trained on squared error, as a baseline.

    Its likelihood is that of a Gaussian with one learned deviation per band, trained apart from the
    mean.

    Args:
      channels: Values per frame.
      sigma_floor: Smallest deviation of the likelihood.
    """

    def __init__(self, channels: int, sigma_floor: float = 0.05, **kwargs: Any) -> None:
        super().__init__(channels, channels, **kwargs)
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

    def losses(self, hidden: Any, current: Any, target: Any, normal: Any) -> tuple[Any, Any]:
        """Return squared error plus negative log-likelihood, and the latter; see `Head`."""
        del current, normal
        square = tf.square(target - self(hidden))
        sigma = self.sigma_floor + tf.nn.softplus(tf.convert_to_tensor(self.sigma_bias))
        likelihood = 0.5 * (
            tf.stop_gradient(square) / tf.square(sigma) + 2.0 * tf.math.log(sigma) + _LOG_2PI
        )
        nats = tf.reduce_mean(likelihood, axis=-1)
        return tf.reduce_mean(square, axis=-1) + nats, nats

    def mean(self, hidden: Any, current: Any) -> Any:
        """Return the expected frame; see `Head`."""
        del current
        return self(hidden)

    def sample(self, hidden: Any, current: Any, draws: Draws, constants: Any = None) -> Any:
        """Return the expected frame; see `Head`."""
        del current, draws, constants
        return self(hidden)
