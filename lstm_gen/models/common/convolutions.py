"""Convolutional encoders and decoders over time, built of residual blocks without norms.

A norm on the trunk would remove the level of the sound.

Source: K. He et al., Identity Mappings in Deep Residual Networks, 2016 (arXiv 1603.05027).
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

_SLOPE = 0.2


def leaky_relu(values: Any) -> Any:
    """Return the leaky ReLU of values, slope 0.2 below 0."""
    return tf.nn.leaky_relu(values, _SLOPE)


class ResidualBlock(keras.layers.Layer):
    """x + conv(act(conv(act(x)))), [batch, steps, channels] to the same.

    Args:
      filters: Channels of input and output.
      kernel_size: Steps, odd.
    """

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.convolutions = [
            convolution(filters, kernel_size, f"conv_{index}") for index in range(2)
        ]

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        del input_shape
        for layer in self.convolutions:
            layer.build((None, None, self.filters))

    def call(self, inputs: Any) -> Any:
        """Return the block's output, the shape of the input."""
        values = inputs
        for layer in self.convolutions:
            values = layer(leaky_relu(values))
        return inputs + values


@dataclasses.dataclass(frozen=True)
class MultiscaleStack:
    """Layers of a waveform encoder and of its mirrored decoder, finest scale first.

    Attributes:
      strides: Downsampling factor of each scale.
      channels: Channels after each stride.
      blocks: Residual blocks at each scale.
      ends: Kernel size of the convolution next to the waveform, samples.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    blocks: int
    ends: int

    @property
    def finest(self) -> int:
        """Channels next to the waveform."""
        return max(1, self.channels[0] // 2)

    def encoder(self, outputs: int) -> list[keras.layers.Layer]:
        """Return layers from [batch, samples, 1] to [batch, steps, outputs]."""
        layers: list[keras.layers.Layer] = [convolution(self.finest, self.ends, "encode_first")]
        for index, (stride, width) in enumerate(zip(self.strides, self.channels, strict=True)):
            layers.append(
                keras.layers.Conv1D(
                    width, 2 * stride, strides=stride, padding="same", name=f"down_{index}"
                )
            )
            layers += self._blocks(width, f"encode_{index}")
        return [*layers, convolution(outputs, 3, "encode_last")]

    def decoder(self) -> list[keras.layers.Layer]:
        """Return layers from [batch, steps, any] to [batch, samples, 1]."""
        layers: list[keras.layers.Layer] = [convolution(self.channels[-1], 3, "decode_first")]
        layers += self._blocks(self.channels[-1], f"decode_{len(self.channels)}")
        widths = (self.finest, *self.channels[:-1])
        for index in reversed(range(len(self.strides))):
            stride, width = self.strides[index], widths[index]
            layers.append(
                keras.layers.Conv1DTranspose(
                    width, 2 * stride, strides=stride, padding="same", name=f"up_{index}"
                )
            )
            # At the finest scale a block costs as much as all others together.
            layers += self._blocks(width, f"decode_{index}") if index else []
        return [*layers, convolution(1, self.ends, "decode_last")]

    def _blocks(self, width: int, name: str) -> list[keras.layers.Layer]:
        """Return the residual blocks of one scale."""
        return [ResidualBlock(width, name=f"{name}_block_{index}") for index in range(self.blocks)]


def apply(layers: list[Any], values: Any) -> Any:
    """Return the output of a stack of layers, float32.

    A leaky ReLU precedes every layer but the first; residual blocks have their own.
    """
    for index, layer in enumerate(layers):
        activates = index > 0 and not isinstance(layer, ResidualBlock)
        values = layer(leaky_relu(values) if activates else values)
    return tf.cast(values, tf.float32)


def convolution(width: int, kernel_size: int, name: str) -> keras.layers.Conv1D:
    """Return a convolution that keeps the number of steps."""
    return keras.layers.Conv1D(width, kernel_size, padding="same", name=name)


def mirrored_pair(
    channels: int, width: int, blocks: int, scales: int, size: int, window_steps: int = 0
) -> tuple[list[Any], list[Any]]:
    """Return the layers of an encoder and of its mirrored decoder.

    Args:
      channels: Values of a frame.
      width: Hidden channels.
      blocks: Residual blocks of each.
      scales: Number of halvings of the steps.
      size: Encoder outputs per step; the decoder's input may have another size.
      window_steps: Steps encoded to one latent, without padding; 0 for one latent per step.
    """
    ends: dict[str, Any] = {"kernel_size": window_steps, "padding": "valid"}
    ends = ends if window_steps else {"kernel_size": 3, "padding": "same"}
    first = keras.layers.Conv1DTranspose if window_steps else keras.layers.Conv1D
    half: dict[str, Any] = {"kernel_size": 4, "strides": 2, "padding": "same"}
    encoder = [
        convolution(width, 3, "encode_first"),
        *(keras.layers.Conv1D(width, name=f"down_{i}", **half) for i in range(scales)),
        *(ResidualBlock(width, name=f"encode_block_{i}") for i in range(blocks)),
        keras.layers.Conv1D(size, name="encode_last", **ends),
    ]
    decoder = [
        first(width, name="decode_first", **ends),
        *(ResidualBlock(width, name=f"decode_block_{i}") for i in range(blocks)),
        *(keras.layers.Conv1DTranspose(width, name=f"up_{i}", **half) for i in range(scales)),
        convolution(channels, 3, "decode_last"),
    ]
    return encoder, decoder
