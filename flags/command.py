"""What every command does around its one library call: help, parsing, one-line errors."""

import contextlib
import functools
import inspect
import os
import pathlib
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import NoReturn

from absl import flags as absl_flags
from absl import logging
from absl.testing import flagsaver

from lstm_gen.platform import errors

# Read when TensorFlow is imported, which commands do after this module. At its default it logs
# the absence of a GPU as an error, among other things that no user can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_HELP = ("--help", "-help", "-h", "--helpshort", "-helpshort", "--helpfull")


def run(main: Callable[[], int | None], *modules: ModuleType) -> NoReturn:
    """Run a command: parse its flags, call it, and turn bad input into one line.

    Args:
      main: The command; what it returns is the exit status, None meaning 0.
      *modules: The flag modules of this command, in the order in which `--help` shows them.
    """
    raise SystemExit(_run(main, modules, sys.argv))


@contextlib.contextmanager
def preset(path: str) -> Iterator[None]:
    """Let a file's flags hold for a while, under those of the command line; "" for no file."""
    files = [f"--flagfile={path}"] if path else []
    with flagsaver.flagsaver():
        absl_flags.FLAGS([sys.argv[0], *files, *sys.argv[1:]])
        yield


def flag_files(unless: str = "") -> str:
    """Return the flag files on the command line with a space behind each, for the next command.

    None are returned where the flag `unless` stands beside them: they were made for another.
    """
    names = [
        argument.partition("=")[2] if "=" in argument else following
        for argument, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True)
        if argument.partition("=")[0] in ("--flagfile", "-flagfile")
    ]
    if unless and any(re.match(f"--?{unless}(=|$)", argument) for argument in sys.argv):
        names = []
    return "".join(f"--flagfile={shlex.quote(name)} " for name in names)


def run_with_rest(main: Callable[[list[str]], int | None], *modules: ModuleType) -> NoReturn:
    """Run a command as `run` does that takes the arguments after `--` for another one."""
    own, rest = sys.argv, list[str]()
    if "--" in sys.argv:
        place = sys.argv.index("--")
        own, rest = sys.argv[:place], sys.argv[place + 1 :]
    bound = functools.update_wrapper(functools.partial(main, rest), main)
    raise SystemExit(_run(bound, modules, own))


def _run(main: Callable[[], int | None], modules: tuple[ModuleType, ...], argv: list[str]) -> int:
    """Return the exit status: 0 done, 1 bad input or nothing useful done, 128 + N for signal N."""
    try:
        _settle_in()
        if any(argument in _HELP for argument in argv[1:]):
            print(help_text(main, modules), flush=True)
            return 0
        stray = absl_flags.FLAGS(argv)[1:]
        if stray:
            raise errors.InputError(
                "every argument must be a flag; booleans are written --flag, --noflag or "
                f"--flag=false. Received: {' '.join(stray)!r}"
            )
        logging.use_absl_handler()
        return main() or 0
    except (absl_flags.Error, errors.InputError, errors.StorageError) as error:
        return _say(" ".join(str(error).removeprefix("ERROR:: ").split()))
    except errors.StoppedError as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal_number
    except BrokenPipeError:  # whoever read our output has gone, as in `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None and not error.strerror:
            raise
        return _say(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    except KeyboardInterrupt as interrupt:
        number = signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)
        _say("interrupted" if number == signal.SIGINT else f"ended by {number.name}")
        return 128 + number


def _settle_in() -> None:
    """Have streams to write to, and have the signals that end a program end it as Ctrl-C does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us, as by 2>&-
            # Open for as long as the program runs, so nothing closes it.
            setattr(sys, name, pathlib.Path(os.devnull).open("w"))  # noqa: SIM115
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # not where nohup has it ignored
            signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """End the command as Ctrl-C does: what is half done is undone, and no worker is left."""
    raise KeyboardInterrupt(number)


def help_text(main: Callable[[], int | None], modules: tuple[ModuleType, ...]) -> str:
    """Return a command's docstring and its flags, grouped by concern."""
    own = sys.modules[main.__module__]
    parts = [inspect.getdoc(own) or ""]
    for module in modules:
        title = "Flags:" if module is own else (inspect.getdoc(module) or "").splitlines()[0]
        lines = absl_flags.FLAGS.module_help(module).splitlines()[2:]  # less the module's name
        parts.append("\n".join([title, *lines]))
    parts.append("Ready-made settings: --flagfile=flags/presets/NAME.flags; flags after it win.")
    return "\n\n".join(parts)


def _say(message: str) -> int:
    """Print one error line; return the exit status of bad input."""
    print(f"error: {message}", file=sys.stderr)
    return 1
