"""Segments of a dataset with what is known of them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lstm_gen.dataset.format import labels, manifest


class Example(NamedTuple):
    """A segment.

    Attributes:
      frames: float32 [frames, channels], normalised.
      values: Its labels.
    """

    frames: np.ndarray
    values: labels.Values


def segments(dataset: manifest.Dataset, split: str) -> Iterator[Example]:
    """Yield the segments of a split in the order of its shards."""
    for shard in dataset.splits[split].shards:
        for one in dataset.read_segments(shard):
            yield Example(dataset.normalise(one.frames), one.labels)
