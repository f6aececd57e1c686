"""Settings of training: windows, optimisation, augmentation, monitoring."""

import dataclasses

from lstm_gen.config import fields
from lstm_gen.platform import errors

PRECISIONS = ("float32", "bfloat16")


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
        fields.require_least(self, 2, "timesteps")
        errors.require(
            0 <= self.shift <= self.timesteps,
            "shift must be from 0 to timesteps",
            shift=self.shift,
            timesteps=self.timesteps,
        )
        fields.require_sign(self, "window_hop", zero=True)

    @property
    def frames(self) -> int:
        """Frames that one window holds."""
        return self.timesteps + self.shift

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.window_hop or self.timesteps


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
      ema: Share of the running average of the weights that a step keeps, so that it spans about
        the last 1 / (1 - ema) steps; validation and generation use it. 0 for no average.
      accumulate: Parts that a step's batch is worked off in, one after the other: nearly the
        same numbers in less memory.
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
    ema: float = 0.0
    accumulate: int = 1
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        errors.require(
            0 <= self.seed < 1 << 31, "seed must be from 0 to 2147483647", seed=self.seed
        )
        fields.require_least(self, 1, "batch_size", "steps", "accumulate")
        fields.require_sign(self, "learning_rate", zero=False)
        fields.require_sign(self, "warmup_steps", "weight_decay", zero=True)
        errors.require(
            0 <= self.final_learning_rate_fraction <= 1,
            "final_learning_rate_fraction must be from 0 to 1",
            final_learning_rate_fraction=self.final_learning_rate_fraction,
        )
        errors.require(
            self.clip_norm >= 0, "clip_norm must be 0 (off) or positive", clip_norm=self.clip_norm
        )
        errors.require(
            0 <= self.ema < 1, "ema must be from 0 (off) to below 1, as 0.999", ema=self.ema
        )
        errors.require(
            self.batch_size % self.accumulate == 0,
            "accumulate must divide batch_size",
            accumulate=self.accumulate,
            batch_size=self.batch_size,
        )
        errors.require_choice("precision", self.precision, ("float32", "bfloat16"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """How training windows are varied as they are read; by default not at all.

    Attributes:
      gain_db: Most that a window is made louder or quieter, dB; 0 for off.
      polarity: Whether half of the windows have their sign changed, which nobody hears
        (waveform, and complex_stft as real and imaginary parts).
      shift_mels: Most mel bands that a window is moved up or down; 0 for off (log_mel).
      transpose_semitones: Most semitones that a window is transposed by, up or down; 0 for off
        (log_stft).
    """

    gain_db: float = 0.0
    polarity: bool = False
    shift_mels: int = 0
    transpose_semitones: float = 0.0

    def __post_init__(self) -> None:
        errors.require(
            0 <= self.gain_db <= 60, "gain_db must be from 0 (off) to 60", gain_db=self.gain_db
        )
        fields.require_least(self, 0, "shift_mels")
        errors.require(
            0 <= self.transpose_semitones <= 12,
            "transpose_semitones must be from 0 (off) to 12",
            transpose_semitones=self.transpose_semitones,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorConfig:
    """What a run looks at while it trains; may change from one start of a run to the next.

    Attributes:
      steps_per_call: Optimizer steps between two looks at the loss.
      validate_every_steps: Steps between validations.
      checkpoint_every_steps: Steps between checkpoints.
      sample_every_steps: Steps between free rollouts written as WAV and PNG; 0 for none.
      histogram_every_steps: Steps between histograms of every weight; 0 for none.
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
    histogram_every_steps: int = 0
    sample_seconds: float = 10.0
    n_samples: int = 2
    patience: int = 0
    best_weights: bool = True
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        fields.require_least(
            self, 1, "steps_per_call", "validate_every_steps", "checkpoint_every_steps"
        )
        fields.require_least(self, 1, "n_samples", "keep_checkpoints")
        for name in ("sample_every_steps", "histogram_every_steps", "patience"):
            value = getattr(self, name)
            errors.require(value >= 0, f"{name} must be 0 (off) or positive", **{name: value})
        fields.require_sign(self, "sample_seconds", zero=False)
