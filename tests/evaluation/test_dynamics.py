"""Statistics of movement against scipy, closed forms and signals of known rate."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

from lstm_gen.evaluation import dynamics

_RATE = 43.0


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3000, 8))


def test_variance_ratio_is_the_square_of_a_scale_whatever_the_offset(frames: np.ndarray) -> None:
    assert dynamics.variance_ratio(3 * frames + 5, frames) == pytest.approx(9)
    assert dynamics.variance_ratio(0 * frames, frames) == 0
    assert np.isnan(dynamics.variance_ratio(frames, 0 * frames))


def test_variance_ratio_leaves_out_bands_that_are_constant_in_the_reference() -> None:
    rng = np.random.default_rng(1)
    moving = rng.normal(size=(500, 1))
    reference = np.concatenate([moving, 0 * moving], axis=1)
    assert dynamics.variance_ratio(rng.normal(size=(500, 1)) + 2 * reference, reference) > 4
    assert dynamics.variance_ratio(2 * reference, reference) == pytest.approx(4)


def test_changes_do_not_cross_clips() -> None:
    clips = [np.zeros((4, 2)), np.full((3, 2), 9.0)]
    changes = dynamics.changes(clips)
    assert changes.shape == (5, 2)
    assert np.all(changes == 0)


def test_kurtosis_is_the_median_of_scipys(frames: np.ndarray) -> None:
    frames = frames ** np.array([1, 1, 1, 3, 3, 3, 5, 5])
    oracle = np.median(scipy.stats.kurtosis(frames, axis=0, fisher=False))
    assert dynamics.kurtosis(frames) == pytest.approx(oracle, rel=1e-9)
    assert dynamics.kurtosis(np.zeros((10, 2))) == 0


def test_flux_counts_rises_only() -> None:
    changes = np.array([[1.0, -5.0], [2.0, 4.0]])
    np.testing.assert_array_equal(dynamics.flux(changes), [0.5, 3.0])


def test_wasserstein_is_scipys(frames: np.ndarray) -> None:
    left, right = frames[:, 0], np.exp(frames[:1234, 1])
    oracle = scipy.stats.wasserstein_distance(left, right)
    # 1000 quantiles stand for the whole distribution.
    assert dynamics.wasserstein(left, right) == pytest.approx(oracle, rel=0.01)


def test_loudness_is_the_log_of_the_power_summed_over_mels(frames: np.ndarray) -> None:
    mean, std = np.arange(8.0) - 6, np.linspace(0.5, 3, 8)
    oracle = scipy.special.logsumexp(frames * std + mean, axis=1)
    np.testing.assert_allclose(dynamics.loudness(frames, mean, std), oracle, rtol=1e-12)


def test_drift_compares_the_edges() -> None:
    ramp = np.arange(20 * 43) / _RATE  # 1 nat a second for 20 s: the edges are 15 s apart
    assert dynamics.drift([ramp, ramp], _RATE) == pytest.approx(15)
    assert dynamics.drift([ramp, -ramp], _RATE) == pytest.approx(0, abs=1e-9)
    short = ramp[: 4 * 43]
    assert dynamics.drift([short], _RATE) == pytest.approx(2)


def test_modulation_spectrum_places_a_rate_in_its_band_and_group() -> None:
    seconds = np.arange(20 * 43) / _RATE
    clip = np.zeros((len(seconds), 16))
    clip[:, 4:6] = np.sin(2 * np.pi * 4.0 * seconds)[:, np.newaxis]  # third of eight groups
    levels = dynamics.modulation_spectrum_db([clip], 258, _RATE)
    assert levels.shape == (9, 8)
    edges = 0.3 * 70 ** (np.arange(10) / 9)
    band = np.searchsorted(edges, 4.0) - 1
    assert np.argmax(levels) == 8 * band + 2
    still = np.delete(levels, 2, axis=1)
    np.testing.assert_allclose(still, still[0, 0])  # what never moves is at the floor


def test_modulation_level_of_white_noise_is_its_variance() -> None:
    noise = np.random.default_rng(2).normal(size=(60_000, 16))
    levels = dynamics.modulation_spectrum_db([noise], 258, _RATE)
    # Averaging levels over windows loses up to 1 dB in the bands of few bins, and the window's
    # mean taken away is movement of the slowest band.
    np.testing.assert_allclose(levels[3:], 0, atol=1.2)


def test_fewer_mels_than_groups_and_a_slow_frame_rate_are_fine() -> None:
    clip = np.random.default_rng(3).normal(size=(300, 3))
    levels = dynamics.modulation_spectrum_db([clip, clip[:10]], 60, 10.0)
    assert levels.shape == (9, 3)
    assert np.all(np.isfinite(levels))
