"""Preparation of a dataset directory from a folder of recordings.

Restartable: killed at any point and run again, it does only the missing tasks, and the directory
is the same to the byte as after an uninterrupted run. `dataset.json` is written last and deleted
first, so a directory that has it holds a whole dataset.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lstm_gen.audio import fitted, normalisation
from lstm_gen.config import fields
from lstm_gen.config.audio import Fitted
from lstm_gen.dataset.format import integrity, labels, manifest
from lstm_gen.dataset.prepare import fit, plan, workers
from lstm_gen.platform import errors, failpoints, storage

Progress = Callable[[plan.Outcome | None, int], None]

LOCAL = "local"
_SHARD = r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord"
_OURS = re.compile(rf"({'|'.join(map(re.escape, manifest.FILES))}|{_SHARD})")
_TEMPORARY = re.compile(rf"{_OURS.pattern}\.tmp-\d+")
_UNUSED_SHOWN = 3
_ELSEWHERE = "choose another --data_dir"


def prepare(
    job: plan.Job,
    n_workers: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
    runner: str = LOCAL,
    runner_options: Sequence[str] = (),
) -> tuple[manifest.Dataset, int]:
    """Turn a folder of recordings into a dataset directory, or bring it up to date.

    Args:
      job: Settings.
      n_workers: Worker processes; 0 for one per core, and never more than there are shards.
      overwrite: Whether a dataset made with other settings may be replaced.
      progress: Called with None when the number of recordings to do is known, and with each
        recording's outcome (after the whole run, if a Beam runner does it).
      runner: "local" for worker processes, or the name of a Beam runner (see `workers.run_beam`).
      runner_options: Beam's own flags.

    Returns:
      The dataset, and the number of tasks done; finished tasks of an earlier run, of which
      nothing has changed, are not repeated.

    Raises:
      InputError: If the folders cannot be used as they are or no recording is usable.
    """
    _require_apart(job.input_dir, job.data_dir)
    _require_ours(job, overwrite)
    cache = integrity.dataset_cache(job.data_dir)
    planned = plan.make(job, cache)
    with _lock(job.data_dir):
        receipts = _find_receipts(planned, cache)
        if len(receipts) == len(_all_tasks(planned)) and _is_committed(planned):
            return manifest.with_fitted(manifest.describe(job.data_dir)), 0
        tasks = [task for task in planned.tasks if task.name not in receipts]
        _clear(job.data_dir, keep={r.name for s in receipts.values() for r in s.shards.values()})
        report = _start_progress(planned, tasks, progress)
        try:
            planned = _fit(planned, receipts)
            if runner == LOCAL:
                workers.run(planned.job, tasks, n_workers, report)
            else:
                workers.run_beam(planned.job, tasks, runner, runner_options)
        finally:
            # Files of workers that died.
            _remove(job.data_dir, _TEMPORARY.fullmatch)
            plan.remove_temporaries(job.data_dir)
        for task in tasks:
            receipts[task.name] = receipt = _require_receipt(job.data_dir, task)
            for outcome in receipt.outcomes if runner != LOCAL else ():
                report(outcome)
        plan.remove_other_receipts(job.data_dir, _all_tasks(planned))
        return _commit(planned, [receipts[task.name] for task in planned.tasks]), len(tasks)


def _all_tasks(planned: plan.Plan) -> list[plan.Task]:
    """Return the tasks of a plan, that of the fit included."""
    return [*planned.tasks, *([planned.fit] if planned.fit else [])]


def _fit(planned: plan.Plan, receipts: dict[str, plan.Receipt]) -> plan.Plan:
    """Return the plan with the fitted arrays of its analysis, fitted unless they are there."""
    task, data_dir = planned.fit, planned.job.data_dir
    if task is None:
        return planned
    receipt = receipts.get(task.name)
    if receipt is None:
        workers.run(planned.job, [task], 1, lambda _: None, fit.write_task)
        receipt = _require_receipt(data_dir, task)
    file = receipt.shards["train"]
    listed = Fitted(n_bytes=file.bytes, sha256=file.sha256)
    audio = dataclasses.replace(planned.job.audio, fitted=listed)
    audio = fitted.read(storage.join(data_dir, file.name), audio, "run the same command again")
    return dataclasses.replace(planned, job=dataclasses.replace(planned.job, audio=audio))


def _start_progress(
    planned: plan.Plan, tasks: Sequence[plan.Task], progress: Progress | None
) -> Callable[[plan.Outcome], None]:
    """Report the recordings that no worker opens; return the callback for the others."""
    unread = list(_unread_outcomes(planned))
    n_recordings = len(unread) + sum(len(task.recordings) for task in tasks)

    def report(outcome: plan.Outcome | None) -> None:
        if progress:
            progress(outcome, n_recordings)

    for outcome in (None, *unread):
        report(outcome)
    return report


def _commit(planned: plan.Plan, receipts: Sequence[plan.Receipt]) -> manifest.Dataset:
    """Write the JSON files that make the directory a dataset."""
    outcomes = {outcome.name: outcome for outcome in _unread_outcomes(planned)}
    outcomes |= {outcome.name: outcome for r in receipts for outcome in r.outcomes}
    _require_training_frames(planned, receipts, outcomes.values())
    manifest.save_lines(planned.job.data_dir, _lines(planned, outcomes))
    failpoints.reach("manifest.written")
    dataset = _build_dataset(planned, receipts, outcomes)
    manifest.save_tfds(dataset)
    failpoints.reach("tfds.written")
    dataset = manifest.save(dataset)
    failpoints.reach("dataset.written")
    return dataset


def _require_apart(input_dir: str, data_dir: str) -> None:
    """Raise InputError if one folder holds the other: outputs must never become inputs."""
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


def _require_ours(job: plan.Job, overwrite: bool) -> None:
    """Raise InputError if the directory has foreign files, or a dataset with other settings."""
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
def _lock(data_dir: str) -> Iterator[None]:
    """Lock a local directory against other preparations; the lock ends with the process."""
    if storage.is_remote(data_dir):
        yield  # objects appear whole, and two runs with the same settings write the same objects
        return
    storage.make_directory(plan.state_path(data_dir))
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(storage.lock(plan.state_path(data_dir, "lock")))
        except BlockingIOError as error:
            raise errors.InputError(
                "another create_tfrecord.py is writing here; wait for it, or choose another "
                f"--data_dir. Received: data_dir={data_dir!r}"
            ) from error
        yield


def _find_receipts(planned: plan.Plan, cache: integrity.HashCache) -> dict[str, plan.Receipt]:
    """Return, by name of task, the receipts whose shards all exist and are whole."""
    data_dir = planned.job.data_dir
    tasks = _all_tasks(planned)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.map(lambda task: plan.load_receipt(data_dir, task), tasks)
        receipts = {task.name: r for task, r in zip(tasks, found, strict=True) if r}
    whole = (
        _find_uploaded(data_dir, receipts.values())
        if storage.is_remote(data_dir)
        else _find_whole(data_dir, receipts.values(), cache)
    )
    return {
        name: receipt
        for name, receipt in receipts.items()
        if all(shard.name in whole for shard in receipt.shards.values())
    }


def _find_whole(
    data_dir: str, receipts: Iterable[plan.Receipt], cache: integrity.HashCache
) -> set[str]:
    """Return the names of the local shards that match their receipts."""
    shards = {shard.name: shard for r in receipts for shard in r.shards.values()}
    contents = cache.find(data_dir, list(shards))
    cache.save()
    return {
        shard.name
        for shard, content in zip(shards.values(), contents, strict=True)
        if (shard.bytes, shard.sha256) == (content.n_bytes, content.sha256)
    }


def _find_uploaded(data_dir: str, receipts: Iterable[plan.Receipt]) -> set[str]:
    """Return the same for a bucket, from its checksums: one listing, no download."""
    stamps = storage.list_stamps(data_dir)
    uploaded = {name: (stamp.n_bytes, stamp.checksum) for name, stamp in stamps.items()}
    return {
        shard.name
        for r in receipts
        for split, shard in r.shards.items()
        if uploaded.get(shard.name) == (shard.bytes, r.checksums[split])
    }


def _require_receipt(data_dir: str, task: plan.Task) -> plan.Receipt:
    """Return the receipt of a task that has just been done."""
    receipt = plan.load_receipt(data_dir, task)
    if receipt is None:
        raise errors.InputError(
            "a task must leave a receipt; does another program write to this directory? "
            f"Received: no receipt of {task.name} in data_dir={data_dir!r}"
        )
    return receipt


def _is_committed(planned: plan.Plan) -> bool:
    """Whether the dataset was made from exactly these recordings, and is unchanged."""
    data_dir = planned.job.data_dir
    if not set(manifest.TFDS_FILES) <= set(storage.list_names(data_dir)):
        return False
    try:
        dataset = manifest.describe(data_dir)
    except errors.InputError:
        return False
    return dataset.plan == planned.digest and not any(manifest.find_bad_files(dataset))


def _is_ours(name: str) -> bool:
    """Whether a file may be one that a preparation wrote, or began to write."""
    return bool(_OURS.fullmatch(name) or _TEMPORARY.fullmatch(name))


def _is_file(path: str) -> bool:
    """Whether the path exists and is not a directory."""
    return storage.exists(path) and not storage.is_directory(path)


def _difference(values: dict[str, Any], job: plan.Job) -> str:
    """Return the first difference between a dataset and the requested one, in words.

    Raises:
      InputError: If the dataset's settings cannot be read.
    """
    if values.get("schema") != manifest.SCHEMA:
        return f"schema version {values.get('schema')} instead of {manifest.SCHEMA}"
    job = dataclasses.replace(job, label_source=plan.without_folder(job.label_source))
    for part in ("audio", "segment", "split", "transposition", "label_source"):
        requested = getattr(job, part)
        there = fields.from_dict(type(requested), values.get(part, {}), part)
        for name, value in fields.to_dict(requested).items():
            found = getattr(there, name)
            if found != value and not (name == "split" and value == "auto"):
                return f"{name}={found!r} instead of {value!r}"
    return ""


def _clear(data_dir: str, keep: Container[str] = ()) -> None:
    """Delete the files of an earlier preparation, `dataset.json` first."""
    _remove(data_dir, lambda name: name == manifest.DATASET_FILE)
    failpoints.reach("dataset.removed")
    _remove(data_dir, lambda name: _is_ours(name) and name not in keep)
    failpoints.reach("stale.removed")


def _remove(data_dir: str, unwanted: Callable[[str], object]) -> None:
    """Delete the files with unwanted names."""
    for name in storage.list_names(data_dir):
        if unwanted(name):
            storage.remove(storage.join(data_dir, name))


def _unread_outcomes(planned: plan.Plan) -> Iterator[plan.Outcome]:
    """Yield the outcomes of the recordings that no worker opens."""
    for recording in planned.recordings:
        if recording.problem:
            yield plan.Outcome(name=recording.name, status="denied", detail=recording.problem)
        elif recording.same_as:
            yield plan.Outcome(
                name=recording.name, status="duplicate", detail=f"same as {recording.same_as!r}"
            )


def _require_training_frames(
    planned: plan.Plan, receipts: Sequence[plan.Receipt], outcomes: Iterable[plan.Outcome]
) -> None:
    """Raise InputError, and remove all files, if the training split is empty."""
    if any(receipt.statistics.count for receipt in receipts):
        return
    job = planned.job
    _clear(job.data_dir)
    storage.remove_tree(plan.state_path(job.data_dir))
    outcomes = list(outcomes)
    held_out = Counter(split for outcome in outcomes for split in outcome.segments)
    if held_out:
        found = " and ".join(f"{count} in {split}" for split, count in held_out.items())
        raise errors.InputError(
            "the train split must not be empty; use more recordings, --split=blocks or a smaller "
            f"--validation_fraction and --test_fraction. Received: usable recordings {found}, "
            f"0 in train, from input_dir={job.input_dir!r}"
        )
    statuses = Counter(outcome.status for outcome in outcomes)
    statuses.update(entry.status for entry in planned.left_out)
    found = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    raise errors.InputError(
        "at least one recording must be usable for training; see the lines above. "
        f"Received: {found} in input_dir={job.input_dir!r}"
    )


def _lines(planned: plan.Plan, outcomes: dict[str, plan.Outcome]) -> Iterator[dict[str, Any]]:
    """Yield the manifest's lines: recordings by name, then other files."""
    shards = {r.name: task.shards for task in planned.tasks for r in task.recordings}
    for recording in planned.recordings:
        outcome = outcomes[recording.name]
        yield {
            "name": recording.name,
            "bytes": recording.n_bytes,
            "sha256": recording.sha256 or None,
            "verdict": outcome.status,
            "detail": outcome.detail,
            "seconds": outcome.seconds,
            "frames": outcome.frames,
            "frames_kept": outcome.kept,
            "frames_too_short": outcome.too_short,
            "seconds_padded": outcome.padded_seconds,
            "seconds_left_over": outcome.left_over_seconds,
            "segments": outcome.segments,
            "shards": {split: shards[recording.name][split] for split in outcome.segments},
            "labels": recording.labels,
            **({"transposed": outcome.transposed} if planned.job.transposition.copies else {}),
        }
    for entry in planned.left_out:
        yield {"name": entry.name, "verdict": entry.status, "detail": entry.detail}


