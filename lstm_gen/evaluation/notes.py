"""Metrics of single notes: pitch, noise, and distance to a recorded note of the same labels.

All are of one note, float [samples], of any level. They complement each other: a pitch estimate
does not detect noise, and the fraction of energy on the harmonics does not detect an octave.
"""

import numpy as np
import scipy.fft
import scipy.signal
import scipy.stats

from lstm_gen.audio import frequency_scales, representations, stft
from lstm_gen.config.audio import AudioConfig

_LOWEST_HZ, _HIGHEST_HZ = 25.0, 2300.0
_YIN_FRAME = 2048
_TROUGH = 0.1  # of the normalised difference, below which a lag is a period
_SKIPPED_SECONDS = 0.1  # the attack, which has no pitch
_NEAR_CENTS, _NEAR_HZ = 35.0, 3.0
_FLOOR_DB = -80.0  # below the loudest bin
_N_FFT, _HOP = 1024, 256


def pitch_error_cents(samples: np.ndarray, sample_rate: int, midi: float) -> float:
    """Return the error of a note's pitch, the median of `yin`, from a MIDI note number, cents."""
    skipped = round(_SKIPPED_SECONDS * sample_rate)
    found = np.median(yin(samples[skipped:], sample_rate))
    return float(1200.0 * np.log2(found / frequency_scales.midi_to_hz(midi)))


def yin(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the fundamental frequency of each frame, Hz, float64 [frames].

    Frames are 2048 samples every 512, centred; f0 is searched from 25 to 2300 Hz.

    Source: de Cheveigne & Kawahara 2002; settings and edges as in librosa.yin.
    """
    window = _YIN_FRAME // 2
    least = max(int(sample_rate / _HIGHEST_HZ), 1)
    most = min(int(np.ceil(sample_rate / _LOWEST_HZ)), _YIN_FRAME - window - 1)
    padded = np.pad(np.asarray(samples, np.float64), _YIN_FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _YIN_FRAME)[:: _YIN_FRAME // 4]
    return np.array([sample_rate / _period(frame, window, least, most) for frame in frames])


def _period(frame: np.ndarray, window: int, least: int, most: int) -> float:
    """Return the period of a frame, samples."""
    length = scipy.fft.next_fast_len(len(frame) + window)
    spectrum = scipy.fft.rfft(frame, length)
    head = scipy.fft.rfft(frame[:window], length)
    products = scipy.fft.irfft(spectrum * np.conj(head), length)[: most + 1]
    sums = np.concatenate([[0.0], np.cumsum(np.square(frame))])
    energy = sums[window : window + most + 1] - sums[: most + 1]
    difference = np.maximum(energy[0] + energy - 2.0 * products, 0.0)
    lags = np.arange(1, most + 1)
    mean = np.cumsum(difference[1:]) / lags
    normalised = difference[1:] / np.maximum(mean, np.finfo(np.float64).tiny)
    values = normalised[least - 1 :]
    middle = values[1:-1]
    troughs = np.flatnonzero((middle < values[:-2]) & (middle <= values[2:])) + 1
    if values[0] < values[1]:
        troughs = np.concatenate([[0], troughs])
    low = troughs[values[troughs] < _TROUGH]
    best = int(low[0]) if low.size else int(np.argmin(values))
    return best + least + _vertex(values, best)


def _vertex(values: np.ndarray, index: int) -> float:
    """Return the offset from `index` of the minimum of the parabola through three values."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, here, after = values[index - 1 : index + 2]
    curvature = before + after - 2.0 * here
    shift = (before - after) / (2.0 * curvature) if curvature > 0 else 0.0
    return float(shift) if abs(shift) < 1 else 0.0


def harmonic_fraction(samples: np.ndarray, sample_rate: int, midi: float) -> float:
    """Return the fraction of energy within 35 cents, or 3 Hz, of the harmonics of a pitch."""
    windowed = samples * scipy.signal.get_window("hann", len(samples))
    power = np.square(np.abs(scipy.fft.rfft(windowed)))
    hz = np.arange(len(power)) * (sample_rate / len(samples))
    f0 = frequency_scales.midi_to_hz(midi)
    nearest = np.maximum(1.0, np.round(hz / f0)) * f0
    near = np.maximum(nearest * (2.0 ** (_NEAR_CENTS / 1200.0) - 1.0), _NEAR_HZ)
    total = float(power.sum())
    return float(power[np.abs(hz - nearest) <= near].sum() / total) if total else 0.0


def flatness(samples: np.ndarray) -> float:
    """Return the mean over frames of geometric over arithmetic mean power: 0 tone, 1 noise."""
    power = np.maximum(np.square(np.abs(_stft(samples))), 1e-10)
    return float(np.mean(scipy.stats.gmean(power, axis=1) / power.mean(axis=1)))


def decibels(samples: np.ndarray) -> np.ndarray:
    """Return the levels of a note, dB under its loudest bin, at least -80; [frames, bins]."""
    power = np.square(np.abs(_stft(samples)))
    loudest = float(power.max())
    if loudest == 0:
        return np.full(power.shape, _FLOOR_DB)
    return np.maximum(10.0 * np.log10(np.maximum(power / loudest, 1e-12)), _FLOOR_DB)


def distance_db(first: np.ndarray, second: np.ndarray) -> float:
    """Return the log-spectral distance of two `decibels`, root mean square over common frames."""
    n_frames = min(len(first), len(second))
    return float(np.sqrt(np.mean(np.square(first[:n_frames] - second[:n_frames]))))


def spread_db(levels: list[np.ndarray]) -> float:
    """Return the mean pairwise distance of several notes, dB; 0 for fewer than two."""
    pairs = [distance_db(a, b) for i, a in enumerate(levels) for b in levels[:i]]
    return float(np.mean(pairs)) if pairs else 0.0


def transpose(samples: np.ndarray, semitones: float) -> np.ndarray:
    """Return a note resampled to another pitch, and so to another length."""
    length = max(2, round(len(samples) * 2.0 ** (-semitones / 12.0)))
    return np.asarray(scipy.signal.resample(samples, length), np.float32)


def timbre(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return timbre features: mean mel levels of four parts of a note, and their deviation."""
    audio = AudioConfig(sample_rate=sample_rate, n_fft=_N_FFT, hop_length=_HOP, n_mels=40)
    peak = float(np.abs(samples).max()) or 1.0
    mel = representations.extract(samples / peak, audio)
    parts = [part.mean(axis=0) for part in np.array_split(mel, 4)]
    return np.concatenate([*parts, mel.std(axis=0)])


def _stft(samples: np.ndarray) -> np.ndarray:
    """Return the STFT of a note at peak 1, complex64 [frames, bins]."""
    peak = float(np.abs(samples).max()) or 1.0
    audio = AudioConfig(representation="log_stft", n_fft=_N_FFT, hop_length=_HOP)
    return stft.stft(np.asarray(samples / peak, np.float32), audio)
