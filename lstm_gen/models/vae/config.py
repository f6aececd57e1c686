"""Settings of the vae family."""

import dataclasses
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.models.autoencoder.config import AutoencoderConfig
from lstm_gen.platform import errors

LATENTS = ("sequence", "global")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAEConfig(fields.Settings):
    """Model vae."""

    family: ClassVar[str] = "vae"
    summary: ClassVar[str] = (
        "variational autoencoder of spectrograms with a sequence of latents and fitted priors"
    )
    priors: ClassVar[tuple[str, ...]] = ("sequence", "gmm", "gaussian", "standard", "mixture")

    latents: str = fields.setting(
        "sequence",
        "sequence: a latent for every vae_stride frames. global: one for a whole window, as in the "
        "papers, which blurs time and decodes to nearly constant sound.",
        choices=LATENTS,
        flag="vae_latents",
    )
    latent_size: int = fields.like(AutoencoderConfig, "latent_size", default=16)
    stride: int = fields.setting(
        4,
        "Frames of a latent step, a power of 2; fewer decode more sharply.",
        at_least=1,
        at_most=64,
        flag="vae_stride",
    )
    width: int = fields.setting(160, "Channels of the convolutions.", at_least=1, flag="vae_width")
    blocks: int = fields.setting(
        1,
        "Residual blocks of the encoder, and of the decoder.",
        at_least=0,
        flag="vae_blocks",
    )
    beta: float = fields.setting(
        1.0,
        "Weight of the KL divergence of the latents from their prior; 1 is the variational bound. "
        "Below 1 reconstructions are closer, and latents less like draws from the prior.",
        at_least=0,
    )
    beta_warmup: float = fields.setting(
        0.3,
        "Fraction of the training over which beta rises from 0.",
        at_least=0,
        at_most=1,
        zero="off",
    )
    prior_components: int = fields.setting(
        0,
        "Components of a mixture learned as the prior of the latents (--prior=mixture draws from "
        "it).",
        at_least=0,
        zero="standard normal",
    )
    sigma_floor: float = fields.setting(
        0.02,
        "Smallest deviation of a frame, in deviations of a channel; it bounds the likelihood.",
        above=0,
        flag="vae_sigma_floor",
    )

    def check(self) -> None:
        """Raise InputError if strides are not powers of 2."""
        errors.require(
            self.stride & (self.stride - 1) == 0,
            "vae_stride must be 1, 2, 4, ... or 64 frames",
            vae_stride=self.stride,
        )

    @property
    def context(self) -> int:
        """Receptive field of the encoder or the decoder to either side, latent steps, at most."""
        return 4 + 2 * self.blocks

    @property
    def scales(self) -> int:
        """Halvings of the number of steps."""
        return self.stride.bit_length() - 1
