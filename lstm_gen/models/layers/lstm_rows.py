"""What happens to one row of units between two products of `lstm_kernel`, compiled by numba.

All arrays are float32 vectors; `own` is the distance between the gates of a block.
"""

from typing import Any

import numpy as np

from lstm_gen import compiled

_jit = compiled.kernel(fastmath={"contract", "nsz", "arcp"})

# tanh as a ratio of polynomials, x P(x^2) / Q(x^2), fitted on [-9, 9]: within 2e-7.
_P0, _P1, _P2, _P3, _P4 = (
    np.float32(p)
    for p in (0.9999999794767006, 0.13381025025916646, 3.495587402593147e-3, 2.0609070977706485e-5,
              1.3354647142255699e-8)
)  # fmt: skip
_Q1, _Q2, _Q3, _Q4 = (
    np.float32(q)
    for q in (0.46714340623793443, 0.02587697942127309, 3.2856336556919024e-4, 7.776552132885815e-7)
)
_ONE, _HALF, _LIMIT = np.float32(1), np.float32(0.5), np.float32(9)


@_jit
def _tanh(x: Any) -> Any:
    x = _LIMIT if x > _LIMIT else x
    x = -_LIMIT if x < -_LIMIT else x
    s = x * x
    above = (((_P4 * s + _P3) * s + _P2) * s + _P1) * s + _P0
    return x * above / ((((_Q4 * s + _Q3) * s + _Q2) * s + _Q1) * s + _ONE)


# Each of these is one loop over a row, because that is what LLVM turns into vector instructions.


@_jit
def _to_sigmoid(x: np.ndarray) -> None:
    for j in range(x.size):
        x[j] = _HALF * _tanh(_HALF * x[j]) + _HALF


@_jit
def _take_tanh(x: np.ndarray, result: np.ndarray) -> None:
    for j in range(x.size):
        result[j] = _tanh(x[j])


@_jit
def _to_tanh(x: np.ndarray) -> None:
    for j in range(x.size):
        x[j] = _tanh(x[j])


@_jit
def _update_cell(c: np.ndarray, i: np.ndarray, f: np.ndarray, g: np.ndarray) -> None:
    for j in range(c.size):
        c[j] = f[j] * c[j] + i[j] * g[j]


@_jit
def _take_output(h: np.ndarray, o: np.ndarray, c: np.ndarray) -> None:
    for j in range(c.size):
        h[j] = o[j] * _tanh(c[j])


@_jit
def add(a: np.ndarray, b: np.ndarray) -> None:
    """Add b to a."""
    for j in range(a.size):
        a[j] += b[j]


@_jit
def clear(a: np.ndarray) -> None:
    """Set a to zeros."""
    for j in range(a.size):
        a[j] = 0


@_jit
def copy(a: np.ndarray, b: np.ndarray) -> None:
    """Copy b to a."""
    for j in range(a.size):
        a[j] = b[j]


@_jit
def _scale(a: np.ndarray, b: np.ndarray) -> None:
    for j in range(a.size):
        a[j] *= b[j]


@_jit
def _add_cell_gradient(d_c: np.ndarray, d_h: np.ndarray, o: np.ndarray, tanh_c: np.ndarray) -> None:
    for j in range(d_c.size):
        d_c[j] += d_h[j] * o[j] * (_ONE - tanh_c[j] * tanh_c[j])


@_jit
def _take_sigmoid_gradient(
    result: np.ndarray, a: np.ndarray, b: np.ndarray, gate: np.ndarray
) -> None:
    for j in range(result.size):
        result[j] = a[j] * b[j] * gate[j] * (_ONE - gate[j])


@_jit
def _take_tanh_gradient(result: np.ndarray, a: np.ndarray, b: np.ndarray, gate: np.ndarray) -> None:
    for j in range(result.size):
        result[j] = a[j] * b[j] * (_ONE - gate[j] * gate[j])


@_jit
def advance(gates: np.ndarray, c: np.ndarray, h: np.ndarray, own: int, n: int) -> None:
    """Turn one row's gate products into gates, c into the next c, and set h."""
    i, f = gates[:n], gates[own : own + n]
    g, o = gates[2 * own : 2 * own + n], gates[3 * own : 3 * own + n]
    _to_sigmoid(i)
    _to_sigmoid(f)
    _to_tanh(g)
    _to_sigmoid(o)
    _update_cell(c, i, f, g)
    _take_output(h, o, c)


@_jit
def retreat(
    gates: np.ndarray,
    c: np.ndarray,
    c_before: np.ndarray,
    d_h: np.ndarray,
    d_c: np.ndarray,
    tanh_c: np.ndarray,
    own: int,
    d_i: np.ndarray,
    d_f: np.ndarray,
    d_g: np.ndarray,
    d_o: np.ndarray,
) -> None:
    """Set the gradients of one row's gate products, and turn d_c into the frame before's."""
    n = d_h.size
    i, f = gates[:n], gates[own : own + n]
    g, o = gates[2 * own : 2 * own + n], gates[3 * own : 3 * own + n]
    _take_tanh(c, tanh_c)
    _add_cell_gradient(d_c, d_h, o, tanh_c)
    _take_sigmoid_gradient(d_o, d_h, tanh_c, o)
    _take_sigmoid_gradient(d_i, d_c, g, i)
    _take_sigmoid_gradient(d_f, d_c, c_before, f)
    _take_tanh_gradient(d_g, d_c, i, g)
    _scale(d_c, f)
