"""The exported generator: what is fixed in it, and where it goes."""

from absl import flags

from flags import storage_flags
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.generation import GenerationConfig

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir",
    "exported/1",
    "Directory of the SavedModel, empty or not there. TensorFlow Serving looks for a number, the "
    "version, at the end.",
)
_SIGMA_SCALE = flags.DEFINE_float(
    "sigma_scale",
    GenerationConfig.sigma_scale,
    "As in generate_songs.py: of the sampled deviation. Fixed in the export.",
    lower_bound=0.0,
)
_INVERSION_QUALITY = flags.DEFINE_enum(
    "inversion_quality",
    GenerationConfig.inversion_quality,
    list(INVERSION_ITERATIONS),
    "As in generate_songs.py: iterations of the inversion. Fixed in the export.",
)
_MAX_SECONDS = flags.DEFINE_float(
    "max_seconds",
    300.0,
    "Longest song that may be asked for; more is an error. It bounds a server's memory.",
    lower_bound=0.0,
)


def output_dir() -> str:
    """Return where to write the SavedModel."""
    return storage_flags.output_path(_OUTPUT_DIR.value)


def sigma_scale() -> float:
    """Return the factor on the deviation."""
    return float(_SIGMA_SCALE.value)


def n_iterations() -> int:
    """Return the iterations of the inversion."""
    return INVERSION_ITERATIONS[_INVERSION_QUALITY.value]


def max_seconds() -> float:
    """Return the longest song that may be asked for."""
    return float(_MAX_SECONDS.value)
