"""Worker processes that each take the next task; one that dies is noticed, not waited for.

Every worker has a pipe of its own, so there is no shared lock that a dying one could hold:
its end closes with it. Processes are spawned, with one thread each for linear algebra: the
bytes of a shard then depend neither on how many workers there are nor on the machine's cores.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

from lstm_gen import errors
from lstm_gen.data import jobs, plan

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def count_workers(wanted: int, n_tasks: int) -> int:
    """Return how many workers are useful; 0 wanted means one per core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(wanted or cores or 1, n_tasks)


def run(
    job: jobs.Job,
    tasks: Sequence[plan.Task],
    workers: int,
    report: Callable[[jobs.Outcome], None],
) -> list[jobs.Written]:
    """Run every task in worker processes, the largest first.

    Args:
      job: What all tasks share.
      tasks: What to do.
      workers: How many processes; 0 for one per core.
      report: Called with each recording's outcome as it comes, in no fixed order.

    Returns:
      What each task left, in the order of `tasks`.

    Raises:
      InputError: If a worker dies, for instance killed for want of memory.
    """
    waiting = sorted(range(len(tasks)), key=lambda index: tasks[index].n_bytes)
    written: dict[int, jobs.Written] = {}
    with _start(count_workers(workers, len(tasks)), job) as connections:
        busy: dict[Connection, int] = {}
        for connection in connections:
            busy[connection] = waiting.pop()
            _send(connection, tasks[busy[connection]])
        while busy:
            for ready in multiprocessing.connection.wait(list(busy)):
                connection = next(c for c in busy if c is ready)
                message = _receive(connection, tasks[busy[connection]])
                if isinstance(message, jobs.Outcome):
                    report(message)
                    continue
                written[busy.pop(connection)] = message
                if waiting:
                    busy[connection] = waiting.pop()
                    _send(connection, tasks[busy[connection]])
    return [written[index] for index in range(len(tasks))]


def _send(connection: Connection, task: plan.Task) -> None:
    """Give a worker its next task; that it has died is found when it is asked for the result."""
    with contextlib.suppress(ConnectionError):
        connection.send(task)


def _receive(connection: Connection, task: plan.Task) -> jobs.Outcome | jobs.Written:
    """Return a worker's next message, or raise what ended its work."""
    try:
        message = connection.recv()
    except (EOFError, ConnectionError) as error:
        raise errors.InputError(
            "a worker process died, perhaps killed for want of memory; try fewer --workers. "
            f"Received: nothing more of {', '.join(task.shards.values())}"
        ) from error
    if isinstance(message, Exception):
        raise message
    return message


@contextlib.contextmanager
def _start(n_workers: int, job: jobs.Job) -> Iterator[list[Connection]]:
    """Yield a connection to each of `n_workers` new processes; end them all at the end."""
    context = multiprocessing.get_context("spawn")
    processes, connections = [], []
    try:
        with _one_thread_each():
            for _ in range(n_workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, job), daemon=True)
                process.start()
                theirs.close()  # so that a worker's death closes the pipe
                processes.append(process)
                connections.append(ours)
        yield connections
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes started meanwhile use one thread each for linear algebra."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, job: jobs.Job) -> None:
    """Do the tasks that come through the pipe until it closes."""
    from lstm_gen.data import writer  # the parent, which imports this module too, needs none of it

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = connection.recv()
            try:
                connection.send(writer.write_task(job, task, connection.send))
            except ConnectionError:
                raise
            except (OSError, errors.InputError) as error:  # a full disk ends the whole run
                connection.send(error)
