"""The waveform_vae family: scales, latents and losses."""

from absl import flags

from flags import latent_flags
from lstm_gen.models.waveform_vae.config import WaveformVAEConfig

_STRIDES = flags.DEFINE_string(
    "wave_strides",
    WaveformVAEConfig.strides,
    "What each scale divides the samples by, finest first. Their product is the samples of a "
    "latent step: at most 64, and the fewer, the closer the reconstruction.",
)
_CHANNELS = flags.DEFINE_string(
    "wave_channels", WaveformVAEConfig.channels, "Channels of each scale, finest first."
)
_BLOCKS = flags.DEFINE_integer(
    "wave_blocks", WaveformVAEConfig.blocks, "Residual blocks at each scale."
)
_SPECTRAL_WEIGHT = flags.DEFINE_float(
    "wave_spectral_weight",
    WaveformVAEConfig.spectral_weight,
    "Weight of the distance of spectra; 0 for the waveform alone, which leaves out what is quiet.",
)
_WAVEFORM_WEIGHT = flags.DEFINE_float(
    "wave_waveform_weight",
    WaveformVAEConfig.waveform_weight,
    "Weight of the waveform's likelihood; 0 for spectra alone, which leave the phase to chance.",
)
_WINDOWS = flags.DEFINE_string(
    "wave_windows",
    WaveformVAEConfig.windows,
    "Lengths of the windows that spectra are taken of, samples; longer ones at higher rates.",
)


def config() -> WaveformVAEConfig:
    """Return the model asked for."""
    return WaveformVAEConfig(
        strides=_STRIDES.value,
        channels=_CHANNELS.value,
        blocks=_BLOCKS.value,
        latent_size=latent_flags.latent_size(WaveformVAEConfig.latent_size),
        beta=latent_flags.beta(WaveformVAEConfig.beta),
        spectral_weight=_SPECTRAL_WEIGHT.value,
        waveform_weight=_WAVEFORM_WEIGHT.value,
        windows=_WINDOWS.value,
    )
