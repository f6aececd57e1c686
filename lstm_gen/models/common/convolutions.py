"""Residual blocks of convolutions over time, with a norm inside the branch by choice.

A norm on the trunk would take the level of the sound away (measured: an instance norm there leaves
nothing of it). Inside a branch it cannot: what comes in is added again.

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
    """x + conv(act(norm(conv(act(norm(x)))))), [batch, steps, channels] to the same.

    Args:
      filters: Channels of input and output.
      kernel_size: Steps that a convolution sees, odd.
      norm: "none"; "instance", over the steps of an example, which so depends on the length that is
        looked at; or "batch", over a training batch, that of all devices, so that an example's
        output depends on those beside it, and over running averages of those otherwise.
    """

    def __init__(
        self, filters: int, kernel_size: int = 3, norm: str = "none", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.norms = [_make_norm(norm, f"norm_{index}") for index in range(2)]
        self.convolutions = [
            convolution(filters, kernel_size, f"conv_{index}") for index in range(2)
        ]

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        del input_shape
        for layer in [*self.norms, *self.convolutions]:
            if layer is not None:
                layer.build((None, None, self.filters))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the block's output; a batch norm looks at the batch only when training."""
        values = inputs
        for norm, layer in zip(self.norms, self.convolutions, strict=True):
            if norm is not None:
                values = norm(values, training=training)
            values = layer(leaky_relu(values))
        return inputs + values


def _make_norm(kind: str, name: str) -> keras.layers.Layer | None:
    if kind == "instance":
        return keras.layers.GroupNormalization(groups=-1, name=name)
    if kind == "batch":
        return keras.layers.BatchNormalization(momentum=0.98, synchronized=True, name=name)
    return None


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

    def down(self, outputs: int, norm: str) -> list[keras.layers.Layer]:
        """Return layers from [batch, samples, 1] to [batch, steps, outputs]."""
        layers: list[keras.layers.Layer] = [convolution(self.finest, self.ends, "encode_first")]
        for index, (stride, width) in enumerate(zip(self.strides, self.channels, strict=True)):
            layers.append(
                keras.layers.Conv1D(
                    width, 2 * stride, strides=stride, padding="same", name=f"down_{index}"
                )
            )
            layers += self._blocks(width, norm, f"encode_{index}")
        return [*layers, convolution(outputs, 3, "encode_last")]

    def up(self, norm: str) -> list[keras.layers.Layer]:
        """Return layers from [batch, steps, any] to [batch, samples, 1]."""
        layers: list[keras.layers.Layer] = [convolution(self.channels[-1], 3, "decode_first")]
        layers += self._blocks(self.channels[-1], norm, f"decode_{len(self.channels)}")
        widths = (self.finest, *self.channels[:-1])
        for index in reversed(range(len(self.strides))):
            stride, width = self.strides[index], widths[index]
            layers.append(
                keras.layers.Conv1DTranspose(
                    width, 2 * stride, strides=stride, padding="same", name=f"up_{index}"
                )
            )
            # At the finest scale a block costs as much as all others together.
            layers += self._blocks(width, norm, f"decode_{index}") if index else []
        return [*layers, convolution(1, self.ends, "decode_last")]

    def _blocks(self, width: int, norm: str, name: str) -> list[keras.layers.Layer]:
        """Return the residual blocks of one scale."""
        return [
            ResidualBlock(width, norm=norm, name=f"{name}_block_{index}")
            for index in range(self.blocks)
        ]


def through(layers: list[Any], values: Any, training: bool = False) -> Any:
    """Return values after a stack of layers, float32; activations stand before all but the first.

    Residual blocks bring their own.
    """
    for index, layer in enumerate(layers):
        if isinstance(layer, ResidualBlock):
            values = layer(values, training=training)
        else:
            values = layer(leaky_relu(values) if index else values)
    return tf.cast(values, tf.float32)


def convolution(width: int, kernel_size: int, name: str) -> keras.layers.Conv1D:
    """Return a convolution to so many channels that keeps the number of steps."""
    return keras.layers.Conv1D(width, kernel_size, padding="same", name=name)
