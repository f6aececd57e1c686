"""The one exception that means: what the user gave cannot be used."""


class InputError(ValueError):
    """A flag, file or directory from the user cannot be used as it is.

    Commands print the message as one line and exit with status 1; every other
    exception is a defect of ours and keeps its traceback. The message says what was
    expected, then `Received: name=value`, then what to do.
    """
