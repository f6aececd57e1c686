"""Settings of training: windows, optimisation, augmentation, monitoring, devices."""

import dataclasses

from lstm_gen.config import fields
from lstm_gen.platform import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowConfig(fields.Settings):
    """Training windows, cut from segments as they are read."""

    timesteps: int = fields.setting(
        256,
        "Input frames of a window; 43 frames are a second of the default analysis.",
        unit="frames",
        at_least=2,
    )
    shift: int = fields.setting(
        0,
        "Frames from an input frame to the frame predicted from it, at most timesteps. Only models "
        "that predict use it.",
        unit="frames",
        at_least=0,
        zero="one step of the model: its next frame or patch",
    )
    window_hop: int = fields.setting(
        0,
        "Frames from one window of a segment to the next. The first one starts at a random frame, "
        "another in each epoch.",
        unit="frames",
        at_least=0,
        zero="windows that touch",
    )

    def check(self) -> None:
        """Raise InputError if the prediction lies beyond the window."""
        errors.require(
            self.shift <= self.timesteps,
            "shift must be from 0 to timesteps",
            shift=self.shift,
            timesteps=self.timesteps,
        )

    @property
    def frames(self) -> int:
        """Frames that one window holds."""
        return self.timesteps + self.shift

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.window_hop or self.timesteps


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(fields.Settings):
    """Optimisation."""

    batch_size: int = fields.setting(
        16, "Windows per optimizer step, over all devices together.", at_least=1
    )
    steps: int = fields.setting(
        2000, "Optimizer steps in all; a run that is resumed continues to this step.", at_least=1
    )
    learning_rate: float = fields.setting(
        2e-3, "Highest learning rate of Adam, reached after the warm-up.", above=0
    )
    warmup_steps: int = fields.setting(
        50, "Steps over which the learning rate rises linearly from 0.", at_least=0
    )
    final_learning_rate_fraction: float = fields.setting(
        0.05,
        "Fraction of the learning rate that the cosine decay ends at.",
        at_least=0,
        at_most=1,
    )
    clip_norm: float = fields.setting(
        1.0,
        "Largest global norm of the gradients; larger ones are scaled down.",
        at_least=0,
        zero="off",
    )
    weight_decay: float = fields.setting(
        0.0, "Decoupled weight decay (AdamW).", at_least=0, zero="off"
    )
    ema: float = fields.setting(
        0.0,
        "Decay of an exponential moving average of the weights, used for validation, samples and "
        "generation, where it is steadier than the last weights. 0.999 averages about 1000 steps, "
        "0.99 about 100; choose far fewer than --steps.",
        at_least=0,
        below=1,
        zero="off",
    )
    accumulate: int = fields.setting(
        1,
        "Micro-batches per step (gradient accumulation), a divisor of batch_size: nearly the same "
        "numbers in less memory.",
        at_least=1,
    )
    seed: int = fields.setting(
        0,
        "Seed of the weights, the order of windows and every random draw.",
        at_least=0,
        at_most=2147483647,
    )
    precision: str = fields.setting(
        "float32",
        "Precision of activations; weights, losses and likelihoods are float32 with both. bfloat16 "
        "pays on TPUs and recent GPUs, not on CPUs. Songs may be made in another precision than "
        "the model was trained in.",
        choices=("float32", "bfloat16"),
    )

    def check(self) -> None:
        """Raise InputError if micro-batches are not of equal size."""
        errors.require(
            self.batch_size % self.accumulate == 0,
            "accumulate must divide batch_size",
            accumulate=self.accumulate,
            batch_size=self.batch_size,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig(fields.Settings):
    """Augmentation of training windows, drawn anew in each epoch; off by default."""

    gain_db: float = fields.setting(
        0.0,
        "Largest random gain of a window, up or down. 6 is a start where recordings differ in "
        "level for no musical reason.",
        unit="dB",
        at_least=0,
        at_most=60,
        zero="off",
    )
    polarity: bool = fields.setting(
        False,
        "Invert the sign of half of the windows, which is inaudible. For waveform, and for "
        "complex_stft with phase=real_imaginary.",
    )
    shift_mels: int = fields.setting(
        0,
        "Largest random shift of a window, up or down, in mel bands; nearly a transposition above "
        "the dataset's mel_break_hz, where bands widen with pitch. 1 is a start. For log_mel.",
        unit="bands",
        at_least=0,
        zero="off",
    )
    transpose_semitones: float = fields.setting(
        0.0,
        "Largest random transposition of a window, up or down. Labels stay as they are, so not "
        "with --condition=pitch. For log_stft.",
        unit="semitones",
        at_least=0,
        at_most=12,
        zero="off",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorConfig(fields.Settings):
    """Monitoring: validation, checkpoints, samples; may change when a run is resumed."""

    steps_per_call: int = fields.setting(
        10,
        "Steps per execution: optimizer steps on the device between two readings of the loss.",
        at_least=1,
    )
    validate_every_steps: int = fields.setting(100, "Steps between validations.", at_least=1)
    checkpoint_every_steps: int = fields.setting(200, "Steps between checkpoints.", at_least=1)
    sample_every_steps: int = fields.setting(
        500,
        "Steps between samples: free rollouts written as WAV and PNG and logged to TensorBoard.",
        at_least=0,
        zero="off",
    )
    histogram_every_steps: int = fields.setting(
        0, "Steps between histograms of every weight in TensorBoard.", at_least=0, zero="off"
    )
    sample_seconds: float = fields.setting(10.0, "Length of a sample.", unit="s", above=0)
    n_samples: int = fields.setting(2, "Samples at a time.", at_least=1)
    patience: int = fields.setting(
        0,
        "Validations without an improvement before training stops early.",
        at_least=0,
        zero="never",
    )
    best_weights: bool = fields.setting(
        True,
        "Keep the weights of the best validation for generation; --nobest_weights keeps the last.",
    )
    keep_checkpoints: int = fields.setting(2, "Newest checkpoints kept.", at_least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceConfig(fields.Settings):
    """Devices: CPU, GPUs or TPU."""

    device: str = fields.setting(
        "auto",
        "auto uses every GPU there is, else the CPU. In training several devices share each batch; "
        "in generation each makes songs of its own. Results are those of one device but for "
        "rounding. For several machines set TF_CONFIG on each, as Vertex AI does, and start the "
        "same command on all.",
        choices=("auto", "cpu", "gpu", "tpu"),
    )
    use_tpu: bool = fields.setting(False, "The same as --device=tpu: the TPU of this TPU VM.")
    cpu_devices: int = fields.setting(
        1,
        "Virtual devices that the CPU is divided into, with --device=cpu. Not faster; it behaves "
        "as this many GPUs would.",
        at_least=1,
    )

    @property
    def kind(self) -> str:
        """Kind of device: "auto", "cpu", "gpu" or "tpu"."""
        return "tpu" if self.use_tpu else self.device
