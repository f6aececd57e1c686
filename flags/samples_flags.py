"""Evaluation of songs drawn from priors: which priors."""

from absl import flags

_PRIOR = flags.DEFINE_list(
    "prior",
    [],
    "Priors to compare, as generate_songs.py --prior; a run's default if none is named.",
)


def priors() -> list[str]:
    """Return the priors asked for; "" for the default one."""
    return _PRIOR.value or [""]
