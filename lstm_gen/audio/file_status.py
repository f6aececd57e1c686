"""File statuses: a stable code for each outcome of preparing a file, and its meaning.

Manifests and summaries show the codes; docs/formats.md repeats this table.
"""

from lstm_gen.platform import errors

# fmt: off
STATUSES = {
    "ok": "its frames are in the dataset",
    "duplicate": "the same content as a recording whose name comes earlier, or a link to a folder "
                 "that is searched anyway",
    "not_audio": "its suffix is not of audio",
    "not_a_file": "a pipe, a socket or a device",
    "outside": "a link that leads out of the folder of recordings",
    "missing": "a link to nothing or in a circle, or a file that has gone since it was found",
    "bad_name": "a name with an empty, `.` or `..` part, which could lead out of the folder",
    "denied": "the system refuses to read it: permissions, or a disk error",
    "empty": "no bytes, or no sample at the rate of the dataset",
    "unreadable": "no audio in a format that can be decoded, or damaged",
    "truncated": "ends before its own structure says so: copied in part, or a recorder cut off",
    "bad_channels": "more channels than a recording has (or none)",
    "bad_rate": "a sample rate that no recording has",
    "not_finite": "samples that are not numbers, infinite, or absurdly loud",
    "too_long": "too long to be analysed as one recording; split it",
    "too_short": "fewer than two frames are left after trimming",
    "silent": "digital silence",
    "needs_ffmpeg": "a format that ffmpeg decodes, and ffmpeg is not installed",
    "memory": "decoding it took more memory than a worker may use",
    "crashed": "the worker that decoded it died",
    "failed": "anything else; the detail says what",
}
# fmt: on

# Every other status means that a recording is missing from the dataset.
NOT_BAD = frozenset({"ok", "duplicate", "not_audio"})


class AudioError(errors.InputError):
    """A recording that cannot be used; other recordings are not affected.

    Attributes:
      reason: A code in `STATUSES`.
      expected: What was expected, and what to do.
      received: The values found instead, by name, and `path`.
    """

    def __init__(self, reason: str, expected: str, **received: object) -> None:
        super().__init__(reason, expected)  # pickling passes these to the constructor
        self.reason = reason
        self.expected = expected
        self.received = received

    def __str__(self) -> str:
        return errors.message(self.expected, self.received)

    @property
    def detail(self) -> str:
        """The message without the path, which depends on where a dataset was made."""
        received = {name: value for name, value in self.received.items() if name != "path"}
        return errors.message(self.expected, received)


def require(condition: bool, reason: str, expected: str, **received: object) -> None:
    """Raise AudioError unless the recording is as expected."""
    if not condition:
        raise AudioError(reason, f"expected {expected}", **received)
