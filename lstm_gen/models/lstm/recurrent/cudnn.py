"""LSTM over a sequence by cuDNN, in float32: for a GPU outside XLA.

Not yet run on a GPU. Tests hold `pack` against cuDNN's equations and `unpack` against `pack`,
and build both operations into a graph; no number of theirs has been seen.
"""

from typing import Any

import tensorflow as tf

from lstm_gen.models.lstm.recurrent.sequence import Arguments, Gradients, Results


def forward(arguments: Arguments) -> Results:
    """Run an LSTM over a sequence; saves cuDNN's two workspaces."""
    operands = _operands(arguments.cast(tf.float32))
    outputs, h, c, reserve, host_reserved = tf.raw_ops.CudnnRNNV3(**operands, is_training=True)
    return Results(_swap(outputs), h[0], c[0], reserve, tf.cast(host_reserved, tf.float32))


def backward(arguments: Arguments, results: Results, gradients: Gradients) -> Arguments:
    """Take gradients back through the sequence that `forward` ran over."""
    d_inputs, d_h, d_c, d_params = tf.raw_ops.CudnnRNNBackpropV3(
        **_operands(arguments.cast(tf.float32)),
        output=_swap(results.outputs),
        output_h=results.h[None],
        output_c=results.c[None],
        output_backprop=_swap(gradients.outputs),
        output_h_backprop=gradients.h[None],
        output_c_backprop=gradients.c[None],
        reserve_space=results.saved,
        host_reserved=tf.cast(results.also_saved, tf.int8),
    )
    features, units = arguments.kernel.shape[0], arguments.recurrent_kernel.shape[0]
    return Arguments(_swap(d_inputs), *unpack(d_params, features, units), d_h[0], d_c[0])


def pack(kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Return the weights as cuDNN takes them: one vector, matrices of the gates transposed.

    cuDNN has a bias for the inputs and one for the state; the second is ours.
    """
    matrices = [*tf.split(kernel, 4, axis=1), *tf.split(recurrent_kernel, 4, axis=1)]
    vectors = [tf.reshape(tf.transpose(matrix), [-1]) for matrix in matrices]
    return tf.concat([*vectors, tf.zeros_like(bias), bias], axis=0)


def unpack(params: tf.Tensor, features: int, units: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the kernel, recurrent kernel and bias of what `pack` made."""
    sizes = [features * units] * 4 + [units * units] * 4 + [4 * units] * 2
    *vectors, _, bias = tf.split(params, sizes)
    matrices = [tf.transpose(tf.reshape(vector, [units, -1])) for vector in vectors]
    return tf.concat(matrices[:4], axis=1), tf.concat(matrices[4:], axis=1), bias


def _operands(arguments: Arguments) -> dict[str, Any]:
    batch, frames = tf.unstack(tf.shape(arguments.inputs)[:2])
    return {
        "input": _swap(arguments.inputs),
        "input_h": arguments.h[None],
        "input_c": arguments.c[None],
        "params": pack(arguments.kernel, arguments.recurrent_kernel, arguments.bias),
        "sequence_lengths": tf.fill([batch], frames),
        "rnn_mode": "lstm",
    }


def _swap(values: tf.Tensor) -> tf.Tensor:
    """Exchange batch and frames."""
    return tf.transpose(values, [1, 0, 2])
