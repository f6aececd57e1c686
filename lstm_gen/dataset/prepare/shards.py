"""Shard writing: decoding, analysis, trimming, cutting and storage of the recordings of one task.

Done in a worker process. Audio and frames stay there; the parent gets a status per recording,
and counts, hashes and statistics per shard. An unusable recording does not affect the others.

With `example_seconds` a recording is cut into consecutive examples of exactly that many samples,
each analysed by itself. A rest of at least half an example is padded with zeros, as is a
recording shorter than one; a shorter rest is left out, as is everything after the first
`max_examples`, if set. Both are counted. Otherwise runs of kept frames are cut into near-equal
segments.

A transposed copy is the recording decoded once more as it plays faster or slower. It is trimmed
and cut for itself, and holds only what trains of the recording.
"""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import threadpoolctl

from lstm_gen.audio import files, normalisation, plots, representations
from lstm_gen.config import dataset as dataset_config
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig
from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.dataset.prepare import discover, plan, splits
from lstm_gen.platform import errors, failpoints, storage

_LONGEST_NAME = 235  # bytes, of the 255 of all common file systems; ".png.tmp-PID" comes to it
# The memory limit of a worker is 1.25 GiB of data. At rest it has 0.1 GB of data (0.3 with
# TensorFlow, for a bucket), and it holds at most three arrays as large as a recording's frames.
_MAX_FRAME_BYTES = 320 << 20
# Out of disk or open files: not the recording's fault.
_SYSTEM_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)
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


class _Original(NamedTuple):
    """Sides of the split along a recording, by which its transposed copies are cut.

    Attributes:
      frame_splits: int8 [n_frames], split of every frame, as `splits.fill` returns it.
      centres: int64 [n_frames], the sample on which each is centred.
    """

    frame_splits: np.ndarray
    centres: np.ndarray


_Segments = list[tuple[str, records.Segment]]  # with their splits


def _ignore(message: object) -> None:
    """Ignore a message to the parent."""


def write_task(
    job: plan.Job,
    task: plan.Task,
    crashed: Collection[str] = (),
    start: Callable[[str], None] = _ignore,
    report: Callable[[plan.Outcome], None] = _ignore,
) -> None:
    """Decode a task's recordings, write its shards and then its receipt.

    Linear algebra uses one thread meanwhile: with more, its sums have other last bits.

    Args:
      job: Settings, split "auto" resolved.
      task: Recordings and shards.
      crashed: Names of recordings to skip, since they end the process.
      start: Called with the name of each recording before it is opened.
      report: Called with the outcome of each recording.
    """
    statistics, outcomes = normalisation.Statistics.zero(job.audio.channels), []
    copies = job.transposition.copies if "train" in task.shards else ()
    with contextlib.ExitStack() as stack:
        stack.enter_context(threadpoolctl.threadpool_limits(1))
        shards = {
            split: stack.enter_context(_open_shard(storage.join(job.data_dir, name)))
            for split, name in task.shards.items()
        }
        for recording in task.recordings:
            start(recording.name)
            outcome, segments, original = _process(job, recording, task, crashed)
            require_unchanged(job, recording)
            _store(segments, shards, statistics)
            del segments  # before copies take as much memory
            if original is not None:
                for semitones in copies:
                    start(recording.name)  # each may take the time of a recording
                    copied, counts = _copy(job, recording, original, semitones)
                    require_unchanged(job, recording)
                    _store(copied, shards, statistics)
                    del copied
                    outcome.transposed.update(counts)
            outcomes.append(outcome)
            report(outcome)
    filled = {name: shard for name, shard in shards.items() if shard.frames}
    receipt = plan.Receipt(
        digest=task.digest,
        outcomes=tuple(outcomes),
        shards={name: shard.describe() for name, shard in filled.items()},
        checksums={name: shard.checksum for name, shard in filled.items()},
        statistics=statistics,
    )
    plan.save_receipt(job.data_dir, task, receipt)


def _store(
    segments: _Segments, shards: dict[str, "_OpenShard"], statistics: normalisation.Statistics
) -> None:
    """Append segments to the shards of their splits, and the training ones to the statistics."""
    for split, segment in segments:
        shards[split].write(segment)
        if split == "train":
            statistics.add(representations.dequantise(segment.frames))


def longest_seconds(audio: AudioConfig, dtype: str) -> float:
    """Return the length of the longest recording whose frames fit a worker's memory, seconds."""
    frame_bytes = np.dtype(dtype).itemsize * audio.channels
    return min(files.MOST_SECONDS, _MAX_FRAME_BYTES / (audio.frames_per_second * frame_bytes))


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


