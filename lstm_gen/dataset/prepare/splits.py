"""Held-out splits: whole recordings by content or name, or guarded blocks of every recording.

Recordings or blocks are held out, never windows: overlapping windows of one passage on both sides
would make validation a memory test. A few recordings are too few to hold out whole ones: those left
out would be another kind of music than the others. So blocks spread over each recording are held
out, and the frames within the guard of another split are in no split. Recordings that are too short
for blocks, as notes and words, are held out whole, unless there are only one or two.
"""

import dataclasses
import re
import statistics
from collections.abc import Sequence

import numpy as np

from lstm_gen.config.dataset import SplitConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.prepare import discover
from lstm_gen.platform import errors

_FEW = 20  # recordings: of fewer, a tenth held out is one, or two
_BLOCKS_IN_LONG = 3  # a block, and as much again before and after it
_DROPPED = -1
_TRAIN, _VALIDATION, _TEST = range(3)


def resolve(split: SplitConfig, seconds: Sequence[float]) -> SplitConfig:
    """Return the configuration with "auto" resolved.

    Blocks are held out of one or two recordings, and of fewer than 20 if their median length is
    that of three blocks or more; otherwise whole recordings are.

    Args:
      split: As it was given.
      seconds: Length of each recording, estimated.
    """
    if split.split != "auto":
        return split
    long = statistics.median([*seconds] or [0.0]) >= _BLOCKS_IN_LONG * split.block_seconds
    blocks = len(seconds) <= 2 or (long and len(seconds) < _FEW)
    return dataclasses.replace(split, split="blocks" if blocks else "recording")


def assign(recordings: Sequence[discover.Recording], split: SplitConfig) -> list[tuple[str, ...]]:
    """Return, for each recording, the splits that may have frames of it.

    Args:
      recordings: Usable ones, with different contents.
      split: With "auto" resolved.

    Raises:
      InputError: If a pattern is not a regular expression, or matches no name or all names.
    """
    if split.split == "blocks":
        return [("train", *(name for name, _ in _held_out(split)))] * len(recordings)
    if split.split == "pattern":
        names = assign_by_name([recording.name for recording in recordings], split)
    else:
        names = assign_by_content([recording.sha256 for recording in recordings], split)
    return [(name,) for name in names]


def assign_by_name(names: Sequence[str], split: SplitConfig) -> list[str]:
    """Return the split of each recording under split "pattern".

    Args:
      names: Of the recordings, folders included.
      split: Gives the pattern.

    Raises:
      InputError: If the pattern is not a regular expression, or matches no name or all names.
    """
    try:
        pattern = re.compile(split.validation_pattern)
    except re.error as error:
        raise errors.InputError(
            f"--validation_pattern must be a regular expression ({error}). "
            f"Received: validation_pattern={split.validation_pattern!r}"
        ) from error
    assigned = ["validation" if pattern.search(name) else "train" for name in names]
    errors.require(
        len(set(assigned)) == 2 or not assigned,
        "validation_pattern must match some names and not all",
        validation_pattern=split.validation_pattern,
        matched=assigned.count("validation"),
        recordings=len(assigned),
    )
    return assigned


def assign_by_content(hashes: Sequence[str], split: SplitConfig) -> list[str]:
    """Return the split of each recording under split "recording".

    A content hash is a number in [0, 1) that is compared with the fractions, so another
    recording does not move those already assigned. If a split with a positive fraction would be
    empty, the recording with the smallest hash in the largest split moves to it.

    Args:
      hashes: SHA-256 of each recording's content, hexadecimal, all different.
      split: Gives the fractions.
    """
    positions = [int(digest[:16], 16) / 16**16 for digest in hashes]
    edges = np.cumsum([split.validation_fraction, split.test_fraction])
    names = ("validation", "test", "train")
    assigned = [names[int(np.searchsorted(edges, x, side="right"))] for x in positions]
    wanted = ["train", *(name for name, _ in _held_out(split))]
    for name in wanted[: len(hashes)]:
        if name not in assigned:
            largest = max(wanted, key=assigned.count)
            members = [i for i, other in enumerate(assigned) if other == largest]
            assigned[min(members, key=lambda i: hashes[i])] = name
    return assigned


