"""A TPU that is not there: which one, and which presets are tried on it.

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
    f"TPU, and its chips along each axis: {', '.join(chips.CHIPS)}. A batch is shared out over "
    "all chips (v2, v3, v4: two devices a chip), so more chips mean less memory on each.",
)
_LARGEST_BATCH = flags.DEFINE_boolean(
    "largest_batch", True, "Also look for the largest batch that fits: a minute or two each."
)
_N_SONGS = flags.DEFINE_integer(
    "n_songs", GenerationConfig.n_songs, "Songs that are generated at once."
)
_SECONDS = flags.DEFINE_float("seconds", GenerationConfig.seconds, "Length of each song.")
_PRIMER_SECONDS = flags.DEFINE_float(
    "primer_seconds", GenerationConfig.primer_seconds, "Length of what each song continues."
)


def presets() -> dict[str, str]:
    """Return the presets asked for, name to path; the empty name without a path for none.

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
    """Return the TPU asked for."""
    return chips.parse(_TOPOLOGY.value)


def largest_batch() -> bool:
    """Whether to look for the largest batch."""
    return bool(_LARGEST_BATCH.value)


def songs() -> GenerationConfig:
    """Return the songs asked for."""
    return GenerationConfig(
        n_songs=_N_SONGS.value, seconds=_SECONDS.value, primer_seconds=_PRIMER_SECONDS.value
    )
