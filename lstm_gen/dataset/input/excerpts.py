"""Excerpts of recordings, for instance as primers of a rollout."""

from typing import NamedTuple

import numpy as np

from lstm_gen.dataset.format import labels, manifest
from lstm_gen.platform import errors


class Excerpts(NamedTuple):
    """Excerpts of recordings.

    Attributes:
      frames: float32 [excerpts, frames, channels], normalised.
      labels: "label/NAME" to the encoded labels of each excerpt, [excerpts, ...].
    """

    frames: np.ndarray
    labels: dict[str, np.ndarray]


def draw(
    dataset: manifest.Dataset, split: str, n_excerpts: int, n_frames: int, seed: int
) -> np.ndarray:
    """Return the frames of `draw_excerpts`."""
    return draw_excerpts(dataset, split, n_excerpts, n_frames, seed).frames


def draw_excerpts(
    dataset: manifest.Dataset, split: str, n_excerpts: int, n_frames: int, seed: int
) -> Excerpts:
    """Draw excerpts of a split, spread evenly over its material.

    Args:
      dataset: To draw from.
      split: "train", "validation" or "test".
      n_excerpts: Number of excerpts.
      n_frames: Length of each, frames; shorter if no segment is so long.
      seed: Determines the start of each excerpt within its part of the material.

    Raises:
      InputError: If the split is empty.
    """
    shards = dataset.splits[split].shards
    lengths = [n for shard in shards for n in shard.frames]
    if not lengths:
        raise errors.InputError(
            f"split must hold recordings to take a primer from. Received: split={split!r}, empty"
        )
    n_frames = max(1, min(n_frames, max(lengths)))
    edges = np.cumsum([0] + [max(0, length - n_frames + 1) for length in lengths])
    random = np.random.default_rng(seed)
    places = (np.arange(n_excerpts) + random.random(n_excerpts)) / n_excerpts * edges[-1]
    owners = np.searchsorted(edges, places.astype(int), side="right") - 1
    excerpts: dict[int, tuple[np.ndarray, labels.Values]] = {}
    first_segment = 0
    for shard in shards:
        # Only shards with an excerpt are read: a split may be large, and in a bucket.
        stop = first_segment + shard.records
        if np.any((first_segment <= owners) & (owners < stop)):
            for number, segment in enumerate(dataset.read_segments(shard), first_segment):
                for excerpt in np.flatnonzero(owners == number):
                    first = int(places[excerpt]) - int(edges[number])
                    frames = dataset.normalise(segment.frames[first : first + n_frames])
                    excerpts[int(excerpt)] = frames, segment.labels
        first_segment = stop
    drawn = [excerpts[number] for number in range(n_excerpts)]
    return Excerpts(
        np.stack([frames for frames, _ in drawn]),
        labels.stack(dataset.labels, [values for _, values in drawn]),
    )
