"""Safetensors files: named arrays in one file, streamed, without executable content.

    uint64    length of the header, little-endian
    header    JSON: name to dtype, shape and offsets of an array; padded with spaces
    arrays    one after another, by name, without a gap, little-endian, last axis fastest

A reader is given the expected arrays: the header is compared and not parsed, and no size is taken
from it.

Source: the safetensors format, https://huggingface.co/docs/safetensors.
"""

import json
import math
import os
import pathlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

_CODES = {
    **{"bool": "BOOL", "int8": "I8", "uint8": "U8", "int32": "I32", "uint32": "U32"},
    **{"int64": "I64", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64"},
}
_ALIGNMENT = 8
_LENGTH = struct.Struct("<Q")


class FormatError(ValueError):
    """A file does not hold the expected arrays."""


class Spec(NamedTuple):
    """Type and shape of an array.

    Attributes:
      dtype: NumPy name of the type.
      shape: Lengths of the axes.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Size of the values, bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


Specs = Mapping[str, Spec]


def write(path: str, specs: Specs, arrays: Iterable[np.ndarray]) -> None:
    """Write arrays to a local file and flush it to disk.

    Args:
      path: The file.
      specs: Type and shape of each array, by name.
      arrays: The arrays, sorted by name; consumed one at a time.
    """
    with pathlib.Path(path).open("wb") as file:
        file.write(_header(specs))
        for array in arrays:
            file.write(np.ascontiguousarray(array, _stored(array.dtype.name)).data)
        file.flush()
        os.fsync(file.fileno())


def read(path: str, specs: Specs) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of a local file, sorted by name.

    Raises:
      FormatError: If the file does not hold exactly these.
    """
    expected = _header(specs)
    with pathlib.Path(path).open("rb") as file:
        if file.read(len(expected)) != expected or os.fstat(file.fileno()).st_size != size(specs):
            raise FormatError(f"{path} holds other arrays than expected")
        for name, spec in sorted(specs.items()):
            values = np.fromfile(file, _stored(spec.dtype), math.prod(spec.shape))
            yield name, values.reshape(spec.shape)


def size(specs: Specs) -> int:
    """Return the size of a file that holds these arrays, bytes."""
    return len(_header(specs)) + sum(spec.n_bytes for spec in specs.values())


def to_json(specs: Specs) -> dict[str, list]:
    """Return specs as JSON values."""
    return {name: [spec.dtype, list(spec.shape)] for name, spec in specs.items()}


def from_json(values: Mapping[str, list]) -> dict[str, Spec]:
    """Return the specs that `to_json` wrote.

    Raises:
      ValueError, TypeError, AttributeError: If the values are not specs.
    """
    return {name: _spec(*value) for name, value in values.items()}


def _spec(dtype: str, shape: list[int]) -> Spec:
    if dtype not in _CODES or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array cannot be {dtype} {shape}")
    return Spec(dtype, tuple(shape))


def _header(specs: Specs) -> bytes:
    entries, begin = {}, 0
    for name, spec in sorted(specs.items()):
        end = begin + spec.n_bytes
        entries[name] = {
            "dtype": _CODES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return _LENGTH.pack(len(text)) + text


def _stored(dtype: str) -> np.dtype:
    """Return the type in the file, little-endian on every machine."""
    return np.dtype(dtype).newbyteorder("<")
