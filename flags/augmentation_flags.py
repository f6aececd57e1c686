"""Augmentation: how training windows are varied as they are read; off by default."""

from absl import flags

from lstm_gen.config import AugmentationConfig

_GAIN_DB = flags.DEFINE_float(
    "gain_db",
    AugmentationConfig.gain_db,
    "Make each window louder or quieter by up to this many dB, anew in each epoch; 0 for off. "
    "Where recordings differ in level for no musical reason, 6 is a start.",
)
_SHIFT_MELS = flags.DEFINE_integer(
    "shift_mels",
    AugmentationConfig.shift_mels,
    "Move each window up or down by up to this many mel bands, anew in each epoch; 0 for off. "
    "Nearly a transposition above 1 kHz, where bands widen with pitch; 1 or 2 is a start.",
)


def config() -> AugmentationConfig:
    """Return the augmentation asked for."""
    return AugmentationConfig(gain_db=_GAIN_DB.value, shift_mels=_SHIFT_MELS.value)
