"""Cutting of recordings: analysis, trimming of silence, and the places of segments.

With `example_seconds` a recording is cut into consecutive examples of exactly that many samples,
each analysed by itself. A rest of at least half an example is padded with zeros, as is a
recording shorter than one; a shorter rest is left out, as is everything after the first
`max_examples`, if set. Both are counted. Otherwise runs of kept frames are cut into near-equal
segments.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from lstm_gen.audio import representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig
from lstm_gen.dataset.format import manifest

_LONGEST_REST_SECONDS = 1.0
_SHORTEST = 2  # frames; a single frame has no next one to predict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames of a recording.

    Attributes:
      values: [n_frames, channels], of the stored type; of examples, one after another.
      active: bool [n_frames], the frames that trimming keeps; examples whole or not at all.
      n_samples: Samples decoded.
      n_padded: Zeros added to fill an example.
      n_left_over: Samples in no example.
      example_frames: Frames of an example, 0 without examples.
    """

    values: np.ndarray
    active: np.ndarray
    n_samples: int
    n_padded: int = 0
    n_left_over: int = 0
    example_frames: int = 0


class Place(NamedTuple):
    """Place of a segment: frames [start, stop) of the untrimmed recording, in one split."""

    split: str
    start: int
    stop: int


def analyse(blocks: Iterable[np.ndarray], audio: AudioConfig, segment: SegmentConfig) -> Frames:
    """Return a recording's frames.

    Args:
      blocks: float [samples] each; together the recording.
      audio: Analysis.
      segment: Storage and trimming of frames, and cutting of examples.

    Raises:
      InputError: If a value is not finite, or too large for the type.
    """
    example_samples = segment.example_samples(audio)
    if example_samples:
        return _analyse_examples(blocks, audio, segment, example_samples)
    whole = representations.analyse(blocks, audio, segment.dtype)
    active = active_frames(whole.power, segment.trim_db, audio)
    return Frames(values=whole.frames, active=active, n_samples=whole.n_samples)


