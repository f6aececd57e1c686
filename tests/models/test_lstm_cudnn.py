"""cuDNN's way as far as a machine without a GPU can tell: its weights, shapes and dispatch."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import cudnn
from lstm_gen.models.lstm.recurrent import layer as lstm
from lstm_gen.platform import devices

BATCH, FRAMES, FEATURES, UNITS = 2, 4, 5, 3


def draw(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=shape), tf.float32)


def run_packed(params: np.ndarray, inputs: np.ndarray, h: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Run cuDNN's LSTM as its manual defines it: gates i, f, g, o, a matrix [units, in] each."""
    shapes = [(UNITS, FEATURES)] * 4 + [(UNITS, UNITS)] * 4 + [(UNITS,)] * 8
    parts = np.split(params, np.cumsum([np.prod(shape) for shape in shapes])[:-1].astype(int))
    w, r, b = (
        [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)][start:stop]
        for start, stop in ((0, 4), (4, 8), (8, 16))
    )
    outputs = []
    for frame in range(FRAMES):
        x = inputs[:, frame]
        i, f, g, o = (x @ w[k].T + h @ r[k].T + b[k] + b[4 + k] for k in range(4))
        i, f, o = (1 / (1 + np.exp(-value)) for value in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def test_packed_weights_are_in_cudnn_s_order() -> None:
    layer = keras.layers.LSTM(UNITS, return_sequences=True)
    layer.build((BATCH, FRAMES, FEATURES))
    layer.set_weights([draw(*weight.shape).numpy() for weight in layer.get_weights()])
    inputs, h, c = draw(BATCH, FRAMES, FEATURES), draw(BATCH, UNITS), draw(BATCH, UNITS)
    params = cudnn.pack(*layer.get_weights()).numpy()
    found = run_packed(params, inputs.numpy(), h.numpy(), c.numpy())
    expected = layer(inputs, initial_state=[h, c])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_unpacking_undoes_packing() -> None:
    weights = draw(FEATURES, 4 * UNITS), draw(UNITS, 4 * UNITS), draw(4 * UNITS)
    found = cudnn.unpack(cudnn.pack(*weights), FEATURES, UNITS)
    for value, expected in zip(found, weights, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.xla
def test_under_xla_the_loop_is_what_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = lstm.LSTM(UNITS)
    inputs = draw(BATCH, FRAMES, FEATURES)
    layer.build(inputs.shape)

    def differentiate(inputs: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, (h, c) = layer(inputs)
            loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(h * c)
        return outputs, *tape.gradient(loss, [inputs, *layer.trainable_variables])

    with devices.portable():
        expected = differentiate(inputs)
    monkeypatch.setattr(devices, "uses_host_kernels", lambda: False)
    monkeypatch.setattr(devices, "uses_cudnn", lambda: True)
    function = tf.function(differentiate, jit_compile=True)
    graph = function.get_concrete_function(inputs).graph
    assert {"CudnnRNNV3", "CudnnRNNBackpropV3"} <= {
        node.op
        for library_function in graph.as_graph_def().library.function
        for node in library_function.node_def
    }
    for value, wanted in zip(function(inputs), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.xla
def test_cudnn_is_for_nvidia_s_gpus_outside_portable_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not devices.uses_cudnn()
    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind="GPU": [device] * (kind == "GPU")
    )
    for cuda in (True, False):
        monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda c=cuda: {"is_cuda_build": c})
        assert devices.uses_cudnn() == cuda
        assert devices.compiles_whole_steps(one) != cuda
        with devices.portable():
            assert not devices.uses_cudnn()
