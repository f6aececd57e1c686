"""`waveform_vae`: a variational autoencoder of the samples themselves, along time as time.

Shapes: frames in, float32 [batch, frames, hop_length], normalised, are the samples
[batch, samples, 1]; strided convolutions make of them a short sequence of latents,
[batch, samples / stride, latent_size]; transposed convolutions make samples of that, signed and
without a bound.

    x -> conv 7 -> (conv, stride -> residual) ... -> conv -> mean, log deviation
    z -> conv 3 -> residual -> (transposed conv, stride -> residual) ... -> conv 7 -> x'

All of it is convolution: a song may have any length, and a sound that comes a latent step later
comes out a latent step later. A latent step is of 64 samples at most: measured at 3 kHz, with 256
the decoder leaves its latents alone and makes one buzz for every song.

The loss of an example, in nats per sample but for the spectra:

    1/2 (mean square error / power / v + log v) + weight * spectra + beta * KL / samples

The first term is a Gaussian's likelihood, its deviation in proportion to the example's level: quiet
music counts as much as loud, and the level is kept. The proportion, the root of v, is learnt and
one for all. (Were it each example's own, what is learnt already would pull ever harder and the rest
be left: measured on six tones, four come back at 25 dB and two not at all.) The distance of spectra
is `layers/spectra.py`.

Source: variational autoencoders, Kingma & Welling 2013 (arXiv 1312.6114).
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import convolutions, losses, overlap_add, rng
from lstm_gen.models.latents import latent_stats, posterior, priors
from lstm_gen.models.waveform_vae.config import END_KERNEL_SIZE, WaveformVAEConfig
from lstm_gen.platform import errors, traced_functions

_QUIET = 1e-2  # power below which a sound counts as ever less, where 1 is the data's
_QUIETEST = 1e-4  # squared error that nobody asks to be less
_PACE = 10.0  # of the error's variance, which is to keep up with the other weights
_STEPS_PER_PIECE = 512
_HISTORY = 4  # latent steps that the next one is drawn by: a tenth of a second at 3 kHz


class WaveformVAE(keras.Model):
    """Encoder and decoder, and what is fitted to them when they are trained."""

    def __init__(self, settings: WaveformVAEConfig, signal: base.Signal, **kwargs: Any) -> None:
        super().__init__(name="waveform_vae", **kwargs)
        self.settings = settings
        scales = convolutions.MultiscaleStack(
            settings.each_stride, settings.each_channels, settings.blocks, END_KERNEL_SIZE
        )
        outputs = 2 * settings.latent_size  # mean, log deviation
        self.encoder = scales.encoder(outputs)
        self.decoder = scales.decoder()
        self.log_variance = self.add_weight(
            name="log_variance", shape=(), initializer="zeros", dtype="float32", autocast=False
        )
        self.priors = priors.Priors(
            settings.latent_size,
            WaveformVAEConfig.priors,
            classes=signal.classes,
            history=_HISTORY,
            history_size=settings.latent_size,
        )

    def build(self, input_shape: Any) -> None:
        """Create every layer's weights."""
        for stack, width in ((self.encoder, 1), (self.decoder, self.settings.latent_size)):
            for layer in stack:
                layer.build((None, None, width))
                width = layer.filters
        self.priors.build()
        super().build(input_shape)

    def encode(self, samples: Any) -> tuple[Any, Any]:
        """Return the latents' means and log deviations, float32 [batch, steps, latent_size].

        Args:
          samples: float32 [batch, steps * stride, 1].
        """
        return posterior.split(convolutions.apply(self.encoder, samples))

    def decode(self, latents: Any) -> Any:
        """Return samples, float32 [batch, steps * stride, 1], of latents [batch, steps, size]."""
        return convolutions.apply(self.decoder, latents)

    def likelihood(self, error: Any) -> Any:
        """Return nats per sample, but for a constant, of mean squares of errors [batch]."""
        log_variance = tf.maximum(_PACE * self.log_variance, math.log(_QUIETEST))
        return 0.5 * (error * tf.exp(-log_variance) - 1.0 + log_variance)

    def call(self, samples: Any) -> Any:
        """Return the samples again, by way of the likeliest latents."""
        return self.decode(self.encode(samples)[0])


def build(settings: WaveformVAEConfig, signal: base.Signal) -> WaveformVAE:
    """Return the model with its weights created."""
    model = WaveformVAE(settings, signal)
    model.build((None, None, 1))
    return model


def to_samples(frames: Any, stride: int) -> Any:
    """Return frames [batch, frames, hop] as samples [batch, steps * stride, 1].

    Frames that do not fill the last latent step are filled up with zeros.
    """
    n_samples = frames.shape[1] * frames.shape[2]
    samples = tf.reshape(frames, [-1, n_samples, 1])
    return tf.pad(samples, [[0, 0], [0, -n_samples % stride], [0, 0]])


def to_frames(samples: Any, n_frames: int, hop_length: int) -> Any:
    """Return the first frames of samples [batch, samples, 1]."""
    return tf.reshape(samples[:, : n_frames * hop_length, 0], [-1, n_frames, hop_length])


