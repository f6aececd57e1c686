"""Struck bars and strings, and drums, as single notes."""

import numba
import numpy as np
from scipy import signal

from lstm_gen.audio import frequency_scales
from tools.example_recordings import strings

_PARTIALS, _HIGHEST_HZ = 12, 10_000.0
_INHARMONICITY = 0.0004  # of a piano's middle strings
_STRIKE_POSITION = 0.12  # from the end, as a fraction of the string
_ATTACK_SECONDS = 0.002
_DRUM_SECONDS = 0.35


def strike(
    pitch: float, velocity: float, ring_seconds: float, random: np.random.Generator
) -> np.ndarray:
    """Return one struck note: float64 [samples]; its RMS is about the velocity as it begins.

    Partials are stretched as those of a stiff string; high ones decay faster, and a hard stroke
    has more of them.
    """
    n_samples = round((ring_seconds + strings.RELEASE_SECONDS) * strings.SAMPLE_RATE)
    frequency_hz = frequency_scales.midi_to_hz(pitch)
    numbers = np.arange(1, _PARTIALS + 1)
    partials_hz = frequency_hz * numbers * np.sqrt(1 + _INHARMONICITY * numbers**2)
    numbers, partials_hz = (one[partials_hz < _HIGHEST_HZ] for one in (numbers, partials_hz))
    gains = numbers ** -(1.9 - 0.9 * velocity) * np.abs(np.sin(np.pi * _STRIKE_POSITION * numbers))
    gains *= velocity * np.sqrt(2) / np.sqrt(np.square(gains).sum())
    decay_seconds = 2.1 * (262.0 / frequency_hz) ** 0.5 / (1 + 0.3 * (numbers - 1))
    turns = np.exp(2j * np.pi * partials_hz / strings.SAMPLE_RATE)
    turns *= 10 ** (-3 / (decay_seconds * strings.SAMPLE_RATE))
    phases = gains * np.exp(2j * np.pi * random.uniform(size=len(numbers)))
    sound = _sum(
        phases.real.copy(), phases.imag.copy(), turns.real.copy(), turns.imag.copy(), n_samples
    )
    attack = round(_ATTACK_SECONDS * strings.SAMPLE_RATE)
    sound[:attack] *= np.linspace(0, 1, len(sound[:attack]))
    hammer = _noise(min(n_samples, 1500), 400.0, 0.004, random)
    sound[: len(hammer)] += 0.25 * velocity**2 * hammer
    return np.asarray(sound)


def drum(name: str, velocity: float, random: np.random.Generator) -> np.ndarray:
    """Return a stroke of a "kick", a "brush" or a "hat": float64 [samples]."""
    n_samples = round(_DRUM_SECONDS * strings.SAMPLE_RATE)
    seconds = np.arange(n_samples) / strings.SAMPLE_RATE
    if name == "kick":
        turns = np.cumsum(50 + 90 * np.exp(-seconds / 0.025)) / strings.SAMPLE_RATE
        return np.asarray(velocity * np.sin(2 * np.pi * turns) * np.exp(-seconds / 0.08))
    if name == "brush":
        return velocity * _noise(n_samples, 900.0, 0.05, random)
    return velocity * _noise(n_samples, 6000.0, 0.02, random)


def _noise(
    n_samples: int, above_hz: float, decay_seconds: float, random: np.random.Generator
) -> np.ndarray:
    """Return noise above a frequency that decays, with an RMS of 1 as it begins."""
    coefficients = signal.butter(2, above_hz, "highpass", fs=strings.SAMPLE_RATE)
    noise = signal.lfilter(*coefficients, random.normal(size=n_samples))
    seconds = np.arange(n_samples) / strings.SAMPLE_RATE
    return np.asarray(noise * np.exp(-seconds / decay_seconds))


@numba.njit
def _sum(
    real: np.ndarray, imaginary: np.ndarray, turn: np.ndarray, side: np.ndarray, n_samples: int
) -> np.ndarray:
    """Return the sum of partials, each a phase that is turned and shrunk from sample to sample."""
    output = np.zeros(n_samples)
    for index in range(n_samples):
        for partial in range(len(real)):
            kept = real[partial]
            real[partial] = kept * turn[partial] - imaginary[partial] * side[partial]
            imaginary[partial] = kept * side[partial] + imaginary[partial] * turn[partial]
            output[index] += imaginary[partial]
    return output
