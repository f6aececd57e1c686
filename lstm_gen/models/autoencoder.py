"""`autoencoder`: spectrograms through a narrow sequence of latents and back, as alike as can be.

Shapes: frames in, float32 [batch, frames, channels], normalised; `latent_size` numbers for every
`stride` frames, [batch, steps, latent_size]; frames out, as many as went in.

    patches of stride frames --+-- projection ------------------+-- latents
                               +-- 1x1 -> [conv 3] x n -> 1x1 --+
    latents --+-- projection back --------------+-- patches of stride frames
              +-- 1x1 -> [conv 3] x n -> 1x1 ---+

The decoder is the encoder's mirror, kernel by kernel. The projections start as the principal
components of the training patches, and the last layer of either correction at 0: step 0 is the
best linear code there is, and training can only add to it. Convolutions run along time alone, so
any length goes in and the same length comes out.

Songs are decoded from latents drawn from a Gaussian that is fitted to those of the training
split: "sequence" draws each step given the one before, so that one goes on into the next;
"gaussian" draws every step for itself.

Source: autoencoders started from principal components, Hinton and Salakhutdinov 2006; residual
corrections that start at 0, Goyal et al. 2017 (arXiv 1706.02677).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen import config as configs
from lstm_gen import programs
from lstm_gen.models import family
from lstm_gen.models.layers import condition, linear_prior, noise, principal, weighting

_STEPS_PER_CALL = 64
_KERNEL = 3
_FIRST = -1  # purpose of a song's seed; from 0 on, its calls


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Size of the model.

    Attributes:
      latent_size: Numbers of a latent step.
      stride: Frames of a latent step.
      width: Channels of the corrections.
      blocks: Convolutions over time of the encoder's correction, and of the decoder's.
    """

    latent_size: int = 64
    stride: int = 4
    width: int = 256
    blocks: int = 2

    def __post_init__(self) -> None:
        configs.require(
            1 <= self.latent_size <= 4096,
            "latent_size must be from 1 to 4096",
            latent_size=self.latent_size,
        )
        configs.require(1 <= self.stride <= 64, "stride must be from 1 to 64", stride=self.stride)
        configs.require_least(self, 1, "width")
        configs.require(0 <= self.blocks <= 32, "blocks must be from 0 to 32", blocks=self.blocks)


