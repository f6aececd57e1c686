"""Settings of the autoencoder family."""

import dataclasses
from typing import ClassVar

from lstm_gen.config import fields

KERNEL_SIZE = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(fields.Settings):
    """Model autoencoder."""

    family: ClassVar[str] = "autoencoder"
    summary: ClassVar[str] = (
        "convolutional autoencoder of spectrograms that starts as their principal components"
    )
    priors: ClassVar[tuple[str, ...]] = ("sequence", "gaussian", "standard")

    latent_size: int = fields.setting(
        64, "Values of a latent, or of a latent step of a sequence.", at_least=1, at_most=4096
    )
    stride: int = fields.setting(
        4, "Frames of a latent step.", at_least=1, at_most=64, flag="autoencoder_stride"
    )
    width: int = fields.setting(
        256,
        "Channels of the convolutions that correct the linear code.",
        at_least=1,
        flag="autoencoder_width",
    )
    blocks: int = fields.setting(
        2,
        "Convolutions over time in the encoder's correction, and as many in the decoder's.",
        at_least=0,
        at_most=32,
        flag="autoencoder_blocks",
    )

    @property
    def context(self) -> int:
        """Receptive field of the encoder or the decoder to either side, latent steps."""
        return self.blocks * (KERNEL_SIZE // 2)
