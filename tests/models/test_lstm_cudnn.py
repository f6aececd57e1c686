"""Keras's cuDNN path as far as a machine without a GPU can tell: numbers, graphs and dispatch."""

import random
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import layer as lstm
from lstm_gen.platform import devices

BATCH, FRAMES, FEATURES, UNITS = 2, 4, 5, 3


def draw(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make TensorFlow and Keras trace as if there were an NVIDIA GPU."""
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    for name in ("list_physical_devices", "list_logical_devices"):
        monkeypatch.setattr(tf.config, name, lambda kind="GPU": [device] * (kind == "GPU"))
    build = {**tf.sysconfig.get_build_info(), "is_cuda_build": True, "is_rocm_build": False}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: build)


def differentiate(layer: lstm.LSTM, inputs: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> Any:
    """Return outputs, last state, and every gradient of a sum over all of them."""
    with tf.GradientTape() as tape:
        tape.watch([inputs, h, c])
        outputs, (last_h, last_c) = layer(inputs, (h, c))
        loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(last_h * last_c)
    return outputs, last_h, last_c, *tape.gradient(loss, [inputs, h, c, *layer.trainable_variables])


def assert_close(found: Any, expected: Any) -> None:
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


def operations(function: Any, *arguments: tf.Tensor) -> set[str]:
    """Return the operations of a traced function and of those that it calls."""
    graph = function.get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return {node.op for node in nodes}


def test_keras_computes_the_loop_from_the_layer_s_weights() -> None:
    layer = lstm.LSTM(UNITS)
    inputs, h, c = draw(BATCH, FRAMES, FEATURES), draw(BATCH, UNITS), draw(BATCH, UNITS, seed=1)
    layer.build(inputs.shape)
    layer.bias.assign(draw(4 * UNITS))
    run = lstm.make_keras_lstm(FEATURES, UNITS)
    with devices.portable():
        expected = differentiate(layer, inputs, h, c)
    with tf.GradientTape() as tape:
        tape.watch([inputs, h, c])
        weights = [variable.value for variable in layer.trainable_variables]
        outputs, last_h, last_c = run(inputs, *weights, h, c)
        loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(last_h * last_c)
    found = [outputs, last_h, last_c, *tape.gradient(loss, [inputs, h, c, *weights])]
    assert_close(found, expected)


@pytest.mark.usefixtures("with_gpu")
def test_on_a_gpu_the_layer_has_the_same_weights_and_draws_no_others() -> None:
    keras.utils.set_random_seed(1)
    layer = lstm.LSTM(UNITS)
    layer.build((None, None, FEATURES))
    after = random.random()
    with devices.portable():
        keras.utils.set_random_seed(1)
        expected = lstm.LSTM(UNITS)
        expected.build((None, None, FEATURES))
        assert random.random() == after
    names = ["kernel", "recurrent_kernel", "bias"]
    assert (
        [one.name for one in layer.variables] == [one.name for one in expected.variables] == names
    )
    for value, wanted in zip(layer.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.xla
@pytest.mark.usefixtures("with_gpu")
def test_cudnn_s_operations_are_in_a_gpu_s_graph_and_not_in_a_portable_one() -> None:
    layer = lstm.LSTM(UNITS)
    inputs, h, c = draw(BATCH, FRAMES, FEATURES), draw(BATCH, UNITS), draw(BATCH, UNITS, seed=1)
    layer.build(inputs.shape)
    with devices.portable():
        expected = differentiate(layer, inputs, h, c)
    on_gpu = tf.function(lambda *values: differentiate(layer, *values))
    assert {"CudnnRNNV3", "CudnnRNNBackpropV3"} <= operations(on_gpu, inputs, h, c)
    outputs, last_h, last_c, *gradients = on_gpu.get_concrete_function(inputs, h, c).outputs
    assert outputs.shape == (BATCH, FRAMES, UNITS)
    assert last_h.shape == last_c.shape == (BATCH, UNITS)
    assert [one.shape for one in gradients] == [one.shape for one in expected[3:]]
    with devices.portable():
        compiled = tf.function(lambda *values: differentiate(layer, *values), jit_compile=True)
        assert not any(one.startswith("Cudnn") for one in operations(compiled, inputs, h, c))
        assert_close(compiled(inputs, h, c), expected)


@pytest.mark.usefixtures("with_gpu")
def test_a_strategy_on_the_cpu_runs_the_loop() -> None:
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    inputs, h, c = draw(BATCH, FRAMES, FEATURES), draw(BATCH, UNITS), draw(BATCH, UNITS, seed=1)
    assert devices.uses_cudnn()
    with strategy.scope():
        assert not devices.uses_cudnn()
        layer = lstm.LSTM(UNITS)
        layer.build(inputs.shape)
    with devices.portable():
        expected = differentiate(layer, inputs, h, c)
    found = strategy.run(lambda *values: differentiate(layer, *values), (inputs, h, c))
    assert_close(found, expected)


def test_built_without_a_gpu_the_loop_runs_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = lstm.LSTM(UNITS)
    inputs, h, c = draw(BATCH, FRAMES, FEATURES), draw(BATCH, UNITS), draw(BATCH, UNITS, seed=1)
    layer.build(inputs.shape)
    with devices.portable():
        expected = differentiate(layer, inputs, h, c)
    monkeypatch.setattr(devices, "uses_host_kernels", lambda: False)
    monkeypatch.setattr(devices, "uses_cudnn", lambda: True)
    assert_close(differentiate(layer, inputs, h, c), expected)


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
