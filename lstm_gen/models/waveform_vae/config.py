"""Settings of the waveform_vae family."""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from lstm_gen.config import fields
from lstm_gen.platform import errors

END_KERNEL_SIZE = 7  # of the first and the last convolution
_MOST_SAMPLES_PER_STEP = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class WaveformVAEConfig:
    """Size and losses of the model.

    Attributes:
      strides: What each scale divides the samples by, from the finest on: "4,4,4". Their product is
        the samples of a latent step, at most 64.
      channels: Of each scale, as many as there are strides.
      blocks: Residual blocks at each scale, of the encoder and of the decoder.
      latent_size: Values of a latent step.
      beta: Weight of the divergence from the prior; 1 is the variational bound.
      spectral_weight: Weight of the distance of spectra; 0 for the waveform alone.
      waveform_weight: Weight of the waveform's likelihood; 0 for the spectra alone.
      windows: Lengths of the windows that spectra are taken of, samples, even, at least 16.
    """

    family: ClassVar[str] = "waveform_vae"
    summary: ClassVar[str] = (
        "residual convolutions from samples to a short sequence of latents and back"
    )
    priors: ClassVar[tuple[str, ...]] = ("sequence", "gmm", "gaussian", "standard")
    removed: ClassVar[Mapping[str, str]] = {"norm": "none"}

    strides: str = "4,4,4"
    channels: str = "32,64,128"
    blocks: int = 1
    latent_size: int = 16
    beta: float = 1.0
    spectral_weight: float = 1.0
    waveform_weight: float = 1.0
    windows: str = "64,128,256,512"

    def __post_init__(self) -> None:
        strides, channels = self.each_stride, self.each_channels
        errors.require(
            bool(strides) and min(strides) >= 2 and self.stride <= _MOST_SAMPLES_PER_STEP,
            "strides must be 2 or more each, and their product, the samples of a latent step, at "
            f"most {_MOST_SAMPLES_PER_STEP}, or the decoder ignores its latents",
            strides=self.strides,
        )
        errors.require(
            len(channels) == len(strides) and min(channels) >= 1,
            "channels must be positive, one for each stride",
            channels=self.channels,
            strides=self.strides,
        )
        windows = self.each_window
        errors.require(
            bool(windows) and min(windows) >= 16 and not any(window % 4 for window in windows),
            "windows must be multiples of 4 samples, from 16 on",
            windows=self.windows,
        )
        fields.require_least(self, 1, "blocks", "latent_size")
        fields.require_sign(self, "beta", "spectral_weight", "waveform_weight", zero=True)
        errors.require(
            self.spectral_weight + self.waveform_weight > 0,
            "spectral_weight and waveform_weight must not both be 0",
            spectral_weight=self.spectral_weight,
            waveform_weight=self.waveform_weight,
        )

    @property
    def each_stride(self) -> tuple[int, ...]:
        """The strides, finest first."""
        return _integers("strides", self.strides)

    @property
    def each_channels(self) -> tuple[int, ...]:
        """The channels after each stride."""
        return _integers("channels", self.channels)

    @property
    def each_window(self) -> tuple[int, ...]:
        """The lengths of windows, samples."""
        return _integers("windows", self.windows)

    @property
    def stride(self) -> int:
        """Samples of a latent step."""
        return math.prod(self.each_stride)

    @property
    def context(self) -> int:
        """Latent steps to either side that a step of the encoder or the decoder can see."""
        reach, samples = float(2 * (END_KERNEL_SIZE // 2)), 1
        for stride in self.each_stride:
            samples *= stride
            reach += samples + 2 * self.blocks * samples + stride
        return math.ceil((reach + samples) / samples)


def _integers(name: str, text: str) -> tuple[int, ...]:
    """Return the integers of "4,4,4"."""
    parts = [part.strip() for part in text.split(",")]
    errors.require(
        all(part.isdigit() for part in parts),
        f"{name} must be whole numbers separated by commas, as in 4,4,4",
        **{name: text},
    )
    return tuple(int(part) for part in parts)
