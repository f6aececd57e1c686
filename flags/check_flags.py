"""How closely to look at a dataset, and what to take out of it."""

from absl import flags

from flags import storage_flags

_DEEP = flags.DEFINE_boolean(
    "deep",
    False,
    "Read every shard too: checksums, records, finite values, statistics, distance between splits.",
)
_PLOTS = flags.DEFINE_string(
    "plots",
    "",
    "Draw the dataset into this PNG: how loud frames are, mean and spread of each frequency, and "
    "some segments, for each split.",
)
_DUMP_SEGMENT = flags.DEFINE_integer(
    "dump_segment",
    None,
    "Turn this segment back into sound; counted from 0 through train, validation and test.",
    lower_bound=0,
)
_OUTPUT = flags.DEFINE_string(
    "output", "segment.wav", "Where the sound goes: a name ending in .wav, .flac, .ogg or .mp3."
)


def deep() -> bool:
    """Whether to read every shard."""
    return bool(_DEEP.value)


def plots() -> str:
    """Return where the picture goes, or an empty string for none."""
    return storage_flags.output_path(_PLOTS.value) if _PLOTS.value else ""


def dump_segment() -> int | None:
    """Return the segment to turn into sound, or None."""
    return None if _DUMP_SEGMENT.value is None else int(_DUMP_SEGMENT.value)


def output() -> str:
    """Return where the sound goes."""
    return storage_flags.output_path(_OUTPUT.value)
