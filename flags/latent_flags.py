"""What several families with latents share; each has its own defaults."""

from absl import flags

_LATENT_SIZE = flags.DEFINE_integer(
    "latent_size", None, "Values of a latent, or of each step of a sequence; a default per model."
)
_BETA = flags.DEFINE_float(
    "beta",
    None,
    "Weight of the latents' divergence from their prior; below 1 reconstruction is closer and the "
    "latents are less alike what is sampled.",
)


def latent_size(default: int) -> int:
    """Return the size asked for, or a family's own."""
    return default if _LATENT_SIZE.value is None else _LATENT_SIZE.value


def beta(default: float) -> float:
    """Return the weight asked for, or a family's own."""
    return default if _BETA.value is None else _BETA.value
