"""LSTM layer that keeps only the recurrent product inside its loop.

On a machine whose processor is all there is, sequences run through `lstm_kernel`; on a GPU,
on a TPU and under XLA through a loop of TensorFlow operations. Both give Keras's numbers.
"""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen import distribute
from lstm_gen.models.layers import lstm_kernel

State = tuple[tf.Tensor, tf.Tensor]


class LSTM(keras.layers.Layer):
    """Long short-term memory over a sequence, with the numbers of `keras.layers.LSTM`.

    Attributes:
      units: Size of the output and of each half of the state.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights, named, shaped and initialised as Keras does."""
        units = self.units

        def initial_bias(shape: Any, dtype: Any = None) -> tf.Tensor:
            del shape
            return tf.repeat(tf.constant([0.0, 1.0, 0.0, 0.0], dtype), units)

        self.kernel = self.add_weight(
            shape=(input_shape[-1], 4 * units), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer=initial_bias, name="bias")

    def zero_state(self, batch_size: int | tf.Tensor) -> State:
        """Return the state before the first frame: (h, c), float32 [batch, units] of zeros."""
        zeros = tf.zeros([batch_size, self.units], tf.float32)
        return zeros, zeros

    def call(self, inputs: tf.Tensor, initial_state: State | None = None) -> Any:
        """Run over a sequence.

        Args:
          inputs: Float [batch, frames, features].
          initial_state: (h, c), float32 [batch, units] each; zeros if None.

        Returns:
          Outputs [batch, frames, units] in the compute dtype, and the last (h, c), float32.
        """
        h, c = self.zero_state(tf.shape(inputs)[0]) if initial_state is None else initial_state
        inputs, kernel, recurrent_kernel, bias = self._cast(
            inputs, self.kernel, self.recurrent_kernel, self.bias
        )
        host = distribute.uses_host_kernels() and inputs.dtype == tf.float32
        outputs, h, c = (_sequence_on_host if host else _sequence)(
            inputs,
            kernel,
            recurrent_kernel,
            bias,
            tf.cast(h, tf.float32),
            tf.cast(c, tf.float32),
        )
        return tf.cast(outputs, self.compute_dtype), (h, c)

    def step(self, inputs: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Advance one frame.

        Args:
          inputs: Float [batch, features].
          state: (h, c), float32 [batch, units] each.

        Returns:
          Output [batch, units] in the compute dtype, and the next (h, c), float32.
        """
        h, c = state
        inputs, h_cast, kernel, recurrent_kernel, bias = self._cast(
            inputs, h, self.kernel, self.recurrent_kernel, self.bias
        )
        product = inputs @ kernel + h_cast @ recurrent_kernel + bias
        h, c, *_ = _cell(tf.cast(product, tf.float32), c)
        return tf.cast(h, self.compute_dtype), (h, c)

    def compute_output_spec(self, inputs: Any, initial_state: Any = None) -> Any:
        """Return the symbolic outputs that `call` gives for symbolic inputs."""
        del initial_state
        state = keras.KerasTensor((inputs.shape[0], self.units), "float32")
        outputs = keras.KerasTensor((*inputs.shape[:-1], self.units), self.compute_dtype)
        return outputs, (state, state)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make the layer anew."""
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "units": self.units}

    def _cast(self, *values: Any) -> list[tf.Tensor]:
        return [tf.cast(value, self.compute_dtype) for value in values]


