"""Numba's compiler with this project's settings, its results kept on disk where possible."""

import functools
from collections.abc import Callable
from typing import Any

import numba


def kernel(
    fastmath: bool | set[str] = False, parallel: bool = False
) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function of arrays, without the interpreter's lock.

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
