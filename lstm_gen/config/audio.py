"""Settings of the analysis."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lstm_gen.config import fields
from lstm_gen.platform import errors

REPRESENTATIONS = ("log_mel", "activations", "log_stft", "complex_stft", "waveform")
PHASES = ("instantaneous_frequency", "real_imaginary")
NORMALISATIONS = ("standard", "min_max")
INVERSION_ITERATIONS = {"preview": 8, "standard": 16, "high": 24, "final": 200}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """Arrays of an analysis that were fitted to a dataset's training split; equal by their hash.

    Attributes:
      n_bytes: Size of the file that holds them.
      sha256: Of that file, hexadecimal.
      arrays: By name; empty where only their identity matters, as in the facts of a checkpoint.
    """

    n_bytes: int
    sha256: str
    arrays: Mapping[str, np.ndarray] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioConfig(fields.Settings):
    """Analysis of sound into frames, and its inversion.

    A frame is one row of `channels` values. Settings of other representations are ignored.

    Attributes:
      fitted: Arrays fitted to the training split of a dataset, if there are any; see
        `audio.fitted`.
    """

    added: ClassVar[Mapping[str, Any]] = {"mel_break_hz": 1000.0}

    sample_rate: int = fields.setting(
        22050,
        "Sample rate that recordings are resampled to, and of the songs. Half of it is the "
        "highest frequency that songs can have.",
        unit="Hz",
        at_least=1000,
        at_most=384_000,
    )
    representation: str = fields.setting(
        "log_mel",
        "Content of a frame. log_mel: log power of mel bands; few values, close to hearing, "
        "inverted by estimating the phase. activations: log power of the "
        "spectra of a dictionary that is fitted to the training split; notes are clear by "
        "construction. log_stft: log power of FFT bins. complex_stft: the same with phase, "
        "inverted exactly. waveform: hop_length samples.",
        choices=REPRESENTATIONS,
    )
    n_fft: int = fields.setting(
        2048,
        "Length of the analysis window and of the FFT, even. Longer windows separate low notes; "
        "shorter ones place attacks more exactly. Not for waveform.",
        unit="samples",
        at_least=16,
        at_most=65536,
    )
    hop_length: int = fields.setting(
        512,
        "Samples from one frame to the next, at most n_fft / 2. n_fft / 4 inverts well; smaller "
        "hops mean more frames to model per second. For waveform, the samples of a frame.",
        unit="samples",
        at_least=1,
        at_most=65536,
    )
    n_mels: int = fields.setting(
        192,
        "Mel bands of a frame (Slaney's normalisation, as librosa's default), at most n_fft / 2. "
        "128 on Slaney's scale blur chords. log_mel only.",
        at_least=1,
    )
    mel_break_hz: float = fields.setting(
        500.0,
        "Frequency at which the spacing of mel bands changes from equal in Hz to equal in pitch. "
        "500 spends bands where notes are; 1000 is Slaney's scale, as librosa's default. "
        "log_mel only.",
        unit="Hz",
        at_least=20,
        at_most=20_000,
    )
    n_atoms: int = fields.setting(
        128,
        "Spectra of the dictionary. More follow a recording more closely. activations only.",
        at_least=1,
        at_most=4096,
    )
    fmin_hz: float = fields.setting(
        0.0, "Lower edge of the lowest mel band. log_mel only.", unit="Hz", at_least=0
    )
    fmax_hz: float | None = fields.setting(
        None,
        "Upper edge of the highest mel band, at most half the sample rate, which is the default. "
        "log_mel only.",
        unit="Hz",
        above=0,
    )
    n_bins: int = fields.setting(
        0,
        "FFT bins kept, from 0 Hz up, at most 1 + n_fft / 2. Higher ones are silent after "
        "inversion. 1024 of 1025 bins give a model even shapes. log_stft and complex_stft only.",
        at_least=0,
        zero="all",
    )
    phase: str = fields.setting(
        "instantaneous_frequency",
        "Phase in complex_stft. instantaneous_frequency: log power of every bin, and its phase "
        "step from the frame before, which is smooth within notes. real_imaginary: real and "
        "imaginary part of every bin.",
        choices=PHASES,
    )
    log_floor: float = fields.setting(
        1e-5,
        "Power added before the natural logarithm, and so the level of silence. 1e-5 suits "
        "recordings of full scale 1.",
        above=0,
    )
    normalisation: str = fields.setting(
        "standard",
        "Normalisation of each channel for the model. standard: mean 0, deviation 1 over the "
        "training split. min_max: its extremes there become -1 and 1. Shards hold values as they "
        "are before it.",
        choices=NORMALISATIONS,
    )

    fitted: Fitted | None = dataclasses.field(default=None, repr=False, metadata=fields.ATTACHED)

    def unused(self) -> frozenset[str]:
        """Return the fields that the representation does not need."""
        unused = {"n_mels", "mel_break_hz", "fmin_hz", "fmax_hz", "n_atoms"}
        if self.representation == "log_mel":
            return frozenset({"n_atoms"})
        if self.representation == "activations":
            return frozenset(unused - {"n_atoms"})
        return frozenset(unused | ({"n_fft"} if self.representation == "waveform" else set()))

    def check(self) -> None:
        """Raise InputError where bins, hop and bands do not fit the FFT."""
        errors.require(
            self.n_bins == 0 or self.representation in ("log_stft", "complex_stft"),
            "n_bins keeps bins of log_stft and complex_stft; leave it at 0",
            n_bins=self.n_bins,
            representation=self.representation,
        )
        if self.representation != "waveform":
            self._check_transform()
        if self.representation == "log_mel":
            self._check_mels()

    def _check_transform(self) -> None:
        errors.require(self.n_fft % 2 == 0, "n_fft must be even", n_fft=self.n_fft)
        errors.require(
            self.hop_length <= self.n_fft // 2,
            "hop_length must be at most n_fft / 2 samples, or frames cannot be inverted",
            hop_length=self.hop_length,
            n_fft=self.n_fft,
        )
        errors.require(
            self.n_bins <= 1 + self.n_fft // 2,
            "n_bins must be from 1 to 1 + n_fft / 2, or 0 for all",
            n_bins=self.n_bins,
            n_fft=self.n_fft,
        )

    def _check_mels(self) -> None:
        errors.require(
            self.n_mels <= self.n_fft // 2,
            "n_mels must be from 1 to n_fft / 2",
            n_mels=self.n_mels,
            n_fft=self.n_fft,
        )
        errors.require(
            self.fmin_hz < self.fmax_resolved_hz <= self.sample_rate / 2,
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
    def n_bands(self) -> int:
        """Levels of a frame in frequency: mel bands, atoms or FFT bins (not waveform)."""
        return {"log_mel": self.n_mels, "activations": self.n_atoms}.get(
            self.representation, self.n_bins_resolved
        )

    @property
    def channels(self) -> int:
        """Values of a frame."""
        return {
            "log_mel": self.n_mels,
            "activations": self.n_atoms,
            "log_stft": self.n_bins_resolved,
            "complex_stft": 2 * self.n_bins_resolved,
            "waveform": self.hop_length,
        }[self.representation]

    @property
    def is_logarithmic(self) -> bool:
        """Whether frames hold natural logarithms of power, not linear values."""
        levels = ("log_mel", "activations", "log_stft")
        return self.representation in levels or self.has_phase_steps

    @property
    def has_phase_steps(self) -> bool:
        """Whether frames hold `n_bands` logarithms of power, then as many phase steps."""
        return self.representation == "complex_stft" and self.phase == "instantaneous_frequency"

    @property
    def frames_per_second(self) -> float:
        """Frames per second of audio."""
        return self.sample_rate / self.hop_length
