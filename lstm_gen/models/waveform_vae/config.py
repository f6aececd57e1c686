"""Settings of the waveform_vae family."""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.platform import errors

END_KERNEL_SIZE = 7  # of the first and the last convolution
_MOST_SAMPLES_PER_STEP = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaveformVAEConfig(fields.Settings):
    """Model waveform_vae."""

    family: ClassVar[str] = "waveform_vae"
    summary: ClassVar[str] = (
        "residual convolutions from samples to a short sequence of latents and back"
    )
    priors: ClassVar[tuple[str, ...]] = ("sequence", "gmm", "gaussian", "standard")
    removed: ClassVar[Mapping[str, str]] = {"norm": "none"}

    strides: str = fields.setting(
        "4,4,4",
        "Stride of each scale, finest first, 2 or more. Their product is the samples of a latent "
        f"step: at most {_MOST_SAMPLES_PER_STEP}, and the fewer, the closer the reconstruction.",
        flag="wave_strides",
    )
    channels: str = fields.setting(
        "32,64,128", "Channels of each scale, finest first.", flag="wave_channels"
    )
    blocks: int = fields.setting(
        1,
        "Residual blocks at each scale, of the encoder and of the decoder.",
        at_least=1,
        flag="wave_blocks",
    )
    latent_size: int = fields.like(VAEConfig, "latent_size")
    beta: float = fields.like(VAEConfig, "beta")
    spectral_weight: float = fields.setting(
        1.0,
        "Weight of the multi-resolution spectral loss; 0 trains on the waveform alone, which loses "
        "quiet components.",
        at_least=0,
        flag="wave_spectral_weight",
    )
    waveform_weight: float = fields.setting(
        1.0,
        "Weight of the waveform's likelihood; 0 trains on spectra alone, which leaves the phase to "
        "chance.",
        at_least=0,
        flag="wave_waveform_weight",
    )
    windows: str = fields.setting(
        "64,128,256,512",
        "Window lengths of the spectral loss, multiples of 4 from 16 on; use longer ones at higher "
        "sample rates.",
        unit="samples",
        flag="wave_windows",
    )

    def check(self) -> None:
        """Raise InputError if scales or windows do not fit, or there is nothing to minimise."""
        strides, channels, windows = self.each_stride, self.each_channels, self.each_window
        errors.require(
            bool(strides) and min(strides) >= 2 and self.stride <= _MOST_SAMPLES_PER_STEP,
            "wave_strides must be 2 or more each, and their product, the samples of a latent step, "
            f"at most {_MOST_SAMPLES_PER_STEP}, or the decoder ignores its latents",
            wave_strides=self.strides,
        )
        errors.require(
            len(channels) == len(strides) and min(channels) >= 1,
            "wave_channels must be positive, one for each stride",
            wave_channels=self.channels,
            wave_strides=self.strides,
        )
        errors.require(
            bool(windows) and min(windows) >= 16 and not any(window % 4 for window in windows),
            "wave_windows must be multiples of 4 samples, from 16 on",
            wave_windows=self.windows,
        )
        errors.require(
            self.spectral_weight + self.waveform_weight > 0,
            "wave_spectral_weight and wave_waveform_weight must not both be 0",
            wave_spectral_weight=self.spectral_weight,
            wave_waveform_weight=self.waveform_weight,
        )

    @property
    def each_stride(self) -> tuple[int, ...]:
        """The strides, finest first."""
        return fields.integers("wave_strides", self.strides)

    @property
    def each_channels(self) -> tuple[int, ...]:
        """The channels after each stride."""
        return fields.integers("wave_channels", self.channels)

    @property
    def each_window(self) -> tuple[int, ...]:
        """The lengths of windows, samples."""
        return fields.integers("wave_windows", self.windows)

    @property
    def stride(self) -> int:
        """Samples of a latent step."""
        return math.prod(self.each_stride)

    @property
    def context(self) -> int:
        """Receptive field of the encoder or the decoder to either side, latent steps."""
        reach, samples = float(2 * (END_KERNEL_SIZE // 2)), 1
        for stride in self.each_stride:
            samples *= stride
            reach += samples + 2 * self.blocks * samples + stride
        return math.ceil((reach + samples) / samples)
