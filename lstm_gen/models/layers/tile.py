"""The smallest piece of a matrix product: rows times a panel, its sums held in registers.

Written in LLVM's language because numba keeps small arrays in memory, and here they must not be.
"""

from typing import Any

from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic

_WIDE = binding.get_host_cpu_features().get("avx512f", False)
_LANES = 16 if _WIDE else 8  # floats of a vector register
_VECTORS = 2
_ALIGNMENT = 4  # bytes; rows begin anywhere

ROWS = 8 if _WIDE else 4
"""Rows of a tile; with two vectors each, their sums fill half of the registers."""

WIDTH = _LANES * _VECTORS
"""Columns of a tile, and so of a panel."""

UNROLL = 4
"""Steps of the depth at a time; the depth is a multiple of it."""


def make(n_rows: int) -> Any:
    """Return c[rows, WIDTH] += a[rows, depth] @ b[depth, WIDTH], its sums held in registers.

    Addresses are in bytes and strides in floats. Written in LLVM's language because numba keeps
    small arrays in memory, and a product bound by registers is the point.
    """

    @intrinsic
    def multiply(
        _context: Any, a: Any, a_stride: Any, b: Any, c: Any, c_stride: Any, depth: Any
    ) -> Any:
        del a, a_stride, b, c, c_stride, depth  # types; numba wants them by name

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            _write(builder, n_rows, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), generate

    return multiply


def _write(
    builder: Any, n_rows: int, a: Any, a_stride: Any, b: Any, c: Any, c_stride: Any, depth: Any
) -> None:
    """Write the instructions of one tile: load the sums, loop over the depth, store the sums."""
    scalar, index = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(scalar, _LANES)
    a, b, c = (builder.inttoptr(address, scalar.as_pointer()) for address in (a, b, c))

    def number(value: int) -> Any:
        return ir.Constant(index, value)

    def place(base: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())

    cells = [(row, part) for row in range(n_rows) for part in range(_VECTORS)]
    targets = {
        (row, part): builder.add(builder.mul(c_stride, number(row)), number(part * _LANES))
        for row, part in cells
    }
    starts = {cell: builder.load(place(c, targets[cell]), align=_ALIGNMENT) for cell in cells}
    a_rows = [builder.mul(a_stride, number(row)) for row in range(n_rows)]
    before, loop, after = (
        builder.block,
        builder.append_basic_block("depth"),
        builder.append_basic_block("store"),
    )
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(index)
    k.add_incoming(number(0), before)
    sums = {cell: builder.phi(vector) for cell in cells}
    current = dict(sums)
    for step in range(UNROLL):
        at = builder.add(k, number(step))
        b_row = builder.mul(at, number(WIDTH))
        weights = [
            builder.load(place(b, builder.add(b_row, number(part * _LANES))), align=_ALIGNMENT)
            for part in range(_VECTORS)
        ]
        for row in range(n_rows):
            value = _broadcast(
                builder, builder.load(builder.gep(a, [builder.add(a_rows[row], at)]))
            )
            for part in range(_VECTORS):
                product = builder.fmul(value, weights[part], flags=["contract"])
                current[row, part] = builder.fadd(product, current[row, part], flags=["contract"])
    following = builder.add(k, number(UNROLL))
    k.add_incoming(following, loop)
    for cell in cells:
        sums[cell].add_incoming(starts[cell], before)
        sums[cell].add_incoming(current[cell], loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
    builder.position_at_end(after)
    for cell in cells:
        builder.store(current[cell], place(c, targets[cell]), align=_ALIGNMENT)


def _broadcast(builder: Any, value: Any) -> Any:
    """Return a vector with `value` in every lane."""
    vector, lane = ir.VectorType(ir.FloatType(), _LANES), ir.IntType(32)
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(lane, 0))
    everywhere = ir.Constant(ir.VectorType(lane, _LANES), [0] * _LANES)
    return builder.shuffle_vector(first, nothing, everywhere)
