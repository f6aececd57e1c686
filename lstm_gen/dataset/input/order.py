"""Which window comes when: a permutation of its own for each epoch, without a list of it.

A keyed permutation tells what stands at a position without computing what stands before it,
so a run resumes at its millionth step as fast as at its first, and no buffer limits how far
windows are moved. It is a Feistel network over a rectangle that holds the windows: in turn
each coordinate is moved along by a random amount that the other decides, which can be
undone and so loses nothing. What lands outside is permuted again.

Source: Black and Rogaway 2002, Ciphers with arbitrary finite domains.
"""

import math

import numpy as np

from lstm_gen.dataset.input import draws

_ROUNDS = 8


def permute(positions: np.ndarray, epochs: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return what stands at these positions of these epochs.

    Args:
      positions: int64 [k], 0 to n - 1.
      epochs: int64 [k], 0 to 2^32 - 1.
      n: How many there are; up to 2^62.
      seed: Decides the order, with the epoch.

    Returns:
      int64 [k]; over all positions of an epoch, each number from 0 to n - 1 once.
    """
    found = _scramble(positions, epochs, n, seed)
    while (outside := found >= n).any():
        found[outside] = _scramble(found[outside], epochs[outside], n, seed)
    return found


def _scramble(places: np.ndarray, epochs: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Permute the places of the smallest near-square rectangle of at least `n`."""
    height = math.isqrt(n - 1) + 1
    width = -(-n // height)
    row, column = np.divmod(places, width)
    for step in range(0, _ROUNDS, 2):
        row = (row + _amount(column, step, epochs, seed)) % height
        column = (column + _amount(row, step + 1, epochs, seed)) % width
    return row * width + column


def _amount(coordinate: np.ndarray, step: int, epochs: np.ndarray, seed: int) -> np.ndarray:
    """Return random integers of 62 bits, so many that the remainder favours nothing."""
    words = draws.words(seed, draws.ORDER, coordinate, step, epochs)
    return (words[..., 0] << np.uint64(30) | words[..., 1] >> np.uint64(2)).astype(np.int64)
