"""Statistics merge as if they had been taken at once, and what they make can be taken back."""

import json
from typing import Any

import numpy as np
import pytest

from lstm_gen.audio import normalisation
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig

MEL = AudioConfig(n_mels=3)


def statistics(*parts: Any, channels: int = 3) -> normalisation.Statistics:
    found = normalisation.Statistics.zero(channels)
    for part in parts:
        found.add(part)
    return found


def draw(n_frames: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal([-8, 0, 4], 2, (n_frames, 3))


def test_parts_merge_into_the_whole() -> None:
    parts = [draw(50, 1), draw(1, 2), draw(30, 3)]
    merged = statistics()
    for part in (parts[0], parts[0][:0], *parts[1:]):
        merged.merge(statistics(part))
    whole = np.concatenate(parts)
    assert merged.count == 81
    np.testing.assert_allclose(merged.total, whole.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(merged.squares, np.square(whole).sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(merged.low, whole.min(axis=0))
    np.testing.assert_array_equal(merged.high, whole.max(axis=0))


def test_merging_leaves_the_other_as_it_was() -> None:
    one, other = statistics(draw(5, 1)), statistics(draw(5, 2))
    before = other.to_dict()
    empty = statistics()
    empty.merge(other)
    empty.merge(one)
    assert other.to_dict() == before


@pytest.mark.parametrize("n_frames", [0, 7])
def test_json_keeps_them_to_the_bit(n_frames: int) -> None:
    found = statistics(draw(n_frames, 4) / 3)
    back = normalisation.Statistics.from_dict(json.loads(fields.to_json(found.to_dict())))
    assert back.count == found.count
    for name in ("total", "squares", "low", "high"):
        one, other = getattr(found, name), getattr(back, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("missing", ["count", "low"])
def test_what_is_not_whole_is_not_read(missing: str) -> None:
    values = statistics(draw(3, 5)).to_dict()
    del values[missing]
    with pytest.raises(KeyError):
        normalisation.Statistics.from_dict(values)


def test_standard_gives_mean_0_and_deviation_1_per_channel() -> None:
    frames = draw(500, 6)
    normal = statistics(frames).normalisation(MEL)
    seen = normal.apply(frames)
    assert seen.dtype == normal.mean.dtype == normal.std.dtype == np.float32
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(normal.undo(seen), frames, atol=1e-5)


def test_min_max_gives_minus_1_to_1_per_channel() -> None:
    frames = draw(500, 7)
    audio = AudioConfig(n_mels=3, normalisation="min_max")
    normal = statistics(frames).normalisation(audio)
    seen = normal.apply(frames)
    np.testing.assert_allclose(seen.min(axis=0), -1, atol=1e-6)
    np.testing.assert_allclose(seen.max(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(normal.undo(seen), frames, atol=1e-5)


@pytest.mark.parametrize("kind", ["standard", "min_max"])
def test_a_waveform_has_one_scale_for_all_channels(kind: str) -> None:
    audio = AudioConfig(representation="waveform", hop_length=3, normalisation=kind)
    frames = draw(400, 8) / 100
    normal = statistics(frames).normalisation(audio)
    assert np.unique(normal.mean).size == np.unique(normal.std).size == 1
    assert normal.mean.shape == (3,)
    seen = normal.apply(frames)
    found = (seen.mean(), seen.std()) if kind == "standard" else (seen.min(), seen.max())
    np.testing.assert_allclose(found, (0, 1) if kind == "standard" else (-1, 1), atol=1e-5)


def test_channels_that_never_change_are_harmless() -> None:
    for audio, least in (
        (AudioConfig(n_mels=4), [0.2] * 4),
        (AudioConfig(representation="complex_stft", n_bins=2), [0.2, 0.2, 0.05, 0.05]),
        (AudioConfig(representation="waveform", hop_length=4), [1e-6] * 4),
    ):
        normal = statistics(np.ones((9, 4)), channels=4).normalisation(audio)
        np.testing.assert_array_equal(normal.mean, 1)
        np.testing.assert_allclose(normal.std, least)


def test_bins_without_sound_are_not_blown_up() -> None:
    """A thousandth of the typical deviation is the least divisor where values are linear."""
    audio = AudioConfig(representation="complex_stft", phase="real_imaginary", n_bins=2)
    frames = np.random.default_rng(9).normal(0, [1, 1e-7, 1, 1e-7], (1000, 4))
    std = statistics(frames, channels=4).normalisation(audio).std
    np.testing.assert_allclose(std, [1, 7e-4, 1, 7e-4], rtol=0.1)
