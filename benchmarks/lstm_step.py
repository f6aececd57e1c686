"""LSTM training step benchmark, beside Keras, PyTorch and a large matrix product.

The network is 2 x LSTM 512 -> Dense 128 over 256 frames of 128 values, with squared error and Adam
in float32: forward, backward and update, on the CPU.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from benchmarks import harness
from lstm_gen.models.lstm.recurrent import layer as lstm

_FRAMES, _MELS, _UNITS, _LAYERS = 256, 128, 512, 2
_ROUNDS = 7
_PRODUCT_SIZE = 4096


class _Network(keras.Model):
    """Stack of recurrent layers and a dense layer."""

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        super().__init__(name="network")  # Keras scopes may not begin with an underscore
        self.recurrent = layers
        self.dense = keras.layers.Dense(_MELS)

    def build(self, input_shape: Any) -> None:
        for index, layer in enumerate(self.recurrent):
            layer.build((None, None, _UNITS if index else input_shape[-1]))
        self.dense.build((None, None, _UNITS))
        super().build(input_shape)

    def call(self, frames: Any) -> Any:
        for layer in self.recurrent:
            outputs = layer(frames)
            frames = outputs[0] if isinstance(outputs, tuple) else outputs
        return self.dense(frames)


def rows() -> list[harness.Row]:
    """Return the rows of the training step."""
    found = []
    for batch_size, target in ((16, 1.0), (64, 1.1)):
        times = _measure(batch_size, with_keras=batch_size == 16)
        speed = _billions_of_operations(batch_size) / statistics.median(times["ours"])
        detail = f"batch {batch_size}, {speed:.0f} GFLOP/s"
        if batch_size == 16:
            found += _compare_to_keras_and_product(times, detail)
        found.append(
            harness.Row(
                what=f"LSTM training step, batch {batch_size}",
                baseline="torch.nn.LSTM",
                value=harness.ratio(times["torch"], times["ours"]),
                unit="x",
                target=target,
                detail=f"{detail}; torch {_rate(times['torch'], batch_size):.0f}",
            )
        )
    return found


def _compare_to_keras_and_product(times: dict[str, list[float]], detail: str) -> list[harness.Row]:
    stock = min(("keras", "keras with XLA"), key=lambda name: statistics.median(times[name]))
    of_product = 2 * _PRODUCT_SIZE**3 / 1e9
    fraction = (
        _billions_of_operations(16) / of_product * harness.ratio(times["product"], times["ours"])
    )
    return [
        harness.Row(
            what="LSTM training step, batch 16",
            baseline=f"keras.layers.LSTM (the faster: {stock})",
            value=harness.ratio(times[stock], times["ours"]),
            unit="x",
            target=2.5,
            detail=f"{detail}; keras {_rate(times[stock], 16):.0f}",
        ),
        harness.Row(
            what="LSTM training step, batch 16",
            baseline=f"product of {_PRODUCT_SIZE} x {_PRODUCT_SIZE} matrices, GFLOP/s",
            value=100 * fraction,
            unit="%",
            target=60,
            detail=f"{detail}; product {of_product / statistics.median(times['product']):.0f}",
        ),
    ]


def _measure(batch_size: int, with_keras: bool) -> dict[str, list[float]]:
    """Return the seconds of each candidate's interleaved steps."""
    ours = _Network([lstm.LSTM(_UNITS) for _ in range(_LAYERS)])
    candidates: dict[str, Callable[[], object]] = {"ours": _make_step(ours, batch_size, False)}
    if with_keras:
        for name, jit in (("keras", False), ("keras with XLA", True)):
            stock = [keras.layers.LSTM(_UNITS, return_sequences=True) for _ in range(_LAYERS)]
            candidates[name] = _make_step(_Network(stock), batch_size, jit)
        square = tf.random.normal([_PRODUCT_SIZE, _PRODUCT_SIZE])
        candidates["product"] = lambda: tf.linalg.matmul(square, square)[0, 0].numpy()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.torch_lstm"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        torch_step = _make_torch_step(process, batch_size)
        times = harness.interleave(candidates | {"torch": torch_step}, _ROUNDS)
        process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
    return times


def _make_step(model: keras.Model, batch_size: int, jit: bool) -> Callable[[], object]:
    """Return a compiled training step that waits for its loss."""
    inputs, targets = tf.unstack(tf.random.normal([2, batch_size, _FRAMES, _MELS]))
    model.build((None, None, _MELS))
    variables = [variable.value for variable in model.trainable_variables]
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)

    @tf.function(jit_compile=jit)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(inputs) - targets))
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return lambda: step().numpy()


def _make_torch_step(process: "subprocess.Popen[str]", batch_size: int) -> Callable[[], object]:
    """Start PyTorch's process; return a function that triggers one step."""

    def ask(line: str) -> str:
        process.stdin.write(f"{line}\n")  # type: ignore[union-attr]  # it is a pipe
        process.stdin.flush()  # type: ignore[union-attr]  # it is a pipe
        return process.stdout.readline()  # type: ignore[union-attr]  # it is a pipe

    ask(str(batch_size))
    return lambda: ask("step")


def _billions_of_operations(batch_size: int) -> float:
    """Return a step's GFLOP in matrix products; the backward pass costs twice the forward."""
    weights = 4 * _UNITS * (_MELS + _UNITS * (2 * _LAYERS - 1)) + _UNITS * _MELS
    return 3 * 2 * batch_size * _FRAMES * weights / 1e9


def _rate(seconds: list[float], batch_size: int) -> float:
    return _billions_of_operations(batch_size) / statistics.median(seconds)
