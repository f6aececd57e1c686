"""Worker processes that each take the next task; one that dies costs at most one recording.

Every worker has a pipe of its own, so there is no shared lock that a dying one could hold:
its end closes with it. Processes are spawned: a fork would inherit the parent's threads' locks.

A worker that dies, or that takes far too long over one recording, is replaced, and its task
done again; a recording that ends two of them is left out. A death between recordings is
nobody's fault, and a task may have a few.
"""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from lstm_gen.dataset.prepare import plan, receipts, worker_limits
from lstm_gen.platform import errors

_DEATHS_PER_RECORDING = 2
_DEATHS_PER_TASK = 3
# Far more than the slowest decoder on the slowest disk needs.
_PATIENCE_SECONDS = 120.0
_PATIENCE_SECONDS_PER_MB = 20.0
_LOOK_SECONDS = 1.0
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def count_workers(wanted: int, n_tasks: int) -> int:
    """Return how many workers are useful; 0 wanted means one per core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(wanted or cores or 1, n_tasks)


def run(
    job: receipts.Job,
    tasks: Sequence[plan.Task],
    n_workers: int,
    report: Callable[[receipts.Outcome], None],
) -> None:
    """Do every task in worker processes, the largest first; each leaves its receipt.

    Args:
      job: What all tasks share.
      tasks: What to do.
      n_workers: How many processes; 0 for one per core.
      report: Called with each recording's outcome as it comes, in no fixed order.

    Raises:
      InputError: If workers keep dying, for instance killed for want of memory.
    """
    waiting = sorted((_Attempt(task) for task in tasks), key=lambda attempt: attempt.task.n_bytes)
    workers: list[_Worker] = []
    scratch = tempfile.TemporaryDirectory(prefix="lstm_gen-")  # what dead workers leave goes too
    try:
        for _ in range(count_workers(n_workers, len(tasks))):
            workers.append(_Worker(job, scratch.name))
            workers[-1].give(waiting.pop())
        while busy := [worker for worker in workers if worker.attempt]:
            ready = multiprocessing.connection.wait([w.connection for w in busy], _LOOK_SECONDS)
            for worker in busy:
                if worker.connection in ready:
                    _listen(worker, report)
                elif worker.is_stuck():
                    worker.process.kill()
                if worker.dead:
                    _forgive(worker)
                    worker.process.join()
                    workers[workers.index(worker)] = replacement = _Worker(job, scratch.name)
                    replacement.give(worker.attempt)
                elif not worker.attempt and waiting:
                    worker.give(waiting.pop())
    finally:
        for worker in workers:
            worker.process.kill()  # what it has half done is not named yet, and is deleted
        for worker in workers:
            worker.process.join()
        scratch.cleanup()


@dataclasses.dataclass(kw_only=False)
class _Attempt:
    """A task, and what has been learnt from the deaths of those who tried it."""

    task: plan.Task
    crashed: frozenset[str] = frozenset()
    deaths: Counter[str] = dataclasses.field(default_factory=Counter)
    reported: set[str] = dataclasses.field(default_factory=set)


class _Worker:
    """A process and the parent's end of its pipe.

    Attributes:
      attempt: What it is doing, or None.
      recording: Name of the recording that it has in hand, or empty.
      dead: Whether its end of the pipe has closed.
    """

    def __init__(self, job: receipts.Job, scratch: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, job, scratch), daemon=True
        )
        with _undisturbed():
            self.process.start()
        theirs.close()  # so that a worker's death closes the pipe
        self.attempt: _Attempt | None = None
        self.recording = ""
        self.dead = False
        self._started = time.monotonic()

    def give(self, attempt: _Attempt | None) -> None:
        """Let it do a task; that it has died is found when it is listened to."""
        self.attempt = attempt
        if attempt:
            with contextlib.suppress(ConnectionError):
                self.connection.send((attempt.task, attempt.crashed))

    def start(self, recording: str) -> None:
        """Note that it begins with a recording."""
        self.recording, self._started = recording, time.monotonic()

    def is_stuck(self) -> bool:
        """Whether it has had the same recording for longer than any could take."""
        sizes = {r.name: r.n_bytes for r in self.attempt.task.recordings} if self.attempt else {}
        patience = _PATIENCE_SECONDS + _PATIENCE_SECONDS_PER_MB * sizes.get(self.recording, 0) / 1e6
        return bool(self.recording) and time.monotonic() - self._started > patience


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off what would end this process while another starts: half started it would be lost.

    That one inherits this. It never hears Ctrl-C, which reaches it too: its parent ends it.
    """
    resource_tracker.ensure_running()  # which would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(worker: _Worker, report: Callable[[receipts.Outcome], None]) -> None:
    """Take a worker's next message, or notice its death; raise what ended its work."""
    try:
        message = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.dead = True
        return
    if isinstance(message, Exception):
        raise message
    if isinstance(message, str):
        worker.start(message)
    elif isinstance(message, receipts.Outcome):
        worker.recording = ""
        if worker.attempt and message.name not in worker.attempt.reported:
            worker.attempt.reported.add(message.name)
            report(message)
    else:
        worker.give(None)


def _forgive(worker: _Worker) -> None:
    """Let a dead worker's task be tried again, without a recording that ended two workers.

    Raises:
      InputError: If the task has had deaths enough that no recording explains.
    """
    attempt = worker.attempt
    if attempt is None:
        return
    attempt.deaths[worker.recording] += 1
    if worker.recording and attempt.deaths[worker.recording] >= _DEATHS_PER_RECORDING:
        attempt.crashed |= {worker.recording}
    if attempt.deaths[""] >= _DEATHS_PER_TASK:
        raise errors.InputError(
            "worker processes keep dying, perhaps killed for want of memory; try fewer --workers. "
            f"Received: {attempt.deaths['']} deaths over {', '.join(attempt.task.shards.values())}"
        )


def _serve(connection: Connection, job: receipts.Job, scratch: str) -> None:
    """Do the tasks that come through the pipe until it closes."""
    from lstm_gen.dataset.prepare import (
        shards,  # the parent, which imports this module too, needs none of it
    )

    worker_limits.limit_process()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING - {signal.SIGINT})
    tempfile.tempdir = scratch
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task, crashed = connection.recv()
            try:
                shards.write_task(job, task, crashed, connection.send, connection.send)
                connection.send(None)
            except ConnectionError:
                raise
            except (OSError, errors.InputError, errors.StorageError) as error:
                # A full disk, or a bucket that refuses, ends the whole run.
                connection.send(error)
