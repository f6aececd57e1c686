"""One worker's part of a preparation: recordings in, shards out.

Audio and frames stay here; what goes back to the parent is a verdict per recording, and
counts, digests and sums per shard. A recording that cannot be used costs only itself.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO

import numpy as np
import threadpoolctl

from lstm_gen.audio import file_status, files, normalisation, plots, representations
from lstm_gen.dataset.format import manifest, records
from lstm_gen.dataset.inspect import summary
from lstm_gen.dataset.prepare import cut, plan, receipts, segments, splits, worker_limits
from lstm_gen.platform import errors, failpoints, storage

_LONGEST_NAME = 235  # bytes, of the 255 of all common file systems; ".png.tmp-PID" comes to it
# No more disk or open files: no verdict on the recording at hand.
_FAULTS_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)


def _tell_nobody(news: object) -> None:
    """Listen to what nobody waits for."""


def write_task(
    job: receipts.Job,
    task: plan.Task,
    crashed: Collection[str] = (),
    start: Callable[[str], None] = _tell_nobody,
    report: Callable[[receipts.Outcome], None] = _tell_nobody,
) -> None:
    """Decode a task's recordings, write its shards and then its receipt.

    Linear algebra takes one thread meanwhile: with more, its sums have other last bits.

    Args:
      job: What all tasks share.
      task: What to read and what to write.
      crashed: Names of recordings not to be tried, since they end the process.
      start: Called with the name of each recording before it is touched.
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
            outcome, pieces = _examine(job, recording, next(iter(task.shards)), crashed)
            _require_unchanged(job, recording)
            for split, segment in pieces:
                shards[split].write(segment)
                if split == "train":
                    statistics.add(representations.dequantise(segment.frames))
            outcomes.append(outcome)
            report(outcome)
    filled = {name: shard for name, shard in shards.items() if shard.frames}
    receipt = receipts.Receipt(
        digest=task.digest,
        outcomes=tuple(outcomes),
        shards={name: shard.describe() for name, shard in filled.items()},
        checksums={name: shard.checksum for name, shard in filled.items()},
        statistics=statistics,
    )
    receipts.save_receipt(job.data_dir, task, receipt)


def _examine(
    job: receipts.Job, recording: plan.Recording, split: str, crashed: Collection[str]
) -> tuple[receipts.Outcome, list[tuple[str, records.Segment]]]:
    """Return a recording's outcome and its segments; whatever is wrong with it stays here."""
    try:
        if recording.name not in crashed:
            return _cut(job, recording, split)
        verdict, detail = receipts.CRASHED, "the process that decoded it died, and died again"
    except file_status.AudioError as error:
        verdict, detail = error.reason, error.detail
    except errors.StorageError:
        raise
    except MemoryError:
        verdict, detail = "memory", "decoding it needs more memory than there is"
    except Exception as error:  # one recording must not cost the others, whatever a decoder does
        if isinstance(error, OSError) and error.errno in _FAULTS_OF_THE_MACHINE:
            raise
        verdict, detail = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    # Where the folder is must not show in the dataset: it is the same wherever it was made.
    detail = detail.replace(storage.join(job.input_dir, recording.name), recording.name)
    return receipts.Outcome(name=recording.name, verdict=verdict, detail=detail), []


def _require_unchanged(job: receipts.Job, recording: plan.Recording) -> None:
    """Refuse a recording that is not, or not any longer, what was planned.

    A verdict on it would be kept for the content that it had, and outlive what was the matter.
    """
    path = storage.join(job.input_dir, recording.name)
    with contextlib.suppress(OSError):
        if storage.stamp(path).token == recording.token:
            return
        if storage.sha256(path) == recording.sha256:
            return
    raise errors.InputError(
        "recordings must stay as they are while they are read; run the same command again when "
        f"the folder is at rest, what is finished is kept. Received: changed {path!r}"
    )


