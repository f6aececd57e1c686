"""Distances between short stretches of frames: is a clip like the music, or like itself?

`clips` is a sequence of float arrays [frames, mels], as in `dynamics`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

Clips = Sequence[np.ndarray]

STACK_FRAMES = 8
"""Frames of a stack, the local texture that the Frechet distance compares."""

PATCH_FRAMES = 32
"""Frames of a patch, long enough that two of one piece rarely agree by chance."""

_COMPONENTS = 32
_MAX_STACKS = 20_000
_MAX_QUERIES = 256
_QUERY_HOP_FRAMES = 8


def local_frechet(candidates: Sequence[Clips], train: Clips) -> list[float]:
    """Return each candidate's Frechet distance to the training clips, in local texture.

    A stack of 8 frames less its mean over time holds no level, so that a candidate is judged
    by what it does, not by which notes it holds. Stacks are reduced to the first 32 principal
    components of the training stacks, unscaled. Few samples overestimate the distance: read it
    beside that of held-out clips.

    Source: Dowson and Landau 1982, the Frechet distance of Gaussians.
    """
    reference = _stacks(train)
    centred = reference - reference.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    basis = vectors[:, -_COMPONENTS:]
    target = _gaussian(reference @ basis)
    return [frechet(_gaussian(_stacks(clips) @ basis), target) for clips in candidates]


def frechet(left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the squared Frechet distance of two Gaussians, each (mean, covariance)."""
    values, vectors = np.linalg.eigh(left[1])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ right[1] @ root), 0))
    apart = np.sum((left[0] - right[0]) ** 2)
    return float(apart + np.trace(left[1]) + np.trace(right[1]) - 2 * np.sum(shared))


def repetition(clips: Clips, piece_frames: int, least_frames: int) -> float:
    """Return how well a patch is found again earlier, a mean correlation from -1 to 1.

    A patch less its mean over time, so that a held chord alone does not count, is correlated
    with all patches of its piece that begin `least_frames` or more earlier, and the best is
    taken. Longer pieces offer more to choose from, so only equal `piece_frames` compare.

    Args:
      clips: Clips; each is cut into whole pieces, the rest is left out.
      piece_frames: Frames of a piece, more than `PATCH_FRAMES + least_frames`.
      least_frames: Least distance from a patch to an earlier one, frames.
    """
    best = []
    for piece in cut(clips, piece_frames):
        patches = _patches(piece)
        patches -= patches.mean(axis=1, keepdims=True)
        flat = patches.reshape(len(patches), -1)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
        starts = range(least_frames, len(flat), _QUERY_HOP_FRAMES)
        best += [np.max(flat[: start - least_frames + 1] @ flat[start]) for start in starts]
    return float(np.mean(best)) if best else float("nan")


def nearest_distance(clips: Clips, train: Clips) -> float:
    """Return the median, over patches of `clips`, of the distance to the nearest of `train`.

    Every patch of the training clips is looked at, and at most 256 of `clips`, evenly chosen.
    """
    queries = np.concatenate([_patches(piece) for piece in cut(clips, PATCH_FRAMES)])
    chosen = np.linspace(0, len(queries) - 1, min(_MAX_QUERIES, len(queries))).round()
    flat = queries.reshape(len(queries), -1)[chosen.astype(int)]
    nearest = np.full(len(flat), np.inf)
    for clip in train:
        if len(clip) >= PATCH_FRAMES:
            known = _patches(clip).reshape(len(clip) - PATCH_FRAMES + 1, -1)
            inner = flat @ known.T
            squares = np.sum(known**2, axis=1)
            nearest = np.minimum(nearest, np.min(squares - 2 * inner, axis=1))
    return float(np.median(np.sqrt(np.maximum(nearest + np.sum(flat**2, axis=1), 0))))


def cut(clips: Clips, piece_frames: int) -> Iterator[np.ndarray]:
    """Yield the whole pieces of `piece_frames` that touch in each clip."""
    for clip in clips:
        for start in range(0, len(clip) - piece_frames + 1, piece_frames):
            yield clip[start : start + piece_frames]


def _patches(clip: np.ndarray) -> np.ndarray:
    """Return every patch of a clip, float32 [patches, PATCH_FRAMES, mels], a copy."""
    windows = np.lib.stride_tricks.sliding_window_view(clip, PATCH_FRAMES, axis=0)
    return windows.swapaxes(1, 2).astype(np.float32)


def _stacks(clips: Clips) -> np.ndarray:
    """Return stacks less their mean over time, [stacks, mels * STACK_FRAMES], evenly chosen."""
    total = sum(max(0, len(clip) - STACK_FRAMES + 1) for clip in clips)
    hop = max(1, -(-total // _MAX_STACKS))
    found = []
    for clip in clips:
        if len(clip) >= STACK_FRAMES:
            windows = np.lib.stride_tricks.sliding_window_view(clip, STACK_FRAMES, axis=0)[::hop]
            local = windows - windows.mean(axis=2, keepdims=True)
            found.append(local.reshape(len(local), -1))
    return np.concatenate(found)


def _gaussian(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and covariance of rows, float64."""
    rows = values.astype(np.float64)
    mean = rows.mean(axis=0)
    return mean, (rows - mean).T @ (rows - mean) / len(rows)
