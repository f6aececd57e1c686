import re
from typing import Any

import keras
import numba
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import layer as lstm
from lstm_gen.platform import devices

BATCH, FRAMES, FEATURES, UNITS = 3, 7, 5, 4
TOLERANCE = 1e-4  # relative, float32


@pytest.fixture(scope="module")
def pair() -> tuple[lstm.LSTM, keras.layers.LSTM]:
    """Return our layer and Keras's with the same weights."""
    ours = lstm.LSTM(UNITS)
    stock = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True)
    for layer in (ours, stock):
        layer.build((BATCH, FRAMES, FEATURES))
    random = np.random.default_rng(0)
    stock.set_weights([random.normal(size=w.shape) for w in stock.get_weights()])
    ours.set_weights(stock.get_weights())
    return ours, stock


def draw(*shape: int, seed: int = 1) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def gradients(run: Any, layer: Any, jit: bool) -> list[np.ndarray]:
    """Return outputs, last state, and every gradient of a weighted sum of all of them."""
    inputs, h, c = draw(BATCH, FRAMES, FEATURES), draw(BATCH, UNITS), draw(BATCH, UNITS, seed=2)
    weights = [draw(BATCH, FRAMES, UNITS, seed=3), draw(BATCH, UNITS, seed=4)]
    variables = [variable.value for variable in layer.trainable_variables]

    @tf.function(jit_compile=jit)
    def compute(inputs: Any, h: Any, c: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([inputs, h, c])
            outputs, last_h, last_c = run(inputs, h, c)
            total = tf.reduce_sum(outputs * weights[0])
            total += tf.reduce_sum(last_h * weights[1]) + tf.reduce_sum(last_c**2)
        return outputs, last_h, last_c, tape.gradient(total, [inputs, h, c, *variables])

    return [value.numpy() for value in tf.nest.flatten(compute(inputs, h, c))]


@pytest.mark.xla
@pytest.mark.parametrize("route", ["host kernel", "loop", "loop under XLA"])
def test_numbers_and_every_gradient_are_those_of_keras(
    pair: tuple[lstm.LSTM, keras.layers.LSTM], route: str
) -> None:
    ours, stock = pair

    def run_ours(inputs: Any, h: Any, c: Any) -> Any:
        outputs, state = ours(inputs, (h, c))
        return outputs, *state

    assert devices.uses_host_kernels()
    if route == "host kernel":
        mine = gradients(run_ours, ours, False)
    else:
        with devices.portable():
            assert not devices.uses_host_kernels()
            mine = gradients(run_ours, ours, route == "loop under XLA")
    theirs = gradients(lambda x, h, c: stock(x, initial_state=[h, c]), stock, False)
    assert len(mine) == len(theirs) == 9
    for value, expected in zip(mine, theirs, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE * scale)


def test_without_a_state_it_starts_from_zeros(
    pair: tuple[lstm.LSTM, keras.layers.LSTM],
) -> None:
    inputs = draw(BATCH, FRAMES, FEATURES)
    outputs, _ = pair[0](inputs)
    from_zeros, _ = pair[0](inputs, pair[0].zero_state(BATCH))
    np.testing.assert_array_equal(outputs, from_zeros)
    np.testing.assert_allclose(outputs, pair[1](inputs)[0], rtol=TOLERANCE, atol=1e-6)


def test_steps_are_the_sequence(pair: tuple[lstm.LSTM, keras.layers.LSTM]) -> None:
    ours = pair[0]
    inputs, state = draw(BATCH, FRAMES, FEATURES), ours.zero_state(BATCH)
    outputs, last = ours(inputs)
    for frame in range(FRAMES):
        output, state = ours.step(inputs[:, frame], state)
        np.testing.assert_allclose(output, outputs[:, frame], rtol=TOLERANCE, atol=1e-6)
    for value, expected in zip(state, last, strict=True):
        np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=1e-6)


def test_bfloat16_keeps_a_float32_state() -> None:
    layer = lstm.LSTM(UNITS, dtype="mixed_bfloat16")
    outputs, state = layer(draw(BATCH, FRAMES, FEATURES))
    assert outputs.dtype == tf.bfloat16
    assert {value.dtype for value in state} == {tf.float32}
    assert layer.kernel.dtype == "float32"


