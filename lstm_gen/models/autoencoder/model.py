"""`autoencoder`: convolutional autoencoder of spectrograms that starts as principal components.

Shapes: frames in, float32 [batch, frames, channels], normalised; latents
[batch, steps, latent_size], a step for every `stride` frames; as many frames out.

    patches of stride frames --+-- projection ------------------+-- latents
                               +-- 1x1 -> [conv 3] x n -> 1x1 --+
    latents --+-- projection back --------------+-- patches of stride frames
              +-- 1x1 -> [conv 3] x n -> 1x1 ---+

The decoder mirrors the encoder. The projections are initialised to the principal components of the
training patches, and the last layer of each correction to 0: step 0 is the best linear code, and
training improves on it. Convolutions run along time only, so frames may have any length.

Songs are decoded from latents drawn from Gaussians fitted to those of the training split
(`models.latents.priors`): with prior "sequence" a step depends on those before it, with "gaussian"
steps are independent.

Source: autoencoders started from principal components, Hinton and Salakhutdinov 2006; residual
corrections that start at 0, Goyal et al. 2017 (arXiv 1706.02677).
"""

import functools
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.autoencoder.config import KERNEL_SIZE, AutoencoderConfig
from lstm_gen.models.common import conditioning, losses, patches
from lstm_gen.models.latents import latent_model, priors
from lstm_gen.platform import traced_functions


class Projection(keras.layers.Layer):
    """A linear map between patches and latents with an equalised learning rate.

    Weights are stored times the root of a patch's width, so that each is about 1: Adam moves all
    weights by the same amount, which would be large for the small weights of thousands of inputs.

    Args:
      inputs: Values per step of the input.
      outputs: Values per step of the output.

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
        """Set the map to x @ kernel + bias."""
        self.kernel.assign(kernel / self.scale)
        self.bias.assign(bias)

    def call(self, inputs: Any) -> Any:
        """Return the values of each step, [batch, steps, outputs]."""
        inputs = tf.cast(inputs, self.compute_dtype)
        kernel, bias = (tf.cast(one, inputs.dtype) for one in (self.kernel, self.bias))
        return tf.linalg.matmul(inputs, kernel) * self.scale + bias


class Correction(keras.layers.Layer):
    """A small convolutional network, added to a linear map; 0 at initialisation.

    Args:
      width: Channels of the hidden layers.
      blocks: Residual convolutions over time.
      size: Values per step of the output.
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

    def call(self, inputs: Any, offset: Any = None) -> Any:
        """Return the correction, [batch, steps, size].

        Args:
          inputs: float32 [batch, steps, values].
          offset: Added to the first layer's output at every step, [batch, width]; None for 0.
        """
        hidden = self.first(inputs)
        if offset is not None:
            hidden += offset[:, tf.newaxis]
        for layer in self.convolutions:
            hidden += layer(tf.nn.gelu(hidden))
        return self.last(tf.nn.gelu(hidden))


