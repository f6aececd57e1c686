"""Energy scores against closed forms and their own property; samples of a known VAR."""

import math
import types
import typing

import numpy as np
import pytest
import scipy.special
import scipy.stats

from lstm_gen.evaluation import baselines, energy, inputs, metrics
from lstm_gen.models import base
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs


def _crps(deviation: float, observed: np.ndarray) -> np.ndarray:
    """Return the score of a normal distribution of mean 0; Gneiting and Raftery 2007, eq. 21."""
    z = observed / deviation
    normal = scipy.stats.norm
    return deviation * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / math.sqrt(math.pi))


def test_scores_of_a_normal_distribution_are_those_of_its_closed_form() -> None:
    random = np.random.default_rng(0)
    observed = np.array([-2.0, 0.0, 0.3, 4.0])
    samples = random.normal(0, 1.5, (4000, 4, 1))
    found = metrics.energy_score(samples, observed[:, np.newaxis])
    # 4,000 samples: the standard error of a mean of |X - y| is about 1.5 * 0.6 / 63.
    np.testing.assert_allclose(found, _crps(1.5, observed), atol=0.05)
    marginal = metrics.marginal_energy_score(
        samples[:, 0], np.arange(4000), observed[:, np.newaxis]
    )
    assert marginal == pytest.approx(_crps(1.5, observed).mean(), abs=0.05)


def test_two_samples_are_enough_on_average() -> None:
    random = np.random.default_rng(1)
    dimensions = 6
    drawn = random.standard_normal((2, 20_000, dimensions))
    observed = random.standard_normal((20_000, dimensions))
    # Of two standard normal vectors, E|X - Y| is sqrt(2) times the mean of a chi variable.
    chi = math.sqrt(2) * scipy.special.gamma((dimensions + 1) / 2) / scipy.special.gamma(3)
    expected = math.sqrt(2) * chi / 2 / math.sqrt(dimensions)
    assert metrics.energy_score(drawn, observed).mean() == pytest.approx(expected, abs=0.01)


def test_the_score_is_independent_of_the_order_of_samples() -> None:
    random = np.random.default_rng(2)
    samples, observed = random.normal(size=(5, 3, 4)), random.normal(size=(3, 4))
    found = metrics.energy_score(samples, observed)
    by_pairs = [
        np.mean([np.sqrt(np.mean((a - y) ** 2)) for a in row])
        - np.mean(
            [np.sqrt(np.mean((row[i] - row[j]) ** 2)) for i in range(5) for j in range(5) if i != j]
        )
        / 2
        for row, y in zip(samples.swapaxes(0, 1), observed, strict=True)
    ]
    np.testing.assert_allclose(found, by_pairs)
    np.testing.assert_allclose(metrics.energy_score(samples[::-1], observed), found)


@pytest.mark.parametrize("change", ["shifted", "wide", "narrow", "independent"])
def test_the_true_distribution_scores_best(change: str) -> None:
    random = np.random.default_rng(3)
    factor = np.array([[1.0, 0.0], [0.9, 0.3]])

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal((*shape, 2)) @ factor.T

    observed = draw(8000)
    wrong = {
        "shifted": lambda: draw(4, 8000) + 0.5,
        "wide": lambda: 1.5 * draw(4, 8000),
        "narrow": lambda: 0.5 * draw(4, 8000),
        "independent": lambda: random.standard_normal((4, 8000, 2)) * np.sqrt([1, 0.9]),
    }[change]()
    gap = metrics.energy_score(wrong, observed) - metrics.energy_score(draw(4, 8000), observed)
    assert gap.mean() > 3 * gap.std() / math.sqrt(len(gap))
    owners = np.repeat(np.arange(50), 20)
    true, false = (
        metrics.marginal_energy_score(drawn, owners, observed[:1000])
        for drawn in (draw(1000), wrong[0, :1000])
    )
    if change != "independent":  # whose cost is within the error of a thousand draws
        assert false > true


def test_pairs_of_one_clip_do_not_count_unless_there_is_no_other() -> None:
    drawn = np.array([[0.0], [0.0], [2.0], [2.0]])
    observed = np.array([[1.0]])
    assert metrics.marginal_energy_score(drawn, np.array([0, 0, 1, 1]), observed) == 1 - 2 / 2
    alone = metrics.marginal_energy_score(drawn, np.zeros(4, int), observed)
    assert alone == pytest.approx(1 - (8 * 2 / 12) / 2)


@pytest.fixture(scope="module")
def var() -> baselines.VAR:
    """A stable process of two channels whose lags and covariance are known."""
    lags = [np.array([[0.5, 0.2], [0.0, 0.6]]), 0.1 * np.eye(2), -0.2 * np.eye(2)]
    weights = np.concatenate([*(lag.T for lag in lags), [[0.3, -0.1]]])
    return baselines.VAR(weights, np.array([[0.8, 0.0], [0.3, 0.5]]))


def _segments(var: baselines.VAR, n_frames: int, seed: int) -> list[np.ndarray]:
    frames = var.sample(np.zeros((4, 3, 2)), n_frames + 100, np.random.default_rng(seed))
    return list(frames[:, 100:])


def test_a_fit_to_samples_finds_the_process(var: baselines.VAR) -> None:
    found = baselines.fit_var(_segments(var, 20_000, 0))
    # 80,000 frames: the standard error of a coefficient is about 0.004.
    np.testing.assert_allclose(found.weights, var.weights, atol=0.02)
    np.testing.assert_allclose(found.factor @ found.factor.T, var.factor @ var.factor.T, atol=0.02)


