"""LSTM kernel for the CPU: forward and backward over a sequence, compiled by numba.

Reading the recurrent weights, once per frame, bounds the speed of an LSTM on a CPU. A general
matrix product copies them into its own order each time; here they are packed once per sequence.
The units are split into blocks, one per thread: a thread computes all four gates of its own
units, needs only `h` of the frame before from the others, and synchronises with them once per
frame. Successive frames read a thread's weights in opposite directions, so that each starts with
what is still in the cache.

Arrays are float32 and C-contiguous. Those private to a block are in the block's own order:

    gates  [blocks, frames, batch, 4 * size]   i, f, g, o of the block's units, activated
    cells  [blocks, frames, batch, size]       c

`size` is the units of a block; the last block may have fewer, and its surplus is undefined.
Every sum runs over the units in order, so the bits do not depend on the number of blocks.

The file reads from the outside in: packing, the two passes over a sequence, one block of a frame,
one row of a block, and the matrix product of a tile.
"""

from typing import Any

import llvmlite.binding
import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from lstm_gen.platform import jit

Array = npt.NDArray[np.float32]

_FLOAT_BYTES = 4
_CHUNK_FRAMES = 16
"""Frames whose inputs are projected at once, so that those weights are read once for all."""
_PADDING = 16
"""Added to the rows of scratch, or a power of two would put them all in one set of the cache."""

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
_LANES = 16 if _WIDE else 8
"""float32 values of one vector register."""
_ROWS = 8 if _WIDE else 4
"""Rows of a full tile. Its sums must fit the register file: 8 x 2 of 32, or 4 x 2 of 16."""
_COLUMNS = 2 * _LANES
"""Columns of a tile, and so of a panel of packed weights."""
_UNROLL = 4
"""Steps of the depth per loop iteration; the depth must be a multiple of it."""

_compiled = jit.kernel()
_parallel = jit.kernel(parallel=True)
# Fused multiply-adds and reciprocals; but NaN must stay NaN.
_fused = jit.kernel(fastmath={"contract", "arcp", "nsz"})


