"""Evaluation: how much of each model is listened to.

This module stands in for `generation_flags` and is never loaded beside it.
"""

from absl import flags

from flags import device_flags
from lstm_gen.config.generation import GenerationConfig

_N_SONGS = flags.DEFINE_integer(
    "n_songs", 16, "Rollouts of each run; fewer than 16 make the figures a matter of luck."
)
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Length of each rollout.")
_SEED = flags.DEFINE_integer("seed", GenerationConfig.seed, "Decides the excerpts and the draws.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature",
    GenerationConfig.temperature,
    "As in generate_songs.py: of the mixture components.",
)
_SIGMA_SCALE = flags.DEFINE_float(
    "sigma_scale",
    GenerationConfig.sigma_scale,
    "As in generate_songs.py: of the sampled deviation.",
)


def config(prior: str = "") -> GenerationConfig:
    """Return the rollouts asked for, from one of a model's priors."""
    return GenerationConfig(
        prior=prior,
        n_songs=_N_SONGS.value,
        seconds=_SECONDS.value,
        seed=_SEED.value,
        temperature=_TEMPERATURE.value,
        sigma_scale=_SIGMA_SCALE.value,
        precision=device_flags.precision(),
    )
