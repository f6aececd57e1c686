"""Metrics of waveform models: reconstructions of held-out music, and songs drawn from a prior.

Reconstructions: signal-to-noise ratio, distance of log spectra beside that of the training split's
mean spectrum, and level. Songs: correlation with each other, offset, level and flatness beside
those of music.

Signals are float arrays [samples], full scale 1. Spectra are of Hann windows of 256 samples a
quarter apart, whatever the rate; 1e-6 is added to their powers.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from lstm_gen.dataset.input import excerpts
from lstm_gen.evaluation import inputs, metrics, table
from lstm_gen.generation import resynthesis
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

GAINS = (0.25, 0.5, 1.0, 2.0)
_N_FFT = 256
_FLOOR = 1e-6
_TINY = 1e-12
_LAGS = 128  # samples to either side, of the cross-correlation of two songs

Signals = Sequence[np.ndarray]

_RECONSTRUCTION_COLUMNS = (
    "held-out music",
    "step",
    "SNR, dB",
    "median window SNR, dB",
    "LSD, dB",
    "LSD of the mean spectrum, dB",
    "level slope",
    "level, dB",
    *(f"gain x{gain:g}, dB" for gain in GAINS),
)
_SONG_COLUMNS = (
    "songs",
    "correlation",
    "at the best lag",
    "DC / rms",
    "level, dB",
    "over held-out, dB",
    "level deviation, dB",
    "flatness",
)
_NOTE = (
    "SNR over all held-out samples, and the median over windows. LSD: log-spectral distance, of "
    "256 samples, beside that of the training split's mean spectrum. Slope: log output level over "
    "log input level. Gain: error of the output level when the input is scaled."
)


class Reconstruction(NamedTuple):
    """Metrics of held-out signals and their reconstructions.

    Attributes:
      snr_db: Power of all signals over that of all errors, dB.
      window_snr_db: The same of each window, the median.
      distance_db: Distance of log spectra, mean over frames.
      mean_distance_db: The same of the mean log spectrum of the training split.
      level_slope: Regression slope of the level of output windows on that of input windows; NaN
        for input windows of one level.
      level_db: Level of the output minus that of the input, dB.
      gain_db: For each of `GAINS`, the output's gain when the input is scaled by it, beyond that
        gain, dB; 0 for a model whose output level follows its input's.
    """

    snr_db: float
    window_snr_db: float
    distance_db: float
    mean_distance_db: float
    level_slope: float
    level_db: float
    gain_db: Mapping[float, float]


class Draws(NamedTuple):
    """Metrics of songs drawn from a prior, or of excerpts of music.

    Attributes:
      correlation: Mean of the absolute correlation of pairs.
      lagged_correlation: The same at the lag, within 128 samples, where it is largest.
      offset: Mean absolute offset (DC), over the signal's root mean square.
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


def evaluate(given: inputs.Inputs) -> list[table.Table]:
    """Measure models of the waveform: reconstructions of held-out music, and songs.

    Returns:
      A table of reconstructions, a row per run; one of songs, a row per prior, and of held-out
      music.

    Raises:
      InputError: If a run is not of a model of the waveform with latents.
    """
    reconstructions, songs = [], []
    for run in given.runs:
        errors.require(
            run.audio.representation == "waveform",
            "run_dir must be of a model with latents of representation waveform",
            run_dir=run.directory,
            model=run.settings.family,
        )
        reconstructions.append(_reconstruction_row(given, run))
        songs += _song_rows(given, run)
    return [
        table.Table(columns=_RECONSTRUCTION_COLUMNS, rows=reconstructions),
        table.Table(columns=_SONG_COLUMNS, rows=songs, notes=[_NOTE]),
    ]


def _reconstruction_row(given: inputs.Inputs, run: runs.Run) -> list[str]:
    """Return the metrics of a run's reconstructions."""
    dataset, model = given.dataset(run), given.load_latent_model(run)
    train, held_out = (
        [_signal(run, frames) for frames in inputs.frames_of(dataset, split)]
        for split in ("train", "validation")
    )

    def reconstruct(signal: np.ndarray) -> np.ndarray:
        frames = run.normalisation.apply(signal.reshape(1, -1, run.audio.hop_length))
        return _signal(run, resynthesis.reconstruct(model, frames, {})[0])

    window = run.window.timesteps * run.audio.hop_length
    found = measure_reconstruction(train, held_out, reconstruct, window)
    step, _ = inputs.validation(run)
    return [
        run.directory,
        str(step or ""),
        f"{found.snr_db:.2f}",
        f"{found.window_snr_db:.2f}",
        f"{found.distance_db:.2f}",
        f"{found.mean_distance_db:.2f}",
        f"{found.level_slope:.3f}",
        *(f"{value:+.2f}" for value in (found.level_db, *found.gain_db.values())),
    ]


