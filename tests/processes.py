"""Python programs in processes of their own, forked from one that has imported TensorFlow."""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import forks

ROOT = pathlib.Path(__file__).parents[1]
EARLY = {
    "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "10000",
    "GCS_RETRY_CONFIG_MAX_DELAY_TIME_US": "100000",
}
"""Variables that TensorFlow reads when it is imported, for all programs that are forked."""


class Fork:
    """A program forked by `forks`, in a process group of its own; methods as of `subprocess.Popen`.

    Args:
      *arguments: As after `python`.
      cwd: Its working directory.
      env: Variables beside those of this process.
      stdin: Text of its standard input.
      stdout: File for its output; a temporary one by default, which `communicate` reads.
      stderr: Likewise.
    """

    def __init__(
        self,
        *arguments: str | os.PathLike[str],
        cwd: str | os.PathLike[str] = ROOT,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
    ) -> None:
        self.args = [os.fspath(argument) for argument in arguments]
        self.returncode: int | None = None
        self._streams = [stream or _temporary() for stream in (stdout, stderr)]
        order = forks.Order(self.args, os.fspath(cwd), {**os.environ, **(env or {})})
        self._answers, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as given, theirs:
            given.write(stdin.encode())
            given.seek(0)
            files = [theirs, given, *self._streams]
            socket.send_fds(_server(), [b"."], [file.fileno() for file in files])
        self._answers.sendall((json.dumps(order) + "\n").encode())
        self.pid = self._receive(None)

    def poll(self) -> int | None:
        """Return its exit status if it has ended, negative for a signal."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, up to so many seconds, and return its exit status."""
        if self.returncode is None:
            self.returncode = self._receive(timeout)
            self._answers.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return all that it wrote to its output and its errors."""
        self.wait(timeout)
        texts: list[str] = []
        for stream in self._streams:
            with stream:
                stream.seek(0)
                texts.append(stream.read().decode())
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _receive(self, timeout: float | None) -> int:
        ready, _, _ = select.select([self._answers], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        answer = self._answers.recv(forks.NUMBER.size)
        assert answer, "the fork server has died"
        (number,) = forks.NUMBER.unpack(answer)
        return int(number)


def run_python(
    *arguments: str | os.PathLike[str],
    cwd: str | os.PathLike[str] = ROOT,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a forked program, and return what it printed and how it ended."""
    process = Fork(*arguments, cwd=cwd, env=env, stdin=stdin)
    try:
        output, complaints = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), output, complaints)


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile()


@functools.cache
def _server() -> socket.socket:
    """Return the socket of the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, forks.__file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"} | EARLY,
            start_new_session=True,
        )

    def stop() -> None:
        ours.close()
        server.wait()

    atexit.register(stop)
    return ours
