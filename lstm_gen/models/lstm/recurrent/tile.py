"""A small matrix product held in registers: the inner loop of the LSTM's CPU kernel.

Numba's own loops keep their sums in memory, which costs half of the speed of a matrix
product; so this one function is written as LLVM vectors.
"""

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))

LANES = 16 if _WIDE else 8
"""float32 values of one vector register."""
ROWS = 8 if _WIDE else 4
"""Rows of a full tile. Its sums must fit the register file: 8 x 2 of 32, or 4 x 2 of 16."""
COLUMNS = 2 * LANES
"""Columns of a tile, and so of a panel of packed weights."""
UNROLL = 4
"""Depth is taken so many steps at a time, and must be a multiple of it."""

_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)


def _make_tile(rows: int) -> Any:
    """Return a numba function for tiles of `rows` rows."""

    @intrinsic
    def add_product(
        typing_context: Any, a: Any, a_stride: Any, b: Any, c: Any, c_stride: Any, depth: Any
    ) -> Any:
        """Add a[rows, depth] @ b[depth, COLUMNS] to c[rows, COLUMNS].

        `a`, `b` and `c` are addresses of float32 values, the strides of `a` and `c` are in
        values from row to row, `b` is contiguous.
        """
        del typing_context, a, a_stride, b, c, c_stride, depth
        return types.void(*[types.intp] * 6), generate

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        del signature
        a, a_stride, b, c, c_stride, depth = arguments
        a, b, c = (builder.inttoptr(address, _FLOAT.as_pointer()) for address in (a, b, c))
        a_rows = [builder.gep(a, [builder.mul(a_stride, _INT(row))]) for row in range(rows)]
        targets = [
            _vector_at(builder, c, builder.add(builder.mul(c_stride, _INT(row)), _INT(column)))
            for row in range(rows)
            for column in range(0, COLUMNS, LANES)
        ]
        starts = [builder.load(target, align=4) for target in targets]
        before, loop, after = (
            builder.block,
            builder.append_basic_block("loop"),
            builder.append_basic_block("after"),
        )
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(_INT)
        sums = [builder.phi(_VECTOR) for _ in starts]
        values: list[Any] = list(sums)
        for offset in range(UNROLL):
            values = _accumulate(builder, a_rows, b, builder.add(step, _INT(offset)), values)
        next_step = builder.add(step, _INT(UNROLL))
        for phi, first, later in zip(
            [step, *sums], [_INT(0), *starts], [next_step, *values], strict=True
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed("<", next_step, depth), loop, after)
        builder.position_at_end(after)
        for target, value in zip(targets, values, strict=True):
            builder.store(value, target, align=4)
        return context.get_dummy_value()

    return add_product


def _accumulate(
    builder: ir.IRBuilder, a_rows: list[Any], b: Any, step: Any, sums: list[Any]
) -> list[Any]:
    """Return the sums with column `step` of `a` times row `step` of `b` added."""
    start = builder.mul(step, _INT(COLUMNS))
    weights = [
        builder.load(_vector_at(builder, b, builder.add(start, _INT(column))), align=4)
        for column in range(0, COLUMNS, LANES)
    ]
    results = []
    for row, a_row in enumerate(a_rows):
        value = _broadcast(builder, builder.load(builder.gep(a_row, [step])))
        for index, weight in enumerate(weights):
            # "contract" lets LLVM join the two into one fused multiply-add.
            product = builder.fmul(value, weight, flags=["contract"])
            total = sums[row * len(weights) + index]
            results.append(builder.fadd(product, total, flags=["contract"]))
    return results


def _vector_at(builder: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer())


def _broadcast(builder: ir.IRBuilder, value: Any) -> Any:
    undefined, lane = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, value, lane(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(lane, LANES), None))


add_tile = _make_tile(ROWS)
add_row = _make_tile(1)
