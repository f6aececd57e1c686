"""Figures of notes: held against librosa, and against notes whose faults are known."""

import librosa
import numpy as np
import pytest

from lstm_gen.audio import frequency_scales
from lstm_gen.evaluation import labels, notes

RATE = 16000


def tone(midi: float, harmonics: int = 8, seconds: float = 1.0, noise: float = 0.0) -> np.ndarray:
    turns = np.arange(round(seconds * RATE)) / RATE * frequency_scales.midi_to_hz(midi)
    parts = [np.cos(2 * np.pi * h * turns + h) / h for h in range(1, harmonics + 1)]
    hiss = np.random.default_rng(0).standard_normal(turns.size)
    return (0.1 * np.sum(parts, axis=0) + noise * hiss).astype(np.float32)


@pytest.mark.parametrize("midi", [28, 45.3, 60, 72, 84])
def test_yin_agrees_with_librosa(midi: float) -> None:
    samples = tone(midi, noise=0.003)
    found = notes.yin(samples, RATE)
    expected = librosa.yin(samples, fmin=25, fmax=2300, sr=RATE, frame_length=2048)
    assert found.shape == expected.shape
    cents = 1200 * np.abs(np.log2(found / expected))
    assert np.median(cents) < 3
    # A period of a dozen samples is known no better.
    assert abs(notes.pitch_error_cents(samples, RATE, midi)) < 15
    assert notes.pitch_error_cents(samples, RATE, midi - 1) == pytest.approx(100, abs=15)


def test_harmonic_fraction_detects_noise_and_other_notes_but_no_octave() -> None:
    samples = tone(57)
    assert notes.harmonic_fraction(samples, RATE, 57) > 0.99
    assert notes.harmonic_fraction(tone(69), RATE, 57) > 0.99
    assert notes.harmonic_fraction(samples, RATE, 58) < 0.1
    # Of a low note's, 35 cents about each high harmonic are most of the spectrum.
    assert notes.harmonic_fraction(tone(81, noise=0.2), RATE, 81) < 0.6
    assert notes.harmonic_fraction(np.zeros(1000), RATE, 57) == 0


def test_flatness_is_librosas() -> None:
    for noise in (0.0, 0.01, 1.0):
        samples = tone(57, noise=noise)
        samples = samples / np.abs(samples).max()
        expected = librosa.feature.spectral_flatness(
            y=samples, n_fft=1024, hop_length=256, pad_mode="constant"
        )
        assert notes.flatness(samples) == pytest.approx(float(expected.mean()), rel=1e-3)


def test_distance_knows_no_level_and_counts_decibels() -> None:
    samples = tone(57)
    here = notes.decibels(samples)
    assert (here.max(), here.min()) == (0, -80)
    assert notes.distance_db(here, notes.decibels(0.01 * samples)) < 0.01
    assert notes.distance_db(here, np.maximum(here - 3, -80)) <= 3
    assert notes.distance_db(here, here + 3) == pytest.approx(3)
    assert notes.distance_db(here, notes.decibels(np.zeros(16000))) > 3
    assert notes.spread_db([here, here, here + 3]) == pytest.approx(2)
    assert notes.spread_db([here]) == 0


def test_transposed_notes_have_the_other_pitch() -> None:
    moved = notes.transpose(tone(57), 4)
    assert moved.size == round(RATE * 2 ** (-4 / 12))
    assert abs(notes.pitch_error_cents(moved, RATE, 61)) < 5


def test_timbres_can_be_classified() -> None:
    examples = [
        (notes.timbre(tone(midi, harmonics, 0.5), RATE), name)
        for midi in range(40, 70)
        for name, harmonics in (("pure", 1), ("soft", 4), ("sharp", 12))
    ]
    features, names = np.stack([a for a, _ in examples]), [b for _, b in examples]
    predicted = labels.fit(features[::2], names[::2]).predict(features[1::2])
    assert labels.accuracy(names[1::2], predicted) > 0.9
