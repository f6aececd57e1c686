"""Why a program cannot run on a TPU, in one line each."""

import re

_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
_SIZE = r"([\d.]+)([KMGT]?)"
_TOO_LARGE = (
    rf"Used {_SIZE} of {_SIZE} hbm",
    rf"temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)",
)


class CompileError(Exception):
    """A program cannot run on a TPU; the message is one line and says why."""


class OutOfMemoryError(CompileError):
    """A program would run, but does not fit."""


def of_tensorflow(message: str) -> CompileError:
    """Return what TensorFlow means when it cannot lower a program."""
    unsupported = re.search(r"(\w+) \(No registered", message)
    if unsupported:
        return CompileError(f"XLA has no {unsupported[1]}: that operation runs on a host only")
    return CompileError(f"XLA cannot lower it: {_first_line(message)}")


def of_compiler(message: str) -> CompileError:
    """Return what the TPU's compiler means."""
    for pattern in _TOO_LARGE:
        found = re.search(pattern, message)
        if found:
            needed, usable = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
            return OutOfMemoryError(
                f"it needs at least {needed / 1e9:.1f} GB of a device's memory and may use "
                f"{usable / 1e9:.1f} GB; lower --batch_size, or take more or larger chips"
            )
    return CompileError(f"the TPU's compiler refuses it: {_first_line(message)}")


def _first_line(message: str) -> str:
    """Return what is said before stacks and graphs are shown."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0] if lines else "it does not say why"
