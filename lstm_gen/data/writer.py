"""One worker's part of a preparation: recordings in, shards out.

Audio and frames stay here; what goes back to the parent is a verdict per recording, and
counts, digests and sums per shard. A recording that cannot be used costs only itself.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import BinaryIO

import numpy as np
import threadpoolctl

from lstm_gen import config, errors, failpoints, storage
from lstm_gen.audio import features, files, pictures
from lstm_gen.data import digests, jobs, manifest, plan, records, segments, splits


def _tell_nobody(news: object) -> None:
    """Listen to what nobody waits for."""


def write_task(
    job: jobs.Job,
    task: plan.Task,
    crashed: Collection[str] = (),
    start: Callable[[str], None] = _tell_nobody,
    report: Callable[[jobs.Outcome], None] = _tell_nobody,
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
    moments, outcomes = jobs.Moments.zero(job.audio.n_mels), []
    with contextlib.ExitStack() as stack:
        stack.enter_context(threadpoolctl.threadpool_limits(1))
        shards = {
            split: stack.enter_context(_open_shard(storage.join(job.data_dir, name)))
            for split, name in task.shards.items()
        }
        for recording in task.recordings:
            start(recording.name)
            outcome, pieces = _examine(job, recording, next(iter(task.shards)), crashed)
            for split, segment in pieces:
                shards[split].write(segment)
                if split == "train":
                    moments.add(segment.frames)
            outcomes.append(outcome)
            report(outcome)
    receipt = jobs.Receipt(
        digest=task.digest,
        outcomes=tuple(outcomes),
        shards={name: shard.describe() for name, shard in shards.items()},
        moments=moments,
    )
    jobs.save_receipt(job.data_dir, task, receipt)


def _examine(
    job: jobs.Job, recording: plan.Recording, split: str, crashed: Collection[str]
) -> tuple[jobs.Outcome, list[tuple[str, records.Segment]]]:
    """Return a recording's outcome and its segments; whatever is wrong with it stays here."""
    try:
        if recording.name not in crashed:
            return _cut(job, recording, split)
        verdict, detail = jobs.CRASHED, "the process that decoded it died, and died again"
    except files.AudioError as error:
        verdict, detail = error.reason, str(error)
    except errors.StorageError:
        raise
    except MemoryError:
        verdict, detail = "memory", "decoding it needs more memory than there is"
    except Exception as error:  # one recording must not cost the others, whatever a decoder does
        verdict, detail = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    # Where the folder is must not show in the dataset: it is the same wherever it was made.
    detail = detail.replace(storage.join(job.input_dir, recording.name), recording.name)
    return jobs.Outcome(name=recording.name, verdict=verdict, detail=detail), []


def _cut(
    job: jobs.Job, recording: plan.Recording, split: str
) -> tuple[jobs.Outcome, list[tuple[str, records.Segment]]]:
    """Decode, analyse, trim, split and cut one recording."""
    log_mel, seconds = _analyse(storage.join(job.input_dir, recording.name), job.audio)
    active = features.active_frames(log_mel, job.segment.trim_db, job.audio)
    _require_frames(bool(active.any()), "silent", "a recording that is not silent", recording.name)
    labels = _label(int(active.sum()), job, split)
    pieces, too_short = segments.cut_recording(active, labels, job.segment)
    _require_frames(bool(pieces), "too_short", "a recording of at least 2 frames", recording.name)
    if job.plots_dir:
        path = storage.join(job.plots_dir, f"{recording.name}.png")
        pictures.spectrogram(path, log_mel, job.audio, recording.name)
    kept: Counter[str] = Counter()
    for piece in pieces:
        kept[piece.split] += piece.stop - piece.start
    outcome = jobs.Outcome(
        name=recording.name,
        verdict=jobs.OK,
        seconds=seconds,
        frames=len(log_mel),
        kept=dict(kept),
        pieces=dict(Counter(piece.split for piece in pieces)),
        too_short=too_short,
    )
    stored = log_mel.astype(job.segment.dtype)
    return outcome, [
        (
            piece.split,
            records.Segment(stored[piece.start : piece.stop], recording.id, piece.start),
        )
        for piece in pieces
    ]


def _analyse(path: str, audio: config.AudioConfig) -> tuple[np.ndarray, float]:
    """Return a recording's log-mel [frames, n_mels] and its seconds; the audio is streamed."""
    n_samples = 0

    def count(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    blocks = count(files.read_blocks(path, audio.sample_rate))
    log_mel = np.concatenate(list(features.log_mel_blocks(blocks, audio)))
    if not np.isfinite(log_mel).all():
        raise files.AudioError(
            "not_finite", f"expected samples that give finite frames. Received: path={path!r}"
        )
    return log_mel, n_samples / audio.sample_rate


def _label(n_frames: int, job: jobs.Job, split: str) -> np.ndarray:
    """Return the split of each kept frame, int8 [n_frames], -1 for none."""
    if job.split.split == "blocks":
        return splits.label_frames(n_frames, job.audio.frames_per_second, job.split)
    return np.full(n_frames, splits.SPLITS.index(split), np.int8)


def _require_frames(condition: bool, reason: str, expected: str, name: str) -> None:
    """Raise AudioError unless the recording has something to learn from."""
    if not condition:
        raise files.AudioError(reason, f"expected {expected}. Received: {name!r}")


@dataclasses.dataclass(kw_only=True)
class _OpenShard:
    """A shard being written: the file, and what will be known of it."""

    name: str
    file: BinaryIO
    digest: "hashlib._Hash" = dataclasses.field(default_factory=hashlib.sha256)
    n_bytes: int = 0
    frames: list[int] = dataclasses.field(default_factory=list)

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
    """Yield a shard to write to; it gets its name, or reaches the bucket, when complete."""
    name = storage.name(path)
    folder = tempfile.gettempdir() if storage.is_remote(path) else str(pathlib.Path(path).parent)
    temporary = pathlib.Path(folder, f"{name}.tmp-{os.getpid()}")
    failpoints.reach("shard.opened")
    try:
        with temporary.open("wb") as file:
            shard = _OpenShard(name=name, file=file)
            yield shard
            file.flush()
            failpoints.reach("shard.filled")
            os.fsync(file.fileno())
        failpoints.reach("shard.synced")
        _verify(temporary, shard)
        failpoints.reach("shard.verified")
        storage.publish(str(temporary), path)
        failpoints.reach("shard.published")
    finally:
        temporary.unlink(missing_ok=True)


def _verify(path: pathlib.Path, shard: _OpenShard) -> None:
    """Read back what was written: a file system may fail in silence."""
    if digests.hash_file(str(path)) != shard.digest.hexdigest():
        raise errors.InputError(
            "a shard must hold what was written to it; check the disk. "
            f"Received: other bytes from {str(path)!r}"
        )
