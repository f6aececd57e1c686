"""Tests of the TPU compiler; they need libtpu, which `make check-tpu` installs."""

import importlib.util
from typing import Any

import pytest
import tensorflow as tf

from tools.tpu import chips, lowering

if importlib.util.find_spec("jax") is None:
    pytest.skip("the TPU compiler is not installed", allow_module_level=True)

from tools.tpu import compiler

V5E = chips.parse("v5e:1x1")
SIZE = 256
MATRIX = tf.TensorSpec([SIZE, SIZE], tf.float32)


def compile_function(function: Any, *arguments: tf.TensorSpec) -> compiler.Compiled:
    return compiler.compile_program(lowering.lower("test", 1, function, arguments), V5E)


def test_products_in_a_loop_count_in_each_iteration() -> None:
    def multiply(values: Any, weights: Any) -> Any:
        return tf.while_loop(
            lambda turn, _: turn < 5,
            lambda turn, values: (turn + 1, tf.tanh(values @ weights)),
            (0, values),
        )[1]

    compiled = compile_function(multiply, MATRIX, MATRIX)
    assert compiled.costs.loop_iterations == 5
    assert compiled.costs.flops == pytest.approx(5 * 2 * SIZE**3, rel=0.02)  # tanh and counter
    # Both matrices are read once and the result is written once; the loop stays on the chip.
    assert compiled.costs.hbm_bytes == pytest.approx(3 * 4 * SIZE**2, rel=0.02)
    assert compiled.memory.arguments >= 2 * 4 * SIZE**2
    assert compiled.costs.cycles > 0


def test_batched_products_count_once_per_example() -> None:
    batch = tf.TensorSpec([8, SIZE, SIZE], tf.float32)
    compiled = compile_function(lambda a, b: a @ b, batch, batch)
    assert compiled.costs.flops == pytest.approx(8 * 2 * SIZE**3, rel=0.02)


def test_large_constants_compile() -> None:
    """In StableHLO text their encoding depends on the version of MLIR."""
    mask = tf.linalg.band_part(tf.ones([SIZE, SIZE], tf.bool), -1, 0)
    compile_function(lambda values: tf.where(mask, values, 0.0), MATRIX)


def test_variables_can_be_written() -> None:
    variable = tf.Variable(tf.zeros([SIZE, SIZE]))
    compiled = compile_function(lambda values: variable.assign_add(values), MATRIX)
    assert compiled.memory.arguments >= 2 * 4 * SIZE**2


def test_what_does_not_fit_is_an_out_of_memory_error() -> None:
    wide = tf.TensorSpec([1 << 16, 1 << 16], tf.float32)  # 17 GB
    with pytest.raises(lowering.OutOfMemoryError, match="lower --batch_size"):
        compile_function(lambda values: values @ values, wide)


def test_an_unsupported_operation_is_a_compile_error() -> None:
    with pytest.raises(lowering.CompileError, match=r"rejects it: .*FFT"):
        compile_function(tf.signal.fft, tf.TensorSpec([16], tf.complex128))


@pytest.mark.parametrize("name", list(chips.CHIPS))
def test_every_chip_of_the_table_compiles(name: str) -> None:
    topology = chips.parse(f"{name}:{chips.CHIPS[name].smallest}")
    program = lowering.lower("test", 1, lambda a: a @ a, (MATRIX,))
    compiled = compiler.compile_program(program, topology)
    assert compiled.costs.flops == pytest.approx(2 * SIZE**3, rel=0.02)
