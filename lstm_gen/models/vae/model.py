"""`vae`: variational autoencoder of spectrograms with a sequence of latents.

Shapes: frames in, float32 [batch, frames, channels], normalised; latents
[batch, steps, latent_size], a step for every `stride` frames; as many frames out. Channels are
those of the representation; convolutions run along time only.

    x -> conv 3 -> (conv 4, stride 2) x n -> residual -> conv 3 -> mean, log deviation
    z -> conv 3 -> residual -> (transposed conv 4, stride 2) x n -> conv 3 -> x'

The decoder mirrors the encoder. With `latents="global"` the last convolution of the encoder and the
first of the decoder span a whole window, so that one latent encodes all of it. That is the form in
the papers; it blurs time, and a window sounds nearly still. Longer sounds are windows that overlap
by half and are crossfaded.

The loss of an example is the negative variational bound, in nats per frame and channel:

    log sigma + e^2 / (2 sigma^2) + log(2 pi) / 2 + beta * KL / (frames * channels)

with a single sigma. Rybkin et al. replace sigma by its optimum, the root mean square error of the
batch; here it is learned, because an example's loss must not depend on the rest of the batch, and
reaches the same value. Beta rises from 0 over the first steps.

Conditioning labels are concatenated to the frames and to the latents at every step.

Source: Kingma and Welling 2013 (arXiv 1312.6114); sigma-VAE, Rybkin et al. 2020 (arXiv 2006.13202);
the warm-up of beta, Bowman et al. 2015 (arXiv 1511.06349).
"""

import functools
import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, convolutions, overlap_add, rng
from lstm_gen.models.latents import latent_model, posterior, priors
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.platform import traced_functions

_SIGMA_SPEED = 10.0  # log sigma moves by nats; an Adam step moves a variable by the learning rate
_COLLAPSED = 0.1  # nats per value of a latent; at 5 % of it nothing is encoded


