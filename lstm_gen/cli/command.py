"""Execution of a command: parsing, help, one-line errors, exit status, signals."""

import importlib
import inspect
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NamedTuple, NoReturn

from absl import flags, logging

from lstm_gen.cli import settings
from lstm_gen.config import fields
from lstm_gen.platform import errors

Main = Callable[[settings.CommandLine], int | None]

_ENDING = (signal.SIGTERM, signal.SIGHUP)
_HELP = ("--help", "-help", "-h", "--helpshort", "-helpshort", "--helpfull")


class Command(NamedTuple):
    """A subcommand of `lstm_gen`.

    Attributes:
      module: Module with `main`, `run` and `SETTINGS`.
      script: Name of its script and console command, where it has one of its own.
    """

    module: str
    script: str = ""


# By name, not imported: each command starts with as few imports as it needs.
COMMANDS = {
    "prepare": Command("lstm_gen.cli.prepare", "create_tfrecord"),
    "train": Command("lstm_gen.cli.train", "train_model"),
    "generate": Command("lstm_gen.cli.generate", "generate_songs"),
    "evaluate": Command("lstm_gen.cli.evaluate"),
    "check": Command("lstm_gen.cli.check"),
    "export": Command("lstm_gen.cli.export"),
}


def run(main: Main, kinds: Sequence[type[fields.Settings]], rest: bool = False) -> NoReturn:
    """Run a command with the arguments of this process, and exit.

    Args:
      main: The command; its result is the exit status, None meaning 0. The docstring of its
        module is the beginning of the help.
      kinds: The settings classes that its flags are made from.
      rest: Accept arguments after `--`, for another command.
    """
    raise SystemExit(execute(main, kinds, sys.argv, rest))


def run_subcommand() -> NoReturn:
    """Run `lstm_gen NAME FLAGS`, and exit."""
    name, arguments = (sys.argv[1] if sys.argv[1:] else ""), sys.argv[2:]
    if name in COMMANDS:
        module = importlib.import_module(COMMANDS[name].module)
        raise SystemExit(execute(module.main, module.SETTINGS, [sys.argv[0], *arguments]))
    if not name or name in _HELP:
        print(_overview())
        raise SystemExit(0 if name else 1)
    raise SystemExit(
        _fail(f"the command must be one of {', '.join(COMMANDS)}. Received: command={name!r}")
    )


def execute(
    main: Main, kinds: Sequence[type[fields.Settings]], argv: Sequence[str], rest: bool = False
) -> int:
    """Return the exit status: 0 done, 1 bad input or nothing useful done, 128 + N for signal N."""
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    try:
        _prepare_process()
        line = settings.CommandLine(kinds, known_flags)
        if any(argument in _HELP for argument in argv[1:]):
            print(f"{_usage(main)}\n\n{line.help()}", flush=True)
            return 0
        line.parse(argv, rest)
        return main(line) or 0
    except (flags.Error, errors.InputError, errors.StorageError) as error:
        return _fail(" ".join(str(error).removeprefix("ERROR:: ").split()))
    except errors.StoppedError as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal_number
    except BrokenPipeError:  # the reader of our output has ended, as in `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None and not error.strerror:
            raise
        return _fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    except KeyboardInterrupt as interrupt:
        number = signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)
        _fail("interrupted" if number == signal.SIGINT else f"ended by {number.name}")
        return 128 + number
    finally:  # another command may follow in this process
        for number, handler in handlers.items():
            signal.signal(number, handler)


def known_flags() -> frozenset[str]:
    """Return the flags of every command."""
    modules = [importlib.import_module(one.module) for one in COMMANDS.values()]
    return settings.flag_names([kind for module in modules for kind in module.SETTINGS])


def program(name: str) -> str:
    """Return the start of a command line, in the style of the one that started this process."""
    started, script = pathlib.Path(sys.argv[0]).name, COMMANDS[name].script
    if started == "lstm_gen":
        return f"lstm_gen {name}"
    if started == "__main__.py" or (started.endswith(".py") and not script):
        return f"python -m lstm_gen {name}"
    if started.endswith(".py"):
        return f"python {script}.py"
    return script or f"lstm_gen {name}"


def _prepare_process() -> None:
    """Replace closed streams, handle SIGTERM and SIGHUP like Ctrl-C, and log through absl."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent, as by 2>&-
            nowhere = pathlib.Path(os.devnull).open("w")  # noqa: SIM115  # open until the end
            setattr(sys, name, nowhere)
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:  # not where nohup has it ignored
            signal.signal(number, _interrupt)
    flags.FLAGS.mark_as_parsed()  # or absl warns of logging before that
    logging.use_absl_handler()


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """End the command as Ctrl-C does: unfinished work is undone, and no worker is left."""
    raise KeyboardInterrupt(number)


def _usage(main: Main) -> str:
    """Return the docstring of a command's module, with commands as they are started here."""
    text = inspect.getdoc(sys.modules[main.__module__]) or ""
    for name, command in COMMANDS.items():
        written = f"python {command.script}.py" if command.script else f"lstm_gen {name}"
        text = text.replace(written, program(name))
    return text


def _overview() -> str:
    """Return the list of subcommands."""
    lines = ["Recordings to a dataset, to a trained model, to new songs.", ""]
    for name, command in COMMANDS.items():
        doc = inspect.getdoc(importlib.import_module(command.module)) or ""
        lines.append(f"  lstm_gen {name:10}{doc.splitlines()[0]}")
    return "\n".join([*lines, "", "Flags of each: lstm_gen NAME --help"])


def _fail(message: str) -> int:
    """Print one error line; return the exit status of bad input."""
    print(f"error: {message}", file=sys.stderr)
    return 1
