"""Inversion benchmark: speed and mel error of log-mel inversion, beside librosa.

Both run in one process: ours uses one core, librosa's matrix products may use all. Material: ten
seconds of each recording in `../shared/data/music` if that folder exists, else of synthesised
notes.
"""

import functools
import pathlib
import statistics

import librosa
import numpy as np

from benchmarks import harness
from lstm_gen.audio import files, inversion, representations, stft
from lstm_gen.config.audio import AudioConfig

_AUDIO = AudioConfig()
_SECONDS = 10
_START_SECONDS = 20
_SYNTHESISED = 5
_RECORDINGS = pathlib.Path(__file__).parents[2] / "shared" / "data" / "music"
_FLOOR_DB = 80.0


def rows() -> list[harness.Row]:
    """Measure speed and mel error over the same excerpts.

    Returns:
      Two rows: the ratio of times, and the ratio of our mel error to librosa's.
    """
    times: dict[str, list[float]] = {name: [] for name in _CANDIDATES}
    errors_db: dict[str, list[float]] = {name: [] for name in _CANDIDATES}
    for samples in _excerpts():
        for name, (seconds, error_db) in _measure(
            samples, warmup=0 if times["ours"] else 1
        ).items():
            times[name].append(seconds)
            errors_db[name].append(error_db)
    baseline = "librosa mel_to_audio, 32 iterations"
    ours_db, theirs_db = (statistics.mean(errors_db[name]) for name in ("ours", "librosa"))
    return [
        harness.Row(
            what="inversion, 16 iterations, 22.05 kHz / 2048 / 512 / 128",
            baseline=baseline,
            value=harness.ratio(times["librosa"], times["ours"]),
            unit="x",
            target=10.0,
            detail=f"{statistics.median(times['ours']):.3f} s and "
            f"{statistics.median(times['librosa']):.2f} s for {_SECONDS} s of audio, "
            f"{len(times['ours'])} excerpts",
        ),
        harness.Row(
            what="inversion, mel error, mean of excerpts",
            baseline=baseline,
            value=ours_db / theirs_db,
            unit="x",
            target=0.2,
            at_least=False,
            detail=f"{ours_db:.3f} dB and {theirs_db:.3f} dB",
        ),
    ]


def _measure(samples: np.ndarray, warmup: int) -> dict[str, tuple[float, float]]:
    """Return each candidate's seconds and mel error, dB, for one excerpt."""
    log_mel = representations.extract(samples, _AUDIO)
    outputs: dict[str, np.ndarray] = {}

    def run(name: str) -> None:
        outputs[name] = _CANDIDATES[name](log_mel)

    runs = {name: functools.partial(run, name) for name in _CANDIDATES}
    times = harness.interleave(runs, rounds=1, warmup=warmup)
    power = stft.log_to_power(log_mel, _AUDIO)
    return {name: (times[name][0], mel_error_db(outputs[name], power)) for name in _CANDIDATES}


def mel_error_db(samples: np.ndarray, power: np.ndarray) -> float:
    """Return the mean absolute error of a signal's mel power, dB.

    Powers are floored 80 dB below the loudest target.
    """
    floor = power.max() * 10 ** (-_FLOOR_DB / 10)
    length = (len(power) - 1) * _AUDIO.hop_length
    reached = stft.log_to_power(representations.extract(samples[:length], _AUDIO), _AUDIO)
    ratio = np.maximum(reached, floor) / np.maximum(power, floor)
    return float(np.abs(10 * np.log10(ratio)).mean())


def _invert(log_mel: np.ndarray) -> np.ndarray:
    """Return our inversion."""
    return inversion.invert(log_mel, _AUDIO, n_iterations=16)


def _invert_with_librosa(log_mel: np.ndarray) -> np.ndarray:
    """Return librosa's inversion of the same mel power."""
    return librosa.feature.inverse.mel_to_audio(
        stft.log_to_power(log_mel, _AUDIO).T,
        sr=_AUDIO.sample_rate,
        n_fft=_AUDIO.n_fft,
        hop_length=_AUDIO.hop_length,
        power=2.0,
        n_iter=32,
    )


def _excerpts() -> list[np.ndarray]:
    """Return signals of ten seconds, float32 [samples]."""
    recordings = sorted(
        str(path) for path in _RECORDINGS.glob("*") if path.suffix in files.EXTENSIONS
    )
    if not recordings:
        return [make_notes(seed) for seed in range(_SYNTHESISED)]
    start = _START_SECONDS * _AUDIO.sample_rate
    stop = start + _SECONDS * _AUDIO.sample_rate
    return [files.read(path, _AUDIO.sample_rate)[start:stop] for path in recordings]


def make_notes(seed: int) -> np.ndarray:
    """Return decaying harmonic notes, four a second."""
    random = np.random.default_rng(seed)
    signal = np.zeros(_SECONDS * _AUDIO.sample_rate, np.float32)
    seconds = np.arange(_AUDIO.sample_rate) / _AUDIO.sample_rate
    for start in range(0, signal.size - seconds.size + 1, _AUDIO.sample_rate // 4):
        pitch_hz = 110 * 2 ** (random.integers(0, 36) / 12)
        for harmonic in range(1, 9):
            tone = np.sin(2 * np.pi * pitch_hz * harmonic * seconds + random.uniform(0, 6.28))
            decay = np.exp(-seconds * (2 + harmonic))
            signal[start : start + seconds.size] += 0.1 / harmonic * tone * decay
    return signal


_CANDIDATES = {"ours": _invert, "librosa": _invert_with_librosa}
