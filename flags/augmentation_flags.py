"""Augmentation: how training windows are varied as they are read; off by default."""

from absl import flags

from lstm_gen.config.training import AugmentationConfig

_GAIN_DB = flags.DEFINE_float(
    "gain_db",
    AugmentationConfig.gain_db,
    "Make each window louder or quieter by up to this many dB, anew in each epoch; 0 for off. "
    "Where recordings differ in level for no musical reason, 6 is a start.",
)
_POLARITY = flags.DEFINE_boolean(
    "polarity",
    AugmentationConfig.polarity,
    "Change the sign of half of the windows, anew in each epoch, which nobody hears. For waveform, "
    "and complex_stft as real and imaginary parts.",
)
_SHIFT_MELS = flags.DEFINE_integer(
    "shift_mels",
    AugmentationConfig.shift_mels,
    "Move each window up or down by up to this many mel bands, anew in each epoch; 0 for off. "
    "For log_mel; nearly a transposition above 1 kHz, where bands widen with pitch. 1 is a start.",
)
_TRANSPOSE_SEMITONES = flags.DEFINE_float(
    "transpose_semitones",
    AugmentationConfig.transpose_semitones,
    "Transpose each window up or down by up to this many semitones, anew in each epoch; 0 for off. "
    "For log_stft. Labels stay, so not beside --condition=pitch.",
)


def config() -> AugmentationConfig:
    """Return the augmentation asked for."""
    return AugmentationConfig(
        gain_db=_GAIN_DB.value,
        polarity=_POLARITY.value,
        shift_mels=_SHIFT_MELS.value,
        transpose_semitones=_TRANSPOSE_SEMITONES.value,
    )
