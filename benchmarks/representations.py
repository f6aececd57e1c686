"""Representation benchmark: reconstruction error of each round trip, worst of all recordings.

Material: whole recordings in `../shared/data/music` and 16-bit notes in `../shared/data/notes` if
the folder exists, else synthesised notes.
"""

import functools
import pathlib
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile

from benchmarks import harness, inversion
from lstm_gen.audio import files, representations, stft
from lstm_gen.config.audio import AudioConfig

_DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"
_SYNTHESISED = 3
_SEARCHED_SECONDS = 10
_PICKED_NOTES = 40

Figure = Callable[[np.ndarray], float]


def rows() -> list[harness.Row]:
    """Return the error of every round trip.

    Returns:
      Rows of the worst recording: SNR with phase, magnitude error without, differing samples.
    """
    music, notes = _read_music(), _read_notes()
    return [
        _row("complex_stft, float32", music, _snr_db(_of("complex_stft"), "float32"), "dB SNR", 60),
        _row("complex_stft, float16", music, _snr_db(_of("complex_stft"), "float16"), "dB SNR", 40),
        _row(
            "complex_stft, float16, real_imaginary",
            music,
            _snr_db(_of("complex_stft", phase="real_imaginary"), "float16"),
            "dB SNR",
            40,
        ),
        _row(
            "complex_stft, float16, 1024 of 1025 bins",
            music,
            _snr_db(_of("complex_stft", n_bins=1024), "float16"),
            "dB SNR",
            40,
        ),
        _row("log_stft, float16, magnitude above the floor", music, _off_db, "dB", 0.1, False),
        _row(
            "log_stft, signal after 16 iterations, error of its magnitude",
            [samples[: _SEARCHED_SECONDS * _RATE] for samples in music],
            _spectral_distance,
            "of the norm",
            0.1,
            False,
        ),
        _row("waveform, float32", music, _different("float32"), "samples differ", 0, False),
        _row("waveform, int16", notes, _different("int16"), "samples differ", 0, False),
    ]


def _row(
    what: str,
    recordings: list[np.ndarray],
    figure: Figure,
    unit: str,
    target: float,
    at_least: bool = True,
) -> harness.Row:
    """Return the row of the worst figure over recordings; the median is in its detail."""
    figures = [figure(samples) for samples in recordings]
    longest = max(samples.size for samples in recordings) / _RATE
    return harness.Row(
        what=what,
        baseline="the recording",
        value=min(figures) if at_least else max(figures),
        unit=unit,
        target=target,
        at_least=at_least,
        detail=f"worst of {len(figures)}, median {statistics.median(figures):.3g}, the longest "
        f"{longest:.0f} seconds",
    )


def _of(representation: str, **values: Any) -> AudioConfig:
    """Return the default analysis of a representation."""
    return AudioConfig(representation=representation, **values)


def _round_trip(samples: np.ndarray, audio: AudioConfig, dtype: str) -> np.ndarray:
    """Return a signal after analysis and inversion, float32 of the same length."""
    frames = representations.extract(samples, audio, dtype)
    return representations.invert(frames, audio, n_samples=samples.size)


def _snr_db(audio: AudioConfig, dtype: str) -> Figure:
    """Return a function that computes the SNR of a round trip, dB."""

    def figure(samples: np.ndarray) -> float:
        error = np.square(samples.astype(np.float64) - _round_trip(samples, audio, dtype)).sum()
        return float(10 * np.log10(np.square(samples.astype(np.float64)).sum() / error))

    return figure


def _off_db(samples: np.ndarray) -> float:
    """Return the largest error of stored magnitudes above the floor, dB."""
    audio = _of("log_stft")
    power = representations.LogStft(audio).bin_power(
        representations.extract(samples, audio, "float16")
    )
    true = np.square(np.abs(stft.stft(samples, audio)))
    above = true > audio.log_floor
    return float(np.abs(10 * np.log10(power[above] / true[above])).max())


def _spectral_distance(samples: np.ndarray) -> float:
    """Return the relative error of the reconstructed signal's magnitude (spectral convergence)."""
    audio = _of("log_stft")
    back = _round_trip(samples, audio, "float16")
    true, reached = (np.abs(stft.stft(one, audio)) for one in (samples, back))
    return float(np.linalg.norm(true - reached) / np.linalg.norm(true))


def _different(dtype: str) -> Figure:
    """Return a function that counts the samples of a round trip that differ in any bit."""
    audio = _of("waveform")

    def figure(samples: np.ndarray) -> float:
        return float(np.count_nonzero(_round_trip(samples, audio, dtype) != samples))

    return figure


_RATE = AudioConfig.sample_rate


@functools.cache
def _read_music() -> list[np.ndarray]:
    """Return whole recordings, float32 [samples]."""
    found = sorted((_DATA / "music").glob("*"))
    if not found:
        return [inversion.make_notes(seed) for seed in range(_SYNTHESISED)]
    return [files.read(str(path), _RATE) for path in found if path.suffix in files.EXTENSIONS]


def _read_notes() -> list[np.ndarray]:
    """Return 16-bit signals at their own sample rates."""
    found = sorted((_DATA / "notes").glob("*.flac"))
    if not found:
        return [np.round(one * 32768) / np.float32(32768) for one in _read_music()]
    step = max(1, len(found) // _PICKED_NOTES)
    return [soundfile.read(path, dtype="float32")[0] for path in found[::step]]
