"""The precision that models are built for: weights and losses stay float32 under both."""

import contextlib
from collections.abc import Iterator

import keras

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@contextlib.contextmanager
def of_new_layers(precision: str) -> Iterator[None]:
    """Have the layers that are made meanwhile compute in a precision, for as long as they live."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
