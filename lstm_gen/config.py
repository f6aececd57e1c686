"""Frozen configurations and their JSON: what each stage must know of the one before.

A configuration belongs to the artifact that depends on it. `AudioConfig`,
`SegmentConfig` and `SplitConfig` are stored in a dataset's `dataset.json`; a run's
`config.json` holds the audio part copied in, beside `WindowConfig`, `TrainingConfig`
and the model family's own. Nothing is typed twice. Standard library only.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lstm_gen.platform import errors

T = TypeVar("T")

REPRESENTATIONS = ("log_mel", "log_stft", "complex_stft", "waveform")
PHASES = ("instantaneous_frequency", "real_imaginary")
NORMALISATIONS = ("standard", "min_max")
DTYPES = ("float16", "float32", "int16")


def require(condition: bool, expected: str, /, **received: object) -> None:
    """Raise the one-line error of this project unless `condition` holds.

    An infinite number never fits, whatever the condition: JSON could not hold it.

    Args:
      condition: What must be true.
      expected: What was expected, and what to do; one sentence without a full stop.
      **received: The offending values by the name the user knows them by.

    Raises:
      InputError: If `condition` is false, or a value is infinite or not a number.
    """
    finite = all(math.isfinite(value) for value in received.values() if isinstance(value, float))
    if not (condition and finite):
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise errors.InputError(f"{expected}. Received: {values}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise the one-line error unless `value` is one of `choices`."""
    require(value in choices, f"{name} must be one of {', '.join(choices)}", **{name: value})


def require_least(config: object, least: float, *names: str) -> None:
    """Raise the one-line error unless each of these fields of `config` is at least `least`."""
    for name in names:
        value = getattr(config, name)
        require(value >= least, f"{name} must be at least {least}", **{name: value})


def require_share(config: object, *names: str) -> None:
    """Raise the one-line error unless each of these fields is from 0 to below 1."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value < 1, f"{name} must be from 0 to below 1", **{name: value})


def require_sign(config: object, *names: str, zero: bool) -> None:
    """Raise the one-line error unless each field is positive, or 0 where `zero` is allowed."""
    expected = "must not be negative" if zero else "must be positive"
    for name in names:
        value = getattr(config, name)
        require(value > 0 or (zero and value == 0), f"{name} {expected}", **{name: value})


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
        require(
            1000 <= self.sample_rate <= 384_000,
            "sample_rate must be from 1000 to 384000 Hz",
            sample_rate=self.sample_rate,
        )
        require_choice("representation", self.representation, REPRESENTATIONS)
        require_choice("phase", self.phase, PHASES)
        require_choice("normalisation", self.normalisation, NORMALISATIONS)
        require_sign(self, "log_floor", zero=False)
        require(
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
        require(1 <= hop <= 65536, "hop_length must be from 1 to 65536 samples", hop_length=hop)

    def _check_transform(self) -> None:
        require(
            16 <= self.n_fft <= 65536 and self.n_fft % 2 == 0,
            "n_fft must be even and from 16 to 65536 samples",
            n_fft=self.n_fft,
        )
        require(
            1 <= self.hop_length <= self.n_fft // 2,
            "hop_length must be from 1 to n_fft / 2 samples, or the signal cannot be taken back",
            hop_length=self.hop_length,
            n_fft=self.n_fft,
        )
        require(
            0 <= self.n_bins <= 1 + self.n_fft // 2,
            "n_bins must be from 1 to 1 + n_fft / 2, or 0 for all",
            n_bins=self.n_bins,
            n_fft=self.n_fft,
        )

    def _check_mels(self) -> None:
        require(
            1 <= self.n_mels <= self.n_fft // 2,
            "n_mels must be from 1 to n_fft / 2",
            n_mels=self.n_mels,
            n_fft=self.n_fft,
        )
        require(
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How a recording's frames are cut and stored.

    Attributes:
      segment_frames: Longest segment, frames; a recording is cut into near-equal segments.
      example_seconds: Length of a fixed-length example, seconds, which is then what a segment
        is; 0 for segments of `segment_frames`.
      max_examples: Most examples of a recording, from its beginning on; 0 for all.
      trim_db: Frames at either end (and silences inside) that stay this many dB under the
        recording's loud level are left out; 0 keeps everything. Of examples, those that are
        quiet throughout are left out.
      dtype: How a frame's values are stored: "float16", "float32", or, for a waveform,
        "int16" (sample * 32768).
    """

    segment_frames: int = 1024
    example_seconds: float = 0.0
    max_examples: int = 0
    trim_db: float = 30.0
    dtype: str = "float16"

    def __post_init__(self) -> None:
        require_least(self, 2, "segment_frames")
        require_sign(self, "example_seconds", "max_examples", "trim_db", zero=True)
        require_choice("dtype", self.dtype, DTYPES)

    def example_samples(self, audio: AudioConfig) -> int:
        """Return the samples of an example, 0 for none."""
        return round(self.example_seconds * audio.sample_rate)


