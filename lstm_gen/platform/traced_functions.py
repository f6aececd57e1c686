"""Functions compiled as one tf.function, which can be listed without being run.

Families decorate their functions for generation. `listing` returns their calls, with numbers
and shapes, so that they can be compiled for a device that is not present.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from lstm_gen.platform import devices


class Call(NamedTuple):
    """A call of a decorated function.

    Attributes:
      name: Name of the function.
      calls: Number of calls with arguments of these shapes and dtypes.
      function: The `tf.function`.
      arguments: A `tf.TensorSpec` in place of each tensor.
    """

    name: str
    calls: int
    function: Any
    arguments: tuple[Any, ...]


_Listed = dict[Any, Call]
_LISTED: contextvars.ContextVar[_Listed | None] = contextvars.ContextVar("listed", default=None)


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function of tensors (or structures of them) to run as one `tf.function`."""
    compiled = tf.function(function, jit_compile=devices.compiles_with_xla())

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        listed = _LISTED.get()
        if listed is None:
            return compiled(*arguments)
        return _list(listed, function.__name__, compiled, arguments)

    return call


@contextlib.contextmanager
def listing() -> Iterator[list[Call]]:
    """List the decorated functions that are called, in order; each returns zeros uncomputed.

    The list is filled when the block ends.
    """
    calls: list[Call] = []
    listed: _Listed = {}
    token = _LISTED.set(listed)
    try:
        yield calls
    finally:
        _LISTED.reset(token)
        calls.extend(listed.values())


def _list(listed: _Listed, name: str, compiled: Any, arguments: tuple[Any, ...]) -> Any:
    """Record a call; return zeros of the shapes that it would return."""
    specs = tf.nest.map_structure(lambda value: tf.TensorSpec(value.shape, value.dtype), arguments)
    key = (compiled, *tf.nest.flatten(specs))
    calls = listed[key].calls if key in listed else 0
    listed[key] = Call(name, calls + 1, compiled, specs)
    outputs = compiled.get_concrete_function(*specs).structured_outputs
    return tf.nest.map_structure(lambda value: tf.zeros(value.shape, value.dtype), outputs)
