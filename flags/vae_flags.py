"""The vae family: latents, size, and the weight of their divergence."""

from absl import flags

from flags import latent_flags
from lstm_gen.models.vae import config as vae_config
from lstm_gen.models.vae.config import VAEConfig

_LATENTS = flags.DEFINE_enum(
    "vae_latents",
    VAEConfig.latents,
    vae_config.LATENTS,
    "sequence: a latent for every --vae_stride frames; global: one for a whole window, as in the "
    "papers, which blurs time and decodes to near stills.",
)
_STRIDE = flags.DEFINE_integer(
    "vae_stride", VAEConfig.stride, "Frames of a latent step, a power of 2; fewer are sharper."
)
_WIDTH = flags.DEFINE_integer("vae_width", VAEConfig.width, "Channels of the convolutions.")
_BLOCKS = flags.DEFINE_integer(
    "vae_blocks", VAEConfig.blocks, "Residual blocks of the encoder, and of the decoder."
)
_BETA_WARMUP = flags.DEFINE_float(
    "beta_warmup",
    VAEConfig.beta_warmup,
    "Share of the training over which --beta rises from 0.",
)
_PRIOR_COMPONENTS = flags.DEFINE_integer(
    "prior_components",
    VAEConfig.prior_components,
    "Components of a mixture that is learned as the latents' prior (--prior=mixture draws from "
    "it); 0 for the standard normal.",
)
_SIGMA_FLOOR = flags.DEFINE_float(
    "vae_sigma_floor",
    VAEConfig.sigma_floor,
    "Least deviation of a frame, where 1 is that of a channel; bounds the likelihood.",
)


def config() -> VAEConfig:
    """Return the model asked for."""
    return VAEConfig(
        latents=_LATENTS.value,
        latent_size=latent_flags.latent_size(VAEConfig.latent_size),
        stride=_STRIDE.value,
        width=_WIDTH.value,
        blocks=_BLOCKS.value,
        beta=latent_flags.beta(VAEConfig.beta),
        beta_warmup=_BETA_WARMUP.value,
        prior_components=_PRIOR_COMPONENTS.value,
        sigma_floor=_SIGMA_FLOOR.value,
    )
