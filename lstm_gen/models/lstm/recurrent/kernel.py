"""LSTM over a sequence on the processor, forward and backward, compiled by numba.

What bounds an LSTM on a processor is reading the recurrent weights, once for every frame. A
general matrix product copies them into its own order each time; here they are packed once
per sequence. The units are shared out in blocks, one per thread: a thread computes all four
gates of its own units, so that it needs nothing of the others but `h` of the frame before,
and meets them once per frame. Successive frames sweep a thread's weights in opposite
directions: what the last frame left in its cache is what the next one reads.

Arrays are float32 and C-contiguous. Those private to a block are in the block's own order:

    gates  [blocks, frames, batch, 4 * size]   i, f, g, o of the block's units, activated
    cells  [blocks, frames, batch, size]       c

`size` is the units of a block; the last block may have fewer, and its surplus means nothing.
Every sum runs over the units in order, so the bits do not depend on the number of blocks.
"""

import numba
import numpy as np

from lstm_gen.models.lstm.recurrent import rows as lstm_rows
from lstm_gen.models.lstm.recurrent import tile
from lstm_gen.models.lstm.recurrent.rows import Array
from lstm_gen.platform import jit

_ROWS, _COLUMNS, _UNROLL = tile.ROWS, tile.COLUMNS, tile.UNROLL
_FLOAT_BYTES = 4
_CHUNK_FRAMES = 16
"""Frames whose inputs are projected at once, so that those weights are read once for all."""
_PADDING = 16
"""Added to the rows of scratch, lest a power of two put them all in one set of the cache."""

_compiled = jit.kernel()
_parallel = jit.kernel(parallel=True)


def share_units(units: int) -> tuple[int, int]:
    """Return how many blocks the units are shared out in, and the units of one."""
    share = -(-units // numba.get_num_threads())
    size = -(-share // 8) * 8  # four gates of 8 units fill a panel
    return -(-units // size), size


@_parallel
def pack_gates(weights: Array, blocks: int, size: int) -> Array:
    """Pack weights for a product whose columns are a block's gates.

    Args:
      weights: [depth, 4 * units], gate after gate.
      blocks: Number of blocks.
      size: Units of a block.

    Returns:
      [blocks, panels, depth, columns of a panel]; depth is filled up to what a tile takes.
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
    """Pack recurrent weights for the product that takes gates back to a block's units.

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
      c: [batch, units] before the first frame; left as after the last one.
      outputs: [batch, frames, units], h of every frame; written.
      cells: Written, see above.
      gates: Written, see above.
    """
    batch, frames, units = outputs.shape
    blocks = cells.shape[0]
    # Two, taking turns: others may still read the frame before when a thread has this one.
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
    """Take a gradient back through the sequence that `run_forward` ran over.

    Args:
      d_outputs: [batch, frames, units].
      d_h: [batch, units], of h after the last frame; left as of before the first.
      d_c: [batch, units], of c after the last frame; left as of before the first.
      recurrent_kernel: From `pack_units`.
      c: [batch, units] before the first frame.
      cells: As `run_forward` left it.
      gates: As `run_forward` left it.
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
    for frame in range(frames - 1, -2, -1):  # -1 is what comes before the first
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
                lstm_rows.copy(gates[frame, example, gate * size : gate * size + count], own_bias)
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
        tile.add_tile(source, a_stride, panel, target, c_stride, depth)
        row += _ROWS
    while row < rows:
        source, target = a + _FLOAT_BYTES * row * a_stride, c + _FLOAT_BYTES * row * c_stride
        tile.add_row(source, a_stride, panel, target, c_stride, depth)
        row += 1


@_compiled
def _advance(
    gates: Array, cells: Array, c: Array, hidden: Array, outputs: Array, frame: int, first: int
) -> None:
    """Turn one block's products of a frame into gates, and step its c and h."""
    batch, size = gates.shape[1], gates.shape[2] // 4
    last = min(first + size, c.shape[1])
    for example in range(batch):
        own_c, own_h = c[example, first:last], hidden[example, first:last]
        lstm_rows.activate(gates[frame, example], own_c, own_h)
        lstm_rows.copy(cells[frame, example], own_c)
        lstm_rows.copy(outputs[example, frame, first:last], own_h)


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
    """Take one block's gradient of a frame back to its gates, and clear that of its h."""
    batch, size, units = gates.shape[1], gates.shape[2] // 4, c.shape[1]
    count = min(size, units - first)
    for example in range(batch):
        d_h, own_d_c = d_hidden[example, :count], d_c[example, first : first + count]
        lstm_rows.add(d_h, d_outputs[example, frame, first : first + count])
        before = c[example, first : first + count]
        if frame > 0:
            before = cells[frame - 1, example, :count]
        own = d_gates[example, first : first + 3 * units + count]
        lstm_rows.deactivate(
            gates[frame, example], cells[frame, example], before, d_h, own_d_c, own, units
        )
        for gate in range(4):
            column = gate * units + first
            source = d_gates[example, column : column + count]
            lstm_rows.copy(d_products[example, frame, column : column + count], source)
        d_hidden[example] = 0
