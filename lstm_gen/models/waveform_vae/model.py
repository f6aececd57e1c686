"""`waveform_vae`: variational autoencoder of audio samples.

Shapes: frames in, float32 [batch, frames, hop_length], normalised, are the samples
[batch, samples, 1]; strided convolutions encode them to latents
[batch, samples / stride, latent_size], and transposed convolutions decode these to samples, signed
and unbounded.

    x -> conv 7 -> (conv, stride -> residual) ... -> conv -> mean, log deviation
    z -> conv 3 -> residual -> (transposed conv, stride -> residual) ... -> conv 7 -> x'

Everything is convolutional: songs may have any length, and a sound delayed by a latent step comes
out delayed by a latent step. A latent step has at most 64 samples: measured at 3 kHz, with 256 the
decoder ignores its latents and every song is the same buzz.

The loss of an example, in nats per sample except for the spectral term:

    1/2 (mean square error / power / v + log v) + weight * spectral loss + beta * KL / samples

The first term is a Gaussian likelihood whose deviation is proportional to the example's level:
quiet music counts as much as loud, and the level is kept. The factor, the root of v, is learned and
the same for all examples. (With one per example, examples that are learned already would dominate
the gradient: measured on six tones, four come back at 25 dB and two not at all.) The spectral loss
is `models.common.losses`.

Source: variational autoencoders, Kingma & Welling 2013 (arXiv 1312.6114).
"""

import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import convolutions, losses, rng
from lstm_gen.models.latents import latent_model, posterior, priors
from lstm_gen.models.waveform_vae.config import END_KERNEL_SIZE, WaveformVAEConfig
from lstm_gen.platform import errors, traced_functions

_QUIET = 1e-2  # added to an example's power, where 1 is the dataset's, so that silence counts less
_LEAST_ERROR = 1e-4  # squared error at which the likelihood saturates
_VARIANCE_SPEED = 10.0  # so that log v keeps up with the other weights
_HISTORY = 4  # latent steps that the next one depends on: a tenth of a second at 3 kHz