class Autoencoder(latent_model.LatentModel):
    """Encoder, decoder, and priors of the latents; see the module."""

    config_class = AutoencoderConfig
    representations = ("log_mel", "log_stft", "complex_stft")
    controls = frozenset({"temperature", "prior", "reconstruct"})
    conditional = True
    steps_per_chunk: ClassVar[int] = 64

    def __init__(self, config: AutoencoderConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        size, patch = config.latent_size, config.stride * spec.channels
        self.label_width = conditioning.width(spec.conditions)
        self.project = Projection(patch, size, name="project")
        self.encoder = Correction(config.width, config.blocks, size, name="encoder")
        self.restore = Projection(size, patch, name="restore")
        self.decoder = Correction(config.width, config.blocks, patch, name="decoder")
        # Named as in saved weights.
        self.label_layer = keras.layers.Dense(config.width, use_bias=False, name="tell")
        self.priors = priors.Priors(
            size, config.priors, spec.conditions, spec.classes, sequence_components=1
        )

    def build_layers(self) -> None:
        """Create every layer's weights."""
        patch, size = self.restore.outputs, self.config.latent_size
        for layer, width in ((self.project, patch), (self.encoder, patch)):
            layer.build((None, None, width))
        for layer in (self.restore, self.decoder):
            layer.build((None, None, size))
        if self.label_width:
            self.label_layer.build((None, self.label_width))
        self.priors.build()

    def call(self, frames: Any, cond: Any = None) -> Any:
        """Return reconstructed frames, float32; `cond` holds the conditioning labels."""
        return self.decode_latents(self.encode_frames(frames), cond)[:, : frames.shape[1]]

    def encode_frames(self, frames: Any) -> Any:
        """Return the latents of normalised frames, float32 [batch, steps, latent_size]."""
        inputs = self._patches(frames)
        return tf.cast(self.project(inputs) + self.encoder(inputs), tf.float32)

    def decode_latents(self, latents: Any, cond: Any = None) -> Any:
        """Return the frames of latents, float32 [batch, steps * stride, channels].

        Args:
          latents: float32 [batch, steps, latent_size].
          cond: Conditioning labels, float32 [batch, width]; None for an unconditional model.
        """
        offset = self.label_layer(cond) if self.label_width else None
        made = self.restore(latents) + self.decoder(latents, offset)
        shape = [tf.shape(latents)[0], latents.shape[1] * self.config.stride, -1]
        frames = tf.reshape(tf.cast(made, tf.float32), shape)
        return tf.ensure_shape(frames, [latents.shape[0], shape[1], self.spec.channels])

    def _patches(self, frames: Any) -> Any:
        """Return the frames of each step side by side, the last frame repeated to fill a step."""
        stride, n_frames = self.config.stride, frames.shape[1]
        missing = -n_frames % stride
        filled = tf.concat([frames, tf.repeat(frames[:, -1:], missing, axis=1)], axis=1)
        shape = [tf.shape(frames)[0], (n_frames + missing) // stride, self.restore.outputs]
        return tf.reshape(filled, shape)

    def initialise(self, examples: base.Examples) -> None:
        """Set the projections to the principal components of the training patches."""
        stride, size = self.config.stride, self.config.latent_size
        width = stride * self.spec.channels
        training = (batch["frames"][batch["weight"] > 0] for batch in examples())
        rows = (patches.join(some, stride).reshape(-1, width) for some in training)
        found = patches.fit_components(rows, size)
        # Latents of deviation 1 suit the initial weights of the corrections.
        scale = np.maximum(found.deviations, 1e-3 * found.deviations.max())
        down = found.vectors / scale
        self.project.set(down, -found.mean @ down)
        self.restore.set((found.vectors * scale).T, found.mean)

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the one objective: the squared error of reconstructed frames."""

        def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
            frames = batch["frames"]
            del seed, training  # nothing is drawn
            made = self(frames, self.label_vector(batch, frames.shape[0]))
            unweighted = tf.reduce_mean(tf.square(made - frames), axis=[1, 2])
            weighted = losses.weighted_squared_error(frames, made, self.spec)
            return base.Loss(weighted, {"mse": unweighted})

        return (
            base.Objective(
                name="reconstruction",
                loss=loss,
                variables=self.trainable_values(),
                metric_names=("mse",),
                loss_metric="" if self.spec.audio.has_phase_steps else "mse",
            ),
        )

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return reconstructed frames, float32 [batch, timesteps, channels]."""
        frames = batch["frames"][:, : self.spec.timesteps]
        return self(frames, self.label_vector(batch, frames.shape[0]))

    def count_steps(self, n_frames: int) -> int:
        """Return the latent steps of so many frames."""
        return -(-n_frames // self.config.stride)

    def posterior(
        self, frames: np.ndarray, labels: latent_model.Labels
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the latents of recordings, and 0 as their deviation."""
        del labels  # the encoder is not conditioned
        stride = self.config.stride
        whole = patches.padded(np.asarray(frames, np.float32), stride)
        # Eager: recordings have many lengths, and tracing takes longer than these few layers.
        latents = self.in_chunks(self.encode_frames, whole, stride=stride)
        return latents, np.zeros_like(latents)

    def decode(self, latents: np.ndarray, n_frames: int, labels: latent_model.Labels) -> np.ndarray:
        """Return the first `n_frames` frames of latents, eagerly; see `posterior`."""
        values, cond = np.asarray(latents, np.float32), self.label_vector(labels, len(latents))
        return self.in_chunks(self.decode_latents, values, tf.constant(cond))[:, :n_frames]

    def decode_songs(
        self,
        latents: np.ndarray,
        n_frames: int,
        labels: latent_model.Labels,
        progress: base.Progress,
    ) -> np.ndarray:
        """Return the frames of latents by the compiled decoder."""
        cond = tf.constant(self.label_vector(labels, len(latents)))
        frames = self.in_chunks(self._decoder_program, latents, cond, progress=progress)
        return frames[:, :n_frames]

    @functools.cached_property
    def _decoder_program(self) -> Any:
        return traced_functions.program(self.decode_latents)