def test_new_weights_are_keras_like() -> None:
    layer = lstm.LSTM(UNITS)
    layer.build((None, None, FEATURES))
    np.testing.assert_array_equal(layer.bias, np.repeat([0.0, 1.0, 0.0, 0.0], UNITS))
    recurrent = np.asarray(layer.recurrent_kernel)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(UNITS), atol=1e-5)


def test_shapes_stay_static_in_a_graph() -> None:
    layer = lstm.LSTM(UNITS)

    @tf.function(input_signature=[tf.TensorSpec([BATCH, FRAMES, FEATURES])])
    def run(inputs: tf.Tensor) -> tf.Tensor:
        outputs, (h, c) = layer(inputs)
        assert outputs.shape == (BATCH, FRAMES, UNITS)
        assert h.shape == c.shape == (BATCH, UNITS)
        return outputs

    run(draw(BATCH, FRAMES, FEATURES))


@pytest.mark.parametrize(("batch", "frames", "features", "units"), [(1, 1, 3, 2), (9, 19, 34, 70)])
def test_the_kernel_takes_any_size(batch: int, frames: int, features: int, units: int) -> None:
    inputs, h, c = draw(batch, frames, features), draw(batch, units), draw(batch, units, seed=2)
    layer = lstm.LSTM(units)
    outputs, state = layer(inputs, (h, c))
    with devices.portable():
        expected, expected_state = layer(inputs, (h, c))
    for value, wanted in zip((outputs, *state), (expected, *expected_state), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=TOLERANCE, atol=1e-6)


def test_the_bits_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    units = 100
    inputs, h, c = draw(5, 9, 12).numpy(), draw(5, units).numpy(), draw(5, units, seed=2).numpy()
    kernel, recurrent_kernel = draw(12, 4 * units).numpy(), draw(units, 4 * units).numpy()
    bias, d_outputs = draw(4 * units).numpy(), draw(5, 9, units, seed=6).numpy()
    found = []
    for threads in (1, 2, 3, 64):
        monkeypatch.setattr(numba, "get_num_threads", lambda threads=threads: threads)
        saved = lstm.run_forward(inputs, kernel, recurrent_kernel, bias, h, c)
        backward = lstm.run_backward(d_outputs, h, c, recurrent_kernel, c, *saved[2:])
        found.append([saved[0], saved[1], *backward])
        assert saved[2].shape[0] == {1: 1, 2: 2, 3: 3, 64: 13}[threads], "blocks"
    for others in found[1:]:
        for value, expected in zip(others, found[0], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_later_calls_leave_earlier_results_alone() -> None:
    layer = lstm.LSTM(UNITS)
    layer.build((None, None, FEATURES))
    run = tf.function(lambda inputs: layer(inputs)[0])
    inputs = [draw(BATCH, FRAMES, FEATURES, seed=seed) for seed in range(6)]
    results = [run(values) for values in inputs]  # their memory is the kernel's own
    with devices.portable():
        for values, found in zip(inputs, results, strict=True):
            np.testing.assert_allclose(found, layer(values)[0], rtol=TOLERANCE, atol=1e-6)


def test_one_bad_number_reaches_its_own_sequence_only() -> None:
    layer = lstm.LSTM(UNITS)
    inputs = draw(BATCH, FRAMES, FEATURES).numpy()
    clean, _ = layer(inputs)
    inputs[1, 3, 2] = np.nan
    outputs, (h, c) = layer(inputs)
    assert np.isnan(outputs[1, 3:]).all()
    assert np.isnan(h[1]).all()
    assert np.isnan(c[1]).all()
    np.testing.assert_array_equal(outputs[1, :3], clean[1, :3])
    np.testing.assert_array_equal(outputs[0], clean[0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs)[0])
    assert all(np.isnan(d).any() for d in tape.gradient(loss, layer.trainable_variables))


@pytest.mark.xla
def test_a_portable_graph_has_tensorflow_operations_only() -> None:
    layer = lstm.LSTM(UNITS)
    layer.build((None, None, FEATURES))

    def operations() -> str:
        @tf.function
        def run(inputs: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(inputs)[0])
            return tape.gradient(loss, layer.trainable_variables)

        graph = run.get_concrete_function(tf.TensorSpec([BATCH, FRAMES, FEATURES])).graph
        return str(graph.as_graph_def())

    assert "PyFunc" in operations()
    with devices.portable():
        assert not re.search("PyFunc|Cudnn", operations())
