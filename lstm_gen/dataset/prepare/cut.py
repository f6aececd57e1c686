"""A decoded recording's frames, and which of them to keep: as a whole, or cut into examples.

With `example_seconds` a recording is cut into consecutive stretches of exactly that many
samples, each analysed by itself. A rest of at least half an example is filled up with
zeros, and so is a recording that is shorter than one; a shorter rest is left out, and so is what
follows the first `max_examples` if that is set. Both are counted.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from lstm_gen.audio import representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig

_LONGEST_REST_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """What was found in a recording.

    Attributes:
      frames: [n_frames, channels], of the type that is stored; examples one after another.
      active: bool [n_frames], the frames that trimming keeps; examples whole or not at all.
      n_samples: Samples decoded.
      n_padded: Zeros added to fill an example.
      n_left_over: Samples of a rest that is in no example, or after the last one wanted.
      example_frames: Frames of an example, 0 without examples.
    """

    frames: np.ndarray
    active: np.ndarray
    n_samples: int
    n_padded: int = 0
    n_left_over: int = 0
    example_frames: int = 0


def analyse(blocks: Iterable[np.ndarray], audio: AudioConfig, segment: SegmentConfig) -> Recording:
    """Return a recording's frames.

    Args:
      blocks: float [samples] each; together the recording.
      audio: The analysis.
      segment: How it is stored, trimmed and cut.

    Raises:
      InputError: If a value is not finite, or too large for the type.
    """
    example_samples = segment.example_samples(audio)
    if example_samples:
        return _analyse_examples(blocks, audio, segment, example_samples)
    whole = representations.analyse(blocks, audio, segment.dtype)
    active = active_frames(whole.power, segment.trim_db, audio)
    return Recording(frames=whole.frames, active=active, n_samples=whole.n_samples)


def _analyse_examples(
    blocks: Iterable[np.ndarray],
    audio: AudioConfig,
    segment: SegmentConfig,
    example_samples: int,
) -> Recording:
    """Return the frames of each example, one after another."""
    found: list[representations.Analysis] = []
    n_samples = n_padded = n_left_over = 0
    for samples in cut_samples(blocks, example_samples):
        missing = example_samples - len(samples)
        n_samples += len(samples)
        enough = 0 < segment.max_examples == len(found)
        if enough or (missing > example_samples / 2 and found):
            n_left_over += len(samples)
            continue
        n_padded += missing
        padded = np.pad(samples, (0, missing))
        found.append(representations.analyse([padded], audio, segment.dtype))
    example_frames = representations.n_frames(example_samples, audio)
    power = np.concatenate([one.power for one in found])
    active = active_frames(power, segment.trim_db, audio)
    whole = active.reshape(-1, example_frames).any(axis=1)
    return Recording(
        frames=np.concatenate([one.frames for one in found]),
        active=np.repeat(whole, example_frames),
        n_samples=n_samples,
        n_padded=n_padded,
        n_left_over=n_left_over,
        example_frames=example_frames,
    )


def active_frames(power: np.ndarray, trim_db: float, audio: AudioConfig) -> np.ndarray:
    """Return a mask of the frames of a recording that trimming keeps.

    A frame is quiet if its power is more than `trim_db` below the 99th percentile of the
    recording's. Quiet frames at both ends (lead-in and fade-out) and quiet runs longer than
    a second are left out; shorter rests belong to the music.

    Args:
      power: float [frames], as `representations.analyse` returns it.
      trim_db: How far below the loud level is quiet, dB; 0 keeps every frame.
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


def cut_samples(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Cut a streamed signal into pieces of `length` samples, the last one shorter.

    Yields:
      float32 [samples]; one empty piece for an empty signal.
    """
    pending, first = np.zeros(0, np.float32), True
    for block in blocks:
        pending = np.concatenate([pending, block], dtype=np.float32, casting="same_kind")
        while len(pending) >= length:
            yield pending[:length]
            pending, first = pending[length:], False
    if len(pending) or first:
        yield pending