class WaveformVAE(latent_model.LatentModel):
    """Encoder, decoder, and priors of the latents; see the module."""

    config_class = WaveformVAEConfig
    representations = ("waveform",)
    controls = frozenset({"temperature", "prior", "reconstruct"})

    def __init__(self, config: WaveformVAEConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        scales = convolutions.MultiscaleStack(
            config.each_stride, config.each_channels, config.blocks, END_KERNEL_SIZE
        )
        self.encoder = scales.encoder(2 * config.latent_size)  # mean, log deviation
        self.decoder = scales.decoder()
        self.log_variance = self.add_weight(
            name="log_variance", shape=(), initializer="zeros", dtype="float32", autocast=False
        )
        self.priors = priors.Priors(
            config.latent_size,
            config.priors,
            classes=spec.classes,
            history=_HISTORY,
            history_size=config.latent_size,
        )
        self.edge_steps = config.context  # their receptive field reaches padding

    def build_layers(self) -> None:
        """Create every layer's weights."""
        for stack, width in ((self.encoder, 1), (self.decoder, self.config.latent_size)):
            for layer in stack:
                layer.build((None, None, width))
                width = layer.filters
        self.priors.build()

    def encode_samples(self, samples: Any) -> tuple[Any, Any]:
        """Return the posterior's means and log deviations, float32 [batch, steps, latent_size].

        Args:
          samples: float32 [batch, steps * stride, 1].
        """
        return posterior.split(convolutions.apply(self.encoder, samples))

    def decode_latents(self, latents: Any) -> Any:
        """Return samples, float32 [batch, steps * stride, 1], of latents [batch, steps, size]."""
        return convolutions.apply(self.decoder, latents)

    def likelihood(self, error: Any) -> Any:
        """Return nats per sample, up to a constant, of relative squared errors [batch]."""
        log_variance = tf.maximum(_VARIANCE_SPEED * self.log_variance, math.log(_LEAST_ERROR))
        return 0.5 * (error * tf.exp(-log_variance) - 1.0 + log_variance)

    def call(self, samples: Any) -> Any:
        """Return samples reconstructed from the posterior's means."""
        return self.decode_latents(self.encode_samples(samples)[0])

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the one objective: waveform, spectral loss and KL divergence; see the module."""
        config = self.config
        n_samples = self.spec.timesteps * self.spec.channels
        windows = [one for one in config.each_window if one <= n_samples]
        errors.require(
            bool(windows),
            "timesteps * hop_length samples must hold the shortest of windows",
            samples=n_samples,
            windows=config.windows,
        )

        def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
            samples = to_samples(batch["frames"], config.stride)
            mean, log_sd = self.encode_samples(samples)
            latents = mean
            if training:
                shape = [mean.shape[0] or tf.shape(mean)[0], *mean.shape[1:]]
                latents = mean + tf.exp(log_sd) * rng.normal(shape, seed)
            made = self.decode_latents(latents)
            samples, made = samples[:, :n_samples, 0], made[:, :n_samples, 0]
            error = tf.reduce_mean(tf.square(samples - made), axis=1)
            spectral = losses.multi_resolution_stft(samples, made, windows)
            kl_per_sample = (
                tf.reduce_sum(posterior.kl_divergence(mean, log_sd), axis=[1, 2]) / n_samples
            )
            power = tf.reduce_mean(tf.square(samples), axis=1)
            ratio = tf.math.log((power + _LEAST_ERROR) / (error + _LEAST_ERROR))
            total = config.waveform_weight * self.likelihood(error / (power + _QUIET))
            total += config.beta * kl_per_sample
            gated = losses.gated(spectral, ratio) if config.waveform_weight else spectral
            total += config.spectral_weight * gated
            metrics = {
                "snr_db": 10.0 / math.log(10.0) * ratio,
                "spectral_distance": spectral,
                "kl_per_sample": kl_per_sample,
            }
            return base.Loss(total, metrics)

        return (
            base.Objective(
                name="waveform",
                loss=loss,
                variables=self.trainable_values(),
                metric_names=("snr_db", "spectral_distance", "kl_per_sample"),
                jit_compile=True,
            ),
        )

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return frames reconstructed from the posterior's means."""
        frames = batch["frames"]
        samples = self(to_samples(frames, self.config.stride))
        return to_frames(samples, frames.shape[1], self.spec.channels)

    def count_steps(self, n_frames: int) -> int:
        """Return the latent steps of so many frames."""
        return -(-n_frames * self.spec.channels // self.config.stride)

    def posterior(
        self, frames: np.ndarray, labels: latent_model.Labels
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the latents of recordings."""
        del labels  # unconditional
        stride = self.config.stride
        samples = to_samples(tf.constant(np.asarray(frames, np.float32)), stride).numpy()
        found = self.in_chunks(self._encoder_program, samples, stride=stride)
        mean, log_sd = np.split(found, 2, axis=-1)
        return mean, np.exp(log_sd)

    def decode_songs(
        self,
        latents: np.ndarray,
        n_frames: int,
        labels: latent_model.Labels,
        progress: base.Progress,
    ) -> np.ndarray:
        """Return the frames of latents by the compiled decoder."""
        del labels  # unconditional
        values = np.asarray(latents, np.float32)
        samples = self.in_chunks(self._decoder_program, values, progress=progress)
        samples = samples[:, : n_frames * self.spec.channels, 0]
        return samples.reshape(len(samples), n_frames, self.spec.channels)

    @functools.cached_property
    def _encoder_program(self) -> Any:
        """The compiled encoder, to means and log deviations side by side."""

        def encode_waveform(samples: Any) -> Any:
            return tf.concat(self.encode_samples(samples), axis=-1)

        return traced_functions.program(encode_waveform)

    @functools.cached_property
    def _decoder_program(self) -> Any:
        return traced_functions.program(self.decode_latents)


def to_samples(frames: Any, stride: int) -> Any:
    """Return frames [batch, frames, hop] as samples [batch, steps * stride, 1], padded with 0."""
    n_samples = frames.shape[1] * frames.shape[2]
    samples = tf.reshape(frames, [-1, n_samples, 1])
    return tf.pad(samples, [[0, 0], [0, -n_samples % stride], [0, 0]])


def to_frames(samples: Any, n_frames: int, hop_length: int) -> Any:
    """Return the first frames of samples [batch, samples, 1]."""
    return tf.reshape(samples[:, : n_frames * hop_length, 0], [-1, n_frames, hop_length])
