"""The largest batch that fits, found with few tries, since each is a compilation."""

import math
from collections.abc import Callable

_LARGEST = 1 << 16


def largest_that_fits(
    need: Callable[[int], float],
    usable: float,
    fitting: tuple[int, float] = (0, 0.0),
    too_large: int = _LARGEST + 1,
) -> int:
    """Return the largest batch that fits, to within an eighth; 0 if none does.

    A power of two first, from what one batch needs; then memory is taken to grow in proportion,
    which it nearly does once a batch has outgrown the memory on the chip; else by bisection.

    Args:
      need: (batch) -> bytes, infinite if it does not fit.
      usable: Bytes that there are.
      fitting: A batch that fits, and what it needs, bytes.
      too_large: A batch that does not fit.
    """
    fits = [fitting]
    while (batch := _next(fits, too_large, usable)) < too_large:
        needed = need(batch)
        if needed <= usable:
            fits.append((batch, needed))
        else:
            too_large = batch
    return fits[-1][0]


def _next(fits: list[tuple[int, float]], too_large: int, usable: float) -> int:
    """Return the batch to try; `too_large` if there is nothing left to find out."""
    batch, needed = fits[-1]
    grain = max(1, _power_of_two(batch) // 8)
    if batch + grain >= too_large:
        return too_large
    guess = (batch + too_large) // 2
    if len(fits) > 1:
        before, needed_before = fits[-2]
        growth = max(needed - needed_before, 1.0) / (batch - before)
        line = batch + int((usable - needed) / growth)
        guess = line if line < too_large else guess
    elif needed:
        guess = _power_of_two(min(batch * usable / needed, math.sqrt(batch * too_large)))
    return max(guess - guess % grain, batch + grain)


def _power_of_two(value: float) -> int:
    """Return the largest power of two up to a value, at least 1."""
    return 1 << int(math.log2(max(value, 1)))
