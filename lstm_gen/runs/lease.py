"""Lease: exclusive ownership of a run directory by one process.

On a disk the lease is a file lock, which ends with the process. In a bucket it is an object that
its owner rewrites every 10 s, each time on condition that nobody else has. An object that does not
change for 60 s by the clock of a waiting process is taken over; no two clocks are compared.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from absl import logging

from lstm_gen.config import fields
from lstm_gen.platform import errors, gcs, storage

FILE = ".lease"
_HEARTBEAT_SECONDS = 10.0
_STALE_SECONDS = 60.0


class Lease:
    """This process's ownership of a run directory; on a disk it lasts until the process ends."""

    def confirm(self) -> None:
        """Check the ownership; called before each write that others must not interleave.

        Raises:
          StorageError: If another process has taken over.
        """


@contextlib.contextmanager
def hold(run_dir: str) -> Iterator[Lease]:
    """Own an existing run directory inside the context.

    Raises:
      InputError: If another process owns it, naming the process.
    """
    path = storage.join(run_dir, FILE)
    with _written(path) if storage.is_remote(path) else _locked(path) as lease:
        yield lease


@contextlib.contextmanager
def _locked(path: str) -> Iterator[Lease]:
    """Hold a file lock; the file stays, the lock ends with the process."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(storage.lock(path, _claim()))
        except BlockingIOError as error:
            raise _held(path, storage.read_bytes(path)) from error
        yield Lease()


@contextlib.contextmanager
def _written(path: str) -> Iterator[Lease]:
    """Hold an object, and rewrite it every few seconds as a heartbeat."""
    claim, ended = _ObjectLease(path), threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT_SECONDS):
            try:
                claim.renew()
            except errors.StorageError as error:
                logging.warning("the lease of the run could not be renewed: %s", error)

    thread = threading.Thread(target=beat, daemon=True, name="lease")
    thread.start()
    try:
        yield claim
    finally:
        ended.set()
        thread.join()
        gcs.delete(path, claim.generation)


class _ObjectLease(Lease):
    """A lease in a bucket: an object, and the generation of it that this process wrote."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, threading.Lock()
        self.generation = _take(path)
        self._renewed = time.monotonic()
        self._is_lost = False

    def renew(self, age_seconds: float = 0.0) -> None:
        """Rewrite the object unless that was done less than `age_seconds` ago."""
        with self._lock:
            now = time.monotonic()
            if self._is_lost or now - self._renewed < age_seconds:
                return
            written = gcs.exchange(self._path, _claim().encode(), self.generation)
            self._is_lost = written is None
            if written is not None:
                self.generation, self._renewed = written, now

    def confirm(self) -> None:
        """Renew an old lease; raise StorageError if another process has taken over."""
        self.renew(2 * _HEARTBEAT_SECONDS)
        if self._is_lost:
            raise errors.StorageError(
                "another process has taken over run_dir, because this one could not renew its "
                "lease for a minute; stop the other one first. Received: "
                f"run_dir={self._path.removesuffix(FILE)!r}"
            )


def _take(path: str) -> int:
    """Write the object, waiting for a stale one if need be; return its generation."""
    deadline, seen = time.monotonic() + _STALE_SECONDS, -1
    while True:
        there = gcs.find(path)
        generation = there.generation if there else 0
        content = gcs.read(path) if there else b""
        if generation == 0 or _is_dead(content) or time.monotonic() >= deadline:
            written = gcs.exchange(path, _claim().encode(), generation)
            if written is not None:
                return written
        elif seen in (-1, generation):
            if seen == -1:
                logging.warning("%s; waiting to see whether it is alive", _owner(content))
            time.sleep(min(_HEARTBEAT_SECONDS / 2, 1.0))
        else:
            raise _held(path, content)
        seen = generation


def _claim() -> str:
    """Return the content of a lease: host, process and a unique id."""
    return fields.to_json(
        {"host": socket.gethostname(), "process": os.getpid(), "claim": uuid.uuid4().hex}
    )


def _is_dead(content: bytes) -> bool:
    """Whether the owner was a process of this machine that has ended."""
    owner = _parse(content)
    process = owner.get("process")
    if owner.get("host") != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


def _held(path: str, content: bytes) -> errors.InputError:
    return errors.InputError(
        f"another train_model.py is running in this run_dir ({_owner(content)}); wait for it, stop "
        f"it, or choose another --run_dir. Received: run_dir={path.removesuffix(FILE)!r}"
    )


def _owner(content: bytes) -> str:
    owner = _parse(content)
    return f"process {owner.get('process', 'unknown')} on {owner.get('host', 'an unknown machine')}"


def _parse(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
