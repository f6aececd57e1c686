"""LSTM over a sequence on the CPU: the numba kernel as TensorFlow functions, in float32."""

import concurrent.futures
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import kernel as lstm_kernel
from lstm_gen.models.lstm.recurrent.kernel import Array

_ALIGNMENT_BYTES = 64
"""TensorFlow takes an array so aligned as a tensor without copying it."""
_FLOAT_BYTES = 4
_MAX_IDLE = 8
"""Idle blocks that stay when one of another size is needed: a layer takes no more than half."""

# One thread for all calls: OpenMP keeps a team of workers per calling thread, and with more
# teams than cores puts workers to sleep between frames. It also runs one call at a time.
_THREAD = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="lstm")


def forward(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run an LSTM over a sequence.

    Args:
      inputs: float32 [batch, frames, features].
      kernel: float32 [features, 4 * units], gates i, f, g, o.
      recurrent_kernel: float32 [units, 4 * units].
      bias: float32 [4 * units].
      h: float32 [batch, units] before the first frame.
      c: float32 [batch, units] before the first frame.

    Returns:
      Outputs [batch, frames, units], the last c, and for `backward` the kernel's cells and gates.
    """
    return _call(run_forward, 4, inputs, kernel, recurrent_kernel, bias, h, c)


def backward(
    d_outputs: tf.Tensor,
    d_h: tf.Tensor,
    d_c: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    c: tf.Tensor,
    cells: tf.Tensor,
    gates: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the gradients of every frame's products, and of h and c before the first frame.

    Args:
      d_outputs: float32 [batch, frames, units].
      d_h: Of h after the last frame.
      d_c: Of c after the last frame.
      recurrent_kernel: As in `forward`.
      c: Before the first frame.
      cells: As returned by `forward`.
      gates: Likewise.
    """
    return _call(run_backward, 3, d_outputs, d_h, d_c, recurrent_kernel, c, cells, gates)


def _call(function: Callable[..., Any], n_results: int, *arguments: tf.Tensor) -> Any:
    """Return the results of a function of arrays, called on the one thread, as tensors."""

    def call(*arrays: Array) -> Any:
        return _THREAD.submit(function, *arrays).result()

    return tf.numpy_function(call, arguments, [tf.float32] * n_results, stateful=False)


def run_forward(
    inputs: Array, kernel: Array, recurrent_kernel: Array, bias: Array, h: Array, c: Array
) -> tuple[Array, Array, Array, Array]:
    """Run `forward` on arrays."""
    batch, frames, _ = inputs.shape
    blocks, size = lstm_kernel.split_units(h.shape[1])
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
    """Run `backward` on arrays."""
    packed = lstm_kernel.pack_units(recurrent_kernel, cells.shape[0], cells.shape[3])
    d_products = _POOL.take(*d_outputs.shape[:2], recurrent_kernel.shape[1])
    d_h, d_c = d_h.copy(), d_c.copy()
    lstm_kernel.run_backward(d_outputs, d_h, d_c, packed, c, cells, gates, d_products)
    return d_products, d_h, d_c


class BufferPool:
    """Large arrays that are reused once nothing refers to them. For one thread at a time.

    The system clears fresh memory page by page, which for one LSTM layer's gates takes a third as
    long as the layer itself. Nothing has to be given back: Python counts the references to a
    block. Each view of an array counts, and a tensor that shares an array's memory keeps the array.
    """

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.uint8]] = [np.empty(0, np.uint8)]  # latest last
        self._references_when_idle = self._count_references(0)

    def take(self, *shape: int) -> Array:
        """Return a float32 array of that shape, its values undefined."""
        size = _FLOAT_BYTES * math.prod(shape)
        block = self._find(size + _ALIGNMENT_BYTES)
        start = -block.ctypes.data % _ALIGNMENT_BYTES
        return block[start : start + size].view(np.float32).reshape(shape)

    def _find(self, size: int) -> npt.NDArray[np.uint8]:
        """Return an idle block of that size, or a new one."""
        indices = range(len(self._blocks))
        idle = [i for i in indices if self._count_references(i) == self._references_when_idle]
        for index in idle:
            if self._blocks[index].size == size:
                self._blocks.append(self._blocks.pop(index))
                return self._blocks[-1]
        for index in reversed(idle[:-_MAX_IDLE]):
            del self._blocks[index]
        self._blocks.append(np.empty(size, np.uint8))
        return self._blocks[-1]

    def _count_references(self, index: int) -> int:
        return sys.getrefcount(self._blocks[index])


_POOL = BufferPool()  # of `_THREAD`
