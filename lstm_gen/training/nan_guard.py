"""What must never get into a checkpoint, numbers that are none; and losses that teach no more."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.inspect import summary
from lstm_gen.models import base

_NAMED_RECORDINGS = 3
_SATURATED = 0.95  # of the way
_SATURATION_SHARE = 0.05  # of all steps, that a loss must have been there
_SATURATION_STEPS = 20  # at least


class NonFiniteError(ArithmeticError):
    """A loss, a gradient or a weight has become infinite or no number.

    Attributes:
      name: What it is.
      step: The optimizer step that it happened in, counted from 1.
      split: Whose windows brought it up.
    """

    def __init__(self, name: str, value: float, step: int, split: str = "train") -> None:
        super().__init__(f"{name}={value} at step {step}")
        self.name, self.step, self.split = name, step, split


def require_finite(metrics: Mapping[str, np.ndarray], first: int) -> None:
    """Raise NonFiniteError unless every metric of every step is a number.

    Args:
      metrics: Name to float [steps].
      first: Steps done before these.
    """
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise NonFiniteError(name, values[bad[0]], first + int(bad[0]) + 1)


def require_finite_validation(metrics: Mapping[str, float], step: int) -> None:
    """Raise NonFiniteError unless every metric of the validation after a step is a number."""
    for name, value in metrics.items():
        if not np.isfinite(value):
            raise NonFiniteError(f"validation {name}", value, step, "validation")


def require_finite_variables(variables: Mapping[str, Any], step: int) -> None:
    """Raise NonFiniteError unless every value of every variable is a number."""
    for name, variable in variables.items():
        values = variable.numpy()
        if not np.isfinite(values).all():
            raise NonFiniteError(name, values[~np.isfinite(values)].flat[0], step)


class Saturation:
    """Sees when a loss has nothing more to say, as that of a player who always wins.

    Args:
      objectives: What a step lowers, each with the values that its losses end at.
      n_steps: Of the whole run.
    """

    def __init__(self, objectives: Sequence[base.Objective], n_steps: int) -> None:
        ends = {name: pair for one in objectives for name, pair in one.saturation.items()}
        length = max(_SATURATION_STEPS, round(_SATURATION_SHARE * n_steps))
        self._ends = ends
        self._seen = {name: collections.deque[float](maxlen=length) for name in ends}
        self._warned: set[str] = set()

    def note(self, metrics: Mapping[str, np.ndarray]) -> Iterator[str]:
        """Take in the metrics of more steps, and yield a warning for each newly saturated one."""
        for name, (start, end) in self._ends.items():
            seen = self._seen[name]
            seen.extend(metrics[name].tolist())
            mean = sum(seen) / len(seen)
            there = len(seen) == seen.maxlen and (mean - start) / (end - start) > _SATURATED
            if there and name not in self._warned:
                yield (
                    f"warning: {name} has been at {mean:.3g} for {len(seen)} steps, and {end:g} is "
                    "as far as it goes: little is learnt from it any more"
                )
            (self._warned.add if there else self._warned.discard)(name)


def describe_recordings(batches: Iterable[base.Batch], dataset: manifest.Dataset) -> str:
    """Return in words which recordings to look at: those of frames that are no numbers, or all.

    Args:
      batches: Where to look, to their end.
      dataset: The dataset that they are of.
    """
    seen: set[int] = set()
    bad: set[int] = set()
    for batch in batches:
        finite = np.isfinite(batch["frames"]).all(axis=(1, 2))
        ids = np.asarray(batch["recording"])
        seen.update(ids[ids >= 0].tolist())
        bad.update(ids[~finite & (ids >= 0)].tolist())
    names = summary.name_recordings(manifest.load_lines(dataset.data_dir))
    found = sorted(names.get(number, f"recording {number}") for number in bad or seen)
    more = len(found) - _NAMED_RECORDINGS
    listed = ", ".join(found[:_NAMED_RECORDINGS]) + (f" and {more} more" if more > 0 else "")
    return f"{'with frames that are no numbers' if bad else 'with windows'} of {listed}"
