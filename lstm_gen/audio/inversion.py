"""Inversion of log-mel frames, or of a magnitude alone, to a waveform; deterministic.

A mel spectrogram lacks the distribution of power within each band, and all phase. `invert`
estimates both together. It starts from a smooth spectrum with exactly the given mel and a phase
integrated from that spectrum's own gradients; each iteration then makes the spectrum consistent
(the transform of a signal), extrapolates the change, and restores the mel of every frame.
`griffin_lim` is the simple alternative: the estimated magnitude stays, and only the phase is
refined. `refine` does that for a spectrum.

Sources: Griffin & Lim 1984; Perraudin, Balazs & Sondergaard 2013 (extrapolation); Richardson
1972, Lucy 1974 and Lee & Seung 2001 (the multiplicative step that restores the mel);
Prusa, Balazs & Sondergaard 2017 (phase from the magnitude's gradients; ours integrates
frame by frame without their heap); Masuyama et al. 2023 (estimating magnitude and phase
jointly). The schedule is our own.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft

from lstm_gen.audio import frequency_scales, inversion_kernels, start_spectrum, stft
from lstm_gen.config.audio import INVERSION_ITERATIONS, AudioConfig
from lstm_gen.platform import errors

START_STEPS = 10
_LONGEST_EARLY = 16
_FITS = 4
# A Hann window is near the Gaussian exp(-pi t^2 / gamma) of gamma = 0.25645 n_fft^2.
GAMMA = 0.25645


class _Bank(NamedTuple):
    """A mel filter bank in the form of the kernels; each bin feeds at most two bands.

    Attributes:
      segments: uint64 [n_mels + 2], the first bin at or above each band edge.
      rising: float32 [bins], weight in the band whose centre lies above.
      falling: float32 [bins], weight in the band whose centre lies below.
      blend: float32 [bins], the rising weight's fraction of both.
    """

    segments: np.ndarray
    rising: np.ndarray
    falling: np.ndarray
    blend: np.ndarray


class Step(NamedTuple):
    """Settings of one iteration.

    Attributes:
      momentum: Extrapolation of the consistent spectrum's last change.
      consistency: Fraction of the consistent spectrum in the new power; the rest is the start's.
      over_relax: Whether mel steps are over-relaxed (their ratio to the power 1.5).
      n_fits: Mel steps.
    """

    momentum: float
    consistency: float
    over_relax: bool
    n_fits: int


GRIFFIN_LIM = Step(0.99, 0.0, False, 0)
_NO_BANK = _Bank(np.zeros(2, np.uint64), *(np.zeros(0, np.float32) for _ in range(3)))


def invert(
    log_mel: np.ndarray,
    audio: AudioConfig,
    n_iterations: int = INVERSION_ITERATIONS["standard"],
    n_samples: int | None = None,
) -> np.ndarray:
    """Return a waveform that has these log-mel frames.

    Args:
      log_mel: float [frames, n_mels], natural logarithms.
      audio: The analysis that made (or a model that imitates) them.
      n_iterations: Iterations; see `INVERSION_ITERATIONS`. Time grows in proportion.
      n_samples: Length of the waveform; (frames - 1) * hop_length by default.

    Returns:
      float32 [n_samples]; the same for the same arguments.

    Raises:
      InputError: If the frames are not finite or do not have `n_mels` bands.
    """
    return _render(log_mel, audio, schedule(n_iterations), n_samples)


def griffin_lim(log_mel: np.ndarray, audio: AudioConfig, n_iterations: int = 32) -> np.ndarray:
    """Return a waveform of these log-mel frames by fast Griffin-Lim alone.

    Args:
      log_mel: float [frames, n_mels], natural logarithms.
      audio: The analysis that made them.
      n_iterations: Iterations.

    Returns:
      float32 [(frames - 1) * hop_length].

    Raises:
      InputError: If the frames are not finite or do not have `n_mels` bands.
    """
    return _render(log_mel, audio, [GRIFFIN_LIM] * n_iterations, None)


def estimate_spectrum(power: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return a spectrum of this power, its phase estimated from the power's gradients.

    Args:
      power: float32 [frames, 1 + n_fft // 2].
      audio: Gives `n_fft` and `hop_length`.

    Returns:
      complex64 [frames, 1 + n_fft // 2].
    """
    log_magnitude = np.log(power + np.float32(1e-20)) * np.float32(0.5)
    phase = np.empty_like(power)
    gamma = GAMMA * audio.n_fft**2
    inversion_kernels.integrate_phase(log_magnitude, audio.hop_length, audio.n_fft, gamma, phase)
    magnitude = np.sqrt(power)
    spectrum = np.empty(power.shape, np.complex64)
    spectrum.real = magnitude * np.cos(phase)
    spectrum.imag = magnitude * np.sin(phase)
    return spectrum


