"""Joins: what is heard of an example inside a song is what is heard of it alone."""

import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.audio import normalisation, representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.notes import crossfade

AUDIO = AudioConfig(
    sample_rate=4000, representation="complex_stft", n_fft=128, hop_length=32, n_bins=40
)
FRAMES, BINS = 12, 40


@pytest.fixture
def spec() -> base.FrameSpec:
    random = np.random.default_rng(3)
    mean = random.standard_normal(2 * BINS).astype(np.float32)
    std = random.uniform(0.5, 2, 2 * BINS).astype(np.float32)
    statistics = normalisation.Normalisation(mean=mean, std=std)
    return base.FrameSpec(audio=AUDIO, timesteps=FRAMES, shift=0, statistics=statistics)


def make_examples(count: int, seed: int) -> np.ndarray:
    """Return spectra of examples, complex64 [count, frames, bins]."""
    random = np.random.default_rng(seed)
    parts = random.standard_normal((2, count, FRAMES, BINS))
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def to_frames(spectra: np.ndarray, spec: base.FrameSpec) -> np.ndarray:
    """Return each example as it is stored when it begins a recording, normalised."""
    power = np.log(np.abs(spectra) ** 2 + AUDIO.log_floor)
    phases = np.concatenate([power, np.angle(spectra) / np.pi], axis=-1).astype(np.float32)
    stored = np.stack([representations.as_segment(one, AUDIO) for one in phases])
    return np.asarray((stored - spec.mean) / spec.std, np.float32)


def to_spectrum(frames: np.ndarray, spec: base.FrameSpec) -> np.ndarray:
    return representations.InstantaneousFrequency(AUDIO).to_spectrum(frames * spec.std + spec.mean)[
        :, :BINS
    ]


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    """Assert that spectra are those of the same sound: phases are relative to its beginning."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_examples_one_after_another_are_as_they_are_alone(spec: base.FrameSpec) -> None:
    spectra = make_examples(6, 0)
    frames = to_frames(spectra, spec).reshape(2, 3, FRAMES, 2 * BINS)
    joined = crossfade.concatenate(tf.constant(frames), spec).numpy()
    for sequence, whole in enumerate(joined):
        assert_alike(to_spectrum(whole, spec), np.concatenate(spectra[3 * sequence :][:3]))


def test_a_fade_is_the_sum_of_both_and_leads_into_the_second(spec: base.FrameSpec) -> None:
    first, second = make_examples(2, 1), make_examples(2, 2)
    before, after = to_frames(first, spec), to_frames(second, spec)
    overlap = 3
    between = crossfade.crossfade(tf.constant(before), tf.constant(after), overlap, spec).numpy()
    assert between.shape == (2, overlap + 1, 2 * BINS)
    rest = [before[:, :-overlap], between, after[:, overlap + 1 :]]
    share = np.array([0.25, 0.5, 0.75])[:, np.newaxis]
    for index, whole in enumerate(np.concatenate(rest, axis=1)):
        mixed = np.sqrt(1 - share) * first[index, -overlap:]
        mixed = mixed + np.sqrt(share) * second[index, :overlap]
        expected = [first[index, :-overlap], mixed, second[index, overlap:]]
        assert_alike(to_spectrum(whole, spec), np.concatenate(expected))
