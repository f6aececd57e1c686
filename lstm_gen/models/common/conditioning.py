"""Conditioning vectors: the labels of an example, encoded side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base

_BASES = 26
_SD = 0.75  # of a Gaussian basis function, in distances between their centres


def width(conditions: Sequence[base.Condition]) -> int:
    """Return the length of the conditioning vector."""
    return sum(1 + _BASES if one.kind == "number" else one.n_values for one in conditions)


def vector(conditions: Sequence[base.Condition], labels: Mapping[str, Any], n_examples: Any) -> Any:
    """Return the conditioning vector of each example, float32 [examples, width].

    A class is one-hot (or a mixture of classes, given as float32 [examples, classes]), a set
    multi-hot. A number is scaled to -1 to 1 between its extremes, and followed by Gaussian basis
    functions of it. An unknown label is all zeros.

    Args:
      conditions: Labels that the model is conditioned on.
      labels: "label/NAME" to an array with a row for each example, as in a batch.
      n_examples: Rows of the result if there are no conditions.
    """
    parts = [_part(one, labels[f"label/{one.name}"]) for one in conditions]
    return tf.concat(parts, axis=1) if parts else tf.zeros([n_examples, 0])


def _part(condition: base.Condition, values: Any) -> Any:
    """Return the encoding of one label, float32 [examples, values]."""
    if condition.kind == "class":
        if len(values.shape) == 2:
            return tf.cast(values, tf.float32)
        return tf.one_hot(values, condition.n_values)  # of zeros alone for -1
    values = tf.cast(values, tf.float32)
    if condition.kind == "multi":
        return values
    half = max((condition.maximum - condition.minimum) / 2, 1e-6)
    is_known = tf.math.is_finite(values)
    scaled = tf.where(is_known, (values - (condition.minimum + half)) / half, 0.0)[:, tf.newaxis]
    centres = np.linspace(-1, 1, _BASES, dtype=np.float32)
    bases = tf.exp(-0.5 * tf.square((scaled - centres) * ((_BASES - 1) / 2 / _SD)))
    return tf.concat([scaled, bases], axis=1) * tf.cast(is_known, tf.float32)[:, tf.newaxis]
