"""Numba compilation with this project's settings, cached on disk where possible."""

import functools
import os
from collections.abc import Callable
from typing import Any

# Threads that wait for each other spin for at most some 100 microseconds, then sleep. The default,
# milliseconds, is thirty times slower when another process uses the same cores. OpenMP reads
# the variable when it is loaded, so it is set before numba is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import numba


def kernel(
    fastmath: bool | set[str] = False, parallel: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function of arrays; it runs without the interpreter lock.

    The cache is renewed when the function's own file changes, not when that of a function it
    calls does: after a change there, touch the file.

    Args:
      fastmath: Whether (or in which of LLVM's ways) sums may be reordered.
      parallel: Whether `numba.prange` loops use several threads.
    """

    def compile_function(function: Callable[..., Any]) -> Any:
        decorate = functools.partial(
            numba.njit, nogil=True, error_model="numpy", fastmath=fastmath, parallel=parallel
        )
        try:
            return decorate(cache=True)(function)
        except RuntimeError:  # a read-only installation and a read-only home
            return decorate()(function)

    return compile_function