class VAE(latent_model.LatentModel):
    """Encoder, decoder, deviation of frames, and priors of the latents; see the module."""

    config_class = VAEConfig
    representations = ("log_mel", "log_stft", "complex_stft")
    controls = frozenset({"temperature", "prior", "reconstruct"})
    conditional = True
    n_draws: ClassVar[int] = 4

    def __init__(self, config: VAEConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        self.label_width = conditioning.width(spec.conditions)
        self.is_global = config.latents == "global"
        # For global latents: steps of a window, and frames from one window to the next.
        self.window_steps = -(-spec.timesteps // config.stride)
        self.window_hop = max(1, self.window_steps // 2) * config.stride
        self.encoder, self.decoder = convolutions.mirrored_pair(
            spec.channels,
            config.width,
            config.blocks,
            config.scales,
            2 * config.latent_size,
            self.window_steps if self.is_global else 0,
        )
        kinds = [kind for kind in config.priors if kind != "mixture" or config.prior_components]
        self.priors = priors.Priors(
            config.latent_size,
            [kind for kind in kinds if kind != "sequence" or not self.is_global],
            spec.conditions,
            spec.classes,
            config.prior_components,
        )

    def build_layers(self) -> None:
        """Create every layer's weights."""
        for stack, inputs in (
            (self.encoder, self.spec.channels),
            (self.decoder, self.config.latent_size),
        ):
            width = inputs + self.label_width
            for layer in stack:
                layer.build((None, None, width))
                width = layer.filters
        self.priors.build()
        self.raw_sigma = self.add_weight(
            name="raw_sigma", shape=[], initializer="zeros", dtype="float32", autocast=False
        )

    @property
    def sigma(self) -> Any:
        """The deviation of frames from the decoded ones, float32 scalar."""
        return self.config.sigma_floor + tf.exp(_SIGMA_SPEED * tf.convert_to_tensor(self.raw_sigma))

    def encode_frames(self, frames: Any, cond: Any) -> tuple[Any, Any]:
        """Return the posterior's means and log deviations, float32 [batch, steps, latent_size].

        Args:
          frames: float32 [batch, frames, channels]; for global latents, one window.
          cond: Conditioning labels, float32 [batch, width].
        """
        frames = tf.pad(frames, [[0, 0], [0, -frames.shape[1] % self.config.stride], [0, 0]])
        return posterior.split(convolutions.apply(self.encoder, _concatenate(frames, cond)))

    def decode_latents(self, latents: Any, cond: Any) -> Any:
        """Return frames, float32 [batch, steps * stride, channels]; see `encode_frames`."""
        return convolutions.apply(self.decoder, _concatenate(latents, cond))

    def call(self, frames: Any, cond: Any) -> Any:
        """Return frames reconstructed from the posterior's means."""
        mean, _ = self.encode_frames(frames, cond)
        return self.decode_latents(mean, cond)[:, : frames.shape[1]]

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the one objective: the variational bound, in nats per frame and channel."""
        config, n_values = self.config, self.spec.timesteps * self.spec.channels

        def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
            frames = batch["frames"]
            cond = self.label_vector(batch, frames.shape[0] or tf.shape(frames)[0])
            mean, log_sd = self.encode_frames(frames, cond)
            # The bound is an expectation over latents: validation draws them too, always the same.
            seed = rng.for_loss(seed, batch, training)
            shape = [mean.shape[0] or tf.shape(mean)[0], *mean.shape[1:]]
            latents = mean + tf.exp(log_sd) * rng.normal(shape, seed)
            error = _mean_square(frames, self.decode_latents(latents, cond))
            divergence, sigma = self.priors.kl_divergence(latents, mean, log_sd), self.sigma
            nll = tf.math.log(sigma) + 0.5 * (error / tf.square(sigma) + math.log(2 * math.pi))
            per_value = divergence / n_values
            beta = config.beta * _warm_up(batch, config.beta_warmup)
            metrics = {
                "nelbo_per_dim": nll + per_value,
                "kl": divergence,
                "mse": error if training else _mean_square(frames, self.decode_latents(mean, cond)),
                "sigma": tf.zeros_like(error) + sigma,
            }
            return base.Loss(nll + beta * per_value, metrics)

        n_latents = config.latent_size * (1 if self.is_global else self.window_steps)
        return (
            base.Objective(
                name="bound",
                loss=loss,
                variables=self.trainable_values(),
                metric_names=("nelbo_per_dim", "kl", "mse", "sigma"),
                loss_metric="nelbo_per_dim" if config.beta == 1 else "",
                jit_compile=True,
                saturation={"kl": (_COLLAPSED * n_latents, 0.0)},
            ),
        )

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return frames reconstructed from the posterior's means."""
        frames = batch["frames"]
        return self(frames, self.label_vector(batch, len(frames)))

    def count_steps(self, n_frames: int) -> int:
        """Return the latent steps of so many frames; if global, the overlapping windows."""
        if not self.is_global:
            return -(-n_frames // self.config.stride)
        window = self.window_steps * self.config.stride
        return 1 + max(0, -(-(n_frames - window) // self.window_hop))

    def posterior(
        self, frames: np.ndarray, labels: latent_model.Labels
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the latents of recordings."""
        frames = np.asarray(frames, np.float32)
        cond = tf.constant(self.label_vector(labels, len(frames)))
        run, stride = self._encoder_program, self.config.stride
        if self.is_global:
            window, hop = self.window_steps * stride, self.window_hop
            whole = np.pad(frames, [(0, 0), (0, window), (0, 0)])
            starts = range(0, self.count_steps(frames.shape[1]) * hop, hop)
            parts = [run(tf.constant(whole[:, i : i + window]), cond).numpy() for i in starts]
            found = np.concatenate(parts, axis=1)
        else:
            whole = np.pad(frames, [(0, 0), (0, -frames.shape[1] % stride), (0, 0)])
            found = self.in_chunks(run, whole, cond, stride=stride)
        mean, std = np.split(found, 2, axis=-1)
        return mean, std

    def decode_songs(
        self,
        latents: np.ndarray,
        n_frames: int,
        labels: latent_model.Labels,
        progress: base.Progress,
    ) -> np.ndarray:
        """Return the frames of latents by the compiled decoder; global latents are crossfaded."""
        cond = tf.constant(self.label_vector(labels, len(latents)))
        values, run = np.asarray(latents, np.float32), self._decoder_program
        if not self.is_global:
            return self.in_chunks(run, values, cond, progress=progress)[:, :n_frames]
        windows = []
        for index in range(values.shape[1]):
            windows.append(run(tf.constant(values[:, [index]]), cond).numpy())
            progress(1)
        return overlap_add.crossfade(windows, self.window_hop)[:, :n_frames]

    @functools.cached_property
    def _encoder_program(self) -> Any:
        """The compiled encoder, to means and deviations side by side."""

        def encode_frames(frames: Any, cond: Any) -> Any:
            mean, log_sd = self.encode_frames(frames, cond)
            return tf.concat([mean, tf.exp(log_sd)], axis=-1)

        return traced_functions.program(encode_frames)

    @functools.cached_property
    def _decoder_program(self) -> Any:
        return traced_functions.program(self.decode_latents)


def _concatenate(values: Any, cond: Any) -> Any:
    """Return values [batch, steps, size] with the conditioning vector at each step."""
    if not cond.shape[1]:
        return values
    every = tf.repeat(cond[:, tf.newaxis], values.shape[1], axis=1)
    return tf.concat([values, every], axis=-1)


def _warm_up(batch: base.Batch, fraction: float) -> Any:
    """Return the factor on beta at this point of the training; 1 after it."""
    if "progress" not in batch or fraction == 0:
        return 1.0
    return tf.minimum(1.0, batch["progress"] / fraction)


def _mean_square(frames: Any, decoded: Any) -> Any:
    """Return the mean square error of each example, [batch]."""
    return tf.reduce_mean(tf.square(frames - decoded[:, : frames.shape[1]]), axis=[1, 2])
