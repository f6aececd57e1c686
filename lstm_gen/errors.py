"""The exceptions that mean: what the user gave, or where it lives, cannot be used."""


class InputError(ValueError):
    """A flag, file or directory from the user cannot be used as it is.

    Commands print the message as one line and exit with status 1; every other
    exception is a defect of ours and keeps its traceback. The message says what was
    expected, then `Received: name=value`, then what to do.
    """


class StorageError(InputError):
    """A bucket refuses or does not answer.

    It ends the program, and is never the fault of the one recording that was being read.
    """
