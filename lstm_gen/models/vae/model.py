"""`vae`: a variational autoencoder of spectrograms, with a sequence of latents.

Shapes: frames in, float32 [batch, frames, channels], normalised; a latent for every `stride`
frames, [batch, steps, latent_size]; frames out, as many as went in. Channels are those of the
representation; convolutions run along time alone.

    x -> conv 3 -> (conv 4, stride 2) x n -> residual -> conv 3 -> mean, log deviation
    z -> conv 3 -> residual -> (transposed conv 4, stride 2) x n -> conv 3 -> x'

The decoder is the encoder's mirror, kernel by kernel. With `latents="global"` the last convolution
of the encoder, and the first of the decoder, span a whole window: one latent stands for all of it.
That is the form of the papers, and it blurs time: a window sounds nearly still. Sounds longer than
a window are then windows that overlap by half and fade into each other.

The loss of an example is the variational bound, in nats per frame and channel:

    log sigma + e^2 / (2 sigma^2) + log(2 pi) / 2 + beta * KL / (frames * channels)

with one sigma for everything. Its optimum is the root mean square error, which Rybkin et al. put in
its place, batch by batch; here it is learned, since an example's loss must not depend on those
beside it, and comes out the same. Beta rises from 0 over the first steps.

What a model is told (`--condition`) stands beside the frames and beside the latents, the same at
every step.

Source: Kingma and Welling 2013 (arXiv 1312.6114); sigma-VAE, Rybkin et al. 2020 (arXiv 2006.13202);
the warm-up of beta, Bowman et al. 2015 (arXiv 1511.06349).
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, convolutions, overlap_add, rng
from lstm_gen.models.latents import latent_stats, posterior, priors
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.platform import traced_functions

_SIGMA_SPEED = 10.0  # log sigma goes some nats; an Adam step moves a variable by the learning rate
_COLLAPSED = 0.1  # nats per value of a latent; where 5 % of it are left, nothing is encoded
_STEPS_PER_PIECE = 512
_DRAWS = 4  # from each latent's density, to fit priors to


class VAE(keras.Model):
    """Encoder, decoder, the deviation of frames, and what is fitted when these are trained."""

    def __init__(self, settings: VAEConfig, signal: base.Signal, **kwargs: Any) -> None:
        super().__init__(name="vae", **kwargs)
        self.settings, self.conditions = settings, signal.conditions
        self.channels = signal.channels
        self.told_width = conditioning.width(signal.conditions)
        # With global latents: the steps of a window, and the frames from one to the next.
        self.window_steps = -(-signal.timesteps // settings.stride)
        is_global = settings.latents == "global"
        self.window_hop = max(1, self.window_steps // 2) * settings.stride
        self.encoder, self.decoder = convolutions.mirrored_pair(
            signal.channels,
            settings.width,
            settings.blocks,
            settings.scales,
            2 * settings.latent_size,
            self.window_steps if is_global else 0,
        )
        kinds = [
            kind for kind in VAEConfig.priors if kind != "mixture" or settings.prior_components
        ]
        self.priors = priors.Priors(
            settings.latent_size,
            [kind for kind in kinds if kind != "sequence" or not is_global],
            signal.conditions,
            signal.classes,
            settings.prior_components,
        )

    def build(self, input_shape: Any = None) -> None:
        """Create every layer's weights."""
        del input_shape
        told, size = self.told_width, self.settings.latent_size
        for stack, inputs in ((self.encoder, self.channels), (self.decoder, size)):
            width = inputs + told
            for layer in stack:
                layer.build((None, None, width))
                width = layer.filters
        self.priors.build()
        self.raw_sigma = self.add_weight(
            name="raw_sigma", shape=[], initializer="zeros", dtype="float32", autocast=False
        )
        self.built = True

    @property
    def sigma(self) -> Any:
        """The deviation of frames from what is decoded, float32 scalar."""
        return self.settings.sigma_floor + tf.exp(
            _SIGMA_SPEED * tf.convert_to_tensor(self.raw_sigma)
        )

    def encode(self, frames: Any, told: Any) -> tuple[Any, Any]:
        """Return the latents' means and log deviations, float32 [batch, steps, latent_size].

        Args:
          frames: float32 [batch, frames, channels]; of global latents, one window.
          told: float32 [batch, width], the labels.
        """
        frames = tf.pad(frames, [[0, 0], [0, -frames.shape[1] % self.settings.stride], [0, 0]])
        return posterior.split(convolutions.apply(self.encoder, _beside(frames, told)))

    def decode(self, latents: Any, told: Any) -> Any:
        """Return frames, float32 [batch, steps * stride, channels]; see `encode`."""
        return convolutions.apply(self.decoder, _beside(latents, told))

    def call(self, frames: Any, told: Any) -> Any:
        """Return the frames again, by way of the likeliest latents."""
        return self.decode(self.encode(frames, told)[0], told)[:, : frames.shape[1]]