class Correction(keras.layers.Layer):
    """What a small convolutional network adds to a linear map; nothing at first.

    Args:
      width: Channels inside.
      blocks: Residual convolutions over time.
      size: Values of a step that come out.
    """

    def __init__(self, width: int, blocks: int, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(width, name="first")
        self.convolutions = [
            keras.layers.Conv1D(width, _KERNEL, padding="same", name=f"conv_{i}")
            for i in range(blocks)
        ]
        self.last = keras.layers.Dense(size, kernel_initializer="zeros", name="last")

    def build(self, input_shape: Any) -> None:
        """Create every layer's weights."""
        width = self.first.units
        self.first.build((None, None, input_shape[-1]))
        for layer in [*self.convolutions, self.last]:
            layer.build((None, None, width))
        super().build(input_shape)

    def call(self, inputs: Any, told: Any = None) -> Any:
        """Return what is to be added, [batch, steps, size]; `told` is [batch, width] or None."""
        hidden = self.first(inputs)
        if told is not None:
            hidden += told[:, tf.newaxis]
        for layer in self.convolutions:
            hidden += layer(tf.nn.gelu(hidden))
        return self.last(tf.nn.gelu(hidden))


class Autoencoder(keras.Model):
    """Encoder, decoder, and what is fitted to the latents once they are trained."""

    def __init__(self, settings: AutoencoderConfig, signal: family.Signal, **kwargs: Any) -> None:
        super().__init__(name="autoencoder", **kwargs)
        self.settings, self.signal = settings, signal
        size, patch = settings.latent_size, settings.stride * signal.channels
        self.told_width = condition.width(signal.conditions)
        self.project = keras.layers.Dense(size, trainable=False, name="project")
        self.encoder = Correction(settings.width, settings.blocks, size, name="encoder")
        self.restore = keras.layers.Dense(patch, trainable=False, name="restore")
        self.decoder = Correction(settings.width, settings.blocks, patch, name="decoder")
        self.tell = keras.layers.Dense(settings.width, use_bias=False, name="tell")
        self.prior = linear_prior.LinearPrior(size, name="prior", dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        """Create every layer's weights."""
        del input_shape
        patch, size = self.restore.units, self.settings.latent_size
        for layer, width in ((self.project, patch), (self.encoder, patch)):
            layer.build((None, None, width))
        for layer in (self.restore, self.decoder):
            layer.build((None, None, size))
        if self.told_width:
            self.tell.build((None, self.told_width))
        self.prior.build()
        self.means = {
            one.name: self.add_weight(
                name=f"means_{one.name}",
                shape=(one.n_values, size),
                initializer="zeros",
                trainable=False,
                dtype="float32",
            )
            for one in self.signal.classes
        }
        self.built = True

    def call(self, frames: Any, told: Any = None) -> Any:
        """Return frames as they come back, float32, as many as there are."""
        return self.decode(self.encode(frames), told)[:, : frames.shape[1]]

    def encode(self, frames: Any) -> Any:
        """Return the latents of normalised frames, float32 [batch, steps, latent_size]."""
        inputs = self._patches(frames)
        return tf.cast(self.project(inputs) + self.encoder(inputs), tf.float32)

    def decode(self, latents: Any, told: Any = None) -> Any:
        """Return the frames of latents, float32 [batch, steps * stride, channels].

        Args:
          latents: float32 [batch, steps, latent_size].
          told: What `condition.vector` makes of the labels, for a model that is told some.
        """
        added = self.tell(told) if self.told_width else None
        made = self.restore(latents) + self.decoder(latents, added)
        shape = [tf.shape(latents)[0], latents.shape[1] * self.settings.stride, -1]
        frames = tf.reshape(tf.cast(made, tf.float32), shape)
        return tf.ensure_shape(frames, [latents.shape[0], shape[1], self.signal.channels])

    def _patches(self, frames: Any) -> Any:
        """Return the frames of each step side by side, the last frame repeated to fill a step."""
        stride, n_frames = self.settings.stride, frames.shape[1]
        missing = -n_frames % stride
        filled = tf.concat([frames, tf.repeat(frames[:, -1:], missing, axis=1)], axis=1)
        shape = [tf.shape(frames)[0], (n_frames + missing) // stride, self.restore.units]
        return tf.reshape(filled, shape)


def build(settings: AutoencoderConfig, signal: family.Signal) -> Autoencoder:
    """Return the model with its weights created."""
    model = Autoencoder(settings, signal)
    model.build()
    return model


def initialise(model: Autoencoder, signal: family.Signal, examples: family.Examples) -> None:
    """Start the projections as the principal components of the training patches."""
    del signal
    stride, size = model.settings.stride, model.settings.latent_size
    found = principal.fit(
        (
            principal.patches(frames, stride).reshape(-1, stride * frames.shape[-1])
            for frames, _ in _windows(examples)
        ),
        size,
    )
    # Latents of deviation 1, so that the corrections meet numbers of a size that suits them.
    scale = np.maximum(found.deviations, 1e-3 * found.deviations.max())
    down = found.vectors / scale
    model.project.kernel.assign(down)
    model.project.bias.assign(-found.mean @ down)
    model.restore.kernel.assign((found.vectors * scale).T)
    model.restore.bias.assign(found.mean)


def objectives(model: Autoencoder, signal: family.Signal) -> tuple[family.Objective, ...]:
    """Return the one objective: the squared error of the frames that come back."""

    def loss(batch: family.Batch, seed: Any, training: bool) -> family.Loss:
        frames = batch["frames"]
        del seed, training  # nothing is drawn
        made = model(frames, _told(signal, batch, frames.shape[0]))
        plain = tf.reduce_mean(tf.square(made - frames), axis=[1, 2])
        return family.Loss(weighting.squared_error(frames, made, signal), {"mse": plain})

    variables = [variable.value for variable in model.trainable_variables]
    return (
        family.Objective(
            name="reconstruction", loss=loss, variables=variables, metric_names=("mse",)
        ),
    )


def predict(model: Autoencoder, signal: family.Signal, batch: family.Batch) -> Any:
    """Return every frame as it comes back, [batch, timesteps, channels]."""
    frames = batch["frames"][:, : signal.timesteps]
    return model(frames, _told(signal, batch, frames.shape[0]))


def fit(model: Autoencoder, signal: family.Signal, examples: family.Examples) -> None:
    """Fit the prior to the latents of the training split, and keep the mean of each class."""
    sums = {
        one.name: np.zeros((one.n_values, 1 + model.settings.latent_size)) for one in signal.classes
    }

    def sequences() -> Iterator[np.ndarray]:
        for frames, labels in _windows(examples):
            latents = model.encode(tf.constant(frames)).numpy()
            for name, total in sums.items():
                own = latents.sum(axis=1, dtype=np.float64)
                for index, row in zip(labels[f"label/{name}"], own, strict=True):
                    if index >= 0:
                        total[index] += np.concatenate([[latents.shape[1]], row])
            yield from latents

    model.prior.fit(sequences())
    for name, total in sums.items():
        # A class of which nothing is known is as everything.
        counted = np.where(
            total[:, :1] > 0, total[:, 1:] / np.maximum(total[:, :1], 1), model.prior.mean.numpy()
        )
        model.means[name].assign(counted)


def generate(
    model: Autoencoder,
    signal: family.Signal,
    controls: family.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Decode random latents; see `family.Family.generate`."""
    del primer
    stride, overlap = model.settings.stride, model.settings.blocks * (_KERNEL // 2)
    n_calls = -(-controls.n_frames // (stride * _STEPS_PER_CALL))
    latents = _draw(model, controls, n_calls)
    told = _told(signal, controls.labels, controls.n_songs)
    decode = _programs(model, controls.n_songs)[-1]
    width = latents.shape[1]
    seen = min(_STEPS_PER_CALL + 2 * overlap, width)
    parts = []
    for call in range(n_calls):
        # Each call sees as much before and after its own steps as convolutions reach.
        own = call * _STEPS_PER_CALL
        start = min(max(0, own - overlap), width - seen)
        frames = decode(tf.constant(latents[:, start : start + seen]), told).numpy()
        first = (own - start) * stride
        parts.append(frames[:, first : first + stride * _STEPS_PER_CALL])
        progress(min(stride * _STEPS_PER_CALL, controls.n_frames - own * stride))
    return np.concatenate(parts, axis=1)[:, : controls.n_frames]


def _draw(model: Autoencoder, controls: family.Controls, n_calls: int) -> np.ndarray:
    """Return random latents, float32 [songs, n_calls * _STEPS_PER_CALL, latent_size]."""
    first, follow, independent, _ = _programs(model, controls.n_songs)
    seed = noise.seed_from(controls.seed, noise.SONGS, controls.first_song)
    scale = tf.constant(controls.temperature, tf.float32)
    state, parts = first(seed), []
    for call in range(n_calls):
        if controls.prior == "gaussian":
            latents = independent(noise.seed_for(seed, call), scale)
        else:
            latents, state = follow(state, noise.seed_for(seed, call), scale)
        parts.append(latents.numpy())
    return np.concatenate(parts, axis=1)


@functools.lru_cache(maxsize=4)
def _programs(model: Autoencoder, n_songs: int) -> tuple[Any, Any, Any, Any]:
    """Return what draws a song's first latents, the next ones, ones without order; a decoder."""
    size, prior = model.settings.latent_size, model.prior

    def normal(seed: Any) -> Any:
        return noise.normal([n_songs, _STEPS_PER_CALL, size], seed)

    def first(seed: Any) -> Any:
        return prior.first(noise.normal([n_songs, size], noise.seed_for(seed, _FIRST)))

    def follow(state: Any, seed: Any, scale: Any) -> tuple[Any, Any]:
        latents = prior.follow(state, tf.transpose(normal(seed), [1, 0, 2]))
        return prior.mean.value + scale * tf.transpose(latents, [1, 0, 2]), latents[-1]

    def independent(seed: Any, scale: Any) -> Any:
        return prior.mean.value + scale * prior.first(normal(seed))

    def decode(latents: Any, told: Any) -> Any:
        return model.decode(latents, told)

    program = programs.program
    return program(first), program(follow), program(independent), program(decode)


def encode(
    model: Autoencoder, signal: family.Signal, frames: Any, labels: Mapping[str, Any]
) -> np.ndarray:
    """Return the latents of frames; see `family.Coder`."""
    del signal, labels
    return np.asarray(model.encode(tf.constant(frames)))


def decode(
    model: Autoencoder,
    signal: family.Signal,
    latents: Any,
    n_frames: int,
    labels: Mapping[str, Any],
) -> np.ndarray:
    """Return the frames of latents; see `family.Coder`."""
    told = _told(signal, labels, len(latents))
    return np.asarray(model.decode(tf.constant(latents), told))[:, :n_frames]


def _told(signal: family.Signal, labels: Mapping[str, Any], n_examples: Any) -> Any:
    """Return what the decoder is told of examples."""
    return condition.vector(signal.conditions, labels, n_examples)


def _windows(examples: family.Examples) -> Iterator[tuple[np.ndarray, Mapping[str, Any]]]:
    """Yield the frames and the labels of every batch, less what only fills it."""
    for batch in examples():
        real = batch["weight"] > 0
        labels = {name: rows[real] for name, rows in batch.items() if name.startswith("label/")}
        yield batch["frames"][real], labels


FAMILY = family.Family(
    name="autoencoder",
    summary="convolutional autoencoder of spectrograms that starts as their principal components",
    config_class=AutoencoderConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("log_mel", "log_stft", "complex_stft"),
    controls=frozenset({"temperature", "prior", "reconstruct"}),
    priors=linear_prior.PRIORS,
    conditional=True,
    initialise=initialise,
    fit=fit,
    coder=family.Coder(
        encode=encode,
        decode=decode,
        spread=lambda model: model.prior.deviation.numpy(),
        class_means=lambda model: {name: rows.numpy() for name, rows in model.means.items()},
    ),
)
