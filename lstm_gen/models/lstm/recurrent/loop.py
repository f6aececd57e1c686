"""LSTM over a sequence as TensorFlow loops: what XLA compiles, and what runs anywhere.

The inputs of all frames are projected by one product before the loop, and the gradients of
the weights are one product each after it; the loops hold only what is recurrent.
"""

from typing import Any

import tensorflow as tf

from lstm_gen.models.lstm.recurrent import sequence
from lstm_gen.models.lstm.recurrent.sequence import Arguments, Gradients, Results


def apply_gates(product: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return what follows from one frame's products, all float32.

    Args:
      product: [batch, 4 * units], x @ kernel + h @ recurrent_kernel + bias.
      c: [batch, units] before the frame.

    Returns:
      The activated gates i, f, g, o, [batch, 4 * units], then h and c, [batch, units].
    """
    i, f, g, o = tf.split(tf.cast(product, tf.float32), 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    return tf.concat([i, f, g, o], axis=-1), o * tf.tanh(c), c


def forward(arguments: Arguments) -> Results:
    """Run an LSTM over a sequence; saves c and the gates, frames first."""
    inputs, kernel, recurrent_kernel, bias, h, c = arguments
    frames, units = tf.shape(inputs)[1], recurrent_kernel.shape[0]
    projected = _swap(tf.tensordot(inputs, kernel, axes=1) + bias)
    arrays = [_array(frames, h.shape[0], width) for width in (4 * units, units, units)]

    def advance(frame: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *arrays: tf.TensorArray) -> Any:
        product = projected[frame] + tf.matmul(tf.cast(h, inputs.dtype), recurrent_kernel)
        gates, h, c = apply_gates(product, c)
        written = [a.write(frame, v) for a, v in zip(arrays, (gates, h, c), strict=True)]
        return frame + 1, h, c, *written

    _, h, c, *arrays = tf.while_loop(
        lambda frame, *_: frame < frames,
        advance,
        (0, h, c, *arrays),
        maximum_iterations=frames,
    )
    gates, outputs, cells = (array.stack() for array in arrays)
    return Results(_swap(outputs), h, c, cells, gates)


def backward(arguments: Arguments, results: Results, gradients: Gradients) -> Arguments:
    """Take gradients back through the sequence that `forward` ran over."""
    frames, units = tf.shape(arguments.inputs)[1], arguments.recurrent_kernel.shape[0]
    batch, dtype = arguments.h.shape[0], arguments.inputs.dtype
    d_outputs = _swap(gradients.outputs)
    cells = tf.ensure_shape(results.saved, [None, batch, units])
    gates = tf.ensure_shape(results.also_saved, [None, batch, 4 * units])
    cells_before = tf.concat([arguments.c[None], cells[:-1]], axis=0)

    def retreat(frame: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor, array: tf.TensorArray) -> Any:
        i, f, g, o = tf.split(gates[frame], 4, axis=-1)
        tanh_c = tf.tanh(cells[frame])
        d_h += d_outputs[frame]
        d_c += d_h * o * (1 - tanh_c**2)
        d_i, d_f = d_c * g * i * (1 - i), d_c * cells_before[frame] * f * (1 - f)
        d_g, d_o = d_c * i * (1 - g**2), d_h * tanh_c * o * (1 - o)
        d_product = tf.concat([d_i, d_f, d_g, d_o], axis=-1)
        d_h = tf.matmul(tf.cast(d_product, dtype), arguments.recurrent_kernel, transpose_b=True)
        return frame - 1, tf.cast(d_h, tf.float32), d_c * f, array.write(frame, d_product)

    _, d_h, d_c, array = tf.while_loop(
        lambda frame, *_: frame >= 0,
        retreat,
        (frames - 1, gradients.h, gradients.c, _array(frames, batch, 4 * units)),
        maximum_iterations=frames,
    )
    d_products = _swap(array.stack())
    return sequence.differentiate(arguments, results.outputs, d_products, d_h, d_c)


def _swap(values: tf.Tensor) -> tf.Tensor:
    """Exchange batch and frames."""
    return tf.transpose(values, [1, 0, 2])


def _array(frames: tf.Tensor, batch: int | None, width: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, frames, element_shape=[batch, width])
