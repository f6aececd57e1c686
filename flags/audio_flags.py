"""How sound becomes frames: fixed when a dataset is made, known to every later command."""

from absl import flags

from lstm_gen.config.audio import AudioConfig

_SAMPLE_RATE = flags.DEFINE_integer(
    "sample_rate",
    AudioConfig.sample_rate,
    "Rate that recordings are resampled to, Hz, 1000 to 384000. Songs come out at this rate; half "
    "of it is the highest pitch that can be heard.",
)
_REPRESENTATION = flags.DEFINE_enum(
    "representation",
    AudioConfig.representation,
    ["log_mel", "log_stft", "complex_stft", "waveform"],
    "What a frame holds. log_mel: loudness of mel bands, few values and near to hearing, inverted "
    "by estimation. log_stft: loudness of every bin. complex_stft: the same with phase, inverted "
    "exactly. waveform: hop_length samples, as they are.",
)
_N_FFT = flags.DEFINE_integer(
    "n_fft",
    AudioConfig.n_fft,
    "Length of the analysis window, samples, even, 16 to 65536. Longer tells low notes apart; "
    "shorter tells when a note begins. A waveform has none.",
)
_HOP_LENGTH = flags.DEFINE_integer(
    "hop_length",
    AudioConfig.hop_length,
    "Samples from one frame to the next, 1 to n_fft / 2. n_fft / 4 inverts well; smaller means "
    "more frames to model per second. Of a waveform, the samples in a frame, up to 65536.",
)
_N_MELS = flags.DEFINE_integer(
    "n_mels",
    AudioConfig.n_mels,
    "Mel bands per frame, the values that a model predicts; 1 to n_fft / 2. 80 is coarse. "
    "log_mel only, as are fmin_hz and fmax_hz.",
)
_N_BINS = flags.DEFINE_integer(
    "n_bins",
    AudioConfig.n_bins,
    "Bins kept of log_stft and complex_stft, from 0 Hz up, at most 1 + n_fft / 2; 0 for all. "
    "1024 of 1025 make a model's shapes even; what is left out is silent when inverted.",
)
_PHASE = flags.DEFINE_enum(
    "phase",
    AudioConfig.phase,
    ["instantaneous_frequency", "real_imaginary"],
    "How complex_stft holds phase. instantaneous_frequency: loudness and step of phase of every "
    "bin, smooth where notes are. real_imaginary: both parts of every bin.",
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
_NORMALISATION = flags.DEFINE_enum(
    "normalisation",
    AudioConfig.normalisation,
    ["standard", "min_max"],
    "How a model sees a channel. standard: mean 0 and deviation 1 over the training split. "
    "min_max: its extremes there become -1 and 1. Shards hold plain values either way.",
)


def config() -> AudioConfig:
    """Return the analysis that the flags ask for."""
    return AudioConfig(
        sample_rate=_SAMPLE_RATE.value,
        representation=_REPRESENTATION.value,
        n_fft=_N_FFT.value,
        hop_length=_HOP_LENGTH.value,
        n_mels=_N_MELS.value,
        fmin_hz=_FMIN_HZ.value,
        fmax_hz=_FMAX_HZ.value,
        n_bins=_N_BINS.value,
        phase=_PHASE.value,
        log_floor=_LOG_FLOOR.value,
        normalisation=_NORMALISATION.value,
    )
