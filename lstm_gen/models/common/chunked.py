"""Convolutions over time, worked off in overlapping pieces: memory and shapes do not grow.

A compiled function takes one length. What is longer is cut into pieces of that one; each is wide
enough that what is kept of it has seen all that it would have seen in the whole.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def run(
    function: Callable[[np.ndarray], Any],
    values: np.ndarray,
    grain: int,
    kept: int,
    context: int,
    progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """Return what a function would make of the whole.

    Args:
      function: [examples, steps * grain, ...] to [examples, steps * other, ...], for any number
        of steps; step t of the result depends on steps t - context to t + context alone, and
        beyond either end there is the function's own padding.
      values: [examples, steps * grain, ...].
      grain: Values of the input along the axis of time, per step.
      kept: Steps that a piece adds to the result, at least 1; it sees a context on either side too.
      context: See `function`.
      progress: Called with the steps done since the last call.
    """
    n_steps, width = values.shape[1] // grain, kept + 2 * context
    if n_steps <= width:
        result = np.asarray(function(values))
        progress(n_steps)
        return result
    parts, done = [], 0
    while done < n_steps:
        first = min(max(0, done - context), n_steps - width)  # the last piece is as wide as all
        last = first + width
        until = n_steps if last == n_steps else last - context
        made = np.asarray(function(values[:, first * grain : last * grain]))
        other = made.shape[1] // width
        parts.append(made[:, (done - first) * other : (until - first) * other])
        progress(until - done)
        done = until
    return np.concatenate(parts, axis=1)
