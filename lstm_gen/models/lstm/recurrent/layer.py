"""LSTM layer with Keras's weights and three implementations of the recurrence.

The numba kernel on a machine without accelerators, Keras's cuDNN path on an NVIDIA GPU, and
TensorFlow loops everywhere else: on a TPU, under XLA, in exported graphs.

Source: S. Hochreiter, J. Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997),
with the forget gate of F. Gers, J. Schmidhuber, F. Cummins (2000), whose bias starts at 1.
"""

import concurrent.futures
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import kernel as lstm_kernel
from lstm_gen.models.lstm.recurrent.kernel import Array
from lstm_gen.platform import devices

_ALIGNMENT_BYTES = 64
"""TensorFlow takes an array so aligned as a tensor without copying it."""
_FLOAT_BYTES = 4
_MAX_IDLE = 8
"""Idle blocks that stay when one of another size is needed: a layer takes no more than half."""

# One thread for all calls: OpenMP keeps a team of workers per calling thread, and with more
# teams than cores puts workers to sleep between frames. It also runs one call at a time.
_THREAD = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="lstm")

State = tuple[tf.Tensor, tf.Tensor]
"""(h, c), float32 [batch, units] each."""


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


class LSTM(keras.layers.Layer):
    """Long short-term memory.

    Weights are those of `keras.layers.LSTM`, of the same names, shapes and gate order i, f, c, o.

    Attributes:
      units: Values per frame of the output, and of h and c.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        # Autocasting would cast the state too, which stays float32.
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self._run_keras: Callable[..., Any] | None = None

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Create the weights, named, shaped and initialised as Keras does."""
        features, units = input_shape[-1], self.units
        self.kernel = self.add_weight(
            shape=(features, 4 * units), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer=_initial_bias, name="bias")
        if devices.uses_cudnn():
            self._run_keras = make_keras_lstm(features, units)

    def zero_state(self, batch_size: int | tf.Tensor) -> State:
        """Return the state before the first frame: zeros."""
        zeros = tf.zeros([batch_size, self.units], tf.float32)
        return zeros, zeros

    def call(
        self, inputs: tf.Tensor, initial_state: State | None = None
    ) -> tuple[tf.Tensor, State]:
        """Run over a sequence.

        Args:
          inputs: [batch, frames, features].
          initial_state: The state before the first frame; zeros if None.

        Returns:
          h of every frame, [batch, frames, units] in the compute dtype, and the state after
          the last frame.
        """
        if initial_state is None:
            initial_state = self.zero_state(inputs.shape[0] or tf.shape(inputs)[0])
        state = [tf.cast(value, tf.float32) for value in initial_state]
        arguments = *self._cast(inputs, *self._weights), *state
        run = self._run_keras if self._run_keras and devices.uses_cudnn() else _run
        outputs, h, c = run(*arguments)
        return tf.cast(outputs, self.compute_dtype), (h, c)

    def step(self, inputs: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Advance one frame.

        Args:
          inputs: [batch, features].
          state: The state before the frame.

        Returns:
          h, [batch, units] in the compute dtype, and the state after the frame.
        """
        h, c = state
        inputs, h, kernel, recurrent_kernel, bias = self._cast(inputs, h, *self._weights)
        product = tf.matmul(inputs, kernel) + tf.matmul(h, recurrent_kernel) + bias
        _, h, c = _apply_gates(product, c)
        return tf.cast(h, self.compute_dtype), (h, c)

    @property
    def _weights(self) -> tuple[Any, Any, Any]:
        return self.kernel, self.recurrent_kernel, self.bias

    def _cast(self, *values: Any) -> list[tf.Tensor]:
        return [tf.cast(value, self.compute_dtype) for value in values]


def _initial_bias(shape: tuple[int], dtype: Any = None) -> tf.Tensor:
    """Return zeros, and ones for the forget gate."""
    return tf.repeat(tf.constant([0.0, 1.0, 0.0, 0.0], dtype), shape[0] // 4)


def make_keras_lstm(features: int, units: int) -> Callable[..., tuple[Any, Any, Any]]:
    """Return `keras.layers.LSTM` as a function of inputs and weights.

    Keras runs cuDNN if TensorFlow has a GPU. Not yet run on a GPU here: tests compare outputs,
    state and gradients with the loop on a CPU, where Keras runs its own loop, and look for
    cuDNN's operations in a graph traced as if there were a GPU.

    Args:
      features: Values per input frame.
      units: Values per output frame.

    Returns:
      A function of inputs, kernel, recurrent kernel, bias, h and c to the outputs, float32 [batch,
      frames, units], and h and c after the last frame, float32 [batch, units].
    """
    # The seed is never drawn from; without one Keras draws it, and later weights start elsewhere.
    layer = keras.layers.LSTM(
        units,
        kernel_initializer="zeros",
        recurrent_initializer="zeros",
        return_sequences=True,
        return_state=True,
        seed=0,
        dtype="float32",
    )
    layer.build((None, None, features))

    def run(*arguments: tf.Tensor) -> tuple[Any, Any, Any]:
        inputs, *weights, h, c = (tf.cast(value, tf.float32) for value in arguments)
        (outputs, h, c), _ = layer.stateless_call(
            weights, layer.non_trainable_variables, inputs, initial_state=[h, c]
        )
        return outputs, h, c

    return run


@tf.custom_gradient
def _run(*arguments: tf.Tensor) -> Any:
    """Run an LSTM over a sequence by the CPU kernel or by loops.

    Args:
      *arguments: inputs [batch, frames, features], kernel, recurrent kernel and bias in the compute
        dtype; h and c before the first frame, float32 [batch, units].

    Returns:
      Outputs, float32 [batch, frames, units], and h and c after the last frame.
    """
    on_cpu = devices.uses_host_kernels()
    kernels, loops = (_kernel_forward, _kernel_backward), (_loop_forward, _loop_backward)
    forward, backward = kernels if on_cpu else loops
    values = [tf.cast(value, tf.float32) for value in arguments] if on_cpu else arguments
    inputs, kernel, recurrent_kernel, _, h, c = values
    outputs, last_c, cells, gates = forward(*values)
    outputs.set_shape([*inputs.shape[:2], recurrent_kernel.shape[0]])
    last_c.set_shape(c.shape)

    def differentiate(d_outputs: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor) -> Any:
        d_products, d_h, d_c = backward(d_outputs, d_h, d_c, recurrent_kernel, c, cells, gates)
        d_products.set_shape([*inputs.shape[:2], kernel.shape[1]])
        found = *_weight_gradients(inputs, kernel, h, outputs, d_products), d_h, d_c
        for d_value, value in zip(found, arguments, strict=True):
            d_value.set_shape(value.shape)
        return [
            tf.cast(d_value, value.dtype) for d_value, value in zip(found, arguments, strict=True)
        ]

    return (outputs, outputs[:, -1], last_c), differentiate


def _weight_gradients(
    inputs: tf.Tensor, kernel: tf.Tensor, h: tf.Tensor, outputs: tf.Tensor, d_products: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the gradients of inputs, kernel, recurrent kernel and bias.

    Each is one product over all frames, given the gradient of x @ kernel + h @ recurrent_kernel +
    bias, float32 [batch, frames, 4 * units].
    """
    hidden = tf.concat([h[:, None], outputs[:, :-1]], axis=1)
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
    return tf.reshape(d_inputs, tf.shape(inputs)), d_kernel, d_recurrent_kernel, d_bias


def _apply_gates(product: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the gates of one frame and the state after it, all float32.

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


def _kernel_forward(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run an LSTM over a sequence by the CPU kernel, in float32.

    Args:
      inputs: float32 [batch, frames, features].
      kernel: float32 [features, 4 * units], gates i, f, g, o.
      recurrent_kernel: float32 [units, 4 * units].
      bias: float32 [4 * units].
      h: float32 [batch, units] before the first frame.
      c: float32 [batch, units] before the first frame.

    Returns:
      Outputs [batch, frames, units], the last c, and for `_kernel_backward` cells and gates.
    """
    return _call(run_forward, 4, inputs, kernel, recurrent_kernel, bias, h, c)


def _kernel_backward(
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
      recurrent_kernel: As in `_kernel_forward`.
      c: Before the first frame.
      cells: As returned by `_kernel_forward`.
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
    """Run `_kernel_forward` on arrays."""
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
    """Run `_kernel_backward` on arrays."""
    packed = lstm_kernel.pack_units(recurrent_kernel, cells.shape[0], cells.shape[3])
    d_products = _POOL.take(*d_outputs.shape[:2], recurrent_kernel.shape[1])
    d_h, d_c = d_h.copy(), d_c.copy()
    lstm_kernel.run_backward(d_outputs, d_h, d_c, packed, c, cells, gates, d_products)
    return d_products, d_h, d_c


def _loop_forward(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Run an LSTM over a sequence; inputs are projected by one product before the loop.

    Returns:
      Outputs [batch, frames, units], the last c, and for `_loop_backward` c and the activated gates
      of every frame, frames first; all float32.
    """
    frames, units = tf.shape(inputs)[1], recurrent_kernel.shape[0]
    projected = _swap(tf.tensordot(inputs, kernel, axes=1) + bias)
    arrays = [_array(frames, h.shape[0], width) for width in (4 * units, units, units)]

    def advance(frame: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *arrays: tf.TensorArray) -> Any:
        product = projected[frame] + tf.matmul(tf.cast(h, inputs.dtype), recurrent_kernel)
        gates, h, c = _apply_gates(product, c)
        written = [a.write(frame, v) for a, v in zip(arrays, (gates, h, c), strict=True)]
        return frame + 1, h, c, *written

    _, _, c, *arrays = tf.while_loop(
        lambda frame, *_: frame < frames,
        advance,
        (0, h, c, *arrays),
        maximum_iterations=frames,
    )
    gates, outputs, cells = (array.stack() for array in arrays)
    return _swap(outputs), c, cells, gates


def _loop_backward(
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
      recurrent_kernel: As in `_loop_forward`.
      c: Before the first frame.
      cells: As returned by `_loop_forward`.
      gates: Likewise.
    """
    frames, batch, units = tf.shape(cells)[0], c.shape[0], recurrent_kernel.shape[0]
    d_outputs = _swap(d_outputs)
    cells_before = tf.concat([c[None], cells[:-1]], axis=0)

    def retreat(frame: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor, array: tf.TensorArray) -> Any:
        i, f, g, o = tf.split(gates[frame], 4, axis=-1)
        tanh_c = tf.tanh(cells[frame])
        d_h += d_outputs[frame]
        d_c += d_h * o * (1 - tanh_c**2)
        d_i, d_f = d_c * g * i * (1 - i), d_c * cells_before[frame] * f * (1 - f)
        d_g, d_o = d_c * i * (1 - g**2), d_h * tanh_c * o * (1 - o)
        d_product = tf.concat([d_i, d_f, d_g, d_o], axis=-1)
        d_rows = tf.cast(d_product, recurrent_kernel.dtype)
        d_h = tf.matmul(d_rows, recurrent_kernel, transpose_b=True)
        return frame - 1, tf.cast(d_h, tf.float32), d_c * f, array.write(frame, d_product)

    _, d_h, d_c, array = tf.while_loop(
        lambda frame, *_: frame >= 0,
        retreat,
        (frames - 1, d_h, d_c, _array(frames, batch, 4 * units)),
        maximum_iterations=frames,
    )
    return _swap(array.stack()), d_h, d_c


def _rows(values: tf.Tensor) -> tf.Tensor:
    """Return [batch * frames, values] of [batch, frames, values]."""
    return tf.reshape(values, [-1, values.shape[-1]])


def _swap(values: tf.Tensor) -> tf.Tensor:
    """Exchange batch and frames."""
    return tf.transpose(values, [1, 0, 2])


def _array(frames: tf.Tensor, batch: int | None, width: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, frames, element_shape=[batch, width])
