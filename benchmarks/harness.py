"""Interleaved timing: candidates run alternately; the result is the median of paired ratios.

On a shared machine absolute times vary by a quarter within minutes, while the ratio of two
consecutive runs hardly varies.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Figure and its baseline.

    Attributes:
      what: Quantity.
      baseline: Baseline.
      value: The figure, in `unit`.
      unit: "x" for a ratio, else the unit.
      target: Value to reach.
      at_least: Whether `value` should be at least (else at most) `target`.
      detail: Absolute numbers behind the ratio, as text.
    """

    what: str
    baseline: str
    value: float
    unit: str
    target: float
    at_least: bool = True
    detail: str = ""

    @property
    def reached(self) -> bool:
        """Whether the target is reached."""
        return self.value >= self.target if self.at_least else self.value <= self.target


def measure_in_process(measure: Callable[[str], list[Row]], name: str) -> list[Row]:
    """Return `measure(name)`, called in a fresh process; `measure` must be a module's function."""
    fresh = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(measure, name).result()


def interleave(
    candidates: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Run the candidates alternately, `rounds` times each after `warmup` rounds.

    Returns:
      Name to wall-clock seconds of each counted run, in order.
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
