"""Metrics of frames against closed forms, plain loops, scipy and signals of known rate."""

import numpy as np
import pytest
import scipy.linalg

from lstm_gen.evaluation import metrics

_RATE = 43.0
_MELS = 6


def _noise(n_frames: int, seed: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n_frames, _MELS))


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3000, 8))


def test_variance_ratio_is_the_square_of_a_scale_whatever_the_offset(frames: np.ndarray) -> None:
    assert metrics.variance_ratio(3 * frames + 5, frames) == pytest.approx(9)
    assert metrics.variance_ratio(0 * frames, frames) == 0
    assert np.isnan(metrics.variance_ratio(frames, 0 * frames))


def test_variance_ratio_leaves_out_bands_that_are_constant_in_the_reference() -> None:
    rng = np.random.default_rng(1)
    moving = rng.normal(size=(500, 1))
    reference = np.concatenate([moving, 0 * moving], axis=1)
    assert metrics.variance_ratio(rng.normal(size=(500, 1)) + 2 * reference, reference) > 4
    assert metrics.variance_ratio(2 * reference, reference) == pytest.approx(4)


def test_differences_do_not_cross_clips() -> None:
    clips = [np.zeros((4, 2)), np.full((3, 2), 9.0)]
    found = metrics.differences(clips)
    assert found.shape == (5, 2)
    assert np.all(found == 0)


def test_kurtosis_is_the_fourth_moment_over_the_squared_variance(frames: np.ndarray) -> None:
    frames = frames ** np.array([1, 1, 1, 3, 3, 3, 5, 5])
    moments = [np.mean((frames - frames.mean(axis=0)) ** power, axis=0) for power in (2, 4)]
    oracle = np.median(moments[1] / moments[0] ** 2)
    assert metrics.kurtosis(frames) == pytest.approx(oracle, rel=1e-9)
    assert metrics.kurtosis(np.zeros((10, 2))) == 0
    assert metrics.kurtosis(np.append(frames[:, :2], np.ones((3000, 3)), axis=1)) == 0


def test_flux_counts_rises_only() -> None:
    changes = np.array([[1.0, -5.0], [2.0, 4.0]])
    np.testing.assert_array_equal(metrics.flux(changes), [0.5, 3.0])


def test_loudness_is_the_log_of_the_power_summed_over_mels(frames: np.ndarray) -> None:
    mean, std = np.arange(8.0) - 6, np.linspace(0.5, 3, 8)
    oracle = np.log(np.exp(frames * std + mean).sum(axis=1))
    np.testing.assert_allclose(metrics.loudness(frames, mean, std), oracle, rtol=1e-12)


def test_drift_compares_the_edges() -> None:
    ramp = np.arange(20 * 43) / _RATE  # 1 nat a second for 20 s: the edges are 15 s apart
    assert metrics.drift([ramp, ramp], _RATE) == pytest.approx(15)
    assert metrics.drift([ramp, -ramp], _RATE) == pytest.approx(0, abs=1e-9)
    short = ramp[: 4 * 43]
    assert metrics.drift([short], _RATE) == pytest.approx(2)


def test_modulation_spectrum_places_a_rate_in_its_band_and_group() -> None:
    seconds = np.arange(20 * 43) / _RATE
    clip = np.zeros((len(seconds), 16))
    clip[:, 4:6] = np.sin(2 * np.pi * 4.0 * seconds)[:, np.newaxis]  # third of eight groups
    levels = metrics.modulation_spectrum_db([clip], 258, _RATE)
    assert levels.shape == (9, 8)
    edges = 0.3 * 70 ** (np.arange(10) / 9)
    band = np.searchsorted(edges, 4.0) - 1
    assert np.argmax(levels) == 8 * band + 2
    still = np.delete(levels, 2, axis=1)
    np.testing.assert_allclose(still, still[0, 0])  # what never moves is at the floor


def test_modulation_level_of_white_noise_is_its_variance() -> None:
    noise = np.random.default_rng(2).normal(size=(60_000, 16))
    levels = metrics.modulation_spectrum_db([noise], 258, _RATE)
    # Averaging levels over windows loses up to 1 dB in the bands of few bins, and the window's
    # mean taken away is movement of the slowest band.
    np.testing.assert_allclose(levels[3:], 0, atol=1.2)


