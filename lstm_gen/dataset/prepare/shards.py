"""Shard writing: decoding, analysis, cutting and storage of the recordings of one task.

Done in a worker process. Audio and frames stay there; the parent gets a status per recording,
and counts, hashes and statistics per shard. An unusable recording does not affect the others.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import threadpoolctl

from lstm_gen.audio import files, normalisation, plots, representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.format import manifest, records
from lstm_gen.dataset.prepare import cut, discover, plan, splits
from lstm_gen.platform import errors, failpoints, storage

_LONGEST_NAME = 235  # bytes, of the 255 of all common file systems; ".png.tmp-PID" comes to it
# The memory limit of a worker is 1.25 GiB of data. At rest it has 0.1 GB of data (0.3 with
# TensorFlow, for a bucket), and it holds at most three arrays as large as a recording's frames.
_MAX_FRAME_BYTES = 320 << 20
# Out of disk or open files: not the recording's fault.
_SYSTEM_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)


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
    with contextlib.ExitStack() as stack:
        stack.enter_context(threadpoolctl.threadpool_limits(1))
        shards = {
            split: stack.enter_context(_open_shard(storage.join(job.data_dir, name)))
            for split, name in task.shards.items()
        }
        for recording in task.recordings:
            start(recording.name)
            outcome, segments = _process(job, recording, task, crashed)
            _require_unchanged(job, recording)
            for split, segment in segments:
                shards[split].write(segment)
                if split == "train":
                    statistics.add(representations.dequantise(segment.frames))
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


def longest_seconds(audio: AudioConfig, dtype: str) -> float:
    """Return the length of the longest recording whose frames fit a worker's memory, seconds."""
    frame_bytes = np.dtype(dtype).itemsize * audio.channels
    return min(files.MOST_SECONDS, _MAX_FRAME_BYTES / (audio.frames_per_second * frame_bytes))


def _process(
    job: plan.Job, recording: discover.Recording, task: plan.Task, crashed: Collection[str]
) -> tuple[plan.Outcome, list[tuple[str, records.Segment]]]:
    """Return a recording's outcome and its segments with their splits; catch its errors."""
    try:
        if recording.name not in crashed:
            return _cut(job, recording, list(task.shards))
        status, detail = "crashed", "the process that decoded it died, and died again"
    except files.AudioError as error:
        status, detail = error.reason, error.detail
    except errors.StorageError:
        raise
    except MemoryError:
        status, detail = "memory", "decoding it needs more memory than there is"
    except Exception as error:  # any error of a decoder affects this recording only
        if isinstance(error, OSError) and error.errno in _SYSTEM_FAULTS:
            raise
        status, detail = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    # The dataset must not depend on the location of the input folder.
    detail = detail.replace(storage.join(job.input_dir, recording.name), recording.name)
    return plan.Outcome(name=recording.name, status=status, detail=detail), []


def _require_unchanged(job: plan.Job, recording: discover.Recording) -> None:
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
) -> tuple[plan.Outcome, list[tuple[str, records.Segment]]]:
    """Decode, analyse, trim, split and cut one recording."""
    audio = job.audio
    frames = _analyse(storage.join(job.input_dir, recording.name), job)
    n_active = int(frames.active.sum())
    files.require(n_active > 0, "silent", "a recording that is not silent")
    frame_splits = splits.assign_frames(n_active, audio.frames_per_second, job.split, split_names)
    places, too_short = cut.place_segments(frames, frame_splits, job.segment)
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
    return outcome, [
        (
            place.split,
            records.Segment(
                representations.as_segment(frames.values[place.start : place.stop], audio),
                recording.id,
                place.start,
                recording.labels,
            ),
        )
        for place in places
    ]


def _plot(frames: cut.Frames, recording: discover.Recording, job: plan.Job) -> None:
    """Write a spectrogram of a recording, named by its hash if its name is too long."""
    fits = len(os.fsencode(storage.name(recording.name))) <= _LONGEST_NAME
    name = recording.name if fits else recording.sha256
    title = manifest.printable(recording.name).replace("$", r"\$")  # no formula
    whole = representations.as_segment(frames.values, job.audio)
    plots.spectrogram(storage.join(job.plots_dir, f"{name}.png"), whole, job.audio, title)


def _analyse(path: str, job: plan.Job) -> cut.Frames:
    """Return a recording's frames; the audio is streamed."""
    most_seconds = longest_seconds(job.audio, job.segment.dtype)
    blocks = files.read_blocks(path, job.audio.sample_rate, most_seconds=most_seconds)
    try:
        return cut.analyse(blocks, job.audio, job.segment)
    except files.AudioError:
        raise
    except errors.InputError as error:
        raise files.AudioError("not_finite", str(error), path=path) from error


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
