"""Settings of the vae family."""

import dataclasses
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors

LATENTS = ("sequence", "global")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Size and loss of the model.

    Attributes:
      latents: "sequence": one for every `stride` frames; "global": one for a whole window, which
        decodes to near stills.
      latent_size: Values of a latent.
      stride: Frames of a step, a power of 2.
      width: Channels inside.
      blocks: Residual blocks of the encoder, and of the decoder.
      beta: Weight of the divergence from the prior; 1 is the variational bound.
      beta_warmup: Share of the training over which beta rises from 0.
      prior_components: Components of a learned mixture that latents are held to; 0 for the
        standard normal.
      sigma_floor: Least deviation of a frame, where 1 is that of a channel.
    """

    family: ClassVar[str] = "vae"
    summary: ClassVar[str] = (
        "variational autoencoder of spectrograms with a sequence of latents and fitted priors"
    )
    priors: ClassVar[tuple[str, ...]] = ("sequence", "gmm", "gaussian", "standard", "mixture")

    latents: str = "sequence"
    latent_size: int = 16
    stride: int = 4
    width: int = 160
    blocks: int = 1
    beta: float = 1.0
    beta_warmup: float = 0.3
    prior_components: int = 0
    sigma_floor: float = 0.02

    def __post_init__(self) -> None:
        errors.require_choice("latents", self.latents, LATENTS)
        errors.require(
            1 <= self.stride <= 64 and self.stride & (self.stride - 1) == 0,
            "stride must be 1, 2, 4, ... or 64 frames",
            stride=self.stride,
        )
        fields.require_least(self, 1, "latent_size", "width")
        fields.require_least(self, 0, "blocks", "prior_components")
        fields.require_sign(self, "beta", zero=True)
        errors.require(
            0 <= self.beta_warmup <= 1,
            "beta_warmup must be a share of the training, 0 (off) to 1",
            beta_warmup=self.beta_warmup,
        )
        fields.require_sign(self, "sigma_floor", zero=False)

    @property
    def context(self) -> int:
        """Steps to either side that a step of the encoder or the decoder can see, at most."""
        return 4 + 2 * self.blocks

    @property
    def scales(self) -> int:
        """How often the number of steps is halved."""
        return self.stride.bit_length() - 1