def refine(
    spectrum: np.ndarray, audio: AudioConfig, n_iterations: int, n_samples: int
) -> np.ndarray:
    """Return the waveform closest to a spectrum, its phase refined by fast Griffin-Lim.

    Args:
      spectrum: complex64 [frames, 1 + n_fft // 2], as `stft.stft` returns it; its magnitude stays.
      audio: Gives `n_fft` and `hop_length`.
      n_iterations: Iterations; 0 for the plain inverse transform.
      n_samples: Length of the waveform; zero beyond the frames.

    Returns:
      float32 [n_samples].
    """
    loudest = np.float32(np.abs(spectrum).max())
    if loudest == 0:
        return np.zeros(n_samples, np.float32)
    scaled = spectrum / loudest
    power = np.square(scaled.real) + np.square(scaled.imag)
    nothing = np.zeros((len(scaled), 0), np.float32)
    n_inside = _n_inside(len(scaled), audio, n_samples)
    signal = _search(
        scaled, power, nothing, _NO_BANK, audio, [GRIFFIN_LIM] * n_iterations, n_inside
    )
    return np.pad(signal * loudest, (0, max(0, n_samples - n_inside)))[:n_samples]


def schedule(n_iterations: int) -> list[Step]:
    """Return the steps of `invert`: large at first, for attacks; at last the mel alone counts."""
    n_early = min(n_iterations // 2, _LONGEST_EARLY)
    n_late = n_iterations // 4
    early = [Step(1.1, 0.97, False, _FITS)] * n_early
    middle = [Step(0.99, 0.97, True, _FITS)] * (n_iterations - n_early - n_late)
    return early + middle + [Step(0.99, 1.0, True, _FITS)] * n_late


def _render(
    log_mel: np.ndarray,
    audio: AudioConfig,
    schedule: Sequence[Step],
    n_samples: int | None,
) -> np.ndarray:
    """Return the waveform of log-mel frames by a schedule of steps."""
    log_mel = np.asarray(log_mel, np.float32)
    errors.require(
        log_mel.ndim == 2 and log_mel.shape[1] == audio.n_mels and len(log_mel) > 0,
        "log_mel must be [frames, n_mels] with at least one frame",
        shape=log_mel.shape,
        n_mels=audio.n_mels,
    )
    loudest = float(log_mel.max())
    # NaN and infinity fail both; no recording comes near e^60, and squares of it overflow.
    errors.require(
        bool(np.isfinite(log_mel).all()) and loudest < 60,
        "log_mel must be finite and below 60",
        largest=loudest,
    )
    wanted = (len(log_mel) - 1) * audio.hop_length if n_samples is None else n_samples
    n_inside = _n_inside(len(log_mel), audio, wanted)
    signal = np.zeros(max(wanted, n_inside), np.float32)
    mel = stft.log_to_power(log_mel, audio)
    scale = float(mel.max())
    if scale > 0:
        signal[:n_inside] = _iterate(mel / np.float32(scale), audio, schedule, n_inside)
    return signal[:wanted] * np.float32(np.sqrt(scale))


def _n_inside(n_frames: int, audio: AudioConfig, n_samples: int) -> int:
    """Return the length, closest to `n_samples`, of a signal that has this number of frames."""
    covered = (n_frames - 1) * audio.hop_length
    return min(max(covered, n_samples), covered + audio.hop_length - 1)


def _iterate(
    mel: np.ndarray, audio: AudioConfig, schedule: Sequence[Step], n_samples: int
) -> np.ndarray:
    """Return the waveform, float32 [n_samples], of mel power [frames, n_mels] of at most 1."""
    start = _start_power(mel, audio)
    spectrum = estimate_spectrum(start, audio)
    return _search(spectrum, start, mel, _bank(audio), audio, schedule, n_samples)


def _search(
    spectrum: np.ndarray,
    start: np.ndarray,
    mel: np.ndarray,
    bank: _Bank,
    audio: AudioConfig,
    schedule: Sequence[Step],
    n_samples: int,
) -> np.ndarray:
    """Return the waveform after all steps from `spectrum`, changed in place, of power `start`."""
    gain = _synthesis_gain(len(mel), audio, n_samples)
    previous = spectrum.copy()
    for step in schedule:
        signal = _inverse(spectrum, gain, audio)
        for block in stft.frame_blocks(len(mel)):
            inversion_kernels.joint_step(
                _forward(signal, block, audio),
                previous[block],
                start[block],
                mel[block],
                *bank,
                *step,
                start_spectrum.EPSILON,
                spectrum[block],
            )
    return _inverse(spectrum, gain, audio)[_inside(audio, n_samples)]


def _start_power(mel: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return a smooth power spectrum, float32 [frames, bins], that has the mel power."""
    power = start_spectrum.power(mel, audio)
    inversion_kernels.fit_mel(power, mel, *_bank(audio), START_STEPS, start_spectrum.EPSILON)
    return power


@functools.cache
def _bank(audio: AudioConfig) -> _Bank:
    """Return the bank in the form of the kernels."""
    bank = frequency_scales.filter_bank(audio)
    n_bins = bank.shape[1]
    edges_hz = frequency_scales.band_edges(audio)
    bins_hz = np.linspace(0, audio.sample_rate / 2, n_bins)
    segments = np.searchsorted(bins_hz, edges_hz)
    above = np.searchsorted(segments, np.arange(n_bins), side="right") - 1
    padded = np.pad(bank, ((1, 2), (0, 0)))  # row i + 1 is band i
    rising = np.where(above >= 0, padded[above + 1, np.arange(n_bins)], np.float32(0))
    falling = np.where(above >= 0, padded[above, np.arange(n_bins)], np.float32(0))
    blend = rising / np.maximum(rising + falling, np.float32(1e-30))
    return _Bank(segments.astype(np.uint64), rising, falling, blend)


def _inside(audio: AudioConfig, n_samples: int) -> slice:
    """Return the part of a padded signal between its paddings."""
    return slice(audio.n_fft // 2, audio.n_fft // 2 + n_samples)


def _synthesis_gain(n_frames: int, audio: AudioConfig, n_samples: int) -> np.ndarray:
    """Return the inverse of the overlap-added squared windows, float32 [padded samples].

    The analysis pads the signal with zeros, so the gain outside of it is 0.
    """
    window = stft.hann_window(audio.n_fft)
    weight = np.zeros((n_frames - 1) * audio.hop_length + audio.n_fft, np.float32)
    for block in stft.frame_blocks(n_frames):
        windows = np.tile(window, (block.stop - block.start, 1))
        inversion_kernels.overlap_add(windows, window, audio.hop_length, block.start, weight)
    gain = np.zeros_like(weight)
    inside = _inside(audio, n_samples)
    gain[inside] = 1 / np.maximum(weight[inside], np.float32(1e-6))
    return gain


def _inverse(spectrum: np.ndarray, gain: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return the padded signal, float32 [padded samples], closest to a spectrum."""
    window = stft.hann_window(audio.n_fft)
    signal = np.zeros_like(gain)
    for block in stft.frame_blocks(len(spectrum)):
        frames = scipy.fft.irfft(spectrum[block], n=audio.n_fft, axis=-1, workers=1)
        inversion_kernels.overlap_add(frames, window, audio.hop_length, block.start, signal)
    signal *= gain
    return signal


def _forward(signal: np.ndarray, block: slice, audio: AudioConfig) -> np.ndarray:
    """Return the spectrum of a run of frames of a padded signal, complex64 [frames, bins]."""
    frames = np.empty((block.stop - block.start, audio.n_fft), np.float32)
    window = stft.hann_window(audio.n_fft)
    inversion_kernels.cut_frames(signal, window, audio.hop_length, block.start, frames)
    return scipy.fft.rfft(frames, axis=-1, workers=1, overwrite_x=True)
