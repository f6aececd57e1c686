"""LSTM layer that is fast where the stock one is not: on a processor, and under XLA.

Weights, gate order and numbers are those of `keras.layers.LSTM`, so that weights move
between the two.

Source: S. Hochreiter, J. Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997),
with the forget gate of F. Gers, J. Schmidhuber, F. Cummins (2000), whose bias starts at 1.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import cpu, cudnn, loop
from lstm_gen.models.lstm.recurrent.sequence import Arguments, Gradients, Results
from lstm_gen.platform import devices

State = tuple[tf.Tensor, tf.Tensor]
"""(h, c), float32 [batch, units] each."""


class LSTM(keras.layers.Layer):
    """Long short-term memory.

    Attributes:
      units: Values per frame of the output, and of each half of the state.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        # Keras would cast the state too, which is to stay float32.
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights, named, shaped and initialised as Keras does."""
        features, units = input_shape[-1], self.units
        self.kernel = self.add_weight(
            shape=(features, 4 * units), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer=_initial_bias, name="bias")

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
        outputs, h, c = _run(*self._cast(inputs, *self._weights), *state)
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
        _, h, c = loop.apply_gates(product, c)
        return tf.cast(h, self.compute_dtype), (h, c)

    def compute_output_spec(self, inputs: Any, initial_state: Any = None) -> Any:
        """Return the symbolic outputs that `call` gives for symbolic inputs."""
        del initial_state
        state = keras.KerasTensor((inputs.shape[0], self.units), "float32")
        outputs = keras.KerasTensor((*inputs.shape[:-1], self.units), self.compute_dtype)
        return outputs, (state, state)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make the layer anew."""
        return {**super().get_config(), "units": self.units}

    @property
    def _weights(self) -> tuple[Any, Any, Any]:
        return self.kernel, self.recurrent_kernel, self.bias

    def _cast(self, *values: Any) -> list[tf.Tensor]:
        return [tf.cast(value, self.compute_dtype) for value in values]


def _initial_bias(shape: tuple[int], dtype: Any = None) -> tf.Tensor:
    """Return zeros, and ones for the forget gate."""
    return tf.repeat(tf.constant([0.0, 1.0, 0.0, 0.0], dtype), shape[0] // 4)


@tf.custom_gradient
def _run(*arguments: tf.Tensor) -> Any:
    """Return outputs, float32 [batch, frames, units], and h and c after the last frame.

    Args:
      *arguments: The fields of `Arguments`, in order; all but h and c in the compute dtype.
    """
    given = Arguments(*arguments)
    results = Results(*_choose(lambda way: way.forward(given)))
    shape = [*given.inputs.shape[:2], given.recurrent_kernel.shape[0]]
    for value, known in zip(results, (shape, given.h.shape, given.c.shape), strict=False):
        value.set_shape(known)

    def differentiate(*gradients: tf.Tensor) -> Any:
        found = _choose(lambda way: way.backward(given, results, Gradients(*gradients)))
        for d_value, value in zip(found, given, strict=True):
            d_value.set_shape(value.shape)
        return [tf.cast(d_value, value.dtype) for d_value, value in zip(found, given, strict=True)]

    return results[:3], differentiate


def _choose(run: Callable[[ModuleType], Any]) -> Any:
    """Return what `run` gives for the way of running a sequence that suits the device."""
    if devices.uses_host_kernels():
        return run(cpu)
    if not devices.uses_cudnn():
        return run(loop)
    # Not every function on a machine with a GPU runs on it; and XLA, which has no kernel for
    # cuDNN's operations, takes the default and leaves the other out.
    on_gpu = tf.raw_ops.DeviceIndex(device_names=["GPU"])
    return tf.switch_case(on_gpu, [lambda: run(cudnn)], default=lambda: run(loop))