def active_frames(power: np.ndarray, trim_db: float, audio: AudioConfig) -> np.ndarray:
    """Return a mask of the frames of a recording that trimming keeps.

    A frame is quiet if its power is more than `trim_db` below the 99th percentile of the
    recording's. Quiet frames at both ends (lead-in and fade-out) and quiet runs longer than
    a second are left out; shorter rests belong to the music.

    Args:
      power: float [frames], as `representations.analyse` returns it.
      trim_db: Distance of quiet frames below the loud level, dB; 0 keeps every frame.
      audio: Gives the log floor and the frame rate.

    Returns:
      bool [frames]; all false for digital silence (unless `trim_db` is 0).
    """
    if trim_db == 0 or not len(power):
        return np.ones(len(power), bool)
    loud = float(np.percentile(power, 99))
    if max(loud, float(power.max())) < audio.log_floor:
        return np.zeros(len(power), bool)
    active = power >= max(loud, audio.log_floor) * 10 ** (-trim_db / 10)
    longest = round(_LONGEST_REST_SECONDS * audio.frames_per_second)
    edges = np.flatnonzero(np.diff(np.pad(active, 1, constant_values=True).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        at_an_end = start == 0 or stop == len(active)
        active[start:stop] = not at_an_end and stop - start <= longest
    return active


def place_segments(
    frames: Frames, frame_splits: np.ndarray, segment: SegmentConfig
) -> tuple[list[Place], int]:
    """Return the places of a recording's segments, and the number of kept frames in none.

    Args:
      frames: Of the recording.
      frame_splits: int8 [n_active], as `splits.assign_frames` returns it.
      segment: Gives the longest segment.
    """
    if frames.example_frames:
        return place_examples(frames.active, frame_splits, frames.example_frames)
    return place_runs(frames.active, frame_splits, segment.segment_frames)


def place_runs(
    active: np.ndarray, frame_splits: np.ndarray, longest: int
) -> tuple[list[Place], int]:
    """Return the places of near-equal segments, none across trimmed silence or a split's edge.

    Args:
      active: bool [n_frames], the frames that trimming keeps.
      frame_splits: int8 [n_active], split of each kept frame, -1 for none (guards).
      longest: Frames of the longest segment.

    Returns:
      The places in order of time, and the number of frames in runs too short for a segment.
    """
    kept = np.flatnonzero(active)
    breaks = 1 + np.flatnonzero((np.diff(kept) != 1) | (np.diff(frame_splits) != 0))
    edges = np.concatenate(([0], breaks, [len(kept)])).tolist()
    places: list[Place] = []
    n_short = 0
    for first, last in itertools.pairwise(edges):
        if first == last or frame_splits[first] < 0:
            continue
        if last - first < _SHORTEST:
            n_short += last - first
            continue
        split = manifest.SPLITS[frame_splits[first]]
        bounds = cut_run(last - first, longest) + kept[first]
        places += [Place(split, int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    return places, n_short


def place_examples(
    active: np.ndarray, frame_splits: np.ndarray, example_frames: int
) -> tuple[list[Place], int]:
    """Return the places of the examples that lie in one split.

    Args:
      active: bool [n_examples * example_frames], true for all frames of an example or for none.
      frame_splits: int8 [n_active], split of each kept frame, -1 for none (guards).
      example_frames: Frames of an example.

    Returns:
      The places in order of time, and the number of frames in examples across a split's edge.
    """
    starts = np.flatnonzero(active)[::example_frames].tolist()
    places: list[Place] = []
    n_torn = 0
    for start, sides in zip(starts, frame_splits.reshape(-1, example_frames), strict=True):
        if sides.min() != sides.max():
            n_torn += example_frames
        elif sides[0] >= 0:
            places.append(Place(manifest.SPLITS[sides[0]], start, start + example_frames))
    return places, n_torn


def cut_run(n_frames: int, longest: int) -> np.ndarray:
    """Return the edges that cut a run into the fewest near-equal parts of at most `longest`."""
    n_parts = -(-n_frames // longest)
    return np.arange(n_parts + 1) * n_frames // n_parts


def cut_samples(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cut streamed audio into chunks of `length` samples, the last one shorter.

    Yields:
      float32 [samples]; one empty chunk for empty audio.
    """
    pending, first = np.zeros(0, np.float32), True
    for block in blocks:
        pending = np.concatenate([pending, block], dtype=np.float32, casting="same_kind")
        while len(pending) >= length:
            yield pending[:length]
            pending, first = pending[length:], False
    if len(pending) or first:
        yield pending


def _analyse_examples(
    blocks: Iterable[np.ndarray],
    audio: AudioConfig,
    segment: SegmentConfig,
    example_samples: int,
) -> Frames:
    """Return the frames of each example, one after another."""
    analyses: list[representations.Analysis] = []
    n_samples = n_padded = n_left_over = 0
    for samples in cut_samples(blocks, example_samples):
        missing = example_samples - len(samples)
        n_samples += len(samples)
        enough = 0 < segment.max_examples == len(analyses)
        if enough or (missing > example_samples / 2 and analyses):
            n_left_over += len(samples)
            continue
        n_padded += missing
        padded = np.pad(samples, (0, missing))
        analyses.append(representations.analyse([padded], audio, segment.dtype))
    example_frames = representations.n_frames(example_samples, audio)
    power = np.concatenate([one.power for one in analyses])
    active = active_frames(power, segment.trim_db, audio)
    whole = active.reshape(-1, example_frames).any(axis=1)
    return Frames(
        values=np.concatenate([one.frames for one in analyses]),
        active=np.repeat(whole, example_frames),
        n_samples=n_samples,
        n_padded=n_padded,
        n_left_over=n_left_over,
        example_frames=example_frames,
    )
