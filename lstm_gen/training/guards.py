"""What must never get into a checkpoint: numbers that are none."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lstm_gen.data import manifest, summary
from lstm_gen.models import family

_NAMED_RECORDINGS = 3


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


def describe_recordings(batches: Iterable[family.Batch], dataset: manifest.Dataset) -> str:
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
