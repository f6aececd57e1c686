"""Residual blocks of convolutions over time, without norms: those would remove a sound's level.

Source: K. He et al., Identity Mappings in Deep Residual Networks, 2016 (arXiv 1603.05027).
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

_SLOPE = 0.2  # below 0


def leaky_relu(values: Any) -> Any:
    """Return values with those below 0 made smaller, of their shape and dtype."""
    return tf.nn.leaky_relu(values, _SLOPE)


class ResidualBlock(keras.layers.Layer):
    """x + conv(act(conv(act(x)))), [batch, steps, channels] to the same.

    Args:
      filters: Channels of input and output.
      kernel_size: Steps that a convolution sees, odd.
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
        """Return the block's output."""
        values = inputs
        for layer in self.convolutions:
            values = layer(leaky_relu(values))
        return inputs + values


@dataclasses.dataclass(frozen=True)
class Scales:
    """The layers of an encoder and of its mirror, a signal's scales from the finest on.

    Attributes:
      strides: What each scale divides the samples by.
      channels: After each stride.
      blocks: Residual blocks at each scale.
      ends: Samples that the convolution next to the signal sees.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    blocks: int
    ends: int

    @property
    def finest(self) -> int:
        """Channels next to the signal."""
        return max(1, self.channels[0] // 2)

    def down(self, outputs: int) -> list[keras.layers.Layer]:
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

    def up(self) -> list[keras.layers.Layer]:
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


def through(layers: list[Any], values: Any) -> Any:
    """Return values after a stack of layers, float32; activations stand before all but the first.

    Residual blocks bring their own.
    """
    for index, layer in enumerate(layers):
        plain = isinstance(layer, ResidualBlock) or not index
        values = layer(values if plain else leaky_relu(values))
    return tf.cast(values, tf.float32)


def convolution(width: int, kernel_size: int, name: str) -> keras.layers.Conv1D:
    """Return a convolution to so many channels that keeps the number of steps."""
    return keras.layers.Conv1D(width, kernel_size, padding="same", name=name)
