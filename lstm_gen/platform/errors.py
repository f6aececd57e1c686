"""Exceptions that are shown to the user in one line, and the checks that raise them."""

import math
from collections.abc import Mapping, Sequence


class InputError(ValueError):
    """A flag, file or directory of the user's that cannot be used as it is.

    Commands print the message as one line and exit with status 1; any other exception is a
    defect of this project and keeps its traceback. The message states the expectation and
    the remedy, then `Received: name=value`.
    """


class StorageError(Exception):
    """A bucket that denies access, or does not respond.

    Shown like an `InputError`. It ends the program whatever was being read or written: it is not
    the status of a single file.
    """


class StoppedError(Exception):
    """A program that stopped cleanly on request.

    Attributes:
      signal_number: The POSIX signal that requested it; the exit status is 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def require(condition: bool, expected: str, /, **received: object) -> None:
    """Raise the one-line error of this project unless `condition` holds.

    NaN and infinity are refused whatever the condition, because JSON cannot hold them.

    Args:
      condition: Condition for no error.
      expected: The expectation, and the remedy; one sentence without a full stop.
      **received: The offending values, by the user's names for them.

    Raises:
      InputError: If `condition` is false, or a value is infinite or not a number.
    """
    finite = all(math.isfinite(value) for value in received.values() if isinstance(value, float))
    if not (condition and finite):
        raise InputError(message(expected, received))


def message(expected: str, received: Mapping[str, object]) -> str:
    """Return the one-line message of an error: the expectation, then the received values."""
    values = ", ".join(f"{name}={value!r}" for name, value in received.items())
    return f"{expected}. Received: {values}" if values else expected


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise the one-line error unless `value` is one of `choices`."""
    require(value in choices, f"{name} must be one of {', '.join(choices)}", **{name: value})
