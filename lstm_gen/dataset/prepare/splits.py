"""Who is held out: whole recordings by their content, or guarded blocks of each recording.

A window never decides, only recordings or blocks do: overlapping windows of one passage
on both sides would make validation a memory test. A corpus of one or two recordings
cannot spare a whole one, so there blocks spread over the recording are held out, and
what lies within the guard of another split's frames is in no split.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from lstm_gen.config.dataset import SplitConfig
from lstm_gen.platform import errors

_DROPPED = -1
_TRAIN, _VALIDATION, _TEST = range(3)


def resolve(split: SplitConfig, n_recordings: int) -> SplitConfig:
    """Return the configuration with "auto" decided: blocks for one or two recordings."""
    if split.split != "auto":
        return split
    return dataclasses.replace(split, split="blocks" if n_recordings <= 2 else "recording")


def assign_named(names: Sequence[str], split: SplitConfig) -> list[str]:
    """Return the split of each recording under split "pattern".

    Args:
      names: Of the recordings, folders included.
      split: What is wanted.

    Raises:
      InputError: If the pattern is none, or does not leave recordings on both sides.
    """
    try:
        pattern = re.compile(split.validation_pattern)
    except re.error as error:
        raise errors.InputError(
            f"--validation_pattern must be a regular expression ({error}). "
            f"Received: validation_pattern={split.validation_pattern!r}"
        ) from error
    chosen = ["validation" if pattern.search(name) else "train" for name in names]
    errors.require(
        len(set(chosen)) == 2 or not chosen,
        "validation_pattern must match some names and not all",
        validation_pattern=split.validation_pattern,
        matched=chosen.count("validation"),
        recordings=len(chosen),
    )
    return chosen


def assign_recordings(hashes: Sequence[str], split: SplitConfig) -> list[str]:
    """Return the split of each recording, decided by its content hash alone.

    A hash is a number in [0, 1) that is compared with the fractions, so another
    recording does not move those already assigned. Where that would leave a wanted
    split empty, the recording of the smallest hash is taken from the fullest split.

    Args:
      hashes: sha256 of each recording's content, hexadecimal, all different.
      split: What is wanted.
    """
    positions = [int(digest[:16], 16) / 16**16 for digest in hashes]
    edges = np.cumsum([split.validation_fraction, split.test_fraction])
    names = ("validation", "test", "train")
    chosen = [names[int(np.searchsorted(edges, x, side="right"))] for x in positions]
    wanted = [name for name, fraction in _fractions(split) if fraction > 0]
    for name in wanted[: len(hashes)]:
        if name not in chosen:
            fullest = max(wanted, key=chosen.count)
            members = [i for i, other in enumerate(chosen) if other == fullest]
            chosen[min(members, key=lambda i: hashes[i])] = name
    return chosen


def _fractions(split: SplitConfig) -> list[tuple[str, float]]:
    """Return the share of each split, the ones that must not be empty first."""
    held_out = split.validation_fraction + split.test_fraction
    return [
        ("train", 1 - held_out),
        ("validation", split.validation_fraction),
        ("test", split.test_fraction),
    ]


def label_frames(n_frames: int, frames_per_second: float, split: SplitConfig) -> np.ndarray:
    """Return the split of each frame of a recording under split "blocks".

    The recording is divided into equal periods, each with a validation block (and a test
    block) amid its training frames. A recording shorter than a period is one period, of
    which at most a third is a held-out block.

    Returns:
      int8 [n_frames], index into `SPLITS`, or -1 within the guard of another split.
    """
    labels = np.full(n_frames, _TRAIN, np.int8)
    guard = round(split.guard_seconds * frames_per_second)
    blocks = _held_out_blocks(n_frames, split.block_seconds * frames_per_second, split)
    for label, start, stop in blocks:
        labels[start:stop] = label
    for label, start, stop in blocks:
        _clear_around(labels, label, start, stop, guard)
    return labels


def _clear_around(labels: np.ndarray, label: int, start: int, stop: int, guard: int) -> None:
    """Drop the frames of lesser splits near a held-out block; validation outranks test."""
    lesser = (_TRAIN, _TEST) if label == _VALIDATION else (_TRAIN,)
    for side in (labels[max(0, start - guard) : start], labels[stop : stop + guard]):
        side[np.isin(side, lesser)] = _DROPPED


def _held_out_blocks(
    n_frames: int, block_frames: float, split: SplitConfig
) -> list[tuple[int, int, int]]:
    """Return (label, start, stop) of each held-out block."""
    held_out = [
        (label, fraction)
        for label, fraction in (
            (_VALIDATION, split.validation_fraction),
            (_TEST, split.test_fraction),
        )
        if fraction > 0
    ]
    if not held_out or n_frames == 0:
        return []
    reference = held_out[0][1]
    n_periods = max(1, int(n_frames * reference / block_frames))
    period = n_frames / n_periods
    blocks = []
    for index, (label, fraction) in enumerate(held_out):
        length = block_frames * fraction / reference
        if block_frames > period * reference:  # a recording shorter than a period
            length = min(length, n_frames / 3 / len(held_out))
        centre = (index + 0.5) / len(held_out)
        for number in range(n_periods):
            start = (number + centre) * period - length / 2
            blocks.append((label, round(start), round(start + length)))
    return blocks
