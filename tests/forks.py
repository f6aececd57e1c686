"""Fork server: a Python that has imported TensorFlow, and forks a child for each program sent.

Nearly all of TensorFlow's start is its import, 4 s of a processor. Nothing here starts a thread, so
a child is as good as a process of its own: it imports what is ours, reads its own environment and
arguments, has its own streams and process group, and ends as Python ends. Only the variables that
TensorFlow reads when it is imported are this process's.

For each program a byte arrives on the socket whose number is the first argument, with four file
descriptors: a socket for its `Order` and for the answers, and its standard streams. The answers are
two numbers of `NUMBER`, its process id and its exit status, negative for a signal.
"""

import contextlib
import gc
import json
import os
import pathlib
import runpy
import socket
import struct
import sys
import types
from typing import NamedTuple

NUMBER = struct.Struct("!i")


class Order(NamedTuple):
    """A program.

    Attributes:
      arguments: As after `python`: a script, `-m` and a module, or `-c` and code; then its own.
      folder: Its working directory.
      environment: All of its environment.
    """

    arguments: list[str]
    folder: str
    environment: dict[str, str]


def serve(control: socket.socket) -> Order | None:
    """Fork a child for each program; return the program in a child, None at the end here."""
    while True:
        _, files, _, _ = socket.recv_fds(control, 1, 4)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # watchers that have ended
                pass
        if not files:
            return None
        if os.fork() == 0:
            control.close()
            return _begin(files)
        for file in files:
            os.close(file)


def _begin(files: list[int]) -> Order:
    """Fork once more: watch over the child, or be it and return its program."""
    answers = socket.socket(fileno=files[0])
    with answers.makefile("r", encoding="utf-8") as lines:
        order = Order(*json.loads(lines.readline()))
    child = os.fork()
    if child:
        os.setpgid(child, child)  # here too, or an early signal to the group would find none
        answers.sendall(NUMBER.pack(child))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers.sendall(NUMBER.pack(status))
        os._exit(0)
    os.setpgid(0, 0)
    answers.close()
    for number, file in enumerate(files[1:]):
        os.dup2(file, number)
        os.close(file)
    return order


def run(order: Order, path: list[str]) -> None:
    """Run a program as Python does.

    Args:
      order: The program.
      path: Of modules, without what Python adds for a program.
    """
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    first, *rest = order.arguments
    added = [part for part in order.environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    place = {"-c": "", "-m": str(pathlib.Path.cwd())}.get(
        first, str(pathlib.Path(first).absolute().parent)
    )
    sys.path[:] = [place, *added, *path]
    sys.argv[:] = order.arguments
    if first == "-m":
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    own_path = sys.path[1:]
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    gc.freeze()  # or each child's last collection, at its end, would take a second
    program = serve(socket.socket(fileno=int(sys.argv[1])))
    if program:
        run(program, own_path)
