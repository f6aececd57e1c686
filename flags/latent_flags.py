"""Families with latents: how many numbers a sound becomes."""

from absl import flags

_LATENT_SIZE = flags.DEFINE_integer(
    "latent_size", None, "Numbers of a latent step; when not given, the model's own default."
)
_STRIDE = flags.DEFINE_integer(
    "stride", None, "Frames of a latent step; when not given, the model's own default."
)


def latent_size(default: int) -> int:
    """Return the numbers of a latent step."""
    return default if _LATENT_SIZE.value is None else int(_LATENT_SIZE.value)


def stride(default: int) -> int:
    """Return the frames of a latent step."""
    return default if _STRIDE.value is None else int(_STRIDE.value)
