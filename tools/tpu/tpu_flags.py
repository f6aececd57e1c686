"""TPU and presets to check.

Its `--n_songs` and `--seconds` stand in for those of `generation_flags`, whose `--seed` is also a
name of training's.
"""

import pathlib

from absl import flags

from lstm_gen.config.generation import GenerationConfig
from lstm_gen.platform import errors
from tools.tpu import chips

_PRESETS = pathlib.Path(__file__).parents[2] / "flags" / "presets"

_PRESET = flags.DEFINE_string(
    "preset",
    "",
    "Ready-made settings to try, flags/presets/NAME.flags: names with commas between them, or all. "
    "Flags given beside it win. Without it, the flags alone.",
)
_TOPOLOGY = flags.DEFINE_string(
    "topology",
    "v5e:1x1",
    f"TPU version ({', '.join(chips.CHIPS)}) and its chips along each axis. The batch is split "
    "over all devices (two per chip on v2, v3 and v4), so more chips need less memory each.",
)
_LARGEST_BATCH = flags.DEFINE_boolean(
    "largest_batch",
    True,
    "Also search for the largest batch that fits: a minute or two per preset.",
)
_N_SONGS = flags.DEFINE_integer(
    "n_songs", GenerationConfig.n_songs, "Songs generated in one batch."
)
_SECONDS = flags.DEFINE_float("seconds", GenerationConfig.seconds, "Length of each song, seconds.")
_PRIMER_SECONDS = flags.DEFINE_float(
    "primer_seconds", GenerationConfig.primer_seconds, "Length of each song's primer, seconds."
)


def presets() -> dict[str, str]:
    """Return the requested presets, name to path; an empty name and path without --preset.

    Raises:
      InputError: If there is no such preset.
    """
    there = {path.stem: str(path) for path in sorted(_PRESETS.glob("*.flags"))}
    if _PRESET.value == "all":
        return there
    names = [name for name in _PRESET.value.split(",") if name]
    for name in names:
        errors.require(name in there, f"preset must be all or of {', '.join(there)}", preset=name)
    return {name: there[name] for name in names} or {"": ""}


def topology() -> chips.Topology:
    """Return the requested TPU."""
    return chips.parse(_TOPOLOGY.value)


def largest_batch() -> bool:
    """Whether to search for the largest batch."""
    return bool(_LARGEST_BATCH.value)


def songs() -> GenerationConfig:
    """Return the songs to generate."""
    return GenerationConfig(
        n_songs=_N_SONGS.value, seconds=_SECONDS.value, primer_seconds=_PRIMER_SECONDS.value
    )
