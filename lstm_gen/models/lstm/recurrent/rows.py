"""What happens to one row of an LSTM's units between two products of `lstm_kernel`.

All arrays are float32 vectors. One loop per result or two: LLVM turns a loop into vector
instructions only if it is over few arrays.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from lstm_gen.platform import jit

Array = npt.NDArray[np.float32]

# Fused multiply-adds and reciprocals; but NaN must stay NaN.
_compiled = jit.kernel(fastmath={"contract", "arcp", "nsz"})

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


@_compiled
def _tanh(x: Any) -> Any:
    x = _LIMIT if x > _LIMIT else x
    x = -_LIMIT if x < -_LIMIT else x
    s = x * x
    numerator = (((_P4 * s + _P3) * s + _P2) * s + _P1) * s + _P0
    return x * numerator / ((((_Q4 * s + _Q3) * s + _Q2) * s + _Q1) * s + _ONE)


@_compiled
def _sigmoid(x: Any) -> Any:
    return _HALF * _tanh(_HALF * x) + _HALF


@_compiled
def activate(gates: Array, c: Array, h: Array) -> None:
    """Turn one row's products into gates, in place, and step its c and h.

    Args:
      gates: [4 * size], gate after gate; as many units of each are used as c has.
      c: Before the frame; left as after it.
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


@_compiled
def deactivate(
    gates: Array, c: Array, c_before: Array, d_h: Array, d_c: Array, d_gates: Array, stride: int
) -> None:
    """Take the gradient of one row back to its gates, and `d_c` to the frame before.

    Args:
      gates: [4 * size], as `activate` left them.
      c: After the frame.
      c_before: Before the frame.
      d_h: Of h.
      d_c: Of c, by way of the frames after; left as of c before the frame.
      d_gates: Of the gates' products; written, `stride` from gate to gate.
      stride: In values.
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


@_compiled
def add(target: Array, source: Array) -> None:
    """Add a row to another."""
    for index in range(source.size):
        target[index] += source[index]


@_compiled
def copy(target: Array, source: Array) -> None:
    """Copy a row to another."""
    for index in range(source.size):
        target[index] = source[index]