def _beside(values: Any, told: Any) -> Any:
    """Return values [batch, steps, size] with what is told beside each step."""
    if not told.shape[1]:
        return values
    every = tf.repeat(told[:, tf.newaxis], values.shape[1], axis=1)
    return tf.concat([values, every], axis=-1)


def build(settings: VAEConfig, signal: base.Signal) -> VAE:
    """Return the model with its weights created."""
    model = VAE(settings, signal)
    model.build()
    return model


def objectives(model: VAE, signal: base.Signal) -> tuple[base.Objective, ...]:
    """Return the one objective: the variational bound, in nats per frame and channel."""
    settings, n_values = model.settings, signal.timesteps * signal.channels

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        frames = batch["frames"]
        told = _told(model, batch, frames.shape[0] or tf.shape(frames)[0])
        mean, log_sd = model.encode(frames, told)
        # A bound is an expectation over latents: they are drawn in validation too, always alike.
        seed = seed if training else rng.seed_from(0, rng.TRAINING, batch["row"][0])
        shape = [mean.shape[0] or tf.shape(mean)[0], *mean.shape[1:]]
        latents = mean + tf.exp(log_sd) * rng.normal(shape, seed)
        error = _mean_square(frames, model.decode(latents, told))
        divergence, sigma = model.priors.kl_divergence(latents, mean, log_sd), model.sigma
        nll = tf.math.log(sigma) + 0.5 * (error / tf.square(sigma) + math.log(2 * math.pi))
        per_value = divergence / n_values
        beta = settings.beta * _warmth(batch, settings.beta_warmup)
        metrics = {
            "nelbo_per_dim": nll + per_value,
            "kl": divergence,
            "mse": error if training else _mean_square(frames, model.decode(mean, told)),
            "sigma": tf.zeros_like(error) + sigma,
        }
        return base.Loss(nll + beta * per_value, metrics)

    n_latents = settings.latent_size * (
        1 if settings.latents == "global" else -(-signal.timesteps // settings.stride)
    )
    return (
        base.Objective(
            name="bound",
            loss=loss,
            variables=[variable.value for variable in model.trainable_variables],
            metric_names=("nelbo_per_dim", "kl", "mse", "sigma"),
            plain=True,
            saturation={"kl": (_COLLAPSED * n_latents, 0.0)},
        ),
    )


def _warmth(batch: base.Batch, share: float) -> Any:
    """Return the part of beta that holds at this point of the training; all of it afterwards."""
    if "progress" not in batch or share == 0:
        return 1.0
    return tf.minimum(1.0, batch["progress"] / share)


def _mean_square(frames: Any, decoded: Any) -> Any:
    """Return the mean square error of each example, [batch]."""
    return tf.reduce_mean(tf.square(frames - decoded[:, : frames.shape[1]]), axis=[1, 2])


def _told(model: VAE, labels: Mapping[str, Any], n_examples: Any) -> Any:
    """Return the labels of examples as the model is told them, float32 [examples, width]."""
    return conditioning.vector(model.conditions, labels, n_examples)


def predict(model: VAE, signal: base.Signal, batch: base.Batch) -> Any:
    """Return the frames again, by way of the likeliest latents."""
    del signal
    frames = batch["frames"]
    return model(frames, _told(model, batch, len(frames)))


@functools.lru_cache(maxsize=4)
def _compiled(model: VAE) -> tuple[Any, Any]:
    """Return the compiled encoder, to means and deviations side by side, and the decoder."""

    def encode_frames(frames: Any, told: Any) -> Any:
        mean, log_sd = model.encode(frames, told)
        return tf.concat([mean, tf.exp(log_sd)], axis=-1)

    def decode_latents(latents: Any, told: Any) -> Any:
        return model.decode(latents, told)

    return traced_functions.program(encode_frames), traced_functions.program(decode_latents)


def densities(model: VAE, frames: Any, told: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what is believed of the latents of recordings of any length.

    Args:
      model: The model.
      frames: float32 [examples, frames, channels], normalised.
      told: float32 [examples, width].

    Returns:
      Mean and deviation, float32 [examples, steps, size].
    """
    run, _ = _compiled(model)
    frames, told = np.asarray(frames, np.float32), tf.constant(told)
    if model.settings.latents == "sequence":
        stride, context = model.settings.stride, model.settings.context
        whole = np.pad(frames, [(0, 0), (0, -frames.shape[1] % stride), (0, 0)])
        found = overlap_add.run_in_chunks(
            lambda part: run(tf.constant(part), told), whole, stride, _STEPS_PER_PIECE, context
        )
    else:
        window, hop = model.window_steps * model.settings.stride, model.window_hop
        count = _count_windows(model, frames.shape[1])
        whole = np.pad(frames, [(0, 0), (0, window), (0, 0)])
        parts = [whole[:, i * hop : i * hop + window] for i in range(count)]
        found = np.concatenate([run(tf.constant(one), told).numpy() for one in parts], axis=1)
    mean, sd = np.split(found, 2, axis=-1)
    return mean, sd


def _count_windows(model: VAE, n_frames: int) -> int:
    """Return how many windows, that overlap by half, cover so many frames."""
    window = model.window_steps * model.settings.stride
    return 1 + max(0, -(-(n_frames - window) // model.window_hop))


def encode(model: VAE, signal: base.Signal, frames: Any, labels: Mapping[str, Any]) -> np.ndarray:
    """Return the likeliest latents of recordings; see `family.Coder`."""
    del signal
    return densities(model, frames, _told(model, labels, len(frames)))[0]


def decode(
    model: VAE, signal: base.Signal, latents: Any, n_frames: int, labels: Mapping[str, Any]
) -> np.ndarray:
    """Return the frames that latents stand for; see `family.Coder`."""
    del signal
    return _decoded(model, latents, n_frames, _told(model, labels, len(latents)), lambda _: None)


def _decoded(
    model: VAE, latents: Any, n_frames: int, told: Any, progress: Callable[[int], None]
) -> np.ndarray:
    """Return the frames of latents, float32 [examples, n_frames, channels]."""
    _, run = _compiled(model)
    latents, told = np.asarray(latents, np.float32), tf.constant(told)
    if model.settings.latents == "global":
        steps = range(latents.shape[1])
        parts = [run(tf.constant(latents[:, [i]]), told).numpy() for i in steps]
        frames = overlap_add.crossfade(parts, model.window_hop)
    else:
        context = model.settings.context
        frames = overlap_add.run_in_chunks(
            lambda part: run(tf.constant(part), told), latents, 1, _STEPS_PER_PIECE, context
        )
    progress(n_frames)
    return frames[:, :n_frames]


def generate(
    model: VAE,
    signal: base.Signal,
    controls: base.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Decode latents drawn from a prior; see `family.Family.generate`."""
    del signal, primer
    told = _told(model, controls.labels, controls.n_songs)
    if model.settings.latents == "global":
        n_steps = _count_windows(model, controls.n_frames)
    else:
        n_steps = -(-controls.n_frames // model.settings.stride)
    latents = latent_stats.draw(model.priors, controls, n_steps, told)
    return _decoded(model, latents, controls.n_frames, told, progress)


def fit(model: VAE, signal: base.Signal, examples: base.Examples) -> None:
    """Fit the priors to latents drawn from what is believed of the training split."""

    def believed(
        frames: np.ndarray, labels: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        return densities(model, frames, _told(model, labels, 1))

    latent_stats.fit(model.priors, signal, examples, believed, _DRAWS)


FAMILY = base.Family(
    name="vae",
    summary=VAEConfig.summary,
    config_class=VAEConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("log_mel", "log_stft", "complex_stft"),
    controls=frozenset({"temperature", "prior", "reconstruct"}),
    priors=VAEConfig.priors,
    conditional=True,
    fit=fit,
    coder=latent_stats.coder(encode, decode),
)
