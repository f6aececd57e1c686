"""Settings of the autoencoder family."""

import dataclasses
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors

KERNEL_SIZE = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Size of the model.

    Attributes:
      latent_size: Numbers of a latent step.
      stride: Frames of a latent step.
      width: Channels of the corrections.
      blocks: Convolutions over time of the encoder's correction, and of the decoder's.
    """

    family: ClassVar[str] = "autoencoder"
    summary: ClassVar[str] = (
        "convolutional autoencoder of spectrograms that starts as their principal components"
    )
    priors: ClassVar[tuple[str, ...]] = ("sequence", "gaussian", "standard")

    latent_size: int = 64
    stride: int = 4
    width: int = 256
    blocks: int = 2

    def __post_init__(self) -> None:
        errors.require(
            1 <= self.latent_size <= 4096,
            "latent_size must be from 1 to 4096",
            latent_size=self.latent_size,
        )
        errors.require(1 <= self.stride <= 64, "stride must be from 1 to 64", stride=self.stride)
        fields.require_least(self, 1, "width")
        errors.require(0 <= self.blocks <= 32, "blocks must be from 0 to 32", blocks=self.blocks)

    @property
    def context(self) -> int:
        """Steps to either side that a step of the encoder or the decoder can see."""
        return self.blocks * (KERNEL_SIZE // 2)