def _process(
    job: plan.Job, recording: discover.Recording, task: plan.Task, crashed: Collection[str]
) -> tuple[plan.Outcome, _Segments, _Original | None]:
    """Return a recording's outcome and its segments with their splits; catch its errors."""
    try:
        if recording.name not in crashed:
            return _cut(job, recording, list(task.shards))
        status, detail = "crashed", "the process that decoded it died, and died again"
    except Exception as error:  # any error of a decoder affects this recording only
        status, detail = blame(error)
    # The dataset must not depend on the location of the input folder.
    detail = detail.replace(storage.join(job.input_dir, recording.name), recording.name)
    return plan.Outcome(name=recording.name, status=status, detail=detail), [], None


def blame(error: Exception) -> tuple[str, str]:
    """Return the status and the detail of the recording at whose reading an error was raised.

    Raises:
      Exception: The error itself, where it is not the recording's fault.
    """
    if isinstance(error, files.AudioError):
        return error.reason, error.detail
    if isinstance(error, MemoryError):
        return "memory", "decoding it needs more memory than there is"
    system = isinstance(error, OSError) and error.errno in _SYSTEM_FAULTS
    if system or isinstance(error, errors.StorageError):
        raise error
    return "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"


def require_unchanged(job: plan.Job, recording: discover.Recording) -> None:
    """Raise InputError if a recording has changed since it was hashed.

    Its status would be recorded for the old content, and outlive the cause.
    """
    path = storage.join(job.input_dir, recording.name)
    with contextlib.suppress(OSError):
        if storage.stamp(path).token == recording.token:
            return
        if storage.sha256(path) == recording.sha256:
            return
    raise errors.InputError(
        "recordings must not change while they are read; run the same command again when the "
        f"folder is at rest, finished tasks are kept. Received: changed {path!r}"
    )


def _cut(
    job: plan.Job, recording: discover.Recording, split_names: Sequence[str]
) -> tuple[plan.Outcome, _Segments, _Original]:
    """Decode, analyse, trim, split and cut one recording."""
    audio = job.audio
    frames = read_frames(job, recording)
    _require_time_for_copies(frames, job, split_names)
    n_active = int(frames.active.sum())
    files.require(n_active > 0, "silent", "a recording that is not silent")
    frame_splits = splits.assign_frames(n_active, audio.frames_per_second, job.split, split_names)
    places, too_short = place_segments(frames, frame_splits, job.segment)
    files.require(bool(places), "too_short", "2 frames or more", frames=n_active)
    if job.plots_dir:
        _plot(frames, recording, job)
    kept: Counter[str] = Counter()
    for place in places:
        kept[place.split] += place.stop - place.start
    outcome = plan.Outcome(
        name=recording.name,
        status=plan.OK,
        seconds=frames.n_samples / audio.sample_rate,
        frames=len(frames.values),
        kept=dict(kept),
        segments=dict(Counter(place.split for place in places)),
        too_short=too_short,
        padded_seconds=frames.n_padded / audio.sample_rate,
        left_over_seconds=frames.n_left_over / audio.sample_rate,
    )
    original = _Original(
        splits.fill(frames.active, frame_splits), _centres(frames, audio, job.segment)
    )
    segments = _segments(frames, places, audio, recording.id, recording.labels)
    return outcome, segments, original


def _segments(
    frames: Frames, places: list[Place], audio: AudioConfig, number: int, values: labels.Values
) -> _Segments:
    """Return the segments at places of a recording, or of a copy of it, with their splits."""
    return [
        (
            place.split,
            records.Segment(
                representations.as_segment(frames.values[place.start : place.stop], audio),
                number,
                place.start,
                values,
            ),
        )
        for place in places
    ]


def _copy(
    job: plan.Job, recording: discover.Recording, original: _Original, semitones: int
) -> tuple[_Segments, dict[str, dict[str, int]]]:
    """Return the segments of a transposed copy, and the semitones with its counts.

    Nothing is returned where a note's pitch would leave MIDI's range.
    """
    values = labels.transpose(recording.labels, semitones)
    if values is None:
        return [], {}
    speed = dataset_config.speed(semitones)
    frames = read_frames(job, recording, speed)
    frame_splits = splits.assign_copy(
        original.frame_splits,
        original.centres,
        _centres(frames, job.audio, job.segment) * speed,
        margin=job.audio.hop_length * max(speed, 1.0),
    )
    places, _ = place_segments(frames, frame_splits[frames.active], job.segment)
    number = records.recording_id(recording.sha256, semitones)
    counts = {
        "frames": len(frames.values),
        "frames_kept": sum(place.stop - place.start for place in places),
        "segments": len(places),
    }
    segments = _segments(frames, places, job.audio, number, values)
    return segments, {f"{semitones:+d}": counts}


