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
split (`layers.priors`): "sequence" is that of a step given those before it, so that one goes on
into the next; "gaussian" draws every step for itself.

Source: autoencoders started from principal components, Hinton and Salakhutdinov 2006; residual
corrections that start at 0, Goyal et al. 2017 (arXiv 1706.02677).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.autoencoder.config import KERNEL_SIZE, AutoencoderConfig
from lstm_gen.models.common import conditioning, losses, overlap_add, pca
from lstm_gen.models.latents import latent_stats, priors
from lstm_gen.platform import traced_functions

_STEPS_PER_PIECE = 64


class Projection(keras.layers.Layer):
    """A linear map between patches and latents, whose steps are small beside its weights.

    Its weights are kept times the root of a patch's width, and so about 1 each: an optimizer that
    moves every weight alike would else throw thousands of inputs off at once.

    Args:
      inputs: Values that go in.
      outputs: Values that come out.

    Source: weights of equal learning rate, Karras et al. 2017 (arXiv 1710.10196).
    """

    def __init__(self, inputs: int, outputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inputs, self.outputs = inputs, outputs
        self.scale = max(inputs, outputs) ** -0.5

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        normal = keras.initializers.RandomNormal(stddev=1.0)
        shape = (self.inputs, self.outputs)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=normal)
        self.bias = self.add_weight(name="bias", shape=shape[1:], initializer="zeros")
        super().build(input_shape)

    def set(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Make this the map x @ kernel + bias."""
        self.kernel.assign(kernel / self.scale)
        self.bias.assign(bias)

    def call(self, inputs: Any) -> Any:
        """Return the values of each step, [batch, steps, outputs]."""
        inputs = tf.cast(inputs, self.compute_dtype)
        kernel, bias = (tf.cast(one, inputs.dtype) for one in (self.kernel, self.bias))
        return tf.linalg.matmul(inputs, kernel) * self.scale + bias


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
            keras.layers.Conv1D(width, KERNEL_SIZE, padding="same", name=f"conv_{i}")
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

    def __init__(self, settings: AutoencoderConfig, signal: base.Signal, **kwargs: Any) -> None:
        super().__init__(name="autoencoder", **kwargs)
        self.settings, self.signal = settings, signal
        size, patch = settings.latent_size, settings.stride * signal.channels
        self.told_width = conditioning.width(signal.conditions)
        self.project = Projection(patch, size, name="project")
        self.encoder = Correction(settings.width, settings.blocks, size, name="encoder")
        self.restore = Projection(size, patch, name="restore")
        self.decoder = Correction(settings.width, settings.blocks, patch, name="decoder")
        self.tell = keras.layers.Dense(settings.width, use_bias=False, name="tell")
        self.priors = priors.Priors(
            size, AutoencoderConfig.priors, signal.conditions, signal.classes, sequence_components=1
        )

    def build(self, input_shape: Any = None) -> None:
        """Create every layer's weights."""
        del input_shape
        patch, size = self.restore.outputs, self.settings.latent_size
        for layer, width in ((self.project, patch), (self.encoder, patch)):
            layer.build((None, None, width))
        for layer in (self.restore, self.decoder):
            layer.build((None, None, size))
        if self.told_width:
            self.tell.build((None, self.told_width))
        self.priors.build()
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
        shape = [tf.shape(frames)[0], (n_frames + missing) // stride, self.restore.outputs]
        return tf.reshape(filled, shape)


def build(settings: AutoencoderConfig, signal: base.Signal) -> Autoencoder:
    """Return the model with its weights created."""
    model = Autoencoder(settings, signal)
    model.build()
    return model


def initialise(model: Autoencoder, signal: base.Signal, examples: base.Examples) -> None:
    """Start the projections as the principal components of the training patches."""
    stride, size = model.settings.stride, model.settings.latent_size
    width = stride * signal.channels
    training = (batch["frames"][batch["weight"] > 0] for batch in examples())
    rows = (pca.patches(some, stride).reshape(-1, width) for some in training)
    found = pca.fit(rows, size)
    # Latents of deviation 1, so that the corrections meet numbers of a size that suits them.
    scale = np.maximum(found.deviations, 1e-3 * found.deviations.max())
    down = found.vectors / scale
    model.project.set(down, -found.mean @ down)
    model.restore.set((found.vectors * scale).T, found.mean)


def objectives(model: Autoencoder, signal: base.Signal) -> tuple[base.Objective, ...]:
    """Return the one objective: the squared error of the frames that come back."""

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        frames = batch["frames"]
        del seed, training  # nothing is drawn
        made = model(frames, _told(signal, batch, frames.shape[0]))
        plain = tf.reduce_mean(tf.square(made - frames), axis=[1, 2])
        return base.Loss(losses.weighted_squared_error(frames, made, signal), {"mse": plain})

    variables = [variable.value for variable in model.trainable_variables]
    return (
        base.Objective(
            name="reconstruction", loss=loss, variables=variables, metric_names=("mse",)
        ),
    )


def predict(model: Autoencoder, signal: base.Signal, batch: base.Batch) -> Any:
    """Return every frame as it comes back, [batch, timesteps, channels]."""
    frames = batch["frames"][:, : signal.timesteps]
    return model(frames, _told(signal, batch, frames.shape[0]))


def fit(model: Autoencoder, signal: base.Signal, examples: base.Examples) -> None:
    """Fit the priors to the latents of the training split, and keep the mean of each class."""

    def certain(
        frames: np.ndarray, labels: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        latents = encode(model, signal, frames, labels)
        return latents, np.zeros_like(latents)

    latent_stats.fit(model.priors, signal, examples, certain)


def generate(
    model: Autoencoder,
    signal: base.Signal,
    controls: base.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Decode random latents; see `family.Family.generate`."""
    del primer
    told = _told(signal, controls.labels, controls.n_songs)
    n_steps = -(-controls.n_frames // model.settings.stride)
    latents = latent_stats.draw(model.priors, controls, n_steps, told)
    made = _decoded(model, _compiled(model), latents, told)[:, : controls.n_frames]
    progress(controls.n_frames)
    return made


@functools.lru_cache(maxsize=4)
def _compiled(model: Autoencoder) -> Any:
    """Return the compiled decoder."""

    def decode_latents(latents: Any, told: Any) -> Any:
        return model.decode(latents, told)

    return traced_functions.program(decode_latents)


def encode(
    model: Autoencoder, signal: base.Signal, frames: Any, labels: Mapping[str, Any]
) -> np.ndarray:
    """Return the latents of frames; see `family.Coder`."""
    del signal, labels
    stride, context = model.settings.stride, model.settings.context
    whole = pca.padded(np.asarray(frames, np.float32), stride)
    # Recordings are of a hundred lengths, and compiling takes longer than these few layers.
    return overlap_add.run_in_chunks(
        lambda part: model.encode(tf.constant(part)), whole, stride, _STEPS_PER_PIECE, context
    )


def decode(
    model: Autoencoder,
    signal: base.Signal,
    latents: Any,
    n_frames: int,
    labels: Mapping[str, Any],
) -> np.ndarray:
    """Return the frames of latents; see `family.Coder`."""
    told = _told(signal, labels, len(latents))
    return _decoded(model, model.decode, np.asarray(latents, np.float32), told)[:, :n_frames]


def _decoded(model: Autoencoder, run: Any, latents: np.ndarray, told: Any) -> np.ndarray:
    """Return what a decoder, compiled or not, makes of latents, [examples, frames, channels]."""
    told, context = tf.constant(told), model.settings.context
    return overlap_add.run_in_chunks(
        lambda part: run(tf.constant(part), told), latents, 1, _STEPS_PER_PIECE, context
    )


def _told(signal: base.Signal, labels: Mapping[str, Any], n_examples: Any) -> Any:
    """Return what the decoder is told of examples."""
    return conditioning.vector(signal.conditions, labels, n_examples)


FAMILY = base.Family(
    name="autoencoder",
    summary=AutoencoderConfig.summary,
    config_class=AutoencoderConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("log_mel", "log_stft", "complex_stft"),
    controls=frozenset({"temperature", "prior", "reconstruct"}),
    priors=AutoencoderConfig.priors,
    conditional=True,
    initialise=initialise,
    fit=fit,
    coder=latent_stats.coder(encode, decode),
)