def require_fit(audio: AudioConfig, segment: SegmentConfig) -> None:
    """Refuse what a type cannot hold, examples of less than two frames, and some of no examples.

    Raises:
      InputError: Naming what does not fit.
    """
    require(
        segment.dtype != "int16" or audio.representation == "waveform",
        "dtype int16 holds samples of a waveform; use float16 or float32",
        dtype=segment.dtype,
        representation=audio.representation,
    )
    require(
        segment.example_seconds == 0 or segment.example_samples(audio) >= 2 * audio.hop_length,
        "example_seconds must be long enough for two frames of hop_length samples",
        example_seconds=segment.example_seconds,
        hop_length=audio.hop_length,
    )
    require(
        segment.max_examples == 0 or segment.example_seconds > 0,
        "max_examples counts examples of a fixed length; set example_seconds too",
        max_examples=segment.max_examples,
        example_seconds=segment.example_seconds,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which frames are held out.

    Attributes:
      split: "recording" keeps each recording whole on one side; "blocks" holds out
        interleaved blocks of every recording with a guard on each side; "pattern" holds out the
        recordings whose names `validation_pattern` matches; "auto" is blocks for one or two
        recordings, else recording.
      validation_pattern: Regular expression that is looked for in the name of each recording,
        folders included (pattern only).
      validation_fraction: Share of the material held out for validation.
      test_fraction: Share held out for the test split.
      block_seconds: Length of one held-out block, seconds (blocks only).
      guard_seconds: Material dropped on each side of a held-out block, seconds (blocks only).
    """

    split: str = "auto"
    validation_pattern: str = ""
    validation_fraction: float = 0.1
    test_fraction: float = 0.0
    block_seconds: float = 10.0
    guard_seconds: float = 1.0

    def __post_init__(self) -> None:
        require_choice("split", self.split, ("auto", "recording", "blocks", "pattern"))
        require(
            (self.validation_pattern != "") == (self.split == "pattern"),
            "validation_pattern is for split=pattern, which needs one",
            split=self.split,
            validation_pattern=self.validation_pattern,
        )
        require(
            self.validation_fraction >= 0
            and self.test_fraction >= 0
            and self.validation_fraction + self.test_fraction <= 0.8,
            "validation_fraction and test_fraction must not be negative and leave at least "
            "a fifth for training",
            validation_fraction=self.validation_fraction,
            test_fraction=self.test_fraction,
        )
        require(
            self.block_seconds > 0 and self.guard_seconds >= 0,
            "block_seconds must be positive and guard_seconds not negative",
            block_seconds=self.block_seconds,
            guard_seconds=self.guard_seconds,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """What a model sees at once; cut from segments as they are read.

    Attributes:
      timesteps: Input frames per window.
      shift: Frames from an input frame to the frame it predicts; a window therefore holds
        `timesteps + shift` frames. 0 where nothing is predicted.
      window_hop: Frames from one window of a segment to the next; 0 for windows that touch.
    """

    timesteps: int = 256
    shift: int = 1
    window_hop: int = 0

    def __post_init__(self) -> None:
        require_least(self, 2, "timesteps")
        require(
            0 <= self.shift <= self.timesteps,
            "shift must be from 0 to timesteps",
            shift=self.shift,
            timesteps=self.timesteps,
        )
        require_sign(self, "window_hop", zero=True)

    @property
    def frames(self) -> int:
        """Frames that one window holds."""
        return self.timesteps + self.shift

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.window_hop or self.timesteps


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a configuration from JSON values, refusing what does not fit.

    Args:
      kind: A frozen dataclass of this package.
      values: Field name to value, as `to_dict` wrote it.
      where: What the values come from, named in errors.

    Raises:
      InputError: For a missing, unknown or wrongly typed field, naming it.
    """
    # A type variable cannot be bound to "a dataclass".
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    require(isinstance(values, Mapping), f"{where} must be a JSON object", value=values)
    unknown = sorted(set(values) - set(fields))
    missing = sorted(set(fields) - set(values))
    require(
        not unknown and not missing,
        f"{where} does not have the fields of {kind.__name__}; it was written by another version, "
        "make it again",
        unknown=unknown,
        missing=missing,
    )
    hints = typing.get_type_hints(kind)
    checked = {name: _checked(values[name], hints[name], f"{where}: {name}") for name in fields}
    return kind(**checked)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` if it is what the type hint says (an int where a float is meant is fine)."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option is bool and isinstance(value, bool):
            return value
        if option is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if option is str and isinstance(value, str):
            return value
    expected = " or ".join("null" if one is type(None) else one.__name__ for one in options)
    raise errors.InputError(f"{where} must be {expected}. Received: {value!r}")


def to_json(values: Mapping[str, Any]) -> str:
    """Return the one JSON text of a mapping: sorted keys, indented, ending in a newline."""
    return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"
