"""A folder of recordings becomes a dataset directory: plan, write what is missing, commit.

Killed at any point and run again, it does only what is missing, and the directory is the
same to the byte as if nothing had happened. `dataset.json` is written last and deleted
first: a directory that has it holds a whole dataset.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lstm_gen.audio import normalisation
from lstm_gen.config import fields
from lstm_gen.dataset.format import integrity, labels, manifest, tfds
from lstm_gen.dataset.prepare import beam, label_sources, plan, workers
from lstm_gen.dataset.prepare import receipts as jobs
from lstm_gen.platform import errors, failpoints, storage

Progress = Callable[[jobs.Outcome | None, int], None]

_SHARD = r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord"
_OURS = re.compile(
    rf"(dataset\.json|manifest\.jsonl|{re.escape(tfds.INFO_FILE)}|{re.escape(tfds.FEATURES_FILE)}|"
    rf"{_SHARD})"
)
_TEMPORARY = re.compile(rf"{_OURS.pattern}\.tmp-\d+")
_UNUSED_SHOWN = 3
LOCAL = "local"
_ELSEWHERE = "choose another --data_dir"


def prepare(
    job: jobs.Job,
    n_workers: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
    runner: str = LOCAL,
    runner_options: Sequence[str] = (),
) -> tuple[manifest.Dataset, int]:
    """Turn a folder of recordings into a dataset directory, or bring it up to date.

    Args:
      job: Where from, where to, and how.
      n_workers: Worker processes; 0 for one per core, and never more than there are shards.
      overwrite: Whether a dataset made with other settings may be replaced.
      progress: Called with None when the number of recordings to do is known, and with each
        recording's outcome (after the whole run, if a Beam runner does it).
      runner: "local" for worker processes, or the name of a Beam runner (see `data.beam`).
      runner_options: Beam's own flags.

    Returns:
      The dataset, and how many tasks were done for it now: those that an earlier run had
      done, and that nothing has changed, are left as they are.

    Raises:
      InputError: If the folders cannot be used as they are or no recording is usable.
    """
    _require_apart(job.input_dir, job.data_dir)
    _require_ours(job, overwrite)
    known = integrity.dataset_cache(job.data_dir)
    planned = plan.make(job.input_dir, job.audio, job.segment, job.split, known, job.label_source)
    job = dataclasses.replace(
        job, split=planned.split, label_source=label_sources.without_folder(job.label_source)
    )
    with _only_one(job.data_dir):
        receipts = _find_receipts(job, planned.tasks, known)
        if len(receipts) == len(planned.tasks) and _is_committed(job, planned):
            return manifest.describe(job.data_dir), 0
        tasks = [task for task in planned.tasks if task.name not in receipts]
        _clear(job.data_dir, keep={r.name for s in receipts.values() for r in s.shards.values()})
        report = _announce(planned, tasks, progress)
        try:
            if runner == LOCAL:
                workers.run(job, tasks, n_workers, report)
            else:
                beam.run(job, tasks, runner, runner_options)
        finally:
            # Of workers that died.
            _remove(job.data_dir, _TEMPORARY.fullmatch)
            jobs.remove_temporaries(job.data_dir)
        for task in tasks:
            receipts[task.name] = receipt = _require_receipt(job, task)
            for outcome in receipt.outcomes if runner != LOCAL else ():
                report(outcome)
        jobs.forget_receipts(job.data_dir, planned.tasks)
        return _commit(job, planned, [receipts[task.name] for task in planned.tasks]), len(tasks)


def _announce(
    planned: plan.Plan, tasks: Sequence[plan.Task], progress: Progress | None
) -> Callable[[jobs.Outcome], None]:
    """Say what is to be done, and what needs no doing; return who to tell of each outcome."""
    unread = list(_judge_unread(planned.recordings))
    n_recordings = len(unread) + sum(len(task.recordings) for task in tasks)

    def report(outcome: jobs.Outcome | None) -> None:
        if progress:
            progress(outcome, n_recordings)

    for outcome in (None, *unread):
        report(outcome)
    return report


def _commit(
    job: jobs.Job, planned: plan.Plan, receipts: Sequence[jobs.Receipt]
) -> manifest.Dataset:
    """Write what makes the directory a dataset."""
    outcomes = {outcome.name: outcome for outcome in _judge_unread(planned.recordings)}
    outcomes |= {outcome.name: outcome for r in receipts for outcome in r.outcomes}
    _require_training_frames(job, planned, receipts, outcomes.values())
    manifest.save_lines(job.data_dir, _lines(planned, outcomes))
    failpoints.reach("manifest.written")
    dataset = _collect(job, planned, receipts, outcomes)
    tfds.save(dataset)
    failpoints.reach("tfds.written")
    dataset = manifest.save(dataset)
    failpoints.reach("dataset.written")
    return dataset


def _require_apart(input_dir: str, data_dir: str) -> None:
    """Refuse folders of which one holds the other: outputs must never be ingested."""
    if storage.is_remote(input_dir) != storage.is_remote(data_dir):
        return
    first, second = (
        pathlib.PurePosixPath(path) if storage.is_remote(path) else pathlib.Path(path).resolve()
        for path in (input_dir, data_dir)
    )
    errors.require(
        not (first.is_relative_to(second) or second.is_relative_to(first)),
        "--input_dir and --data_dir must not be inside one another",
        input_dir=input_dir,
        data_dir=data_dir,
    )


def _require_ours(job: jobs.Job, overwrite: bool) -> None:
    """Refuse a directory that is not ours to fill, or holds what was made otherwise."""
    names = storage.list_names(job.data_dir)
    foreign = [n for n in names if not (_is_ours(n) or n == integrity.STATE_DIR)]
    errors.require(
        not foreign and (bool(names) or not _is_file(job.data_dir)),
        f"--data_dir must be empty or hold a dataset, and nothing else; {_ELSEWHERE}",
        data_dir=job.data_dir,
        found=foreign[:3],
    )
    if manifest.DATASET_FILE in names and not overwrite:
        try:
            difference = _difference(manifest.read_values(job.data_dir), job)
        except errors.InputError:
            difference = f"a {manifest.DATASET_FILE} that is damaged"
        if difference:
            raise errors.InputError(
                f"--data_dir holds a dataset with {difference}; {_ELSEWHERE}, or replace it with "
                f"--overwrite. Received: data_dir={job.data_dir!r}"
            )


@contextlib.contextmanager
def _only_one(data_dir: str) -> Iterator[None]:
    """Keep other preparations out of a local directory; the lock goes with the process."""
    if storage.is_remote(data_dir):
        yield  # objects appear whole, and those of two runs with the same settings are the same
        return
    storage.make_directory(jobs.state_path(data_dir))
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(storage.lock(jobs.state_path(data_dir, "lock")))
        except BlockingIOError as error:
            raise errors.InputError(
                "another create_tfrecord.py is writing here; wait for it, or choose another "
                f"--data_dir. Received: data_dir={data_dir!r}"
            ) from error
        yield


def _find_receipts(
    job: jobs.Job, tasks: Sequence[plan.Task], known: integrity.HashCache
) -> dict[str, jobs.Receipt]:
    """Return, by name of task, the receipts of those whose shards are all there and whole."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.map(lambda task: jobs.load_receipt(job.data_dir, task), tasks)
        receipts = {task.name: r for task, r in zip(tasks, found, strict=True) if r}
    whole = (
        _find_uploaded(job.data_dir, receipts.values())
        if storage.is_remote(job.data_dir)
        else _find_whole(job.data_dir, receipts.values(), known)
    )
    return {
        name: receipt
        for name, receipt in receipts.items()
        if all(shard.name in whole for shard in receipt.shards.values())
    }


