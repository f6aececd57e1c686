"""Real frames for a rollout to start from."""

import numpy as np

from lstm_gen import errors
from lstm_gen.data import manifest, pipeline


def draw(
    dataset: manifest.Dataset, split: str, n_primers: int, n_frames: int, seed: int
) -> np.ndarray:
    """Draw excerpts of a split, spread evenly over its material.

    Args:
      dataset: Where from.
      split: "train", "validation" or "test".
      n_primers: How many.
      n_frames: Length of each, frames; shorter where no segment is so long.
      seed: Picks where in its share of the material each excerpt starts.

    Returns:
      float32 [n_primers, frames, channels], normalised.

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
    excerpts: dict[int, np.ndarray] = {}
    first_segment = 0
    for shard in dataset.splits[split].shards:
        # Only shards that are asked for are read: a split may be large, and in a bucket.
        stop = first_segment + shard.records
        if np.any((first_segment <= owners) & (owners < stop)):
            for segment, (frames, _, _) in enumerate(
                pipeline.shard_segments(dataset, shard), first_segment
            ):
                for primer in np.flatnonzero(owners == segment):
                    first = int(places[primer]) - int(starts[segment])
                    excerpts[int(primer)] = frames[first : first + n_frames]
        first_segment = stop
    return np.stack([excerpts[primer] for primer in range(n_primers)])
