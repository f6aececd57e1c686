"""Labels as a model is told them: one vector per example, whatever kinds they are of."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base

_BUMPS = 26
_WIDTH = 0.75  # of a bump, in steps from one bump to the next


def width(conditions: Sequence[base.Condition]) -> int:
    """Return the length of the vector."""
    return sum(1 + _BUMPS if one.kind == "number" else one.n_values for one in conditions)


def vector(conditions: Sequence[base.Condition], labels: Mapping[str, Any], n_examples: Any) -> Any:
    """Return the labels of examples side by side, float32 [examples, width].

    A class is 1 in its place (or, float32 [examples, classes], as much of each as is told), a set
    1 in each of its places. A number is its place between the extremes, -1 to 1, and Gaussian bumps
    along that range, by which what is close is told alike and yet apart. A label that is not known
    is 0 everywhere.

    Args:
      conditions: What the model is told.
      labels: "label/NAME" to an array with a row for each example, as in a batch.
      n_examples: Rows, for a model that is told nothing.
    """
    parts = [_part(one, labels[f"label/{one.name}"]) for one in conditions]
    return tf.concat(parts, axis=1) if parts else tf.zeros([n_examples, 0])


def _part(condition: base.Condition, values: Any) -> Any:
    """Return one label of every example, float32 [examples, values]."""
    if condition.kind == "class":
        if len(values.shape) == 2:
            return tf.cast(values, tf.float32)
        return tf.one_hot(values, condition.n_values)  # of zeros alone for -1
    values = tf.cast(values, tf.float32)
    if condition.kind == "multi":
        return values
    half = max((condition.maximum - condition.minimum) / 2, 1e-6)
    known = tf.math.is_finite(values)
    place = tf.where(known, (values - (condition.minimum + half)) / half, 0.0)[:, tf.newaxis]
    centres = np.linspace(-1, 1, _BUMPS, dtype=np.float32)
    bumps = tf.exp(-0.5 * tf.square((place - centres) * ((_BUMPS - 1) / 2 / _WIDTH)))
    return tf.concat([place, bumps], axis=1) * tf.cast(known, tf.float32)[:, tf.newaxis]
