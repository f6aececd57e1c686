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

With `norm="original"` the residual branches hold norms, instance norms to encode and batch norms to
decode. While training, an example's loss then depends on the others of its batch, on all devices
(and, with `accumulate`, of its part); validation and generation use running averages and do not.
Nothing was gained by them; they are there to compare with.

Source: variational autoencoders, Kingma & Welling 2013 (arXiv 1312.6114).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.config import fields
from lstm_gen.models import base
from lstm_gen.models.common import chunked, convolutions, rng
from lstm_gen.models.latents import latent_stats, posterior, priors
from lstm_gen.models.waveform_vae import spectral_loss
from lstm_gen.platform import errors, traced_functions

NORMS = ("none", "original")
_MOST_SAMPLES_PER_STEP = 64
_QUIET = 1e-2  # power below which a sound counts as ever less, where 1 is the data's
_QUIETEST = 1e-4  # squared error that nobody asks to be less
_PACE = 10.0  # of the error's variance, which is to keep up with the other weights
_ENDS = 7  # samples that the first and the last convolution see
_STEPS_PER_PIECE = 512
_PRIORS = ("sequence", "gmm", "gaussian", "standard")
_HISTORY = 4  # latent steps that the next one is drawn by: a tenth of a second at 3 kHz


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaveformVAEConfig:
    """Size, losses and norms of the model.

    Attributes:
      strides: What each scale divides the samples by, from the finest on: "4,4,4". Their product is
        the samples of a latent step, at most 64.
      channels: Of each scale, as many as there are strides.
      blocks: Residual blocks at each scale, of the encoder and of the decoder.
      latent_size: Values of a latent step.
      beta: Weight of the divergence from the prior; 1 is the variational bound.
      spectral_weight: Weight of the distance of spectra; 0 for the waveform alone.
      waveform_weight: Weight of the waveform's likelihood; 0 for the spectra alone.
      windows: Lengths of the windows that spectra are taken of, samples, even, at least 16.
      norm: "none", or "original": instance norms (encoder) and batch norms (decoder).
    """

    strides: str = "4,4,4"
    channels: str = "32,64,128"
    blocks: int = 1
    latent_size: int = 16
    beta: float = 1.0
    spectral_weight: float = 1.0
    waveform_weight: float = 1.0
    windows: str = "64,128,256,512"
    norm: str = "none"

    def __post_init__(self) -> None:
        strides, channels = self.each_stride, self.each_channels
        errors.require(
            bool(strides) and min(strides) >= 2 and self.stride <= _MOST_SAMPLES_PER_STEP,
            "strides must be 2 or more each, and their product, the samples of a latent step, at "
            f"most {_MOST_SAMPLES_PER_STEP}, or the decoder ignores its latents",
            strides=self.strides,
        )
        errors.require(
            len(channels) == len(strides) and min(channels) >= 1,
            "channels must be positive, one for each stride",
            channels=self.channels,
            strides=self.strides,
        )
        windows = self.each_window
        errors.require(
            bool(windows) and min(windows) >= 16 and not any(window % 4 for window in windows),
            "windows must be multiples of 4 samples, from 16 on",
            windows=self.windows,
        )
        fields.require_least(self, 1, "blocks", "latent_size")
        fields.require_sign(self, "beta", "spectral_weight", "waveform_weight", zero=True)
        errors.require(
            self.spectral_weight + self.waveform_weight > 0,
            "spectral_weight and waveform_weight must not both be 0",
            spectral_weight=self.spectral_weight,
            waveform_weight=self.waveform_weight,
        )
        errors.require_choice("norm", self.norm, NORMS)

    @property
    def each_stride(self) -> tuple[int, ...]:
        """The strides, finest first."""
        return _integers("strides", self.strides)

    @property
    def each_channels(self) -> tuple[int, ...]:
        """The channels after each stride."""
        return _integers("channels", self.channels)

    @property
    def each_window(self) -> tuple[int, ...]:
        """The lengths of windows, samples."""
        return _integers("windows", self.windows)

    @property
    def stride(self) -> int:
        """Samples of a latent step."""
        return math.prod(self.each_stride)

    @property
    def context(self) -> int:
        """Latent steps to either side that a step of the encoder or the decoder can see."""
        reach, samples = float(2 * (_ENDS // 2)), 1
        for stride in self.each_stride:
            samples *= stride
            reach += samples + 2 * self.blocks * samples + stride
        return math.ceil((reach + samples) / samples)


def _integers(name: str, text: str) -> tuple[int, ...]:
    """Return the integers of "4,4,4"."""
    parts = [part.strip() for part in text.split(",")]
    errors.require(
        all(part.isdigit() for part in parts),
        f"{name} must be whole numbers separated by commas, as in 4,4,4",
        **{name: text},
    )
    return tuple(int(part) for part in parts)


class WaveformVAE(keras.Model):
    """Encoder and decoder, and what is fitted to them when they are trained."""

    def __init__(self, settings: WaveformVAEConfig, signal: base.Signal, **kwargs: Any) -> None:
        super().__init__(name="waveform_vae", **kwargs)
        self.settings = settings
        scales = convolutions.Scales(
            settings.each_stride, settings.each_channels, settings.blocks, _ENDS
        )
        original = settings.norm == "original"
        outputs = 2 * settings.latent_size  # mean, log deviation
        self.encoder = scales.down(outputs, "instance" if original else "none")
        self.decoder = scales.up("batch" if original else "none")
        self.log_variance = self.add_weight(
            name="log_variance", shape=(), initializer="zeros", dtype="float32", autocast=False
        )
        self.priors = priors.Priors(
            settings.latent_size,
            _PRIORS,
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

    def encode(self, samples: Any, training: bool = False) -> tuple[Any, Any]:
        """Return the latents' means and log deviations, float32 [batch, steps, latent_size].

        Args:
          samples: float32 [batch, steps * stride, 1].
          training: Whether batch norms, if there are any, look at the batch.
        """
        return posterior.split(convolutions.through(self.encoder, samples, training))

    def decode(self, latents: Any, training: bool = False) -> Any:
        """Return samples, float32 [batch, steps * stride, 1], of latents [batch, steps, size]."""
        return convolutions.through(self.decoder, latents, training)

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
        mean, log_sd = model.encode(wanted, training)
        latents = mean
        if training:
            shape = [mean.shape[0] or tf.shape(mean)[0], *mean.shape[1:]]
            latents = mean + tf.exp(log_sd) * rng.normal(shape, seed)
        found = model.decode(latents, training)
        wanted, found = wanted[:, :n_samples, 0], found[:, :n_samples, 0]
        error = tf.reduce_mean(tf.square(wanted - found), axis=1)
        spectral = spectral_loss.multi_resolution_distance(wanted, found, windows)
        per_sample = tf.reduce_sum(posterior.divergence(mean, log_sd), axis=[1, 2]) / n_samples
        power = tf.reduce_mean(tf.square(wanted), axis=1)
        ratio = tf.math.log((power + _QUIETEST) / (error + _QUIETEST))
        total = settings.waveform_weight * model.likelihood(error / (power + _QUIET))
        total += settings.beta * per_sample
        heard = spectral_loss.heeded(spectral, ratio) if settings.waveform_weight else spectral
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
    found = chunked.run(
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
    samples = chunked.run(
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
    summary="residual convolutions from samples to a short sequence of latents and back",
    config_class=WaveformVAEConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("waveform",),
    controls=frozenset({"temperature", "prior", "reconstruct"}),
    priors=_PRIORS,
    fit=fit,
    coder=latent_stats.coder(encode, decode),
)
