"""Settings of the analysis: how sound becomes frames."""

import dataclasses

from lstm_gen.config import fields
from lstm_gen.platform import errors

REPRESENTATIONS = ("log_mel", "log_stft", "complex_stft", "waveform")
PHASES = ("instantaneous_frequency", "real_imaginary")
NORMALISATIONS = ("standard", "min_max")
INVERSION_ITERATIONS = {"preview": 8, "standard": 16, "high": 24, "final": 64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """How sound becomes frames, and so also how it is taken back.

    A frame is one row of `channels` values. What a representation has no use for is ignored.

    Attributes:
      sample_rate: Samples per second of the mono signal, Hz.
      representation: What a frame holds. "log_mel": ln(power) of mel bands. "log_stft":
        ln(power) of FFT bins. "complex_stft": the same with phase, see `phase`. "waveform":
        the `hop_length` samples themselves.
      n_fft: Length of the analysis window and of the FFT, samples (not waveform).
      hop_length: Samples from one frame to the next.
      n_mels: Mel bands per frame, Slaney scale and normalisation, as librosa's default (log_mel).
      fmin_hz: Lower edge of the lowest band, Hz (log_mel).
      fmax_hz: Upper edge of the highest band, Hz; None for half the sample rate (log_mel).
      n_bins: FFT bins kept, from 0 Hz up; 0 for all 1 + n_fft / 2 (log_stft, complex_stft).
      phase: "instantaneous_frequency": ln(power) of every bin, then its phase step from the
        frame before; "real_imaginary": the real part of every bin, then its imaginary part
        (complex_stft).
      log_floor: Power added before the natural logarithm; also what silence becomes.
      normalisation: How a model sees a channel. "standard": mean 0 and deviation 1 over the
        training split; "min_max": its extremes there become -1 and 1.
    """

    sample_rate: int = 22050
    representation: str = "log_mel"
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    fmin_hz: float = 0.0
    fmax_hz: float | None = None
    n_bins: int = 0
    phase: str = "instantaneous_frequency"
    log_floor: float = 1e-5
    normalisation: str = "standard"

    def __post_init__(self) -> None:
        errors.require(
            1000 <= self.sample_rate <= 384_000,
            "sample_rate must be from 1000 to 384000 Hz",
            sample_rate=self.sample_rate,
        )
        errors.require_choice("representation", self.representation, REPRESENTATIONS)
        errors.require_choice("phase", self.phase, PHASES)
        errors.require_choice("normalisation", self.normalisation, NORMALISATIONS)
        fields.require_sign(self, "log_floor", zero=False)
        errors.require(
            self.n_bins == 0 or self.representation in ("log_stft", "complex_stft"),
            "n_bins keeps bins of log_stft and complex_stft; leave it at 0",
            n_bins=self.n_bins,
            representation=self.representation,
        )
        if self.representation == "waveform":
            self._check_samples()
        else:
            self._check_transform()
        if self.representation == "log_mel":
            self._check_mels()

    def _check_samples(self) -> None:
        hop = self.hop_length
        errors.require(
            1 <= hop <= 65536, "hop_length must be from 1 to 65536 samples", hop_length=hop
        )

    def _check_transform(self) -> None:
        errors.require(
            16 <= self.n_fft <= 65536 and self.n_fft % 2 == 0,
            "n_fft must be even and from 16 to 65536 samples",
            n_fft=self.n_fft,
        )
        errors.require(
            1 <= self.hop_length <= self.n_fft // 2,
            "hop_length must be from 1 to n_fft / 2 samples, or the signal cannot be taken back",
            hop_length=self.hop_length,
            n_fft=self.n_fft,
        )
        errors.require(
            0 <= self.n_bins <= 1 + self.n_fft // 2,
            "n_bins must be from 1 to 1 + n_fft / 2, or 0 for all",
            n_bins=self.n_bins,
            n_fft=self.n_fft,
        )

    def _check_mels(self) -> None:
        errors.require(
            1 <= self.n_mels <= self.n_fft // 2,
            "n_mels must be from 1 to n_fft / 2",
            n_mels=self.n_mels,
            n_fft=self.n_fft,
        )
        errors.require(
            0 <= self.fmin_hz < self.fmax_resolved_hz <= self.sample_rate / 2,
            "fmin_hz must be below fmax_hz, and fmax_hz at most half the sample rate",
            fmin_hz=self.fmin_hz,
            fmax_hz=self.fmax_hz,
            sample_rate=self.sample_rate,
        )

    @property
    def fmax_resolved_hz(self) -> float:
        """Upper edge of the highest band, Hz."""
        return self.sample_rate / 2 if self.fmax_hz is None else self.fmax_hz

    @property
    def n_bins_resolved(self) -> int:
        """FFT bins of a frame."""
        return self.n_bins or 1 + self.n_fft // 2

    @property
    def channels(self) -> int:
        """Values of a frame."""
        return {
            "log_mel": self.n_mels,
            "log_stft": self.n_bins_resolved,
            "complex_stft": 2 * self.n_bins_resolved,
            "waveform": self.hop_length,
        }[self.representation]

    @property
    def is_logarithmic(self) -> bool:
        """Whether the loudness of a frame is in natural logarithms of power, not in samples."""
        return self.representation in ("log_mel", "log_stft") or (
            self.representation == "complex_stft" and self.phase == "instantaneous_frequency"
        )

    @property
    def frames_per_second(self) -> float:
        """Frames per second of audio."""
        return self.sample_rate / self.hop_length
