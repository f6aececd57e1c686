"""The exceptions that mean: what the user gave, or where it lives, cannot be used."""

import math
from collections.abc import Sequence


class InputError(ValueError):
    """A flag, file or directory from the user cannot be used as it is.

    Commands print the message as one line and exit with status 1; any other
    exception is a defect of ours and keeps its traceback. The message says what was
    expected, then `Received: name=value`, then what to do.
    """


class StorageError(Exception):
    """A bucket refuses, or does not answer.

    Shown as an `InputError` is. It ends the program whatever was being read or written: it
    is nobody's verdict on a file.
    """


class StoppedError(Exception):
    """A program was asked to stop, and has done so in good order.

    Attributes:
      signal_number: Of the signal that asked; the exit status is 128 more.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def require(condition: bool, expected: str, /, **received: object) -> None:
    """Raise the one-line error of this project unless `condition` holds.

    An infinite number never fits, whatever the condition: JSON could not hold it.

    Args:
      condition: What must be true.
      expected: What was expected, and what to do; one sentence without a full stop.
      **received: The offending values by the name the user knows them by.

    Raises:
      InputError: If `condition` is false, or a value is infinite or not a number.
    """
    finite = all(math.isfinite(value) for value in received.values() if isinstance(value, float))
    if not (condition and finite):
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise InputError(f"{expected}. Received: {values}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise the one-line error unless `value` is one of `choices`."""
    require(value in choices, f"{name} must be one of {', '.join(choices)}", **{name: value})