def _build_dataset(
    planned: plan.Plan, receipts: Sequence[plan.Receipt], outcomes: Mapping[str, plan.Outcome]
) -> manifest.Dataset:
    """Return the dataset, with the statistics of all tasks merged in the order of their shards."""
    job = planned.job
    statistics = normalisation.Statistics.zero(job.audio.channels)
    for receipt in receipts:
        statistics.merge(receipt.statistics)
    n_recordings = Counter(split for outcome in outcomes.values() for split in outcome.segments)
    usable = [
        values
        for recording in planned.recordings
        if outcomes[recording.name].segments
        for values in labels.of_copies(recording.labels, outcomes[recording.name].transposed)
    ]
    shards = {
        split: tuple(receipt.shards[split] for receipt in receipts if split in receipt.shards)
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
                recordings=n_recordings[name],
                shards=shards[name],
                seconds=sum(sum(s.frames) for s in shards[name]) / job.audio.frames_per_second,
            )
            for name in manifest.SPLITS
        },
        plan=planned.digest,
        fingerprint=manifest.fingerprint(planned.digest, shards, job.audio.fitted),
        transposition=job.transposition,
        labels=labels.build(planned.kinds, usable),
        label_source=job.label_source,
        unused_rows=manifest.UnusedRows(
            len(planned.unused_rows), planned.unused_rows[:_UNUSED_SHOWN]
        ),
    )
