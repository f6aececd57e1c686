"""How near waveforms that come back through a model are to what went in, and how draws sound.

Reconstructions: signal-to-noise ratio, distance of log spectra beside that of the training split's
mean spectrum, and whether the level is kept. Draws from a prior: whether they differ from each
other, and whether offset, level and tonality are those of music.

Signals are float arrays [samples], full scale 1. Spectra are of Hann windows of 256 samples a
quarter apart, whatever the rate; 1e-6 is added to their powers.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_gen.platform import errors

GAINS = (0.25, 0.5, 1.0, 2.0)
_N_FFT = 256
_FLOOR = 1e-6
_SMALLEST = 1e-12
_LAGS = 128  # samples to either side, over which two draws are laid on each other

Signals = Sequence[np.ndarray]


class Reconstruction(NamedTuple):
    """What was measured of held-out signals that went through a model.

    Attributes:
      snr_db: Power of all signals over that of all errors, dB.
      window_snr_db: The same of each window, the median.
      distance_db: Distance of log spectra, mean over frames.
      mean_distance_db: The same of the mean log spectrum of the training split.
      level_slope: Of the log level of windows that come out, over that of those that go in.
      level_db: Level of all that comes out, less that of all that goes in.
      gain_db: For each of `GAINS`, how much louder what comes out becomes when what goes in is
        made louder by that, beyond that; 0 for a level that is kept.
    """

    snr_db: float
    window_snr_db: float
    distance_db: float
    mean_distance_db: float
    level_slope: float
    level_db: float
    gain_db: Mapping[float, float]


class Draws(NamedTuple):
    """What was measured of signals that are drawn, or of music in their place.

    Attributes:
      correlation: Mean of the absolute correlation of pairs.
      lagged_correlation: The same at the lag, within 128 samples, where it is largest.
      offset: Mean absolute offset (DC), in the signal's own root mean square.
      level_db: Root mean square, mean over signals, dB of full scale.
      level_spread_db: Its standard deviation over signals.
      flatness: Spectral flatness, median over frames: 0 for tones, 0.56 for white noise.
    """

    correlation: float
    lagged_correlation: float
    offset: float
    level_db: float
    level_spread_db: float
    flatness: float


def measure_reconstruction(
    train: Signals,
    held_out: Signals,
    through: Callable[[np.ndarray], np.ndarray],
    window: int,
) -> Reconstruction:
    """Send held-out signals through a model and measure what comes out.

    Args:
      train: Signals of the training split, for its mean spectrum.
      held_out: Signals that the model has not been trained on.
      through: From a signal to what the model makes of it, as long.
      window: Samples of a window that levels are compared in.

    Raises:
      InputError: If no held-out signal has two windows.
    """
    found = [through(signal) for signal in held_out]
    wanted_windows, found_windows = _cut(held_out, window), _cut(found, window)
    errors.require(len(wanted_windows) > 1, "held-out signals must have two windows", window=window)
    residuals = [a - b for a, b in zip(held_out, found, strict=True)]
    each = [
        _power_db([a]) - _power_db([a - b])
        for a, b in zip(wanted_windows, found_windows, strict=True)
    ]
    mean = np.concatenate([log_spectra(signal) for signal in train]).mean(axis=0)
    wanted = [log_spectra(signal) for signal in held_out]
    levels_in, levels_out = (
        np.array([_power_db([one]) for one in windows])
        for windows in (wanted_windows, found_windows)
    )
    gains = {}
    for gain in GAINS:
        louder = found if gain == 1 else [through(gain * signal) for signal in held_out]
        gains[gain] = _power_db(louder) - _power_db(found) - 20 * float(np.log10(gain))
    return Reconstruction(
        snr_db=_power_db(held_out) - _power_db(residuals),
        window_snr_db=float(np.median(each)),
        distance_db=_distance(wanted, [log_spectra(signal) for signal in found]),
        mean_distance_db=_distance(wanted, [mean] * len(wanted)),
        level_slope=float(np.polyfit(levels_in, levels_out, 1)[0]),
        level_db=_power_db(found) - _power_db(held_out),
        gain_db=gains,
    )


def measure_draws(signals: Signals) -> Draws:
    """Measure two signals or more, all of one length."""
    errors.require(len(signals) > 1, "draws must be two or more", draws=len(signals))
    levels = [_power_db([signal]) for signal in signals]
    spectra = np.concatenate([_powers(signal) for signal in signals])[:, 1:-1]
    flatness = np.exp(np.log(spectra).mean(axis=1)) / spectra.mean(axis=1)
    centred = [signal - signal.mean() for signal in signals]
    pairs = list(itertools.combinations(centred, 2))
    offsets = [abs(float(signal.mean())) / max(_rms(signal), _SMALLEST) for signal in signals]
    return Draws(
        correlation=float(np.mean([abs(_correlations(a, b, 0)[0]) for a, b in pairs])),
        lagged_correlation=float(
            np.mean([np.abs(_correlations(a, b, _LAGS)).max() for a, b in pairs])
        ),
        offset=float(np.mean(offsets)),
        level_db=float(np.mean(levels)),
        level_spread_db=float(np.std(levels)),
        flatness=float(np.median(flatness)),
    )


def log_spectra(signal: np.ndarray) -> np.ndarray:
    """Return power in dB, [frames, bins], of a signal of 256 samples at least."""
    return 10 * np.log10(_powers(signal))


def _powers(signal: np.ndarray) -> np.ndarray:
    """Return the power of each bin, floor added, [frames, bins]."""
    errors.require(
        len(signal) >= _N_FFT, f"signals must be of {_N_FFT} samples or more", samples=len(signal)
    )
    frames = np.lib.stride_tricks.sliding_window_view(signal, _N_FFT)[:: _N_FFT // 4]
    window = np.hanning(_N_FFT + 1)[:-1]
    return np.square(np.abs(np.fft.rfft(frames * window))) + _FLOOR


def _distance(wanted: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """Return the root mean square difference over bins, mean over frames, dB."""
    each = [np.sqrt(np.square(a - b).mean(axis=1)) for a, b in zip(wanted, found, strict=True)]
    return float(np.concatenate(each).mean())


def _cut(signals: Signals, window: int) -> list[np.ndarray]:
    """Return whole windows of signals, one after the other."""
    return [
        signal[start : start + window]
        for signal in signals
        for start in range(0, len(signal) - window + 1, window)
    ]


def _power_db(signals: Signals) -> float:
    """Return the mean power of all samples, dB of full scale."""
    total = sum(float(np.square(signal, dtype=np.float64).sum()) for signal in signals)
    return float(10 * np.log10(total / sum(map(len, signals)) + _SMALLEST))


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.square(signal, dtype=np.float64).mean()))


def _correlations(first: np.ndarray, second: np.ndarray, lags: int) -> np.ndarray:
    """Return the correlation of two signals of mean 0 at each lag, [2 * lags + 1]."""
    scale = len(first) * _rms(first) * _rms(second) + _SMALLEST
    inner = second[lags : len(second) - lags]
    return np.correlate(first.astype(np.float64), inner.astype(np.float64), "valid") / scale