def _cell(product: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
    i, f, g, o = tf.split(product, 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    tanh_c = tf.tanh(c)
    return o * tanh_c, c, tanh_c, i, f, g, o


@tf.custom_gradient
def _sequence(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    h0: tf.Tensor,
    c0: tf.Tensor,
) -> Any:
    """Return outputs [batch, frames, units] and the last h and c, with their gradient.

    Only what depends on the frame before stays in a loop: the input projections are one product
    before it, and in the gradient each weight's is one product after it.
    """
    frames, features, units = inputs.shape[1], inputs.shape[2], recurrent_kernel.shape[0]
    frames = tf.shape(inputs)[1] if frames is None else frames
    rows = tf.reshape(tf.transpose(inputs, [1, 0, 2]), [-1, features])
    projected = tf.reshape(rows @ kernel + bias, [frames, -1, 4 * units])
    h_last, c_last, (hs, cs, *activated) = _run_forward(projected, recurrent_kernel, h0, c0)

    def gradient(d_outputs: tf.Tensor, d_h_last: tf.Tensor, d_c_last: tf.Tensor) -> Any:
        d_hs = tf.transpose(tf.cast(d_outputs, tf.float32), [1, 0, 2])
        cs_before = tf.concat([c0[None], cs[:-1]], 0)
        d_products, d_h0, d_c0 = _run_backward(
            d_hs, cs_before, activated, recurrent_kernel, d_h_last, d_c_last
        )
        d_products = tf.reshape(tf.cast(d_products, inputs.dtype), [-1, 4 * units])
        d_rows = tf.matmul(d_products, kernel, transpose_b=True)
        d_inputs = tf.transpose(tf.reshape(d_rows, [frames, -1, features]), [1, 0, 2])
        h_rows = tf.reshape(tf.concat([h0[None], hs[:-1]], 0), [-1, units])
        return (
            tf.ensure_shape(d_inputs, inputs.shape),
            tf.matmul(rows, d_products, transpose_a=True),
            tf.matmul(tf.cast(h_rows, inputs.dtype), d_products, transpose_a=True),
            tf.reduce_sum(d_products, 0),
            d_h0,
            d_c0,
        )

    return (tf.cast(tf.transpose(hs, [1, 0, 2]), inputs.dtype), h_last, c_last), gradient


@tf.custom_gradient
def _sequence_on_host(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    h0: tf.Tensor,
    c0: tf.Tensor,
) -> Any:
    """Return what `_sequence` does, the loops being run by `lstm_kernel`."""
    features, units = inputs.shape[2], recurrent_kernel.shape[0]
    hs, last_c, cs, gates = _on_host(
        lstm_kernel.forward, [inputs, kernel, recurrent_kernel, bias, h0, c0]
    )
    hs = tf.ensure_shape(hs, [inputs.shape[0], inputs.shape[1], units])

    def gradient(d_hs: tf.Tensor, d_last_h: tf.Tensor, d_last_c: tf.Tensor) -> Any:
        d_products, d_bias, d_h0, d_c0 = _on_host(
            lstm_kernel.backward, [d_hs, d_last_h, d_last_c, recurrent_kernel, c0, cs, gates]
        )
        d_products = tf.reshape(d_products, [-1, 4 * units])
        before = tf.concat([h0[:, None], hs[:, :-1]], 1)
        rows, before = tf.reshape(inputs, [-1, features]), tf.reshape(before, [-1, units])
        d_kernel = tf.matmul(rows, d_products, transpose_a=True)
        d_recurrent_kernel = tf.matmul(before, d_products, transpose_a=True)
        d_inputs = tf.reshape(tf.matmul(d_products, kernel, transpose_b=True), tf.shape(inputs))
        # The layer below starts when these products are done: its kernel wants every core.
        with tf.control_dependencies([d_kernel, d_recurrent_kernel]):
            d_inputs = tf.ensure_shape(tf.identity(d_inputs), inputs.shape)
        return (
            d_inputs,
            d_kernel,
            d_recurrent_kernel,
            tf.ensure_shape(d_bias, bias.shape),
            tf.ensure_shape(d_h0, h0.shape),
            tf.ensure_shape(d_c0, c0.shape),
        )

    return (hs, hs[:, -1], tf.ensure_shape(last_c, c0.shape)), gradient


# Numba's threads serve one caller at a time, and TensorFlow may call from several.
_HOST = concurrent.futures.ThreadPoolExecutor(1)


def _on_host(function: Callable[..., Any], arguments: list[tf.Tensor]) -> list[tf.Tensor]:
    """Return the four float32 results of a host function of arrays."""

    def run(*arrays: np.ndarray) -> Any:
        return _HOST.submit(function, *map(np.ascontiguousarray, arrays)).result()

    return tf.numpy_function(run, arguments, [tf.float32] * 4, stateful=False)


def _run_forward(
    projected: tf.Tensor, recurrent_kernel: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Return the last h and c, and of every frame h, c and what `_cell` gives after them."""
    dtype, n_frames = projected.dtype, projected.shape[0] or tf.shape(projected)[0]

    def advance(t: Any, h: Any, c: Any, arrays: Any) -> Any:
        product = projected[t] + tf.cast(h, dtype) @ recurrent_kernel
        h, c, *rest = _cell(tf.cast(product, tf.float32), c)
        return t + 1, h, c, [a.write(t, v) for a, v in zip(arrays, (h, c, *rest), strict=True)]

    arrays = [tf.TensorArray(tf.float32, n_frames, element_shape=h0.shape) for _ in range(7)]
    _, h_last, c_last, arrays = tf.while_loop(
        lambda t, *_: t < n_frames, advance, (0, h0, c0, arrays), maximum_iterations=n_frames
    )
    return h_last, c_last, [array.stack() for array in arrays]


def _run_backward(
    d_hs: tf.Tensor,
    cs_before: tf.Tensor,
    activated: list[tf.Tensor],
    recurrent_kernel: tf.Tensor,
    d_h_last: tf.Tensor,
    d_c_last: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the gradients of the gate products, [frames, batch, 4 units], and of h0 and c0."""
    n_frames, dtype = d_hs.shape[0] or tf.shape(d_hs)[0], recurrent_kernel.dtype
    shape = [d_hs.shape[1], recurrent_kernel.shape[1]]

    def retreat(t: Any, d_h: Any, d_c: Any, array: Any) -> Any:
        tanh_c, i, f, g, o = (values[t] for values in activated)
        d_h += d_hs[t]
        d_c += d_h * o * (1 - tanh_c**2)
        d_product = tf.concat(
            [
                d_c * g * i * (1 - i),
                d_c * cs_before[t] * f * (1 - f),
                d_c * i * (1 - g**2),
                d_h * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        d_h = tf.matmul(tf.cast(d_product, dtype), recurrent_kernel, transpose_b=True)
        return t - 1, tf.cast(d_h, tf.float32), d_c * f, array.write(t, d_product)

    array = tf.TensorArray(tf.float32, n_frames, element_shape=shape)
    _, d_h0, d_c0, array = tf.while_loop(
        lambda t, *_: t >= 0,
        retreat,
        (n_frames - 1, d_h_last, d_c_last, array),
        maximum_iterations=n_frames,
    )
    return array.stack(), d_h0, d_c0
