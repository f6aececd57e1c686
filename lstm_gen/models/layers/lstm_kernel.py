"""The LSTM over a sequence on this machine's processor, forward and backward, compiled by numba.

A general matrix product reads and rearranges the whole recurrent matrix for every frame; here
that is done once per call. Each thread owns a block of units (and so its share of every gate's
columns, laid out as contiguous panels that stay in its cache), computes the product of its panels
and the gates of its units, and waits for the others once per frame. Panels are walked back and
forth, so that each frame begins with what the one before left in the cache.

Sums run over the depth in order, whatever the number of threads: the bits do not depend on it.
"""

import math

import numba
import numpy as np

from lstm_gen import compiled
from lstm_gen.models.layers import lstm_rows, tile

_WIDTH = tile.WIDTH
_ROWS = tile.ROWS
_PAD = 16  # floats between rows, so that rows of a power of two do not share cache sets
_FRAMES_AHEAD = 8  # input projections at a time
_BYTES = 4
_LINE_BYTES = 64

_FAST = {"contract", "nsz", "arcp"}
_jit = compiled.kernel(fastmath=_FAST)
_parallel = compiled.kernel(fastmath=_FAST, parallel=True)


def forward(
    inputs: np.ndarray,
    kernel: np.ndarray,
    recurrent_kernel: np.ndarray,
    bias: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run over a sequence.

    Args:
      inputs: float32 [batch, frames, features], C-contiguous, as all arrays here.
      kernel: float32 [features, 4 units], gates in the order i, f, c, o.
      recurrent_kernel: float32 [units, 4 units].
      bias: float32 [4 units].
      h0: float32 [batch, units].
      c0: float32 [batch, units].

    Returns:
      Every h, [batch, frames, units]; the last c, [batch, units]; and for `backward` every c and
      every gate, each in a layout by blocks of units.
    """
    batch, frames, features = inputs.shape
    units = h0.shape[1]
    blocks = _count_blocks(units)
    panels = _pack(_padded(kernel), blocks)
    recurrent_panels = _pack(_padded(recurrent_kernel), blocks)
    hs = _empty(batch, frames, units)
    cs = _empty(blocks, frames, batch, -(-units // blocks))
    gates = _empty(blocks, frames, batch, panels.shape[1] * _WIDTH)
    if missing := -features % tile.UNROLL:
        inputs = np.pad(inputs, [(0, 0), (0, 0), (0, missing)])
    last_c = _forward(inputs, panels, recurrent_panels, bias, h0, c0, hs, cs, gates)
    return hs, last_c, cs, gates


def backward(
    d_hs: np.ndarray,
    d_last_h: np.ndarray,
    d_last_c: np.ndarray,
    recurrent_kernel: np.ndarray,
    c0: np.ndarray,
    cs: np.ndarray,
    gates: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take gradients back through the loop; the weights' are left to large products after it.

    Args:
      d_hs: Gradient of every h, float32 [batch, frames, units].
      d_last_h: Gradient of the last h beside that, float32 [batch, units].
      d_last_c: Gradient of the last c, float32 [batch, units].
      recurrent_kernel: As `forward` had it.
      c0: As `forward` had it.
      cs: As `forward` returned it.
      gates: As `forward` returned it.

    Returns:
      Gradients of the gates before their functions, [batch, frames, 4 units], of the bias,
      [4 units], and of h0 and c0, [batch, units].
    """
    batch, frames, units = d_hs.shape
    d_products = _empty(batch, frames, 4 * units)
    panels = _pack_transposed(recurrent_kernel, _count_blocks(units))
    d_h0, d_c0, d_bias = _backward(d_hs, d_last_h, d_last_c, panels, c0, cs, gates, d_products)
    return d_products, d_bias, d_h0, d_c0


def _empty(*shape: int) -> np.ndarray:
    """Return an uninitialised float32 array that begins at a cache line.

    TensorFlow takes such an array as it is and would copy any other; and no vector straddles
    two lines.
    """
    size = math.prod(shape) * _BYTES
    memory = np.empty(size + _LINE_BYTES, np.uint8)
    first = -memory.ctypes.data % _LINE_BYTES
    return memory[first : first + size].view(np.float32).reshape(shape)


def _count_blocks(units: int) -> int:
    """Return how many threads share the units: no more than leaves each a panel."""
    return max(1, min(numba.get_num_threads(), units // _WIDTH))


def _padded(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix with rows of zeros after its own, to a multiple of the unrolled depth."""
    missing = -matrix.shape[0] % tile.UNROLL
    return np.pad(matrix, [(0, missing), (0, 0)]) if missing else matrix


_many_rows = tile.make(tile.ROWS)
_one_row = tile.make(1)


@_jit
def _multiply_panel(
    a: int, a_stride: int, panel: int, c: int, c_stride: int, rows: int, depth: int
) -> None:
    """c[rows, WIDTH] += a[rows, depth] @ panel[depth, WIDTH]."""
    row = 0
    while row + _ROWS <= rows:
        _many_rows(
            a + _BYTES * row * a_stride,
            a_stride,
            panel,
            c + _BYTES * row * c_stride,
            c_stride,
            depth,
        )
        row += _ROWS
    while row < rows:
        _one_row(
            a + _BYTES * row * a_stride,
            a_stride,
            panel,
            c + _BYTES * row * c_stride,
            c_stride,
            depth,
        )
        row += 1


@_jit
def _multiply(
    a: int, a_stride: int, panels: np.ndarray, c: int, c_stride: int, rows: int, backwards: bool
) -> None:
    """c[rows, n WIDTH] += a[rows, depth] @ panels [n, depth, WIDTH], walked in either direction."""
    n, depth, _ = panels.shape
    for turn in range(n):
        p = n - 1 - turn if backwards else turn
        panel = panels.ctypes.data + _BYTES * p * depth * _WIDTH
        _multiply_panel(a, a_stride, panel, c + _BYTES * p * _WIDTH, c_stride, rows, depth)


@_parallel
def _pack(matrix: np.ndarray, blocks: int) -> np.ndarray:
    """Return [depth, 4 units] as [blocks, panels, depth, WIDTH], a block's gates side by side."""
    depth, units = matrix.shape[0], matrix.shape[1] // 4
    own = -(-units // blocks)
    panels = np.zeros((blocks, -(-4 * own // _WIDTH), depth, _WIDTH), np.float32)
    for k in numba.prange(depth):
        for block in range(blocks):
            for gate in range(4):
                for j in range(min(own, units - block * own)):
                    column = gate * own + j
                    value = matrix[k, gate * units + block * own + j]
                    panels[block, column // _WIDTH, k, column % _WIDTH] = value
    return panels


@_parallel
def _pack_transposed(matrix: np.ndarray, blocks: int) -> np.ndarray:
    """Return [units, 4 units] as [blocks, panels, 4 units, WIDTH], a block's units side by side."""
    units, depth = matrix.shape
    own = -(-units // blocks)
    n_panels = -(-own // _WIDTH)
    panels = np.zeros((blocks, n_panels, depth, _WIDTH), np.float32)
    for block in numba.prange(blocks):
        for p in range(n_panels):
            first = block * own + p * _WIDTH
            last = min(first + _WIDTH, min((block + 1) * own, units))
            for k0 in range(0, depth, 64):  # a tile of the matrix at a time: it is read by columns
                for j in range(first, last):
                    for k in range(k0, min(k0 + 64, depth)):
                        panels[block, p, k, j - first] = matrix[j, k]
    return panels


@_parallel
def _forward(
    inputs: np.ndarray,
    panels: np.ndarray,
    recurrent_panels: np.ndarray,
    bias: np.ndarray,
    h0: np.ndarray,
    c0: np.ndarray,
    hs: np.ndarray,
    cs: np.ndarray,
    gates: np.ndarray,
) -> np.ndarray:
    """Fill hs, cs and gates, as `forward` lays them out; return the last c."""
    batch, frames, features = inputs.shape
    units, blocks, columns = h0.shape[1], panels.shape[0], gates.shape[3]
    own = -(-units // blocks)
    stride = units + _PAD
    state = np.zeros((2, batch, stride), np.float32)  # h of the frame before and of this one
    state[1, :, :units] = h0
    c = c0.copy()
    for t in range(frames):
        for block in numba.prange(blocks):
            first = block * own
            n = min(own, units - first)
            here = gates.ctypes.data + _BYTES * (block * frames + t) * batch * columns
            if t % _FRAMES_AHEAD == 0:
                ahead = min(_FRAMES_AHEAD, frames - t)
                for later in range(ahead):
                    for row in range(batch):
                        for gate in range(4):
                            lstm_rows.copy(
                                gates[block, t + later, row, gate * own : gate * own + n],
                                bias[gate * units + first : gate * units + first + n],
                            )
                        lstm_rows.clear(gates[block, t + later, row, 4 * own :])
                for p in range(panels.shape[1]):
                    panel = block * panels.shape[1] + p
                    address = panels.ctypes.data + _BYTES * panel * features * _WIDTH
                    for later in range(ahead):
                        _multiply_panel(
                            inputs.ctypes.data + _BYTES * (t + later) * features,
                            frames * features,
                            address,
                            here + _BYTES * (later * batch * columns + p * _WIDTH),
                            columns,
                            batch,
                            features,
                        )
            before = state.ctypes.data + _BYTES * ((t + 1) % 2) * batch * stride
            own_panels = recurrent_panels[block]
            _multiply(before, stride, own_panels, here, columns, batch, t % 2 == 1)
            for row in range(batch):
                h, row_c = state[t % 2, row, first : first + n], c[row, first : first + n]
                lstm_rows.advance(gates[block, t, row], row_c, h, own, n)
                lstm_rows.copy(hs[row, t, first : first + n], h)
                lstm_rows.copy(cs[block, t, row], row_c)
    return c


@_parallel
def _backward(
    d_hs: np.ndarray,
    d_last_h: np.ndarray,
    d_last_c: np.ndarray,
    panels: np.ndarray,
    c0: np.ndarray,
    cs: np.ndarray,
    gates: np.ndarray,
    d_products: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill d_products [batch, frames, 4 units]; return the gradients of h0, c0 and the bias."""
    batch, frames, units = d_hs.shape
    blocks, columns, stride = panels.shape[0], panels.shape[1] * _WIDTH, 4 * units + _PAD
    own = -(-units // blocks)
    d_h = np.zeros((blocks, batch, columns), np.float32)
    around = np.zeros((2, batch, stride), np.float32)  # d_products of the frame after and of this
    tanh_c = np.zeros((blocks, own), np.float32)
    d_c, d_bias = d_last_c.copy(), np.zeros(4 * units, np.float32)
    d_h0 = np.empty((batch, units), np.float32)
    for turn in range(frames + 1):
        t = frames - 1 - turn  # -1 is what comes before the first frame
        for block in numba.prange(blocks):
            first = block * own
            n = min(own, units - first)
            if turn == 0:
                for row in range(batch):
                    lstm_rows.copy(d_h[block, row, :n], d_last_h[row, first : first + n])
            else:
                for row in range(batch):
                    lstm_rows.clear(d_h[block, row])
                after = around.ctypes.data + _BYTES * ((t + 1) % 2) * batch * stride
                target = d_h.ctypes.data + _BYTES * block * batch * columns
                _multiply(after, stride, panels[block], target, columns, batch, t % 2 == 1)
            for row in range(batch):
                if t < 0:
                    lstm_rows.copy(d_h0[row, first : first + n], d_h[block, row, :n])
                    continue
                row_d_h = d_h[block, row, :n]
                lstm_rows.add(row_d_h, d_hs[row, t, first : first + n])
                now = around[t % 2, row]
                lstm_rows.retreat(
                    gates[block, t, row],
                    cs[block, t, row, :n],
                    cs[block, t - 1, row, :n] if t > 0 else c0[row, first : first + n],
                    row_d_h,
                    d_c[row, first : first + n],
                    tanh_c[block, :n],
                    own,
                    now[first : first + n],
                    now[units + first : units + first + n],
                    now[2 * units + first : 2 * units + first + n],
                    now[3 * units + first : 3 * units + first + n],
                )
                for gate in range(4):
                    low = gate * units + first
                    lstm_rows.copy(d_products[row, t, low : low + n], now[low : low + n])
                    lstm_rows.add(d_bias[low : low + n], now[low : low + n])
    return d_h0, d_c, d_bias