def _find_whole(
    data_dir: str, receipts: Iterable[jobs.Receipt], known: integrity.HashCache
) -> set[str]:
    """Return the names of the shards that hold what their receipts say."""
    shards = {shard.name: shard for r in receipts for shard in r.shards.values()}
    contents = known.find(data_dir, list(shards))
    known.save()
    return {
        shard.name
        for shard, content in zip(shards.values(), contents, strict=True)
        if (shard.bytes, shard.sha256) == (content.n_bytes, content.sha256)
    }


def _find_uploaded(data_dir: str, receipts: Iterable[jobs.Receipt]) -> set[str]:
    """Return the same for a bucket, from its checksums: one listing, and nothing is fetched."""
    stamps = storage.list_stamps(data_dir)
    uploaded = {name: (stamp.n_bytes, stamp.checksum) for name, stamp in stamps.items()}
    return {
        shard.name
        for r in receipts
        for split, shard in r.shards.items()
        if uploaded.get(shard.name) == (shard.bytes, r.checksums[split])
    }


def _require_receipt(job: jobs.Job, task: plan.Task) -> jobs.Receipt:
    """Return what a task that has just been done left."""
    receipt = jobs.load_receipt(job.data_dir, task)
    if receipt is None:
        raise errors.InputError(
            "a task must leave a receipt; does another program write to this directory? "
            f"Received: nothing of {task.name} in data_dir={job.data_dir!r}"
        )
    return receipt


def _is_committed(job: jobs.Job, planned: plan.Plan) -> bool:
    """Whether the dataset was made from just these recordings, and is as it was written."""
    if not set(tfds.FILES) <= set(storage.list_names(job.data_dir)):
        return False
    try:
        dataset = manifest.describe(job.data_dir)
    except errors.InputError:
        return False
    return dataset.plan == planned.digest and not any(manifest.find_bad_files(dataset))


