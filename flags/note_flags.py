"""Evaluation of notes: how many, and the recordings that they are held against."""

from absl import flags

from flags import storage_flags
from lstm_gen.platform import errors

_RECORDINGS = flags.DEFINE_string(
    "recordings", "", "The recordings that the dataset was made of, as create_tfrecord's input_dir."
)
_N_NOTES = flags.DEFINE_integer(
    "n_notes",
    200,
    "Notes to make, half of them of pitches trained on and half of those held out.",
    lower_bound=2,
)


def recordings() -> str:
    """Return where to read the recordings.

    Raises:
      InputError: If they are not named.
    """
    errors.require(
        bool(_RECORDINGS.value),
        "the notes are held against real ones; name their folder with --recordings=FOLDER",
        recordings=_RECORDINGS.value,
    )
    return storage_flags.input_path(_RECORDINGS.value)


def n_notes() -> int:
    """Return the notes to make."""
    return int(_N_NOTES.value)
