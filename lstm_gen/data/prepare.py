"""A folder of recordings becomes a dataset directory: plan, write shards, commit."""

import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lstm_gen import config, errors, storage
from lstm_gen.data import jobs, manifest, plan, splits, workers

Progress = Callable[[jobs.Outcome | None, int], None]

_SHARD = r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord"
_OURS = re.compile(rf"(dataset\.json|manifest\.jsonl|{_SHARD})(\.tmp-\d+)?")
_ELSEWHERE = "choose another --data_dir"


def prepare(
    job: jobs.Job,
    n_workers: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[manifest.Dataset, bool]:
    """Turn a folder of recordings into a dataset directory.

    Args:
      job: Where from, where to, and how.
      n_workers: Worker processes; 0 for one per core, and never more than there are shards.
      overwrite: Whether a dataset made from other recordings or settings may be replaced.
      progress: Called with None when the number of recordings is known, and with each
        recording's outcome.

    Returns:
      The dataset, and whether it was made now (else it was there, and nothing was done).

    Raises:
      InputError: If the folders cannot be used as they are or no recording is usable.
    """
    _require_apart(job.input_dir, job.data_dir)
    planned = plan.make(job.input_dir, job.audio, job.segment, job.split)
    job = dataclasses.replace(job, split=planned.split)
    finished = _find_finished(job, planned, overwrite)
    if finished:
        return finished, False
    _clear(job.data_dir)
    outcomes: dict[int, jobs.Outcome] = {}

    def report(outcome: jobs.Outcome | None) -> None:
        if outcome:
            outcomes[outcome.index] = outcome
        if progress:
            progress(outcome, len(planned.recordings))

    report(None)
    for outcome in _judge_unread(planned.recordings):
        report(outcome)
    storage.make_directory(job.data_dir)
    written = workers.run(job, planned.tasks, n_workers, report)
    _require_training_frames(job, written, outcomes.values())
    manifest.save_lines(job.data_dir, _lines(planned, outcomes))
    dataset = _collect(job, planned, written, outcomes.values())
    manifest.save(dataset)
    return dataset, True


def _require_apart(input_dir: str, data_dir: str) -> None:
    """Refuse folders of which one holds the other: outputs must never be ingested."""
    if storage.is_remote(input_dir) != storage.is_remote(data_dir):
        return
    first, second = (
        pathlib.PurePosixPath(path) if storage.is_remote(path) else pathlib.Path(path).resolve()
        for path in (input_dir, data_dir)
    )
    config.require(
        not (first.is_relative_to(second) or second.is_relative_to(first)),
        "--input_dir and --data_dir must not be inside one another",
        input_dir=input_dir,
        data_dir=data_dir,
    )


def _find_finished(job: jobs.Job, planned: plan.Plan, overwrite: bool) -> manifest.Dataset | None:
    """Return the dataset if it is there already; refuse a directory that is not ours to fill."""
    names = storage.list_names(job.data_dir)
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    config.require(
        not foreign and (bool(names) or not _is_file(job.data_dir)),
        f"--data_dir must be empty or hold a dataset, and nothing else; {_ELSEWHERE}",
        data_dir=job.data_dir,
        found=foreign[:3],
    )
    if manifest.DATASET_FILE not in names or overwrite:
        return None
    values = manifest.read_values(job.data_dir)
    if values.get("plan") == planned.digest:
        return manifest.load(job.data_dir)
    raise errors.InputError(
        f"--data_dir holds a dataset with {_difference(values, job)}; {_ELSEWHERE}, or replace it "
        f"with --overwrite. Received: data_dir={job.data_dir!r}"
    )


def _is_file(path: str) -> bool:
    """Whether something that is not a directory is in the way."""
    return storage.exists(path) and not storage.is_directory(path)


def _difference(values: dict[str, Any], job: jobs.Job) -> str:
    """Return in words how a dataset differs from the one that was asked for."""
    if values.get("schema") != plan.SCHEMA:
        return f"schema version {values.get('schema')} instead of {plan.SCHEMA}"
    for part in ("audio", "segment", "split"):
        there, wanted = values.get(part), config.to_dict(getattr(job, part))
        for name, value in wanted.items():
            if not isinstance(there, dict) or there.get(name) != value:
                found = there.get(name) if isinstance(there, dict) else None
                return f"{name}={found!r} instead of {value!r}"
    return "other recordings"


def _clear(data_dir: str) -> None:
    """Delete what an earlier preparation left, first of all what makes it a dataset."""
    names = [name for name in storage.list_names(data_dir) if _OURS.fullmatch(name)]
    for name in sorted(names, key=lambda name: name != manifest.DATASET_FILE):
        storage.remove(storage.join(data_dir, name))


def _judge_unread(recordings: Iterable[plan.Recording]) -> Iterator[jobs.Outcome]:
    """Yield the outcome of the recordings that no worker needs to look at."""
    for recording in recordings:
        if recording.problem:
            yield jobs.Outcome(
                index=recording.index, verdict="unreadable", detail=recording.problem
            )
        elif recording.same_as:
            yield jobs.Outcome(
                index=recording.index, verdict="duplicate", detail=f"same as {recording.same_as!r}"
            )


def _require_training_frames(
    job: jobs.Job, written: Sequence[jobs.Written], outcomes: Iterable[jobs.Outcome]
) -> None:
    """Refuse to make a dataset of nothing."""
    if any(part.moments.count for part in written):
        return
    _clear(job.data_dir)
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    raise errors.InputError(
        "at least one recording must be usable for training; see the lines above. "
        f"Received: {found} in input_dir={job.input_dir!r}"
    )


def _lines(planned: plan.Plan, outcomes: dict[int, jobs.Outcome]) -> Iterator[dict[str, Any]]:
    """Yield the manifest's lines: recordings in the order of their index, then other files."""
    shards = {r.index: task.shards for task in planned.tasks for r in task.recordings}
    for recording in planned.recordings:
        outcome = outcomes[recording.index]
        yield {
            "name": recording.name,
            "bytes": recording.n_bytes,
            "sha256": recording.sha256 or None,
            "verdict": outcome.verdict,
            "detail": outcome.detail,
            "seconds": outcome.seconds,
            "frames": outcome.frames,
            "frames_kept": outcome.kept,
            "frames_too_short": outcome.too_short,
            "segments": outcome.pieces,
            "shards": {split: shards[recording.index][split] for split in outcome.pieces},
        }
    for name in planned.not_audio:
        yield {"name": name, "verdict": "not_audio", "detail": "its suffix is not of audio"}


def _collect(
    job: jobs.Job,
    planned: plan.Plan,
    written: Sequence[jobs.Written],
    outcomes: Iterable[jobs.Outcome],
) -> manifest.Dataset:
    """Return the dataset that the workers' results make together, merged in shard order."""
    moments = jobs.Moments.zero(job.audio.n_mels)
    for part in written:
        moments.merge(part.moments)
    mean, std = moments.normalisation()
    present = Counter(split for outcome in outcomes for split in outcome.pieces)
    shards = {
        split: tuple(part.shards[split] for part in written if split in part.shards)
        for split in splits.SPLITS
    }
    return manifest.Dataset(
        data_dir=job.data_dir,
        audio=job.audio,
        segment=job.segment,
        split=job.split,
        mean=mean,
        std=std,
        splits={
            name: manifest.Split(
                recordings=present[name],
                shards=shards[name],
                seconds=sum(sum(s.frames) for s in shards[name]) / job.audio.frames_per_second,
            )
            for name in splits.SPLITS
        },
        plan=planned.digest,
        fingerprint=manifest.fingerprint(planned.digest, shards),
    )
