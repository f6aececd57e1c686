"""Random numbers that are a function of what they are for; nothing is drawn in sequence.

Philox4x32-10, the generator that TensorFlow's stateless functions use too: a key and a counter
of four 32-bit words become four random words. No state is kept, so none can be lost: any draw
of any epoch can be made at once, again, and on any machine.

Source: Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
"""

from typing import Any

import numpy as np

_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_INCREMENTS = 0x9E3779B9, 0xBB67AE85

# What a draw is for. With the seed it is the key, so that no two uses share a number.
ORDER, PHASE, AUGMENTATION = range(3)


def words(seed: int, purpose: int, *counter: Any) -> np.ndarray:
    """Return four random words for each counter.

    Args:
      seed: Of the run, 0 to 2^31 - 1.
      purpose: One of this module's constants.
      *counter: Up to four integers or arrays of them, 0 to 2^32 - 1, of shapes that fit
        each other; what is not given is 0.

    Returns:
      uint64 [..., 4], each 0 to 2^32 - 1.
    """
    given = [np.asarray(word).astype(np.uint64) for word in counter]
    zero = np.zeros((), np.uint64)
    a, b, c, d = np.broadcast_arrays(*given, *[zero] * (4 - len(given)))
    first, second = seed, purpose
    for _ in range(_ROUNDS):
        ab, cd = a * _FACTORS[0], c * _FACTORS[1]
        a, b = cd >> _HALF ^ b ^ np.uint64(first), cd & _LOW
        c, d = ab >> _HALF ^ d ^ np.uint64(second), ab & _LOW
        first, second = ((k + i) % 2**32 for k, i in zip((first, second), _INCREMENTS, strict=True))
    return np.stack([a, b, c, d], axis=-1)


def below(limit: Any, seed: int, purpose: int, *counter: Any) -> np.ndarray:
    """Return a random integer from 0 to `limit` - 1 for each counter, int64.

    Args:
      limit: Integers from 1 to 2^31, of a shape that fits the counters'.
      seed: As for `words`.
      purpose: As for `words`.
      *counter: As for `words`.
    """
    word = words(seed, purpose, *counter)[..., 0]
    return (word * np.asarray(limit).astype(np.uint64) >> _HALF).astype(np.int64)


def uniform(seed: int, purpose: int, *counter: Any) -> np.ndarray:
    """Return four random numbers in [0, 1) for each counter, float32 [..., 4]."""
    # 24 bits are what a float32 holds: no draw is rounded up to 1.
    return ((words(seed, purpose, *counter) >> np.uint64(8)) * 2.0**-24).astype(np.float32)
