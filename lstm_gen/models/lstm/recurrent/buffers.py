"""Large arrays that are used again, since fresh memory costs as much as filling it.

The system hands memory out page by page and clears each one first: for one LSTM layer's
gates that takes a third as long as the layer itself.
"""

import math
import sys

import numpy as np
import numpy.typing as npt

_ALIGNMENT_BYTES = 64
"""TensorFlow takes an array so aligned as a tensor without copying it."""
_FLOAT_BYTES = 4
_KEPT = 8
"""Idle blocks that stay when one of another size is needed: a layer takes no more than half."""


class Pool:
    """Memory that is lent again once nobody refers to it any more. For one thread at a time.

    Nothing has to be given back: Python counts who refers to a block. Each view of an array
    counts, and a tensor that shares an array's memory keeps the array.
    """

    def __init__(self) -> None:
        self._blocks: list[npt.NDArray[np.uint8]] = [np.empty(0, np.uint8)]  # latest last
        self._references_when_idle = self._count_references(0)

    def take(self, *shape: int) -> npt.NDArray[np.float32]:
        """Return a float32 array of that shape, its values undefined."""
        size = _FLOAT_BYTES * math.prod(shape)
        block = self._find(size + _ALIGNMENT_BYTES)
        start = -block.ctypes.data % _ALIGNMENT_BYTES
        return block[start : start + size].view(np.float32).reshape(shape)

    def _find(self, size: int) -> npt.NDArray[np.uint8]:
        """Return an idle block of that size, or a new one."""
        indices = range(len(self._blocks))
        idle = [i for i in indices if self._count_references(i) == self._references_when_idle]
        for index in idle:
            if self._blocks[index].size == size:
                self._blocks.append(self._blocks.pop(index))
                return self._blocks[-1]
        for index in reversed(idle[:-_KEPT]):
            del self._blocks[index]
        self._blocks.append(np.empty(size, np.uint8))
        return self._blocks[-1]

    def _count_references(self, index: int) -> int:
        return sys.getrefcount(self._blocks[index])