def _require_time_for_copies(frames: Frames, job: plan.Job, split_names: Sequence[str]) -> None:
    """Refuse a recording whose slowest copy is longer than a recording may be."""
    slowest = min((0, *job.transposition.copies)) if "train" in split_names else 0
    most_seconds = longest_seconds(job.audio, job.segment.dtype) * dataset_config.speed(slowest)
    files.require(
        frames.n_samples <= most_seconds * job.audio.sample_rate,
        "too_long",
        "a shorter recording, since it plays longer transposed; split it",
        semitones=slowest,
        most_seconds=most_seconds,
    )


def _centres(frames: Frames, audio: AudioConfig, segment: SegmentConfig) -> np.ndarray:
    """Return the sample of the decoded audio on which each frame is centred, int64 [n_frames]."""
    numbers = np.arange(len(frames.values))
    if not frames.example_frames:
        return numbers * audio.hop_length
    examples, within = np.divmod(numbers, frames.example_frames)
    return np.asarray(examples * segment.example_samples(audio) + within * audio.hop_length)


def _plot(frames: Frames, recording: discover.Recording, job: plan.Job) -> None:
    """Write a spectrogram of a recording, named by its hash if its name is too long."""
    fits = len(os.fsencode(storage.name(recording.name))) <= _LONGEST_NAME
    name = recording.name if fits else recording.sha256
    title = manifest.printable(recording.name).replace("$", r"\$")  # no formula
    whole = representations.as_segment(frames.values, job.audio)
    plots.spectrogram(storage.join(job.plots_dir, f"{name}.png"), whole, job.audio, title)


def read_frames(job: plan.Job, recording: discover.Recording, speed: float = 1.0) -> Frames:
    """Return a recording's frames as it plays at a speed; the audio is streamed."""
    path = storage.join(job.input_dir, recording.name)
    most_seconds = longest_seconds(job.audio, job.segment.dtype)
    blocks = files.read_blocks(path, job.audio.sample_rate, most_seconds=most_seconds, speed=speed)
    try:
        return analyse(blocks, job.audio, job.segment)
    except files.AudioError:
        raise
    except errors.InputError as error:
        raise files.AudioError("not_finite", str(error), path=path) from error


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


@dataclasses.dataclass(kw_only=True)
class _OpenShard:
    """A shard being written: its file, hash and segment lengths."""

    name: str
    file: BinaryIO
    digest: "hashlib._Hash" = dataclasses.field(default_factory=hashlib.sha256)
    n_bytes: int = 0
    frames: list[int] = dataclasses.field(default_factory=list)
    checksum: str = ""

    def write(self, segment: records.Segment) -> None:
        """Append a segment."""
        data = records.frame(records.encode(segment))
        self.file.write(data)
        self.digest.update(data)
        self.n_bytes += len(data)
        self.frames.append(len(segment.frames))

    def describe(self) -> manifest.Shard:
        """Return the shard's entry for `dataset.json`."""
        return manifest.Shard(
            name=self.name,
            records=len(self.frames),
            bytes=self.n_bytes,
            sha256=self.digest.hexdigest(),
            frames=tuple(self.frames),
        )


@contextlib.contextmanager
def _open_shard(path: str) -> Iterator[_OpenShard]:
    """Yield a shard to write to, which is renamed or uploaded to `path` when complete.

    A shard without segments is deleted.
    """
    name = storage.name(path)
    folder = tempfile.gettempdir() if storage.is_remote(path) else str(pathlib.Path(path).parent)
    temporary = pathlib.Path(folder, f"{name}.tmp-{os.getpid()}")
    failpoints.reach("shard.opened")
    try:
        with storage.naming(str(temporary)), temporary.open("wb") as file:
            shard = _OpenShard(name=name, file=file)
            yield shard
            if not shard.frames:
                return
            file.flush()
            failpoints.reach("shard.filled")
            os.fsync(file.fileno())
        failpoints.reach("shard.synced")
        _verify(temporary, shard)
        shard.checksum = storage.checksum(str(temporary))
        failpoints.reach("shard.verified")
        storage.publish(str(temporary), path)
        failpoints.reach("shard.published")
    finally:
        temporary.unlink(missing_ok=True)


def _verify(path: pathlib.Path, shard: _OpenShard) -> None:
    """Read the file back, since a file system may fail silently, and compare hashes."""
    if storage.sha256(str(path)) != shard.digest.hexdigest():
        raise errors.InputError(
            "a shard must read back as it was written; check the disk. "
            f"Received: other bytes from {str(path)!r}"
        )
