"""Execution of tasks: worker processes on this machine, or an Apache Beam pipeline.

Every worker has a pipe of its own, so there is no shared lock that a dying one could hold:
its end closes with it. Processes are spawned: a fork would inherit the parent's threads' locks.

A worker that dies, or exceeds the time limit of a recording, is replaced and its task repeated; a
recording that ends two workers is left out. Deaths between recordings are counted per task, and a
task may have a few. Each worker's memory is limited, so a decoder out of control gets an error
instead of exhausting the machine.

A task reads and writes by itself and leaves its receipt, so Beam only distributes the tasks: no
audio and no frames pass through it, and the bytes are those of a local run. Each task runs in a
worker process there too. Apache Beam is an optional dependency (`pip install 'lstm_gen[beam]'`).
"""

import contextlib
import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from lstm_gen.dataset.prepare import plan, shards
from lstm_gen.platform import errors

Work = Callable[
    [plan.Job, plan.Task, Collection[str], Callable[[str], None], Callable[[plan.Outcome], None]],
    None,
]

_DEATHS_PER_RECORDING = 2
_DEATHS_PER_TASK = 3
# Far more than the slowest decoder on the slowest disk needs.
_TIMEOUT_SECONDS = 120.0
_TIMEOUT_SECONDS_PER_MB = 20.0
_POLL_SECONDS = 1.0
_MAX_DATA_BYTES = 5 << 28  # with the libraries that a worker maps, 1.5 GB resident
_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_HIDING = threading.Lock()


def count_workers(wanted: int, n_tasks: int) -> int:
    """Return the number of workers: at most one per task; 0 wanted means one per core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(wanted or cores or 1, n_tasks)


def run(
    job: plan.Job,
    tasks: Sequence[plan.Task],
    n_workers: int,
    report: Callable[[plan.Outcome], None],
    work: Work = shards.write_task,
) -> None:
    """Do every task in worker processes, the largest first; each leaves its receipt.

    Args:
      job: Settings, split "auto" resolved.
      tasks: Tasks to do.
      n_workers: Number of processes; 0 for one per core.
      report: Called with each recording's outcome, in no fixed order.
      work: Function that does a task, as `shards.write_task` does.

    Raises:
      InputError: If workers keep dying, for instance killed for lack of memory.
    """
    waiting = sorted((_Attempt(task) for task in tasks), key=lambda attempt: attempt.task.n_bytes)
    workers: list[_Worker] = []
    scratch = tempfile.TemporaryDirectory(prefix="lstm_gen-")  # also of workers that die
    try:
        for _ in range(count_workers(n_workers, len(tasks))):
            workers.append(_Worker(job, scratch.name, work))
            workers[-1].give(waiting.pop())
        while busy := [worker for worker in workers if worker.attempt]:
            ready = multiprocessing.connection.wait([w.connection for w in busy], _POLL_SECONDS)
            for worker in busy:
                if worker.connection in ready:
                    _receive(worker, report)
                elif worker.is_stuck():
                    worker.process.kill()
                if worker.dead:
                    _count_death(worker)
                    worker.process.join()
                    workers[workers.index(worker)] = replacement = _Worker(job, scratch.name, work)
                    replacement.give(worker.attempt)
                elif not worker.attempt and waiting:
                    worker.give(waiting.pop())
    finally:
        for worker in workers:
            worker.process.kill()  # its unfinished shards have temporary names, and are deleted
        for worker in workers:
            worker.process.join()
        scratch.cleanup()


def run_beam(
    job: plan.Job, tasks: Sequence[plan.Task], runner: str, options: Sequence[str]
) -> None:
    """Do every task in an Apache Beam pipeline; each leaves its receipt.

    Args:
      job: Settings; all workers must be able to reach its directories.
      tasks: Tasks to do.
      runner: Name of a Beam runner: "DirectRunner", "DataflowRunner" ...
      options: Beam's own flags, such as "--project=my-project".

    Raises:
      InputError: If Beam is not installed, or the runner or an option is unknown.
    """
    try:
        import apache_beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise errors.InputError(
            "a runner other than local needs Apache Beam: pip install 'lstm_gen[beam]'. "
            f"Received: runner={runner!r}"
        ) from error
    try:
        pipeline = apache_beam.Pipeline(
            runner=runner, options=pipeline_options.PipelineOptions(list(options))
        )
    except (ValueError, SystemExit) as error:  # Beam's parser ends the program
        raise errors.InputError(
            f"Apache Beam must know the runner and its options ({error}). "
            f"Received: runner={runner!r}, options={list(options)!r}"
        ) from error
    with pipeline:
        _ = (
            pipeline
            | "Tasks" >> apache_beam.Create(list(tasks))
            | "SpreadOut" >> apache_beam.Reshuffle()
            | "Write" >> apache_beam.Map(_run_in_beam, job)
        )


def limit_memory() -> None:
    """Limit this process's memory, so that a decoder gets an error and no core is dumped.

    The limit is on data (heap and private mappings), not on address space, which libraries
    reserve freely. Without effect on systems that have no such limit.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limits = ((resource.RLIMIT_DATA, _MAX_DATA_BYTES), (resource.RLIMIT_CORE, 0))
        for kind, wanted in limits:
            _, hard = resource.getrlimit(kind)
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (limit, hard))


