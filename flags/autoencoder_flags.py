"""The autoencoder family: its size; see also --latent_size."""

from absl import flags

from flags import latent_flags
from lstm_gen.models.autoencoder.config import AutoencoderConfig

_STRIDE = flags.DEFINE_integer(
    "autoencoder_stride", AutoencoderConfig.stride, "Frames of a latent step."
)
_WIDTH = flags.DEFINE_integer(
    "autoencoder_width", AutoencoderConfig.width, "Channels of the corrections to a linear code."
)
_BLOCKS = flags.DEFINE_integer(
    "autoencoder_blocks",
    AutoencoderConfig.blocks,
    "Convolutions over time in the encoder's correction, and as many in the decoder's.",
)


def config() -> AutoencoderConfig:
    """Return the model asked for."""
    return AutoencoderConfig(
        latent_size=latent_flags.latent_size(AutoencoderConfig.latent_size),
        stride=_STRIDE.value,
        width=_WIDTH.value,
        blocks=_BLOCKS.value,
    )
