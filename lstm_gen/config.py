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
from collections.abc import Mapping
from typing import Any, TypeVar

from lstm_gen import errors

T = TypeVar("T")


def require(condition: bool, expected: str, **received: object) -> None:
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """How sound becomes log-mel frames, and so also how it is taken back.

    Attributes:
      sample_rate: Samples per second of the mono signal, Hz.
      n_fft: Length of the analysis window and of the FFT, samples.
      hop_length: Samples from one frame to the next.
      n_mels: Mel bands per frame (Slaney scale and normalisation, as librosa's default).
      fmin_hz: Lower edge of the lowest band, Hz.
      fmax_hz: Upper edge of the highest band, Hz; None for half the sample rate.
      log_floor: Mel power added before the natural logarithm; also what silence becomes.
    """

    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    fmin_hz: float = 0.0
    fmax_hz: float | None = None
    log_floor: float = 1e-5

    def __post_init__(self) -> None:
        require(
            1000 <= self.sample_rate <= 384_000,
            "sample_rate must be from 1000 to 384000 Hz",
            sample_rate=self.sample_rate,
        )
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
        require(self.log_floor > 0, "log_floor must be positive", log_floor=self.log_floor)

    @property
    def fmax_resolved_hz(self) -> float:
        """Upper edge of the highest band, Hz."""
        return self.sample_rate / 2 if self.fmax_hz is None else self.fmax_hz

    @property
    def frames_per_second(self) -> float:
        """Frames per second of audio."""
        return self.sample_rate / self.hop_length


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How a recording's frames are cut and stored.

    Attributes:
      segment_frames: Longest segment, frames; a recording is cut into near-equal segments.
      trim_db: Frames at either end (and silences inside) that stay this many dB under the
        recording's loud level are left out; 0 keeps everything.
      dtype: How a frame's values are stored: "float16" or "float32".
    """

    segment_frames: int = 1024
    trim_db: float = 30.0
    dtype: str = "float16"

    def __post_init__(self) -> None:
        require(
            self.segment_frames >= 2,
            "segment_frames must be at least 2",
            segment_frames=self.segment_frames,
        )
        require(self.trim_db >= 0, "trim_db must be 0 (off) or positive", trim_db=self.trim_db)
        require(
            self.dtype in ("float16", "float32"),
            "dtype must be float16 or float32",
            dtype=self.dtype,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which frames are held out.

    Attributes:
      split: "recording" keeps each recording whole on one side; "blocks" holds out
        interleaved blocks of every recording with a guard on each side; "auto" is blocks for
        one or two recordings, else recording.
      validation_fraction: Share of the material held out for validation.
      test_fraction: Share held out for the test split.
      block_seconds: Length of one held-out block, seconds (blocks only).
      guard_seconds: Material dropped on each side of a held-out block, seconds (blocks only).
    """

    split: str = "auto"
    validation_fraction: float = 0.1
    test_fraction: float = 0.0
    block_seconds: float = 10.0
    guard_seconds: float = 1.0

    def __post_init__(self) -> None:
        require(
            self.split in ("auto", "recording", "blocks"),
            "split must be auto, recording or blocks",
            split=self.split,
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
        `timesteps + shift` frames.
      window_hop: Frames from one window of a segment to the next; 0 for windows that touch.
    """

    timesteps: int = 256
    shift: int = 1
    window_hop: int = 0

    def __post_init__(self) -> None:
        require(self.timesteps >= 2, "timesteps must be at least 2", timesteps=self.timesteps)
        require(
            1 <= self.shift <= self.timesteps,
            "shift must be from 1 to timesteps",
            shift=self.shift,
            timesteps=self.timesteps,
        )
        require(self.window_hop >= 0, "window_hop must not be negative", window_hop=self.window_hop)

    @property
    def frames(self) -> int:
        """Frames that one window holds."""
        return self.timesteps + self.shift

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.window_hop or self.timesteps


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How training windows are varied as they are read; by default not at all.

    Attributes:
      gain_db: Most that a window is made louder or quieter, dB; 0 for off.
      shift_mels: Most mel bands that a window is moved up or down; 0 for off.
    """

    gain_db: float = 0.0
    shift_mels: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.gain_db <= 60, "gain_db must be from 0 (off) to 60", gain_db=self.gain_db)
        require(
            self.shift_mels >= 0,
            "shift_mels must be 0 (off) or positive",
            shift_mels=self.shift_mels,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is fitted.

    Attributes:
      batch_size: Windows per optimizer step, over all devices together.
      steps: Optimizer steps in all.
      learning_rate: Highest learning rate of Adam, reached after the warm-up.
      warmup_steps: Steps over which the rate rises linearly from 0.
      final_learning_rate_fraction: Share of the rate that the cosine decay ends at.
      clip_norm: Largest global norm of the gradients; 0 for no clipping.
      weight_decay: Decoupled weight decay of AdamW; 0 for none.
      seed: Of the weights, the order of the windows and every draw.
      precision: "float32" or "bfloat16" (activations; weights and losses stay float32).
    """

    batch_size: int = 16
    steps: int = 2000
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    final_learning_rate_fraction: float = 0.05
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size must be at least 1", batch_size=self.batch_size)
        require(0 <= self.seed < 1 << 31, "seed must be from 0 to 2147483647", seed=self.seed)
        require(self.steps >= 1, "steps must be at least 1", steps=self.steps)
        require(
            self.learning_rate > 0,
            "learning_rate must be positive",
            learning_rate=self.learning_rate,
        )
        require(
            self.warmup_steps >= 0,
            "warmup_steps must not be negative",
            warmup_steps=self.warmup_steps,
        )
        require(
            0 <= self.final_learning_rate_fraction <= 1,
            "final_learning_rate_fraction must be from 0 to 1",
            final_learning_rate_fraction=self.final_learning_rate_fraction,
        )
        require(
            self.clip_norm >= 0, "clip_norm must be 0 (off) or positive", clip_norm=self.clip_norm
        )
        require(
            self.weight_decay >= 0,
            "weight_decay must not be negative",
            weight_decay=self.weight_decay,
        )
        require(
            self.precision in ("float32", "bfloat16"),
            "precision must be float32 or bfloat16",
            precision=self.precision,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """What a run looks at while it trains; may change from one start of a run to the next.

    Attributes:
      steps_per_call: Optimizer steps between two looks at the loss.
      validate_every_steps: Steps between validations.
      checkpoint_every_steps: Steps between checkpoints.
      sample_every_steps: Steps between free rollouts written as WAV and PNG; 0 for none.
      sample_seconds: Length of such a rollout, seconds.
      n_samples: Rollouts at a time.
      patience: Validations without a better one before training stops early; 0 for never.
      best_weights: Keep the weights of the best validation for generation, not the last.
      keep_checkpoints: Checkpoints kept.
    """

    steps_per_call: int = 10
    validate_every_steps: int = 100
    checkpoint_every_steps: int = 200
    sample_every_steps: int = 500
    sample_seconds: float = 10.0
    n_samples: int = 2
    patience: int = 0
    best_weights: bool = True
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        for name in ("steps_per_call", "validate_every_steps", "checkpoint_every_steps"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1", **{name: value})
        for name in ("sample_every_steps", "patience"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must be 0 (off) or positive", **{name: value})
        for name in ("n_samples", "keep_checkpoints"):
            value = getattr(self, name)
            require(value >= 1, f"{name} must be at least 1", **{name: value})
        require(
            self.sample_seconds > 0,
            "sample_seconds must be positive",
            sample_seconds=self.sample_seconds,
        )


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
