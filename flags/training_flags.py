"""Training: how long, how fast, and what is looked at on the way."""

from absl import flags

from flags import device_flags
from lstm_gen.config.training import MonitorConfig, TrainingConfig

_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", TrainingConfig.batch_size, "Windows per step, over all devices together."
)
_STEPS = flags.DEFINE_integer(
    "steps",
    TrainingConfig.steps,
    "Optimizer steps in all; a run that is started again goes on to this step.",
)
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", TrainingConfig.learning_rate, "Highest learning rate, after the warm-up."
)
_WARMUP_STEPS = flags.DEFINE_integer(
    "warmup_steps", TrainingConfig.warmup_steps, "Steps over which the rate rises from 0."
)
_FINAL_LEARNING_RATE_FRACTION = flags.DEFINE_float(
    "final_learning_rate_fraction",
    TrainingConfig.final_learning_rate_fraction,
    "Share of the rate that the cosine decay ends at.",
)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm", TrainingConfig.clip_norm, "Largest global norm of the gradients; 0 for none."
)
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", TrainingConfig.weight_decay, "Decoupled weight decay (AdamW); 0 for none."
)
_EMA = flags.DEFINE_float(
    "ema",
    TrainingConfig.ema,
    "Validate, listen and generate with a running average of the weights, which is calmer than "
    "the last ones: 0.999 spans about 1000 steps, 0.99 about 100; far fewer than --steps. 0: off.",
)
_ACCUMULATE = flags.DEFINE_integer(
    "accumulate",
    TrainingConfig.accumulate,
    "Work a batch off in this many parts: for a batch_size that the memory cannot hold at once.",
)
_SEED = flags.DEFINE_integer(
    "seed", TrainingConfig.seed, "Of the weights, the order of the windows and every draw."
)
_STEPS_PER_CALL = flags.DEFINE_integer(
    "steps_per_call", MonitorConfig.steps_per_call, "Steps on the device between two looks."
)
_VALIDATE_EVERY_STEPS = flags.DEFINE_integer(
    "validate_every_steps", MonitorConfig.validate_every_steps, "Steps between validations."
)
_CHECKPOINT_EVERY_STEPS = flags.DEFINE_integer(
    "checkpoint_every_steps", MonitorConfig.checkpoint_every_steps, "Steps between checkpoints."
)
_SAMPLE_EVERY_STEPS = flags.DEFINE_integer(
    "sample_every_steps",
    MonitorConfig.sample_every_steps,
    "Steps between free rollouts, written as WAV and PNG and logged to TensorBoard; 0 for none.",
)
_HISTOGRAM_EVERY_STEPS = flags.DEFINE_integer(
    "histogram_every_steps",
    MonitorConfig.histogram_every_steps,
    "Steps between histograms of every weight in TensorBoard; 0 for none.",
)
_SAMPLE_SECONDS = flags.DEFINE_float(
    "sample_seconds", MonitorConfig.sample_seconds, "Length of such a rollout."
)
_N_SAMPLES = flags.DEFINE_integer("n_samples", MonitorConfig.n_samples, "Rollouts at a time.")
_PATIENCE = flags.DEFINE_integer(
    "patience",
    MonitorConfig.patience,
    "Validations without a better one before training stops early; 0 for never.",
)
_BEST_WEIGHTS = flags.DEFINE_boolean(
    "best_weights",
    MonitorConfig.best_weights,
    "Keep the weights of the best validation for generation; --nobest_weights keeps the last.",
)
_KEEP_CHECKPOINTS = flags.DEFINE_integer(
    "keep_checkpoints", MonitorConfig.keep_checkpoints, "Checkpoints kept."
)


_FRESH = flags.DEFINE_boolean(
    "fresh",
    False,
    "Begin again: delete what an earlier training left in run_dir, saying what. Without it a run "
    "goes on, and one that has lost its checkpoints is an error.",
)


def fresh() -> bool:
    """Return whether to begin again."""
    return _FRESH.value


def config() -> TrainingConfig:
    """Return how to train."""
    return TrainingConfig(
        batch_size=_BATCH_SIZE.value,
        steps=_STEPS.value,
        learning_rate=_LEARNING_RATE.value,
        warmup_steps=_WARMUP_STEPS.value,
        final_learning_rate_fraction=_FINAL_LEARNING_RATE_FRACTION.value,
        clip_norm=_CLIP_NORM.value,
        weight_decay=_WEIGHT_DECAY.value,
        ema=_EMA.value,
        accumulate=_ACCUMULATE.value,
        seed=_SEED.value,
        precision=device_flags.precision(),
    )


def monitor_config() -> MonitorConfig:
    """Return what to look at while training."""
    return MonitorConfig(
        steps_per_call=_STEPS_PER_CALL.value,
        validate_every_steps=_VALIDATE_EVERY_STEPS.value,
        checkpoint_every_steps=_CHECKPOINT_EVERY_STEPS.value,
        sample_every_steps=_SAMPLE_EVERY_STEPS.value,
        histogram_every_steps=_HISTOGRAM_EVERY_STEPS.value,
        sample_seconds=_SAMPLE_SECONDS.value,
        n_samples=_N_SAMPLES.value,
        patience=_PATIENCE.value,
        best_weights=_BEST_WEIGHTS.value,
        keep_checkpoints=_KEEP_CHECKPOINTS.value,
    )
