"""Real frames for a rollout to start from."""

from typing import NamedTuple

import numpy as np

from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.platform import errors


class Excerpts(NamedTuple):
    """Excerpts of recordings.

    Attributes:
      frames: float32 [excerpts, frames, channels], normalised.
      labels: The dataset's labels of each, "label/NAME" to an array with a row for each.
    """

    frames: np.ndarray
    labels: dict[str, np.ndarray]


def draw(
    dataset: manifest.Dataset, split: str, n_primers: int, n_frames: int, seed: int
) -> np.ndarray:
    """Return the frames of what `draw_excerpts` draws."""
    return draw_excerpts(dataset, split, n_primers, n_frames, seed).frames


def draw_excerpts(
    dataset: manifest.Dataset, split: str, n_primers: int, n_frames: int, seed: int
) -> Excerpts:
    """Draw excerpts of a split, spread evenly over its material.

    Args:
      dataset: Where from.
      split: "train", "validation" or "test".
      n_primers: How many.
      n_frames: Length of each, frames; shorter where no segment is so long.
      seed: Picks where in its share of the material each excerpt starts.

    Returns:
      n_primers excerpts.

    Raises:
      InputError: If the split is empty.
    """
    lengths = [n for shard in dataset.splits[split].shards for n in shard.frames]
    if not lengths:
        raise errors.InputError(
            f"split must hold recordings to take a primer from. Received: split={split!r}, empty"
        )
    n_frames = max(1, min(n_frames, max(lengths)))
    starts = np.cumsum([0] + [max(0, length - n_frames + 1) for length in lengths])
    random = np.random.default_rng(seed)
    places = (np.arange(n_primers) + random.random(n_primers)) / n_primers * starts[-1]
    owners = np.searchsorted(starts, places.astype(int), side="right") - 1
    excerpts: dict[int, tuple[np.ndarray, labels.Values]] = {}
    first_segment = 0
    for shard in dataset.splits[split].shards:
        # Only shards that are asked for are read: a split may be large, and in a bucket.
        stop = first_segment + shard.records
        if np.any((first_segment <= owners) & (owners < stop)):
            stored = records.read_segments(
                dataset.path(shard), dataset.audio.channels, dataset.segment.dtype
            )
            for place, segment in enumerate(stored, first_segment):
                for primer in np.flatnonzero(owners == place):
                    first = int(places[primer]) - int(starts[place])
                    frames = dataset.normalise(segment.frames[first : first + n_frames])
                    excerpts[int(primer)] = frames, segment.labels
        first_segment = stop
    drawn = [excerpts[primer] for primer in range(n_primers)]
    return Excerpts(
        np.stack([frames for frames, _ in drawn]),
        labels.stack(dataset.labels, [values for _, values in drawn]),
    )
