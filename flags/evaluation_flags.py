"""Evaluation: which runs, and how much of each is listened to.

Its `--run_dir` takes several, so this module stands in for `run_dir_flags` and
`generation_flags` and is never loaded beside them.
"""

from absl import flags

from flags import device_flags, storage_flags
from lstm_gen.generation.song_config import SongConfig

_RUN_DIR = flags.DEFINE_multi_string(
    "run_dir", ["run"], "Run directory; give it several times to compare runs of one dataset."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "The runs' dataset, if it is no longer where they were trained on it."
)
_N_SONGS = flags.DEFINE_integer(
    "n_songs", 16, "Rollouts of each run; fewer than 16 make the figures a matter of luck."
)
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Length of each rollout.")
_SEED = flags.DEFINE_integer("seed", SongConfig.seed, "Decides the excerpts and the draws.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature", SongConfig.temperature, "As in generate_songs.py: of the mixture components."
)
_SIGMA_SCALE = flags.DEFINE_float(
    "sigma_scale", SongConfig.sigma_scale, "As in generate_songs.py: of the sampled deviation."
)
_OUTPUT = flags.DEFINE_string("output", "", "Markdown file to write the tables to, if any.")


def run_dirs() -> list[str]:
    """Return where to read the runs, each once."""
    return [storage_flags.input_path(path) for path in dict.fromkeys(_RUN_DIR.value)]


def data_dir() -> str:
    """Return where to read the dataset; "" for where the runs say it is."""
    return storage_flags.input_path(_DATA_DIR.value) if _DATA_DIR.value else ""


def output() -> str:
    """Return the file to write; "" for none."""
    return storage_flags.output_path(_OUTPUT.value) if _OUTPUT.value else ""


def config(prior: str = "") -> SongConfig:
    """Return the rollouts asked for, from one of a model's priors."""
    return SongConfig(
        prior=prior,
        n_songs=_N_SONGS.value,
        seconds=_SECONDS.value,
        seed=_SEED.value,
        temperature=_TEMPERATURE.value,
        sigma_scale=_SIGMA_SCALE.value,
        precision=device_flags.precision(),
    )
