"""Timing side by side: candidates take turns, and the median of paired ratios is quoted.

The machines that these run on are shared: an absolute time moves by a quarter from one
minute to the next, while a ratio of two runs made one after the other hardly does.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One figure beside its baseline.

    Attributes:
      what: What was measured.
      beside: The baseline.
      value: The figure, in `unit`.
      unit: "x" for a ratio, else the unit.
      reach: The figure that was asked for.
      at_least: Whether `value` should be at least (else at most) `reach`.
      detail: The absolute numbers behind the ratio, in words.
    """

    what: str
    beside: str
    value: float
    unit: str
    reach: float
    at_least: bool = True
    detail: str = ""

    @property
    def reached(self) -> bool:
        """Whether the figure asked for was reached."""
        return self.value >= self.reach if self.at_least else self.value <= self.reach


def measure_apart(measure: Callable[[str], list[Row]], name: str) -> list[Row]:
    """Return what a function at the top of a module measures of a name, in a fresh process.

    None inherits another's threads, memory or compiled functions.
    """
    fresh = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(measure, name).result()


def take_turns(
    candidates: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Run the candidates in turn, `rounds` times each.

    Returns:
      Name to wall seconds of each counted run, in order.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_index in range(-warmup, rounds):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if round_index >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return the median of the paired ratios slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))
