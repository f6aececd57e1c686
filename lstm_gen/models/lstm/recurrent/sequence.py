"""What the ways of running an LSTM over a sequence share: its values, and its last products."""

from typing import NamedTuple

import tensorflow as tf


class Arguments(NamedTuple):
    """What an LSTM over a sequence depends on, or the gradients of all that.

    Attributes:
      inputs: [batch, frames, features].
      kernel: [features, 4 * units], gates i, f, g, o.
      recurrent_kernel: [units, 4 * units].
      bias: [4 * units].
      h: float32 [batch, units] before the first frame.
      c: float32 [batch, units] before the first frame.
    """

    inputs: tf.Tensor
    kernel: tf.Tensor
    recurrent_kernel: tf.Tensor
    bias: tf.Tensor
    h: tf.Tensor
    c: tf.Tensor

    def cast(self, dtype: tf.DType) -> "Arguments":
        """Return the same in another dtype."""
        return Arguments(*(tf.cast(value, dtype) for value in self))


class Results(NamedTuple):
    """What an LSTM over a sequence gives, all float32.

    Attributes:
      outputs: [batch, frames, units], h of every frame.
      h: [batch, units] after the last frame.
      c: [batch, units] after the last frame.
      saved: For the backward pass of whoever made it.
      also_saved: Likewise.
    """

    outputs: tf.Tensor
    h: tf.Tensor
    c: tf.Tensor
    saved: tf.Tensor
    also_saved: tf.Tensor


class Gradients(NamedTuple):
    """The gradients of the first three of `Results`."""

    outputs: tf.Tensor
    h: tf.Tensor
    c: tf.Tensor


def differentiate(
    arguments: Arguments, outputs: tf.Tensor, d_products: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor
) -> Arguments:
    """Return every gradient, given those that a loop over the frames is needed for.

    Args:
      arguments: What the gradients are of.
      outputs: float32 [batch, frames, units], h of every frame.
      d_products: float32 [batch, frames, 4 * units], gradient of
        x @ kernel + h @ recurrent_kernel + bias.
      d_h: Gradient of `arguments.h`.
      d_c: Gradient of `arguments.c`.
    """
    inputs, kernel = arguments.inputs, arguments.kernel
    hidden = tf.concat([arguments.h[:, None], outputs[:, :-1]], axis=1)
    d_products = _rows(d_products)
    d_rows = tf.cast(d_products, inputs.dtype)
    d_kernel = tf.matmul(_rows(inputs), d_rows, transpose_a=True)
    hidden_rows = tf.cast(_rows(hidden), inputs.dtype)
    d_recurrent_kernel = tf.matmul(hidden_rows, d_rows, transpose_a=True)
    # A product, since TensorFlow's sum over so many rows takes five times as long.
    d_bias = tf.matmul(tf.ones([1, tf.shape(d_rows)[0]]), d_products)[0]
    # Last: the layer below starts at once, and must not share its cores with the others.
    with tf.control_dependencies([d_kernel, d_recurrent_kernel, d_bias]):
        d_inputs = tf.matmul(d_rows, kernel, transpose_b=True)
    d_inputs = tf.reshape(d_inputs, tf.shape(inputs))
    return Arguments(d_inputs, d_kernel, d_recurrent_kernel, d_bias, d_h, d_c)


def _rows(values: tf.Tensor) -> tf.Tensor:
    """Return [batch * frames, values] of [batch, frames, values]."""
    return tf.reshape(values, [-1, values.shape[-1]])
