"""Residual blocks of convolutions over time, with a norm inside the branch by choice.

A norm on the trunk would take the level of the sound away (measured: an instance norm there leaves
nothing of it). Inside a branch it cannot: what comes in is added again.

Source: K. He et al., Identity Mappings in Deep Residual Networks, 2016 (arXiv 1603.05027).
"""

from typing import Any

import keras
import tensorflow as tf

NORMS = ("none", "instance", "batch")
SLOPE = 0.2


def leaky_relu(values: Any) -> Any:
    """Return the activation of every layer here, of the dtype of its input."""
    return tf.nn.leaky_relu(values, SLOPE)


class ResidualBlock(keras.layers.Layer):
    """x + conv(act(norm(conv(act(norm(x)))))), [batch, steps, channels] to the same.

    Args:
      channels: Of input and output.
      kernel_size: Steps that a convolution sees, odd.
      norm: "none"; "instance", over the steps of an example, which so depends on the length that is
        looked at; or "batch", over a training batch, so that an example's output depends on those
        beside it, and over running averages of those otherwise.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, norm: str = "none", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.norms = [_make_norm(norm, f"norm_{index}") for index in range(2)]
        self.convolutions = [
            keras.layers.Conv1D(channels, kernel_size, padding="same", name=f"conv_{index}")
            for index in range(2)
        ]

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        del input_shape
        for layer in [*self.norms, *self.convolutions]:
            if layer is not None:
                layer.build((None, None, self.channels))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the block's output; a batch norm looks at the batch only when training."""
        values = inputs
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            if norm is not None:
                values = norm(values, training=training)
            values = convolution(leaky_relu(values))
        return inputs + values


def _make_norm(kind: str, name: str) -> keras.layers.Layer | None:
    if kind == "instance":
        return keras.layers.GroupNormalization(groups=-1, name=name)
    if kind == "batch":
        return keras.layers.BatchNormalization(momentum=0.98, name=name)
    return None