def split_units(units: int) -> tuple[int, int]:
    """Return the number of blocks, one per thread, and the units of one."""
    per_thread = -(-units // numba.get_num_threads())
    size = -(-per_thread // 8) * 8  # four gates of 8 units fill a panel
    return -(-units // size), size


@_parallel
def pack_gates(weights: Array, blocks: int, size: int) -> Array:
    """Pack weights for a product whose columns are a block's gates.

    Args:
      weights: [depth, 4 * units], gate after gate.
      blocks: Number of blocks.
      size: Units of a block.

    Returns:
      [blocks, panels, depth, columns of a panel]; depth is padded to a multiple of `_UNROLL`.
    """
    depth, units = weights.shape[0], weights.shape[1] // 4
    panels = -(-4 * size // _COLUMNS)
    packed = np.zeros((blocks, panels, -(-depth // _UNROLL) * _UNROLL, _COLUMNS), np.float32)
    for row in numba.prange(depth):
        for block in range(blocks):
            for gate in range(4):
                for unit in range(min(size, units - block * size)):
                    column = gate * size + unit
                    value = weights[row, gate * units + block * size + unit]
                    packed[block, column // _COLUMNS, row, column % _COLUMNS] = value
    return packed


@_parallel
def pack_units(weights: Array, blocks: int, size: int) -> Array:
    """Pack recurrent weights for the product from gradients of gates to those of a block's units.

    Args:
      weights: [units, 4 * units], gate after gate.
      blocks: Number of blocks.
      size: Units of a block.

    Returns:
      [blocks, panels, 4 * units, columns of a panel].
    """
    units, depth = weights.shape
    packed = np.zeros((blocks, -(-size // _COLUMNS), depth, _COLUMNS), np.float32)
    for part in numba.prange(-(-depth // _COLUMNS)):
        for unit in range(units):
            block, column = unit // size, unit % size
            for row in range(part * _COLUMNS, min((part + 1) * _COLUMNS, depth)):
                packed[block, column // _COLUMNS, row, column % _COLUMNS] = weights[unit, row]
    return packed


@_parallel
def run_forward(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    h: Array,
    c: Array,
    outputs: Array,
    cells: Array,
    gates: Array,
) -> None:
    """Run an LSTM over a sequence.

    Args:
      x: [batch, frames, depth], depth as packed.
      kernel: From `pack_gates`.
      recurrent_kernel: From `pack_gates`.
      bias: [4 * units].
      h: [batch, units] before the first frame.
      c: [batch, units] before the first frame; on return, after the last one.
      outputs: [batch, frames, units], h of every frame; written.
      cells: Written, see above.
      gates: Written, see above.
    """
    batch, frames, units = outputs.shape
    blocks = cells.shape[0]
    # Two buffers in turn: others may still read the frame before when a thread writes this one.
    hidden = np.zeros((2, batch, recurrent_kernel.shape[2] + _PADDING), np.float32)
    hidden[1, :, :units] = h
    for frame in range(frames):
        before, after = hidden[(frame + 1) % 2], hidden[frame % 2]
        for block in numba.prange(blocks):
            if frame % _CHUNK_FRAMES == 0:
                _project(x, kernel[block], bias, gates[block], frame, block * cells.shape[3])
            _add_product(before, recurrent_kernel[block], gates[block, frame], frame % 2 == 1)
            _advance(gates[block], cells[block], c, after, outputs, frame, block * cells.shape[3])


@_parallel
def run_backward(
    d_outputs: Array,
    d_h: Array,
    d_c: Array,
    recurrent_kernel: Array,
    c: Array,
    cells: Array,
    gates: Array,
    d_products: Array,
) -> None:
    """Backpropagate through the sequence of `run_forward`.

    Args:
      d_outputs: [batch, frames, units].
      d_h: [batch, units], of h after the last frame; on return, before the first.
      d_c: [batch, units], of c after the last frame; on return, before the first.
      recurrent_kernel: From `pack_units`.
      c: [batch, units] before the first frame.
      cells: As written by `run_forward`.
      gates: As written by `run_forward`.
      d_products: [batch, frames, 4 * units], of x @ kernel + h @ recurrent_kernel + bias;
        written.
    """
    batch, frames, units = d_outputs.shape
    blocks, size = cells.shape[0], cells.shape[3]
    d_gates = np.zeros((2, batch, 4 * units + _PADDING), np.float32)
    d_hidden = np.zeros((blocks, batch, recurrent_kernel.shape[1] * _COLUMNS), np.float32)
    for block in range(blocks):
        own = d_h[:, block * size : (block + 1) * size]
        d_hidden[block, :, : own.shape[1]] = own
    for frame in range(frames - 1, -2, -1):  # -1 is the state before the first
        after, now = d_gates[(frame + 1) % 2], d_gates[frame % 2]
        for block in numba.prange(blocks):
            _add_product(after, recurrent_kernel[block], d_hidden[block], frame % 2 == 1)
            if frame >= 0:
                _retreat(
                    gates[block], cells[block], c, d_outputs, d_hidden[block], d_c, now, d_products,
                    frame, block * size,
                )  # fmt: skip
    for block in range(blocks):
        own = d_h[:, block * size : (block + 1) * size]
        own[:] = d_hidden[block, :, : own.shape[1]]


@_compiled
def _project(x: Array, panels: Array, bias: Array, gates: Array, start: int, first: int) -> None:
    """Set one block's gates of a chunk of frames to x @ kernel + bias.

    Args:
      x: [batch, frames, depth].
      panels: [panels, depth, columns], the block's.
      bias: [4 * units].
      gates: [frames, batch, 4 * size], the block's.
      start: First frame of the chunk.
      first: First unit of the block.
    """
    batch, frames, depth = x.shape
    units, size, row = bias.size // 4, gates.shape[2] // 4, batch * gates.shape[2]
    chunk = min(_CHUNK_FRAMES, frames - start)
    count = min(size, units - first)
    for frame in range(start, start + chunk):
        for example in range(batch):
            gates[frame, example] = 0
            for gate in range(4):
                own_bias = bias[gate * units + first : gate * units + first + count]
                _copy(gates[frame, example, gate * size : gate * size + count], own_bias)
    for index in range(panels.shape[0]):
        panel = panels.ctypes.data + _FLOAT_BYTES * index * depth * _COLUMNS
        for example in range(batch):
            source = x.ctypes.data + _FLOAT_BYTES * (example * frames + start) * depth
            column = start * row + example * gates.shape[2] + index * _COLUMNS
            target = gates.ctypes.data + _FLOAT_BYTES * column
            _add_panel(source, depth, panel, target, row, chunk, depth)


@_compiled
def _add_product(a: Array, panels: Array, c: Array, reverse: bool) -> None:
    """Add a[:, :depth] @ panels[panels, depth, columns] to c, the last panel first if `reverse`."""
    count, depth, _ = panels.shape
    for position in range(count):
        index = count - 1 - position if reverse else position
        panel = panels.ctypes.data + _FLOAT_BYTES * index * depth * _COLUMNS
        target = c.ctypes.data + _FLOAT_BYTES * index * _COLUMNS
        _add_panel(a.ctypes.data, a.shape[1], panel, target, c.shape[1], a.shape[0], depth)


@_compiled
def _add_panel(
    a: int, a_stride: int, panel: int, c: int, c_stride: int, rows: int, depth: int
) -> None:
    """Add a[rows, depth] @ panel[depth, columns] to c; addresses, and strides in values."""
    row = 0
    while row + _ROWS <= rows:
        source, target = a + _FLOAT_BYTES * row * a_stride, c + _FLOAT_BYTES * row * c_stride
        _add_tile(source, a_stride, panel, target, c_stride, depth)
        row += _ROWS
    while row < rows:
        source, target = a + _FLOAT_BYTES * row * a_stride, c + _FLOAT_BYTES * row * c_stride
        _add_row(source, a_stride, panel, target, c_stride, depth)
        row += 1


@_compiled
def _advance(
    gates: Array, cells: Array, c: Array, hidden: Array, outputs: Array, frame: int, first: int
) -> None:
    """Activate one block's gates of a frame, and compute its c and h."""
    batch, size = gates.shape[1], gates.shape[2] // 4
    last = min(first + size, c.shape[1])
    for example in range(batch):
        own_c, own_h = c[example, first:last], hidden[example, first:last]
        _activate(gates[frame, example], own_c, own_h)
        _copy(cells[frame, example], own_c)
        _copy(outputs[example, frame, first:last], own_h)


@_compiled
def _retreat(
    gates: Array,
    cells: Array,
    c: Array,
    d_outputs: Array,
    d_hidden: Array,
    d_c: Array,
    d_gates: Array,
    d_products: Array,
    frame: int,
    first: int,
) -> None:
    """Compute the gradients of one block's products of a frame, and clear that of its h."""
    batch, size, units = gates.shape[1], gates.shape[2] // 4, c.shape[1]
    count = min(size, units - first)
    for example in range(batch):
        d_h, own_d_c = d_hidden[example, :count], d_c[example, first : first + count]
        _add(d_h, d_outputs[example, frame, first : first + count])
        before = c[example, first : first + count]
        if frame > 0:
            before = cells[frame - 1, example, :count]
        own = d_gates[example, first : first + 3 * units + count]
        _deactivate(gates[frame, example], cells[frame, example], before, d_h, own_d_c, own, units)
        for gate in range(4):
            column = gate * units + first
            source = d_gates[example, column : column + count]
            _copy(d_products[example, frame, column : column + count], source)
        d_hidden[example] = 0


# tanh(x) = x P(x^2) / Q(x^2) on [-9, 9], beyond which tanh is 1 in float32; fitted here by
# iteratively reweighted least squares, relative error 2e-8 before rounding.
_ONE, _HALF, _LIMIT = np.float32(1), np.float32(0.5), np.float32(9)
_P0, _P1, _P2, _P3, _P4 = map(
    np.float32,
    (
        0.9999999794767006,
        0.13381025025916646,
        3.495587402593147e-03,
        2.0609070977706485e-05,
        1.3354647142255699e-08,
    ),
)
_Q1, _Q2, _Q3, _Q4 = map(
    np.float32,
    (0.46714340623793443, 0.02587697942127309, 3.2856336556919024e-04, 7.776552132885815e-07),
)


@_fused
def _tanh(x: Any) -> Any:
    x = _LIMIT if x > _LIMIT else x
    x = -_LIMIT if x < -_LIMIT else x
    s = x * x
    numerator = (((_P4 * s + _P3) * s + _P2) * s + _P1) * s + _P0
    return x * numerator / ((((_Q4 * s + _Q3) * s + _Q2) * s + _Q1) * s + _ONE)


@_fused
def _sigmoid(x: Any) -> Any:
    return _HALF * _tanh(_HALF * x) + _HALF


@_fused
def _activate(gates: Array, c: Array, h: Array) -> None:
    """Activate one row of gates in place, and compute its c and h.

    One loop per result or two: LLVM vectorises a loop only if it is over few arrays.

    Args:
      gates: [4 * size], gate after gate; as many units of each are used as c has.
      c: Before the frame; on return, after it.
      h: After the frame; written.
    """
    size, count = gates.size // 4, c.size
    i, f = gates[:count], gates[size : size + count]
    g, o = gates[2 * size : 2 * size + count], gates[3 * size : 3 * size + count]
    for unit in range(count):
        i[unit] = _sigmoid(i[unit])
    for unit in range(count):
        f[unit] = _sigmoid(f[unit])
    for unit in range(count):
        g[unit] = _tanh(g[unit])
    for unit in range(count):
        o[unit] = _sigmoid(o[unit])
    for unit in range(count):
        c[unit] = f[unit] * c[unit] + i[unit] * g[unit]
    for unit in range(count):
        h[unit] = o[unit] * _tanh(c[unit])


@_fused
def _deactivate(
    gates: Array, c: Array, c_before: Array, d_h: Array, d_c: Array, d_gates: Array, stride: int
) -> None:
    """Compute the gradients of one row's products, and move `d_c` to the frame before.

    Args:
      gates: [4 * size], activated.
      c: After the frame.
      c_before: Before the frame.
      d_h: Of h.
      d_c: Of c, from the frames after; on return, of c before the frame.
      d_gates: Of the gates' products; written, `stride` values from gate to gate.
      stride: See `d_gates`.
    """
    size, count = gates.size // 4, d_h.size
    i, f = gates[:count], gates[size : size + count]
    g, o = gates[2 * size : 2 * size + count], gates[3 * size : 3 * size + count]
    d_i, d_f = d_gates[:count], d_gates[stride : stride + count]
    d_g, d_o = d_gates[2 * stride : 2 * stride + count], d_gates[3 * stride : 3 * stride + count]
    for unit in range(count):
        tanh_c = _tanh(c[unit])
        d_c[unit] += d_h[unit] * o[unit] * (_ONE - tanh_c * tanh_c)
        d_o[unit] = d_h[unit] * tanh_c * o[unit] * (_ONE - o[unit])
    for unit in range(count):
        d_i[unit] = d_c[unit] * g[unit] * i[unit] * (_ONE - i[unit])
        d_g[unit] = d_c[unit] * i[unit] * (_ONE - g[unit] * g[unit])
    for unit in range(count):
        d_f[unit] = d_c[unit] * c_before[unit] * f[unit] * (_ONE - f[unit])
        d_c[unit] *= f[unit]


@_fused
def _add(target: Array, source: Array) -> None:
    """Add a row to another."""
    for index in range(source.size):
        target[index] += source[index]


@_fused
def _copy(target: Array, source: Array) -> None:
    """Copy a row to another."""
    for index in range(source.size):
        target[index] = source[index]


_FLOAT, _INT = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, _LANES)


def _make_tile(rows: int) -> Any:
    """Return a numba function that multiplies a tile of `rows` rows in registers.

    Written as LLVM vectors: numba's own loops keep their sums in memory, at half the speed.
    """

    @intrinsic
    def add_product(
        typing_context: Any, a: Any, a_stride: Any, b: Any, c: Any, c_stride: Any, depth: Any
    ) -> Any:
        """Add a[rows, depth] @ b[depth, _COLUMNS] to c[rows, _COLUMNS].

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
            for column in range(0, _COLUMNS, _LANES)
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
        for offset in range(_UNROLL):
            values = _accumulate(builder, a_rows, b, builder.add(step, _INT(offset)), values)
        next_step = builder.add(step, _INT(_UNROLL))
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
    start = builder.mul(step, _INT(_COLUMNS))
    weights = [
        builder.load(_vector_at(builder, b, builder.add(start, _INT(column))), align=4)
        for column in range(0, _COLUMNS, _LANES)
    ]
    results = []
    for row, a_row in enumerate(a_rows):
        value = _broadcast(builder, builder.load(builder.gep(a_row, [step])))
        for index, weight in enumerate(weights):
            # "contract" lets LLVM turn the two into one fused multiply-add.
            product = builder.fmul(value, weight, flags=["contract"])
            total = sums[row * len(weights) + index]
            results.append(builder.fadd(product, total, flags=["contract"]))
    return results


def _vector_at(builder: ir.IRBuilder, pointer: Any, offset: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [offset]), _VECTOR.as_pointer())


def _broadcast(builder: ir.IRBuilder, value: Any) -> Any:
    undefined, lane = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)
    one = builder.insert_element(undefined, value, lane(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(lane, _LANES), None))


_add_tile = _make_tile(_ROWS)
_add_row = _make_tile(1)