def objectives(model: WaveformVAE, signal: base.Signal) -> tuple[base.Objective, ...]:
    """Return the one objective: waveform, spectra and divergence, as the module says."""
    settings = model.settings
    n_samples = signal.timesteps * signal.channels
    windows = [one for one in settings.each_window if one <= n_samples]
    errors.require(
        bool(windows),
        "timesteps * hop_length samples must hold the shortest of windows",
        samples=n_samples,
        windows=settings.windows,
    )

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        wanted = to_samples(batch["frames"], settings.stride)
        mean, log_sd = model.encode(wanted)
        latents = mean
        if training:
            shape = [mean.shape[0] or tf.shape(mean)[0], *mean.shape[1:]]
            latents = mean + tf.exp(log_sd) * rng.normal(shape, seed)
        found = model.decode(latents)
        wanted, found = wanted[:, :n_samples, 0], found[:, :n_samples, 0]
        error = tf.reduce_mean(tf.square(wanted - found), axis=1)
        spectral = losses.multi_resolution_stft(wanted, found, windows)
        per_sample = tf.reduce_sum(posterior.kl_divergence(mean, log_sd), axis=[1, 2]) / n_samples
        power = tf.reduce_mean(tf.square(wanted), axis=1)
        ratio = tf.math.log((power + _QUIETEST) / (error + _QUIETEST))
        total = settings.waveform_weight * model.likelihood(error / (power + _QUIET))
        total += settings.beta * per_sample
        heard = losses.gated(spectral, ratio) if settings.waveform_weight else spectral
        total += settings.spectral_weight * heard
        metrics = {
            "snr_db": 10.0 / math.log(10.0) * ratio,
            "spectral_distance": spectral,
            "kl_per_sample": per_sample,
        }
        return base.Loss(total, metrics)

    names = ("snr_db", "spectral_distance", "kl_per_sample")
    variables = [variable.value for variable in model.trainable_variables]
    return (
        base.Objective(
            name="waveform", loss=loss, variables=variables, metric_names=names, plain=True
        ),
    )


def predict(model: WaveformVAE, signal: base.Signal, batch: base.Batch) -> Any:
    """Return the frames again, by way of the likeliest latents."""
    frames = batch["frames"]
    samples = model(to_samples(frames, model.settings.stride))
    return to_frames(samples, frames.shape[1], signal.channels)


@functools.lru_cache(maxsize=4)
def _compiled(model: WaveformVAE) -> tuple[Any, Any]:
    """Return the compiled encoder, to means beside log deviations, and decoder of a model."""

    def encode_waveform(samples: Any) -> Any:
        return tf.concat(model.encode(samples), axis=-1)

    def decode_waveform(latents: Any) -> Any:
        return model.decode(latents)

    return traced_functions.program(encode_waveform), traced_functions.program(decode_waveform)


def encode(
    model: WaveformVAE, signal: base.Signal, frames: Any, labels: Mapping[str, Any]
) -> np.ndarray:
    """Return the likeliest latents of recordings; see `family.Coder`."""
    del signal, labels
    return _encode(model, frames)[0]


def _encode(model: WaveformVAE, frames: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the latents' means and log deviations, of frames [examples, frames, hop]."""
    stride, context = model.settings.stride, model.settings.context
    samples = to_samples(tf.constant(np.asarray(frames, np.float32)), stride).numpy()
    run, _ = _compiled(model)
    found = overlap_add.run_in_chunks(
        lambda part: run(tf.constant(part)), samples, stride, _STEPS_PER_PIECE, context
    )
    mean, log_sd = np.split(found, 2, axis=-1)
    return mean, log_sd


def decode(
    model: WaveformVAE,
    signal: base.Signal,
    latents: Any,
    n_frames: int,
    labels: Mapping[str, Any],
    progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """Return the frames that latents stand for; see `family.Coder`."""
    del labels
    _, run = _compiled(model)
    values, context = np.asarray(latents, np.float32), model.settings.context
    samples = overlap_add.run_in_chunks(
        lambda part: run(tf.constant(part)), values, 1, _STEPS_PER_PIECE, context, progress
    )
    samples = samples[:, : n_frames * signal.channels, 0]
    return samples.reshape(len(samples), n_frames, signal.channels)


def generate(
    model: WaveformVAE,
    signal: base.Signal,
    controls: base.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Decode latents drawn from a prior; see `family.Family.generate`."""
    del primer
    n_steps = -(-controls.n_frames * signal.channels // model.settings.stride)
    latents = latent_stats.draw(model.priors, controls, n_steps)
    done = 0

    def tell(steps: int) -> None:
        nonlocal done
        before, done = done * controls.n_frames // n_steps, done + steps
        progress(done * controls.n_frames // n_steps - before)

    return decode(model, signal, latents, controls.n_frames, {}, tell)


def fit(model: WaveformVAE, signal: base.Signal, examples: base.Examples) -> None:
    """Fit the priors to latents drawn for the training split, the padded ends left out."""
    context = model.settings.context

    def believed(
        frames: np.ndarray, labels: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        del labels
        mean, log_sd = _encode(model, frames)
        inner = slice(context, -context) if mean.shape[1] > 4 * context else slice(None)
        return mean[:, inner], np.exp(log_sd[:, inner])

    latent_stats.fit(model.priors, signal, examples, believed)


FAMILY = base.Family(
    name="waveform_vae",
    summary=WaveformVAEConfig.summary,
    config_class=WaveformVAEConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("waveform",),
    controls=frozenset({"temperature", "prior", "reconstruct"}),
    priors=WaveformVAEConfig.priors,
    fit=fit,
    coder=latent_stats.coder(encode, decode),
)