def _is_ours(name: str) -> bool:
    """Whether a file may be one that a preparation wrote, or began to write."""
    return bool(_OURS.fullmatch(name) or _TEMPORARY.fullmatch(name))


def _is_file(path: str) -> bool:
    """Whether something that is not a directory is in the way."""
    return storage.exists(path) and not storage.is_directory(path)


def _difference(values: dict[str, Any], job: jobs.Job) -> str:
    """Return in words how a dataset differs from the one that was asked for."""
    if values.get("schema") != manifest.SCHEMA:
        return f"schema version {values.get('schema')} instead of {manifest.SCHEMA}"
    job = dataclasses.replace(job, label_source=label_sources.without_folder(job.label_source))
    for part in ("audio", "segment", "split", "label_source"):
        there, wanted = values.get(part), fields.to_dict(getattr(job, part))
        for name, value in wanted.items():
            found = there.get(name) if isinstance(there, dict) else None
            if found != value and not (name == "split" and value == "auto"):
                return f"{name}={found!r} instead of {value!r}"
    return ""


def _clear(data_dir: str, keep: Container[str] = ()) -> None:
    """Delete what an earlier preparation left, first of all what makes it a dataset."""
    _remove(data_dir, lambda name: name == manifest.DATASET_FILE)
    failpoints.reach("dataset.removed")
    _remove(data_dir, lambda name: _is_ours(name) and name not in keep)
    failpoints.reach("stale.removed")


def _remove(data_dir: str, unwanted: Callable[[str], object]) -> None:
    """Delete the files with unwanted names."""
    for name in storage.list_names(data_dir):
        if unwanted(name):
            storage.remove(storage.join(data_dir, name))


def _judge_unread(recordings: Iterable[plan.Recording]) -> Iterator[jobs.Outcome]:
    """Yield the outcome of the recordings that no worker needs to look at."""
    for recording in recordings:
        if recording.problem:
            yield jobs.Outcome(name=recording.name, verdict="denied", detail=recording.problem)
        elif recording.same_as:
            yield jobs.Outcome(
                name=recording.name, verdict="duplicate", detail=f"same as {recording.same_as!r}"
            )


def _require_training_frames(
    job: jobs.Job,
    planned: plan.Plan,
    receipts: Sequence[jobs.Receipt],
    outcomes: Iterable[jobs.Outcome],
) -> None:
    """Refuse to make a dataset of nothing."""
    if any(part.statistics.count for part in receipts):
        return
    _clear(job.data_dir)
    storage.remove_tree(jobs.state_path(job.data_dir))
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    verdicts.update(entry.verdict for entry in planned.left_out)
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    raise errors.InputError(
        "at least one recording must be usable for training; see the lines above. "
        f"Received: {found} in input_dir={job.input_dir!r}"
    )


def _lines(planned: plan.Plan, outcomes: dict[str, jobs.Outcome]) -> Iterator[dict[str, Any]]:
    """Yield the manifest's lines: recordings by name, then other files."""
    shards = {r.name: task.shards for task in planned.tasks for r in task.recordings}
    for recording in planned.recordings:
        outcome = outcomes[recording.name]
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
            "seconds_padded": outcome.padded_seconds,
            "seconds_left_over": outcome.left_over_seconds,
            "segments": outcome.pieces,
            "shards": {split: shards[recording.name][split] for split in outcome.pieces},
            "labels": recording.labels,
        }
    yield from (entry._asdict() for entry in planned.left_out)


def _collect(
    job: jobs.Job,
    planned: plan.Plan,
    receipts: Sequence[jobs.Receipt],
    outcomes: Mapping[str, jobs.Outcome],
) -> manifest.Dataset:
    """Return the dataset that the workers' results make together, merged in shard order."""
    statistics = normalisation.Statistics.zero(job.audio.channels)
    for part in receipts:
        statistics.merge(part.statistics)
    present = Counter(split for outcome in outcomes.values() for split in outcome.pieces)
    usable = [r.labels for r in planned.recordings if outcomes[r.name].pieces]
    shards = {
        split: tuple(part.shards[split] for part in receipts if split in part.shards)
        for split in manifest.SPLITS
    }
    return manifest.Dataset(
        data_dir=job.data_dir,
        audio=job.audio,
        segment=job.segment,
        split=job.split,
        normalisation=statistics.normalisation(job.audio),
        splits={
            name: manifest.Split(
                recordings=present[name],
                shards=shards[name],
                seconds=sum(sum(s.frames) for s in shards[name]) / job.audio.frames_per_second,
            )
            for name in manifest.SPLITS
        },
        plan=planned.digest,
        fingerprint=manifest.fingerprint(planned.digest, shards),
        labels=labels.build(planned.kinds, usable),
        label_source=job.label_source,
        unused_rows=manifest.UnusedRows(
            len(planned.unused_rows), planned.unused_rows[:_UNUSED_SHOWN]
        ),
    )