def test_samples_have_the_mean_and_covariance_of_the_next_frame(var: baselines.VAR) -> None:
    history = np.random.default_rng(1).normal(size=(5, 2))
    drawn = var.sample(np.broadcast_to(history, (40_000, 5, 2)), 1, np.random.default_rng(2))[:, 0]
    known = np.concatenate([history[-1], history[-2], history[-3], [1]])
    np.testing.assert_allclose(drawn.mean(axis=0), known @ var.weights, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), var.factor @ var.factor.T, atol=0.02)


def test_frames_go_on_from_frames_sampled_before(var: baselines.VAR) -> None:
    still = baselines.VAR(var.weights, np.zeros((2, 2)))
    history = np.random.default_rng(1).normal(size=(3, 4, 2))
    whole = still.sample(history, 6, np.random.default_rng(0))
    first = still.sample(history, 2, np.random.default_rng(0))
    rest = still.sample(np.concatenate([history, first], axis=1), 4, np.random.default_rng(0))
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole)


def test_innovations_are_no_smaller_than_the_floor() -> None:
    frames = np.random.default_rng(0).normal(size=(2000, 1))
    twice = np.concatenate([frames, np.zeros_like(frames)], axis=1)
    found = baselines.fit_var([twice], sigma_floor=0.05)
    assert found.factor[1, 1] == pytest.approx(0.05)
    assert found.factor[0, 0] == pytest.approx(np.std(frames), rel=0.05)


def test_histories_that_do_not_fit_are_refused(var: baselines.VAR) -> None:
    for shape in ((2, 2), (5, 3), (2,)):
        with pytest.raises(errors.InputError, match="3 frames or more"):
            var.sample(np.zeros(shape), 1, np.random.default_rng(0))


def _examples(segments: list[np.ndarray]) -> list[inputs.Example]:
    return [inputs.Example(frames.astype(np.float32), {}) for frames in segments]


def test_histories_are_followed_by_what_follows_them_and_lie_within_segments() -> None:
    segments = [
        np.stack([np.full(2, 1000 * i) + t for t in range(n)]) for i, n in enumerate((90, 5, 60))
    ]
    found = energy.draw_histories(_examples(segments), 20)
    whole = np.concatenate([found.frames, found.following], axis=1)
    assert whole.shape[1:] == (24, 2)
    assert len(whole) == 67 + 37  # all that there are
    np.testing.assert_array_equal(np.diff(whole, axis=1), 1)
    many = energy.draw_histories(_examples([np.zeros((5000, 2))]), 20)
    assert len(many.frames) == 256
    short = energy.draw_histories(_examples([np.zeros((20, 2))]), 128)
    assert short.frames.shape[1] == 10
    with pytest.raises(errors.InputError, match="7 frames or more"):
        energy.draw_histories(_examples([np.zeros((6, 2))]), 128)


def test_the_process_itself_predicts_better_than_a_wrong_one(var: baselines.VAR) -> None:
    histories = energy.draw_histories(_examples(_segments(var, 400, 5)), 16)
    fitted = baselines.fit_var(_segments(var, 4000, 6))
    true, near, wide, still = (
        energy.score(energy.sample_var(one), histories).mean()
        for one in (
            var,
            fitted,
            baselines.VAR(var.weights, 3 * var.factor),
            baselines.VAR(var.weights, 0.1 * var.factor),
        )
    )
    assert near == pytest.approx(true, abs=0.02)
    assert min(wide, still) > true + 0.05


def test_songs_of_the_music_score_better_than_other_songs(var: baselines.VAR) -> None:
    held_out = _segments(var, 1000, 7)
    groups = {
        "held-out music": held_out,
        "same": _segments(var, 1000, 8),
        "loud": [2 * clip for clip in _segments(var, 1000, 9)],
        "drone": [np.zeros_like(clip) for clip in held_out],
        "broken": [np.full_like(clip, np.nan) for clip in held_out],
    }
    rows = energy.songs(groups, held_out).rows
    scores = {name: float(value) for name, value in rows}
    assert list(scores) == list(groups)
    assert scores["same"] < min(scores["loud"], scores["drone"], scores["broken"]) - 0.05


class _Echo:
    """A model that repeats the last frame of each primer, and adds the index of the song."""

    def generate(
        self, request: base.GenerationRequest, primer: np.ndarray, progress: base.Progress
    ) -> np.ndarray:
        progress(request.n_frames)
        assert len(primer) == request.n_songs <= 256
        assert request.sampling == base.Sampling()
        last = np.repeat(primer[:, -1:], request.n_frames, axis=1)
        return last + 1e-3 * (request.first_song + np.arange(request.n_songs))[:, None, None]


def test_a_model_continues_each_history_as_often_as_asked_with_draws_of_their_own() -> None:
    dataset = types.SimpleNamespace(conditioning={})
    examples = _examples([np.random.default_rng(0).normal(size=(900, 3))])
    histories = energy.draw_histories(examples, 10)
    model = typing.cast(base.AudioModel, _Echo())
    sampler = energy.sample_model(typing.cast(runs.Run, dataset), model, histories)
    sampled = sampler(histories.frames, 3)
    assert sampled.shape == (3, 256, 4, 3)
    last = histories.frames[:, -1]
    for index in range(3):
        songs = 1e-3 * (256 * index + np.arange(256))
        np.testing.assert_allclose(sampled[index, :, 2], last + songs[:, None], atol=1e-5)