def _cut(
    job: receipts.Job, recording: plan.Recording, split: str
) -> tuple[receipts.Outcome, list[tuple[str, records.Segment]]]:
    """Decode, analyse, trim, split and cut one recording."""
    found = _analyse(storage.join(job.input_dir, recording.name), job)
    active = found.active
    file_status.require(bool(active.any()), "silent", "a recording that is not silent")
    labels = _label(int(active.sum()), job, split)
    pieces, too_short = (
        segments.cut_examples(active, labels, found.example_frames)
        if found.example_frames
        else segments.cut_recording(active, labels, job.segment)
    )
    file_status.require(bool(pieces), "too_short", "2 frames or more", frames=int(active.sum()))
    if job.plots_dir:
        _draw(found, recording, job)
    kept: Counter[str] = Counter()
    for piece in pieces:
        kept[piece.split] += piece.stop - piece.start
    outcome = receipts.Outcome(
        name=recording.name,
        verdict=receipts.OK,
        seconds=found.n_samples / job.audio.sample_rate,
        frames=len(found.frames),
        kept=dict(kept),
        pieces=dict(Counter(piece.split for piece in pieces)),
        too_short=too_short,
        padded_seconds=found.n_padded / job.audio.sample_rate,
        left_over_seconds=found.n_left_over / job.audio.sample_rate,
    )
    return outcome, [
        (
            piece.split,
            records.Segment(
                _segment(found, piece, job), recording.id, piece.start, recording.labels
            ),
        )
        for piece in pieces
    ]


def _draw(found: cut.Recording, recording: plan.Recording, job: receipts.Job) -> None:
    """Write a picture of a recording, whose name may be one that no picture can have or show."""
    fits = len(os.fsencode(storage.name(recording.name))) <= _LONGEST_NAME
    name = recording.name if fits else recording.sha256
    title = summary.show(recording.name).replace("$", r"\$")  # no formula
    whole = representations.as_segment(found.frames, job.audio)
    plots.spectrogram(storage.join(job.plots_dir, f"{name}.png"), whole, job.audio, title)


def _segment(found: cut.Recording, piece: segments.Piece, job: receipts.Job) -> np.ndarray:
    """Return the frames of a piece as they are stored."""
    return representations.as_segment(found.frames[piece.start : piece.stop], job.audio)


def _analyse(path: str, job: receipts.Job) -> cut.Recording:
    """Return a recording's frames; the audio is streamed."""
    most_seconds = worker_limits.longest_seconds(job.audio, job.segment.dtype)
    blocks = files.read_blocks(path, job.audio.sample_rate, most_seconds=most_seconds)
    try:
        return cut.analyse(blocks, job.audio, job.segment)
    except file_status.AudioError:
        raise
    except errors.InputError as error:
        raise file_status.AudioError("not_finite", str(error), path=path) from error


def _label(n_frames: int, job: receipts.Job, split: str) -> np.ndarray:
    """Return the split of each kept frame, int8 [n_frames], -1 for none."""
    if job.split.split == "blocks":
        return splits.label_frames(n_frames, job.audio.frames_per_second, job.split)
    return np.full(n_frames, manifest.SPLITS.index(split), np.int8)


@dataclasses.dataclass(kw_only=True)
class _OpenShard:
    """A shard being written: the file, and what will be known of it."""

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
        """Return what was written."""
        return manifest.Shard(
            name=self.name,
            records=len(self.frames),
            bytes=self.n_bytes,
            sha256=self.digest.hexdigest(),
            frames=tuple(self.frames),
        )


@contextlib.contextmanager
def _open_shard(path: str) -> Iterator[_OpenShard]:
    """Yield a shard to write to; it gets its name, or reaches the bucket, when complete.

    One that nothing was written to is not kept.
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
    """Read back what was written: a file system may fail in silence."""
    if storage.sha256(str(path)) != shard.digest.hexdigest():
        raise errors.InputError(
            "a shard must hold what was written to it; check the disk. "
            f"Received: other bytes from {str(path)!r}"
        )
