"""NaN guard: detection of NaN and infinity in losses, gradients and weights, and of saturation."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.dataset.format import manifest
from lstm_gen.models import base

_NAMED_RECORDINGS = 3
_SATURATED_FRACTION = 0.95  # of the way from an untrained model's loss to its limit
_SATURATED_STEPS_FRACTION = 0.05  # of all steps, over which the loss is averaged
_MIN_SATURATED_STEPS = 20


class NonFiniteError(ArithmeticError):
    """A loss, a gradient or a weight is NaN or infinite.

    Attributes:
      name: Name of the metric or variable.
      step: Optimizer step, counted from 1.
      split: "train" or "validation", the split of the windows.
    """

    def __init__(self, name: str, value: float, step: int, split: str = "train") -> None:
        super().__init__(f"{name}={value} at step {step}")
        self.name, self.step, self.split = name, step, split


def require_finite(metrics: Mapping[str, np.ndarray], first: int) -> None:
    """Raise NonFiniteError unless every metric of every step is finite.

    Args:
      metrics: Name to float [steps].
      first: Number of steps before these.
    """
    for name, values in metrics.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise NonFiniteError(name, values[bad[0]], first + int(bad[0]) + 1)


def require_finite_validation(metrics: Mapping[str, float], step: int) -> None:
    """Raise NonFiniteError unless every validation metric is finite."""
    for name, value in metrics.items():
        if not np.isfinite(value):
            raise NonFiniteError(f"validation {name}", value, step, "validation")


def require_finite_variables(variables: Mapping[str, Any], step: int) -> None:
    """Raise NonFiniteError unless every value of every variable is finite."""
    for name, variable in variables.items():
        values = variable.numpy()
        if not np.isfinite(values).all():
            raise NonFiniteError(name, values[~np.isfinite(values)].flat[0], step)


class Saturation:
    """Detects losses near their limit, as a discriminator's that is always right.

    Args:
      objectives: Objectives of a step, each with the range of its losses.
      n_steps: Steps of the whole run.
    """

    def __init__(self, objectives: Sequence[base.Objective], n_steps: int) -> None:
        limits = {name: pair for one in objectives for name, pair in one.saturation.items()}
        length = max(_MIN_SATURATED_STEPS, round(_SATURATED_STEPS_FRACTION * n_steps))
        self._limits = limits
        self._recent = {name: collections.deque[float](maxlen=length) for name in limits}
        self._warned: set[str] = set()

    def update(self, metrics: Mapping[str, np.ndarray]) -> Iterator[str]:
        """Add the metrics of more steps; yield a warning for each newly saturated loss."""
        for name, (start, limit) in self._limits.items():
            recent = self._recent[name]
            recent.extend(metrics[name].tolist())
            mean = sum(recent) / len(recent)
            fraction = (mean - start) / (limit - start)
            saturated = len(recent) == recent.maxlen and fraction > _SATURATED_FRACTION
            if saturated and name not in self._warned:
                yield (
                    f"warning: {name} has been {mean:.3g} on average for {len(recent)} steps; it "
                    f"has saturated near its limit {limit:g}, and its gradient is now small"
                )
            (self._warned.add if saturated else self._warned.discard)(name)


def describe_recordings(batches: Iterable[base.Batch], dataset: manifest.Dataset) -> str:
    """Return the recordings that batches were cut from, as part of a message.

    Those with NaN or infinite frames if there are any, else all.
    """
    recordings: set[int] = set()
    bad: set[int] = set()
    for batch in batches:
        finite = np.isfinite(batch["frames"]).all(axis=(1, 2))
        ids = np.asarray(batch["recording"])
        recordings.update(ids[ids >= 0].tolist())
        bad.update(ids[~finite & (ids >= 0)].tolist())
    names = manifest.recording_names(manifest.load_lines(dataset.data_dir))
    found = sorted(names.get(number, f"recording {number}") for number in bad or recordings)
    more = len(found) - _NAMED_RECORDINGS
    listed = ", ".join(found[:_NAMED_RECORDINGS]) + (f" and {more} more" if more > 0 else "")
    return f"{'with NaN or infinite frames' if bad else 'with windows'} of {listed}"