def assign_frames(
    n_frames: int, frames_per_second: float, split: SplitConfig, names: Sequence[str]
) -> np.ndarray:
    """Return the split of each frame of a recording.

    Args:
      n_frames: Frames that trimming keeps.
      frames_per_second: Frame rate.
      split: With "auto" resolved.
      names: The splits that `assign` returned for the recording.

    Returns:
      int8 [n_frames], index into `manifest.SPLITS`, or -1 for none (guards).
    """
    if split.split == "blocks":
        return assign_blocks(n_frames, frames_per_second, split)
    return np.full(n_frames, manifest.SPLITS.index(names[0]), np.int8)


def assign_blocks(n_frames: int, frames_per_second: float, split: SplitConfig) -> np.ndarray:
    """Return the split of each frame of a recording under split "blocks".

    The recording is divided into equal periods, each with a validation block (and a test
    block) amid its training frames. A recording shorter than a period is one period, of
    which at most a third is a held-out block.

    Returns:
      int8 [n_frames], index into `manifest.SPLITS`, or -1 within the guard of another split.
    """
    frames = np.full(n_frames, _TRAIN, np.int8)
    guard = round(split.guard_seconds * frames_per_second)
    blocks = _blocks(n_frames, split.block_seconds * frames_per_second, split)
    for index, start, stop in blocks:
        frames[start:stop] = index
    for index, start, stop in blocks:
        # Frames near a block are dropped from lower splits; validation ranks above test.
        lower = (_TRAIN, _TEST) if index == _VALIDATION else (_TRAIN,)
        for side in (frames[max(0, start - guard) : start], frames[stop : stop + guard]):
            side[np.isin(side, lower)] = _DROPPED
    return frames


def fill(active: np.ndarray, frame_splits: np.ndarray) -> np.ndarray:
    """Return the split of every frame of a recording, trimmed ones that of the kept one before.

    Args:
      active: bool [n_frames], the frames that trimming keeps.
      frame_splits: int8 [n_active], as `assign_frames` returns it.

    Returns:
      int8 [n_frames]; trimmed frames at the start have the split of the first kept one.
    """
    return np.asarray(frame_splits[np.maximum(np.cumsum(active) - 1, 0)])


def assign_copy(
    frame_splits: np.ndarray, centres: np.ndarray, copy_centres: np.ndarray, margin: float
) -> np.ndarray:
    """Return the split of each frame of a transposed copy: train, or none.

    A frame of the copy trains if all frames of the recording around the same musical position do,
    so no held-out passage and no guard is in a copy.

    Args:
      frame_splits: int8 [n_frames], of every frame of the recording, as `fill` returns it.
      centres: [n_frames], positions of these frames within the recording, ascending.
      copy_centres: [n_copied], positions of the copy's frames within the recording.
      margin: Distance up to which the recording's frames are around a position.

    Returns:
      int8 [n_copied], index into `manifest.SPLITS`, or -1.
    """
    first = np.searchsorted(centres, copy_centres - margin)
    first = np.minimum(first, len(centres) - 1)  # after the end: as the last frame
    last = np.maximum(np.searchsorted(centres, copy_centres + margin, side="right"), first + 1)
    elsewhere = np.concatenate(([0], np.cumsum(frame_splits != _TRAIN)))
    return np.where(elsewhere[last] == elsewhere[first], _TRAIN, _DROPPED).astype(np.int8)


def _held_out(split: SplitConfig) -> list[tuple[str, float]]:
    """Return the held-out splits and their positive fractions."""
    fractions = {"validation": split.validation_fraction, "test": split.test_fraction}
    return [(name, fraction) for name, fraction in fractions.items() if fraction > 0]


def _blocks(n_frames: int, block_frames: float, split: SplitConfig) -> list[tuple[int, int, int]]:
    """Return (index of the split, start, stop) of each held-out block."""
    held_out = _held_out(split)
    if not held_out or n_frames == 0:
        return []
    reference = held_out[0][1]
    n_periods = max(1, int(n_frames * reference / block_frames))
    period = n_frames / n_periods
    blocks = []
    for index, (name, fraction) in enumerate(held_out):
        length = block_frames * fraction / reference
        if block_frames > period * reference:  # a recording shorter than a period
            length = min(length, n_frames / 3 / len(held_out))
        centre = (index + 0.5) / len(held_out)
        for number in range(n_periods):
            start = (number + centre) * period - length / 2
            split_index = manifest.SPLITS.index(name)
            blocks.append((split_index, round(start), round(start + length)))
    return blocks
