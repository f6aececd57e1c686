"""How sound becomes frames: fixed when a dataset is made, known to every later command."""

from absl import flags

from lstm_gen.config import AudioConfig

_SAMPLE_RATE = flags.DEFINE_integer(
    "sample_rate",
    AudioConfig.sample_rate,
    "Rate that recordings are resampled to, Hz, 1000 to 384000. Songs come out at this rate; half "
    "of it is the highest pitch that can be heard.",
)
_N_FFT = flags.DEFINE_integer(
    "n_fft",
    AudioConfig.n_fft,
    "Length of the analysis window, samples, even, 16 to 65536. Longer tells low notes apart; "
    "shorter tells when a note begins.",
)
_HOP_LENGTH = flags.DEFINE_integer(
    "hop_length",
    AudioConfig.hop_length,
    "Samples from one frame to the next, 1 to n_fft / 2. n_fft / 4 inverts well; smaller means "
    "more frames to model per second.",
)
_N_MELS = flags.DEFINE_integer(
    "n_mels",
    AudioConfig.n_mels,
    "Mel bands per frame, the values that a model predicts; 1 to n_fft / 2. 80 is coarse.",
)
_FMIN_HZ = flags.DEFINE_float(
    "fmin_hz", AudioConfig.fmin_hz, "Lower edge of the lowest band, Hz, 0 or more."
)
_FMAX_HZ = flags.DEFINE_float(
    "fmax_hz",
    AudioConfig.fmax_hz,
    "Upper edge of the highest band, Hz, at most half the sample rate, which it is when not given.",
)
_LOG_FLOOR = flags.DEFINE_float(
    "log_floor",
    AudioConfig.log_floor,
    "Power added before the logarithm, above 0. What is quieter than this counts as silence; "
    "1e-5 suits recordings of full scale 1.",
)


def config() -> AudioConfig:
    """Return the analysis that the flags ask for."""
    return AudioConfig(
        sample_rate=_SAMPLE_RATE.value,
        n_fft=_N_FFT.value,
        hop_length=_HOP_LENGTH.value,
        n_mels=_N_MELS.value,
        fmin_hz=_FMIN_HZ.value,
        fmax_hz=_FMAX_HZ.value,
        log_floor=_LOG_FLOOR.value,
    )