@dataclasses.dataclass(kw_only=False)
class _Attempt:
    """A task, and the deaths of the workers that tried it.

    Attributes:
      task: The task.
      crashed: Recordings to skip.
      deaths: Recording to number of deaths; "" for deaths between recordings.
      reported: Recordings whose outcome was reported.
    """

    task: plan.Task
    crashed: frozenset[str] = frozenset()
    deaths: Counter[str] = dataclasses.field(default_factory=Counter)
    reported: set[str] = dataclasses.field(default_factory=set)


class _Worker:
    """A process and the parent's end of its pipe.

    Attributes:
      attempt: Current task, or None.
      recording: Name of the current recording, or empty.
      dead: Whether its end of the pipe has closed.
    """

    def __init__(self, job: plan.Job, scratch: str, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, job, scratch, work), daemon=True
        )
        with _blocked_signals(), _hidden_main_module():
            self.process.start()
        theirs.close()  # so that a worker's death closes the pipe
        self.attempt: _Attempt | None = None
        self.recording = ""
        self.dead = False
        self._started = time.monotonic()

    def give(self, attempt: _Attempt | None) -> None:
        """Send it a task; if it has died, the next `_receive` detects it."""
        self.attempt = attempt
        if attempt:
            with contextlib.suppress(ConnectionError):
                self.connection.send((attempt.task, attempt.crashed))

    def start(self, recording: str) -> None:
        """Note that it starts a recording."""
        self.recording, self._started = recording, time.monotonic()

    def is_stuck(self) -> bool:
        """Whether the current recording has exceeded its time limit."""
        sizes = {r.name: r.n_bytes for r in self.attempt.task.recordings} if self.attempt else {}
        limit = _TIMEOUT_SECONDS + _TIMEOUT_SECONDS_PER_MB * sizes.get(self.recording, 0) / 1e6
        return bool(self.recording) and time.monotonic() - self._started > limit


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block signals while a process starts: if the parent ended then, it would be orphaned.

    The new process inherits the mask. It keeps ignoring Ctrl-C: its parent ends it.
    """
    resource_tracker.ensure_running()  # it would unblock signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _hidden_main_module() -> Iterator[None]:
    """Hide the main module while a process starts: the new process would import it.

    Workers do not need it, and a script without a main guard would prepare in every worker again.
    """
    with _HIDING:  # Beam's threads start workers too, and would restore each other's stand-in
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _receive(worker: _Worker, report: Callable[[plan.Outcome], None]) -> None:
    """Handle a worker's next message, or its death; raise the exception that it sends."""
    try:
        message = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.dead = True
        return
    if isinstance(message, Exception):
        raise message
    if isinstance(message, str):
        worker.start(message)
    elif isinstance(message, plan.Outcome):
        worker.recording = ""
        if worker.attempt and message.name not in worker.attempt.reported:
            worker.attempt.reported.add(message.name)
            report(message)
    else:
        worker.give(None)


def _count_death(worker: _Worker) -> None:
    """Count a worker's death; a recording that ended two workers is skipped from now on.

    Raises:
      InputError: If too many workers died between the recordings of the task.
    """
    attempt = worker.attempt
    if attempt is None:
        return
    attempt.deaths[worker.recording] += 1
    if worker.recording and attempt.deaths[worker.recording] >= _DEATHS_PER_RECORDING:
        attempt.crashed |= {worker.recording}
    if attempt.deaths[""] >= _DEATHS_PER_TASK:
        raise errors.InputError(
            "worker processes keep dying, perhaps killed for lack of memory; try fewer --workers. "
            f"Received: {attempt.deaths['']} deaths over {', '.join(attempt.task.shards.values())}"
        )


def _run_in_beam(task: plan.Task, job: plan.Job) -> str:
    """Do one task on a Beam worker; return its name."""
    run(job, [task], n_workers=1, report=lambda _: None)
    return task.name


def _serve(connection: Connection, job: plan.Job, scratch: str, work: Work) -> None:
    """Do the tasks that come through the pipe until it closes."""
    limit_memory()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS - {signal.SIGINT})
    tempfile.tempdir = scratch
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task, crashed = connection.recv()
            try:
                work(job, task, crashed, connection.send, connection.send)
                connection.send(None)
            except ConnectionError:
                raise
            except (OSError, errors.InputError, errors.StorageError) as error:
                # A full disk, or a bucket that refuses access, ends the whole run.
                connection.send(error)
