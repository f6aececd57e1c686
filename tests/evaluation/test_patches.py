"""Distances of short stretches against scipy's matrix root and plain loops."""

import numpy as np
import pytest
import scipy.linalg

from lstm_gen.evaluation import patches

_MELS = 6


def _noise(n_frames: int, seed: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(n_frames, _MELS))


def test_frechet_is_the_formula_with_scipys_matrix_root() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(2, 5, 5))
    means, covariances = rng.normal(size=(2, 5)), factors @ factors.swapaxes(1, 2)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    oracle = np.sum((means[0] - means[1]) ** 2) + np.trace(covariances.sum(axis=0) - 2 * root)
    found = patches.frechet((means[0], covariances[0]), (means[1], covariances[1]))
    assert found == pytest.approx(oracle, rel=1e-6)


def test_local_frechet_is_zero_for_the_training_clips_and_grows_with_the_scale() -> None:
    train = [_noise(800, 1), _noise(5, 2), _noise(900, 3)]
    louder = [2 * clip for clip in train]
    shifted = [clip + 7 for clip in train]
    same, scaled, moved = patches.local_frechet([train, louder, shifted], train)
    assert same == pytest.approx(0, abs=1e-6)
    # (2 - 1)^2 of the variance in 32 components, of about 1 each.
    assert scaled == pytest.approx(32, rel=0.2)
    assert moved == pytest.approx(0, abs=1e-6)  # level is not texture


def test_many_stacks_are_thinned_without_moving_the_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, louder = [_noise(4000, 4), _noise(3000, 5)], [_noise(7000, 6, scale=2.0)]
    full = patches.local_frechet([louder], train)[0]
    monkeypatch.setattr(patches, "_MAX_STACKS", 3000)
    assert patches.local_frechet([louder], train)[0] == pytest.approx(full, rel=0.05)


def test_repetition_of_a_loop_is_one_and_of_noise_is_low() -> None:
    loop = np.tile(_noise(60, 7), (6, 1))
    assert patches.repetition([loop], 180, 60) == pytest.approx(1, abs=1e-5)
    # From 43 to 59 frames on there is something earlier, but not yet the period.
    assert 0.7 < patches.repetition([loop], 180, 43) < 0.95
    assert patches.repetition([_noise(360, 8)], 180, 43) < 0.35
    assert patches.repetition([np.ones((360, _MELS))], 180, 43) == 0


def test_repetition_is_the_best_correlation_of_a_plain_loop() -> None:
    piece = np.cumsum(_noise(120, 9), axis=0)
    n_patches, least = 120 - patches.PATCH_FRAMES + 1, 43
    cut = [piece[i : i + patches.PATCH_FRAMES] for i in range(n_patches)]
    flat = np.array([(patch - patch.mean(axis=0)).ravel() for patch in cut])
    best = [
        max(np.corrcoef(flat[start], flat[i])[0, 1] for i in range(start - least + 1))
        for start in range(least, n_patches, 8)
    ]
    found = patches.repetition([piece], 120, least)
    assert found == pytest.approx(np.mean(best), abs=1e-5)


def test_repetition_of_clips_shorter_than_a_piece_is_unknown() -> None:
    assert np.isnan(patches.repetition([_noise(100, 10)], 180, 43))


def test_nearest_distance_finds_copies_wherever_they_are() -> None:
    train = [_noise(200, 11), _noise(20, 12), _noise(300, 13)]
    copies = [train[2][37 : 37 + 128]]
    other = [_noise(128, 14)]
    # float32 distances of about 14: a copy is within rounding of its source.
    assert patches.nearest_distance(copies, train) == pytest.approx(0, abs=0.02)
    oracle = [
        min(
            np.linalg.norm(patch - clip[i : i + 32])
            for clip in train
            for i in range(len(clip) - 31)
        )
        for patch in patches.cut(other, 32)
    ]
    assert patches.nearest_distance(other, train) == pytest.approx(np.median(oracle), rel=1e-5)


def test_cut_leaves_out_the_rest() -> None:
    pieces = list(patches.cut([np.arange(7), np.arange(2), np.arange(10, 16)], 3))
    np.testing.assert_array_equal(pieces, [[0, 1, 2], [3, 4, 5], [10, 11, 12], [13, 14, 15]])
