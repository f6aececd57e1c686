"""LSTM over a sequence by our own kernel, in float32: for a machine with a processor only."""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import buffers, sequence
from lstm_gen.models.lstm.recurrent import kernel as lstm_kernel
from lstm_gen.models.lstm.recurrent.rows import Array
from lstm_gen.models.lstm.recurrent.sequence import Arguments, Gradients, Results

# One thread for all calls: OpenMP keeps a team of workers per calling thread, and with more
# teams than cores puts workers to sleep between frames. It also runs one call at a time.
_THREAD = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="lstm")

_POOL = buffers.Pool()  # of that thread


def forward(arguments: Arguments) -> Results:
    """Run an LSTM over a sequence; saves the kernel's cells and gates."""
    outputs, c, cells, gates = _call(run_forward, arguments.cast(tf.float32), 4)
    return Results(outputs, outputs[:, -1], c, cells, gates)


def backward(arguments: Arguments, results: Results, gradients: Gradients) -> Arguments:
    """Take gradients back through the sequence that `forward` ran over."""
    arguments = arguments.cast(tf.float32)
    kept = arguments.recurrent_kernel, arguments.c, results.saved, results.also_saved
    d_products, d_h, d_c = _call(run_backward, (*gradients, *kept), 3)
    d_products.set_shape([None, None, arguments.bias.shape[0]])
    return sequence.differentiate(arguments, results.outputs, d_products, d_h, d_c)


def _call(function: Callable[..., Any], arguments: Sequence[tf.Tensor], n_results: int) -> Any:
    """Return what a function of arrays returns for tensors, called on the one thread."""

    def call(*arrays: Array) -> Any:
        return _THREAD.submit(function, *arrays).result()

    return tf.numpy_function(call, arguments, [tf.float32] * n_results, stateful=False)


def run_forward(
    inputs: Array, kernel: Array, recurrent_kernel: Array, bias: Array, h: Array, c: Array
) -> tuple[Array, Array, Array, Array]:
    """Return every h, the last c, and the kernel's cells and gates."""
    batch, frames, _ = inputs.shape
    blocks, size = lstm_kernel.share_units(h.shape[1])
    packed = lstm_kernel.pack_gates(kernel, blocks, size)
    packed_recurrent = lstm_kernel.pack_gates(recurrent_kernel, blocks, size)
    outputs = _POOL.take(batch, frames, h.shape[1])
    cells = _POOL.take(blocks, frames, batch, size)
    gates = _POOL.take(blocks, frames, batch, 4 * size)
    if missing := packed.shape[2] - inputs.shape[2]:
        inputs = np.pad(inputs, [(0, 0), (0, 0), (0, missing)])
    c = c.copy()
    lstm_kernel.run_forward(inputs, packed, packed_recurrent, bias, h, c, outputs, cells, gates)
    return outputs, c, cells, gates


def run_backward(
    d_outputs: Array,
    d_h: Array,
    d_c: Array,
    recurrent_kernel: Array,
    c: Array,
    cells: Array,
    gates: Array,
) -> tuple[Array, Array, Array]:
    """Return the gradients of every frame's products, and of h and c before the first frame."""
    packed = lstm_kernel.pack_units(recurrent_kernel, cells.shape[0], cells.shape[3])
    d_products = _POOL.take(*d_outputs.shape[:2], recurrent_kernel.shape[1])
    d_h, d_c = d_h.copy(), d_c.copy()
    lstm_kernel.run_backward(d_outputs, d_h, d_c, packed, c, cells, gates, d_products)
    return d_products, d_h, d_c
