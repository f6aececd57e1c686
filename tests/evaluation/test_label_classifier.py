"""The label classifier: sounds of any length, their classes predicted."""

import numpy as np
import pytest
import tiny

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.evaluation import labels
from lstm_gen.platform import errors

PLAIN = normalisation.Normalisation(mean=np.zeros(8, np.float32), std=np.ones(8, np.float32))
QUIET = -11.0  # log power


def make_sound(kind: str, seed: int) -> np.ndarray:
    """Return a rising or a falling tone, or a steady one, of some length, in silence."""
    random = np.random.default_rng(seed)
    length, n_frames = int(random.integers(20, 40)), 60
    frames = np.full((n_frames, 8), QUIET)
    start = int(random.integers(0, n_frames - length))
    way = {"up": np.linspace(1, 6, length), "down": np.linspace(6, 1, length)}
    centre = way.get(kind, np.full(length, 3.5))[:, np.newaxis]
    tone = 6 * np.exp(-0.5 * (np.arange(8) - centre) ** 2) - 6
    frames[start : start + length] = tone + 0.5 * random.standard_normal((length, 8))
    return frames.astype(np.float32)


def make_set(first_seed: int, count: int) -> tuple[np.ndarray, list[str]]:
    names = [("up", "down", "flat")[index % 3] for index in range(count)]
    sounds = [make_sound(name, first_seed + index) for index, name in enumerate(names)]
    return labels.extract_features(sounds, tiny.AUDIO, PLAIN), names


def test_classes_are_predicted() -> None:
    classifier = labels.fit(*make_set(0, 60))
    held_out, names = make_set(1000, 60)
    assert classifier.classes == ("down", "flat", "up")
    predicted = classifier.predict(held_out)
    assert np.mean([one == other for one, other in zip(predicted, names, strict=True)]) > 0.9
    again = labels.fit(*make_set(0, 60)).predict(held_out)
    assert again == predicted


def test_silence_around_a_sound_and_its_level_do_not_matter() -> None:
    sound = make_sound("up", 1)
    shifted = np.concatenate([np.full((9, 8), QUIET, np.float32), sound])
    both = labels.extract_features([sound, shifted], tiny.AUDIO, PLAIN)
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)


def test_spread_is_the_distance_of_two_sounds_of_a_class() -> None:
    random = np.random.default_rng(0)
    names = ["one"] * 2000 + ["two"] * 2000
    rows = random.standard_normal((4000, 3)) + np.repeat([[0.0], [50.0]], 2000, axis=0)
    assert labels.spread(rows, names) == pytest.approx(np.sqrt(2 * 3), rel=0.03)
    assert np.isnan(labels.spread(rows[:1], ["one"]))


def test_one_class_and_waveforms_are_refused() -> None:
    features, _ = make_set(0, 6)
    with pytest.raises(errors.InputError, match="two classes"):
        labels.fit(features, ["one"] * 6)
    waves = AudioConfig(representation="waveform", hop_length=8)
    with pytest.raises(errors.InputError, match="logarithms of power"):
        labels.extract_features([make_sound("up", 1)], waves, PLAIN)
