"""The exceptions that mean: what the user gave, or where it lives, cannot be used."""


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