def _song_rows(given: inputs.Inputs, run: runs.Run) -> list[list[str]]:
    """Return the metrics of held-out excerpts and of a run's songs from each prior."""
    settings = given.settings
    n_frames = round(settings.seconds * run.audio.frames_per_second)
    real = excerpts.draw(
        given.dataset(run), "validation", settings.n_songs, n_frames, settings.seed
    )
    songs = given.songs(run, settings.prior or run.settings.priors)
    reports = {
        title: measure_draws([_signal(run, frames) for frames in clips])
        for title, clips in [("held-out music", real), *songs]
    }
    level = reports["held-out music"].level_db
    return [
        [
            title,
            f"{found.correlation:.3f}",
            f"{found.lagged_correlation:.3f}",
            f"{found.offset:.4f}",
            f"{found.level_db:.1f}",
            f"{found.level_db - level:+.1f}",
            f"{found.level_spread_db:.1f}",
            f"{found.flatness:.4f}",
        ]
        for title, found in reports.items()
    ]


def _signal(run: runs.Run, frames: np.ndarray) -> np.ndarray:
    """Return the samples of normalised frames [frames, hop_length]."""
    return run.normalisation.undo(frames).reshape(-1)


def measure_reconstruction(
    train: Signals,
    held_out: Signals,
    reconstruct: Callable[[np.ndarray], np.ndarray],
    window: int,
) -> Reconstruction:
    """Compare held-out signals with their reconstructions.

    Args:
      train: Signals of the training split, for its mean spectrum.
      held_out: Signals that the model has not been trained on.
      reconstruct: From a signal to the model's reconstruction, of the same length.
      window: Samples of a window whose levels are compared.

    Raises:
      InputError: If no held-out signal has two windows.
    """
    found = [reconstruct(signal) for signal in held_out]
    wanted_windows, found_windows = (
        list(metrics.chunks(signals, window)) for signals in (held_out, found)
    )
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
        louder = found if gain == 1 else [reconstruct(gain * signal) for signal in held_out]
        gains[gain] = _power_db(louder) - _power_db(found) - 20 * float(np.log10(gain))
    return Reconstruction(
        snr_db=_power_db(held_out) - _power_db(residuals),
        window_snr_db=float(np.median(each)),
        distance_db=_distance(wanted, [log_spectra(signal) for signal in found]),
        mean_distance_db=_distance(wanted, [mean] * len(wanted)),
        level_slope=_slope(levels_in, levels_out),
        level_db=_power_db(found) - _power_db(held_out),
        gain_db=gains,
    )


def measure_draws(signals: Signals) -> Draws:
    """Measure two songs or more, all of one length."""
    errors.require(len(signals) > 1, "draws must be two or more", draws=len(signals))
    levels = [_power_db([signal]) for signal in signals]
    spectra = np.concatenate([_powers(signal) for signal in signals])[:, 1:-1]
    flatness = scipy.stats.gmean(spectra, axis=1) / spectra.mean(axis=1)
    centred = [signal - signal.mean() for signal in signals]
    pairs = list(itertools.combinations(centred, 2))
    offsets = [abs(float(signal.mean())) / max(_rms(signal), _TINY) for signal in signals]
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


def _power_db(signals: Signals) -> float:
    """Return the mean power of all samples, dB of full scale."""
    total = sum(float(np.square(signal, dtype=np.float64).sum()) for signal in signals)
    return float(10 * np.log10(total / sum(map(len, signals)) + _TINY))


def _slope(inputs_db: np.ndarray, outputs_db: np.ndarray) -> float:
    """Return the slope of the regression of output on input levels; NaN for constant inputs."""
    if np.ptp(inputs_db) == 0:
        return float("nan")
    return float(scipy.stats.linregress(inputs_db, outputs_db).slope)


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.square(signal, dtype=np.float64).mean()))


def _correlations(first: np.ndarray, second: np.ndarray, lags: int) -> np.ndarray:
    """Return the correlation of two signals of mean 0 at each lag, [2 * lags + 1]."""
    scale = len(first) * _rms(first) * _rms(second) + _TINY
    inner = second[lags : len(second) - lags]
    return np.correlate(first.astype(np.float64), inner.astype(np.float64), "valid") / scale