def test_fewer_mels_than_groups_and_a_slow_frame_rate_are_fine() -> None:
    clip = np.random.default_rng(3).normal(size=(300, 3))
    levels = metrics.modulation_spectrum_db([clip, clip[:10]], 60, 10.0)
    assert levels.shape == (9, 3)
    assert np.all(np.isfinite(levels))


def test_frechet_is_the_formula_with_scipys_matrix_root() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2, 5, 5))
    means, covariances = rng.normal(size=(2, 5)), factors @ factors.swapaxes(1, 2)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    oracle = np.sum((means[0] - means[1]) ** 2) + np.trace(covariances.sum(axis=0) - 2 * root)
    found = metrics.frechet((means[0], covariances[0]), (means[1], covariances[1]))
    assert found == pytest.approx(oracle, rel=1e-6)


def test_local_frechet_is_zero_for_the_training_clips_and_grows_with_the_scale() -> None:
    train = [_noise(800, 1), _noise(5, 2), _noise(900, 3)]
    louder = [2 * clip for clip in train]
    shifted = [clip + 7 for clip in train]
    same, scaled, moved = metrics.local_frechet([train, louder, shifted], train)
    assert same == pytest.approx(0, abs=1e-6)
    # (2 - 1)^2 of the variance in 32 components, of about 1 each.
    assert scaled == pytest.approx(32, rel=0.2)
    assert moved == pytest.approx(0, abs=1e-6)  # level is not texture


def test_many_stacks_are_thinned_without_moving_the_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, louder = [_noise(4000, 4), _noise(3000, 5)], [_noise(7000, 6, scale=2.0)]
    full = metrics.local_frechet([louder], train)[0]
    monkeypatch.setattr(metrics, "_MAX_STACKS", 3000)
    assert metrics.local_frechet([louder], train)[0] == pytest.approx(full, rel=0.05)


def test_repetition_of_a_loop_is_one_and_of_noise_is_low() -> None:
    loop = np.tile(_noise(60, 7), (6, 1))
    assert metrics.repetition([loop], 180, 60) == pytest.approx(1, abs=1e-5)
    # From 43 to 59 frames on there is something earlier, but not yet the period.
    assert 0.7 < metrics.repetition([loop], 180, 43) < 0.95
    assert metrics.repetition([_noise(360, 8)], 180, 43) < 0.35
    assert metrics.repetition([np.ones((360, _MELS))], 180, 43) == 0


def test_repetition_is_the_best_correlation_of_a_plain_loop() -> None:
    chunk = np.cumsum(_noise(120, 9), axis=0)
    n_patches, least = 120 - metrics.PATCH_FRAMES + 1, 43
    cut = [chunk[i : i + metrics.PATCH_FRAMES] for i in range(n_patches)]
    flat = np.array([(patch - patch.mean(axis=0)).ravel() for patch in cut])
    best = [
        max(np.corrcoef(flat[start], flat[i])[0, 1] for i in range(start - least + 1))
        for start in range(least, n_patches, 8)
    ]
    found = metrics.repetition([chunk], 120, least)
    assert found == pytest.approx(np.mean(best), abs=1e-5)


def test_repetition_of_clips_shorter_than_a_chunk_is_unknown() -> None:
    assert np.isnan(metrics.repetition([_noise(100, 10)], 180, 43))


def test_nearest_distance_finds_copies_wherever_they_are() -> None:
    train = [_noise(200, 11), _noise(20, 12), _noise(300, 13)]
    copies = [train[2][37 : 37 + 128]]
    other = [_noise(128, 14)]
    # float32 distances of about 14: a copy is within rounding of its source.
    assert metrics.nearest_distance(copies, train) == pytest.approx(0, abs=0.02)
    oracle = [
        min(
            np.linalg.norm(patch - clip[i : i + 32])
            for clip in train
            for i in range(len(clip) - 31)
        )
        for patch in metrics.chunks(other, 32)
    ]
    assert metrics.nearest_distance(other, train) == pytest.approx(np.median(oracle), rel=1e-5)


def test_chunks_leave_out_the_rest() -> None:
    chunks = list(metrics.chunks([np.arange(7), np.arange(2), np.arange(10, 16)], 3))
    np.testing.assert_array_equal(chunks, [[0, 1, 2], [3, 4, 5], [10, 11, 12], [13, 14, 15]])
