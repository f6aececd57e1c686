"""Stacks of convolutions over time: an encoder's, and the same layers in reverse to decode."""

from typing import Any

import keras
import tensorflow as tf

_SLOPE = 0.2  # of a leaky rectifier, below 0


class Residual(keras.layers.Layer):
    """Two convolutions of 3 steps, whose result is added to what went in.

    Args:
      width: Channels.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = width
        self.first, self.last = convolution(width, 3, "first"), convolution(width, 3, "last")

    def build(self, input_shape: Any) -> None:
        """Create the weights of both."""
        for layer in (self.first, self.last):
            layer.build((None, None, self.filters))
        super().build(input_shape)

    def call(self, values: Any) -> Any:
        """Return values with what is made of them added, [batch, steps, width]."""
        return values + self.last(rectify(self.first(rectify(values))))


def pair(
    channels: int, width: int, blocks: int, scales: int, size: int, window_steps: int = 0
) -> tuple[list[Any], list[Any]]:
    """Return the layers of an encoder, and those of the decoder that mirrors it.

    Args:
      channels: Values of a frame.
      width: Channels inside.
      blocks: Residual blocks of each.
      scales: How often the number of steps is halved.
      size: Values that a step is encoded to; what is decoded need not be as many.
      window_steps: Steps that are encoded as one, with no others beside them; 0 for each by itself.
    """
    ends: dict[str, Any] = {"kernel_size": window_steps, "padding": "valid"}
    ends = ends if window_steps else {"kernel_size": 3, "padding": "same"}
    first = keras.layers.Conv1DTranspose if window_steps else keras.layers.Conv1D
    half: dict[str, Any] = {"kernel_size": 4, "strides": 2, "padding": "same"}
    encoder = [
        convolution(width, 3, "encode_first"),
        *(keras.layers.Conv1D(width, name=f"down_{i}", **half) for i in range(scales)),
        *(Residual(width, name=f"encode_block_{i}") for i in range(blocks)),
        keras.layers.Conv1D(size, name="encode_last", **ends),
    ]
    decoder = [
        first(width, name="decode_first", **ends),
        *(Residual(width, name=f"decode_block_{i}") for i in range(blocks)),
        *(keras.layers.Conv1DTranspose(width, name=f"up_{i}", **half) for i in range(scales)),
        convolution(channels, 3, "decode_last"),
    ]
    return encoder, decoder


def convolution(width: int, kernel_size: int, name: str) -> keras.layers.Conv1D:
    """Return a convolution that keeps the number of steps."""
    return keras.layers.Conv1D(width, kernel_size, padding="same", name=name)


def rectify(values: Any) -> Any:
    """Return values with those below 0 made smaller."""
    return tf.nn.leaky_relu(values, _SLOPE)


def run(layers: list[Any], values: Any) -> Any:
    """Return values after a stack of layers, rectified between them, float32."""
    for index, layer in enumerate(layers):
        rectified = index and not isinstance(layer, Residual)
        values = layer(rectify(values) if rectified else values)
    return tf.cast(values, tf.float32)
