"""Baselines against closed forms: entropy rates, scipy densities, least squares by numpy."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from lstm_gen.evaluation import baselines
from lstm_gen.platform import errors

_CHANNELS = 5
_NAMES = (
    "static Gaussian",
    "copy last frame",
    "copy last frame, full covariance",
    "VAR(3), full covariance",
)


def _gaussian_entropy(covariance: np.ndarray) -> float:
    """Nats per dimension."""
    return 0.5 * (math.log(2 * math.pi * math.e) + np.linalg.slogdet(covariance)[1] / _CHANNELS)


@pytest.fixture(scope="module")
def process() -> dict[str, np.ndarray]:
    """A stable VAR(3) with correlated innovations, and its exact stationary covariance."""
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(_CHANNELS, _CHANNELS)) / 3 + np.eye(_CHANNELS) * 0.7
    innovation = mix @ mix.T
    lags = [
        scale * np.eye(_CHANNELS) + rng.normal(size=(_CHANNELS, _CHANNELS)) * 0.04
        for scale in (0.6, 0.2, -0.1)
    ]
    companion = np.zeros((3 * _CHANNELS, 3 * _CHANNELS))
    companion[:_CHANNELS] = np.concatenate(lags, axis=1)
    companion[_CHANNELS:, :-_CHANNELS] = np.eye(2 * _CHANNELS)
    assert np.max(np.abs(np.linalg.eigvals(companion))) < 0.95
    noise = np.zeros_like(companion)
    noise[:_CHANNELS, :_CHANNELS] = innovation
    stationary = scipy.linalg.solve_discrete_lyapunov(companion, noise)
    return {"lags": np.array(lags), "innovation": innovation, "stationary": stationary}


def _draw(process: dict[str, np.ndarray], n_frames: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.multivariate_normal(np.zeros(_CHANNELS), process["innovation"], n_frames + 200)
    frames = np.zeros((n_frames + 200, _CHANNELS))
    for t in range(3, len(frames)):
        known = frames[t - 3 : t][::-1]
        frames[t] = np.einsum("kij,kj->i", process["lags"], known) + noise[t]
    return frames[200:] + 2.0  # a mean that the predictors have to find


def test_scores_approach_the_entropies_of_a_known_process(process: dict[str, np.ndarray]) -> None:
    scores = baselines.fit_and_score([_draw(process, 60_000, 1)], [_draw(process, 60_000, 2)])

    now = process["stationary"][:_CHANNELS, :_CHANNELS]
    before = process["stationary"][:_CHANNELS, _CHANNELS : 2 * _CHANNELS]
    change = 2 * now - before - before.T
    expected = (
        _gaussian_entropy(np.diag(np.diag(now))),
        _gaussian_entropy(np.diag(np.diag(change))),
        _gaussian_entropy(change),
        _gaussian_entropy(process["innovation"]),
    )
    # 60,000 frames: the sampling error of a mean log density is about 0.003 per dimension.
    assert tuple(scores) == _NAMES
    np.testing.assert_allclose(list(scores.values()), expected, atol=0.01)


def test_scores_are_the_log_densities_of_the_fitted_predictors(
    process: dict[str, np.ndarray],
) -> None:
    train, held_out = _draw(process, 900, 4), _draw(process, 300, 5)
    scores = baselines.fit_and_score([train], [held_out])

    def rows(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = [frames[2:-1], frames[1:-2], frames[:-3], np.ones((len(frames) - 3, 1))]
        return np.concatenate(known, axis=1), frames[3:]

    weights = np.linalg.lstsq(*rows(train), rcond=None)[0]
    copies = [np.diff(frames[2:], axis=0) for frames in (train, held_out)]
    linear = [target - known @ weights for known, target in map(rows, (train, held_out))]
    centred = [frames[3:] - train[3:].mean(axis=0) for frames in (train, held_out)]
    oracle = {
        "static Gaussian": (centred, True),
        "copy last frame": (copies, True),
        "copy last frame, full covariance": (copies, False),
        "VAR(3), full covariance": (linear, False),
    }
    for name, ((fitted, scored), diagonal) in oracle.items():
        covariance = fitted.T @ fitted / len(fitted)
        if diagonal:
            covariance = np.diag(np.diag(covariance))
        density = scipy.stats.multivariate_normal(cov=covariance).logpdf(scored)
        # The ridge of 1e-4 moves the regression by less than this.
        assert scores[name] == pytest.approx(-density.mean() / _CHANNELS, abs=2e-4), name


def test_a_constant_band_scores_the_floor_and_no_more() -> None:
    rng = np.random.default_rng(0)
    moving = rng.normal(size=(4000, 1))
    train = np.concatenate([moving, np.full_like(moving, -1.3)], axis=1)
    alone = baselines.fit_and_score([moving], [moving])
    both = baselines.fit_and_score([train], [train])
    floor = 0.5 * math.log(2 * math.pi * 0.05**2)
    for name in _NAMES:
        # The regression sees the constant band beside its own constant: equal up to the ridge.
        assert 2 * both[name] == pytest.approx(alone[name] + floor, abs=1e-3), name


def test_two_equal_bands_are_bounded_by_the_floor() -> None:
    rng = np.random.default_rng(1)
    band = rng.normal(size=(4000, 1))
    frames = np.concatenate([band, band], axis=1)
    scores = baselines.fit_and_score([frames], [frames])
    floor = 0.5 * math.log(2 * math.pi * 0.05**2)
    change = scores["copy last frame"]
    assert 2 * scores["copy last frame, full covariance"] == pytest.approx(change + floor, abs=1e-6)


def test_segments_are_streamed_and_do_not_run_into_each_other() -> None:
    rng = np.random.default_rng(2)
    segments = [rng.normal(size=(n, 3)).astype(np.float16) for n in (50, 3, 80, 4)]
    expected = baselines.fit_and_score(segments, segments)
    streamed = baselines.fit_and_score(iter(segments), iter(segments))
    assert streamed == expected
    # A segment of three frames has no frame with three before it.
    without = [segment for segment in segments if len(segment) != 3]
    assert baselines.fit_and_score(without, without) == expected
    assert sum(baselines.count_scored(len(segment)) for segment in segments) == 47 + 77 + 1


def test_shift_scores_with_what_was_known_shift_frames_before() -> None:
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.normal(size=(40_000, 2)), axis=0)
    near = baselines.fit_and_score([walk], [walk])["copy last frame"]
    far = baselines.fit_and_score([walk], [walk], shift=4)["copy last frame"]
    # The variance of a random walk's change grows with the distance.
    assert far - near == pytest.approx(0.5 * math.log(4), abs=0.02)


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        ([], [np.zeros((9, 2))], "training split must have a segment of 4 frames"),
        ([np.zeros((9, 2))], [np.zeros((3, 2))], "held-out split must have a segment of 4 frames"),
        ([np.zeros((9, 2))], [np.zeros((9, 3))], "same channels"),
        ([np.zeros((9, 2)), np.zeros((9, 1))], [np.zeros((9, 2))], "same channels"),
    ],
)
def test_bad_segments_are_named(
    train: list[np.ndarray], held_out: list[np.ndarray], message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        baselines.fit_and_score(train, held_out)


def test_a_frame_is_not_predicted_from_itself() -> None:
    frames = [np.random.default_rng(0).standard_normal((30, 2))]
    with pytest.raises(errors.InputError, match="at least 1 to predict anything"):
        baselines.fit_and_score(frames, frames, shift=0)
