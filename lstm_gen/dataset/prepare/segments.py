"""How the kept frames of a recording become segments: runs cut into near-equal pieces."""

import itertools
from typing import NamedTuple

import numpy as np

from lstm_gen.config.dataset import SegmentConfig
from lstm_gen.dataset.format import manifest

_SHORTEST = 2  # frames; a single frame has no next one to predict


class Piece(NamedTuple):
    """A segment's place: frames [start, stop) of the untrimmed recording, in one split."""

    split: str
    start: int
    stop: int


def cut_recording(
    active: np.ndarray, labels: np.ndarray, segment: SegmentConfig
) -> tuple[list[Piece], int]:
    """Return the segments of a recording and how many kept frames are in none.

    A segment never spans a trimmed silence or the edge of a split.

    Args:
      active: bool [n_frames], the frames that trimming keeps.
      labels: int8 [n_active], split of each kept frame, -1 for none (guards).
      segment: How long a segment may be.

    Returns:
      The pieces in order of time, and the number of frames in runs too short to learn from.
    """
    kept = np.flatnonzero(active)
    breaks = 1 + np.flatnonzero((np.diff(kept) != 1) | (np.diff(labels) != 0))
    edges = np.concatenate(([0], breaks, [len(kept)])).tolist()
    pieces: list[Piece] = []
    n_short = 0
    for first, last in itertools.pairwise(edges):
        if first == last or labels[first] < 0:
            continue
        if last - first < _SHORTEST:
            n_short += last - first
            continue
        split = manifest.SPLITS[labels[first]]
        bounds = cut_run(last - first, segment.segment_frames) + kept[first]
        pieces += [Piece(split, int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    return pieces, n_short


def cut_examples(
    active: np.ndarray, labels: np.ndarray, example_frames: int
) -> tuple[list[Piece], int]:
    """Return the examples of a recording that lie in one split, and how many frames do not.

    Args:
      active: bool [n_examples * example_frames], true for all frames of an example or for none.
      labels: int8 [n_active], split of each kept frame, -1 for none (guards).
      example_frames: Frames of an example.

    Returns:
      The pieces in order of time, and the number of frames in examples that an edge runs through.
    """
    starts = np.flatnonzero(active)[::example_frames].tolist()
    pieces: list[Piece] = []
    n_torn = 0
    for start, sides in zip(starts, labels.reshape(-1, example_frames), strict=True):
        if sides.min() != sides.max():
            n_torn += example_frames
        elif sides[0] >= 0:
            pieces.append(Piece(manifest.SPLITS[sides[0]], start, start + example_frames))
    return pieces, n_torn


def cut_run(n_frames: int, longest: int) -> np.ndarray:
    """Return the edges that cut a run into the fewest near-equal pieces of at most `longest`."""
    n_pieces = -(-n_frames // longest)
    return np.arange(n_pieces + 1) * n_frames // n_pieces
