"""Priors: what is drawn is as what was fitted, and draws are those of their songs."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.latents import gmm, priors
from lstm_gen.platform import errors

pytestmark = pytest.mark.usefixtures("without_xla")
SEED = rng.seed_from(3, rng.SONGS, 0)
DIGIT = base.Condition(name="digit", kind="class", n_values=3)


def make(size: int = 2, **settings: object) -> priors.Priors:
    layer = priors.Priors(size, **settings)  # type: ignore[arg-type]
    layer.build()
    return layer


def make_walk(n_steps: int, seed: int, turn: float = 0.6) -> np.ndarray:
    """Return latents that turn and are disturbed: each says much about the next."""
    random = np.random.default_rng(seed)
    rotation = 0.9 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    walk = np.zeros((n_steps, 2))
    for index in range(1, n_steps):
        walk[index] = rotation @ walk[index - 1] + 0.4 * random.standard_normal(2)
    return (walk * [1.0, 3.0] + [5.0, -2.0]).astype(np.float32)


def draw(layer: priors.Priors, kind: str, n_steps: int = 2000, n_songs: int = 4) -> np.ndarray:
    return layer.draw(kind, n_steps, SEED, n_songs, 1.0)


def correlation(steps: np.ndarray, lag: int) -> float:
    """Return how the first latent goes with the second some steps later."""
    return float(np.corrcoef(steps[:-lag, 0], steps[lag:, 1])[0, 1])


def test_a_mixture_finds_the_clusters_that_there_are() -> None:
    random = np.random.default_rng(1)
    centres = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    rows = np.concatenate(
        [
            centre + random.standard_normal((count, 2))
            for centre, count in zip(centres, (100, 200, 300), strict=True)
        ]
    )
    found = gmm.fit(rows, 3, seed=0)
    order = np.argsort(found.weights)
    np.testing.assert_allclose(found.weights[order], [1 / 6, 2 / 6, 3 / 6], atol=0.01)
    np.testing.assert_allclose(found.means[order], centres, atol=0.3)
    np.testing.assert_allclose(found.covariances, np.eye(2) * np.ones((3, 1, 1)), atol=0.4)
    again = gmm.fit(rows, 3, seed=0)
    np.testing.assert_array_equal(again.means, found.means)


def test_one_component_is_the_gaussian_of_the_rows() -> None:
    rows = make_walk(500, 1).astype(np.float64)
    found = gmm.fit(rows, 1, seed=0)
    np.testing.assert_allclose(found.means[0], rows.mean(axis=0), rtol=1e-4)
    regular = np.cov(rows.T, bias=True) + 0.01 * np.eye(2)
    np.testing.assert_allclose(found.covariances[0], regular, rtol=1e-6)


def test_a_conditional_density_is_the_joint_over_the_marginal() -> None:
    random = np.random.default_rng(2)
    roots = random.standard_normal((3, 5, 5))
    joint = gmm.Mixture(
        np.array([0.2, 0.3, 0.5]), random.standard_normal((3, 5)), roots @ roots.swapaxes(1, 2)
    )
    marginal = gmm.Mixture(joint.weights, joint.means[:, :2], joint.covariances[:, :2, :2])
    found = gmm.condition(joint, 2)
    first, last = random.standard_normal((1, 2)), random.standard_normal((1, 3))
    expected = density(np.hstack([first, last]), joint) / density(first, marginal)
    apart = first[0] - found.given_means
    white = np.einsum("kij,kj->ki", found.whiteners, apart)
    shares = found.weights * np.exp(-0.5 * np.sum(white**2, axis=1))
    means = found.means + np.einsum("kij,ki->kj", found.gains, apart)
    given = gmm.Mixture(shares / shares.sum(), means, found.covariances)
    assert density(last, given) == pytest.approx(expected, rel=1e-6)


def density(row: np.ndarray, mixture: gmm.Mixture) -> float:
    """Return the density of one row, [1, size]."""
    parts = zip(*mixture, strict=True)
    return sum(
        weight * stats.multivariate_normal(mean, cov).pdf(row) for weight, mean, cov in parts
    )


def test_a_sequence_never_leaves_what_was_seen() -> None:
    """One that gains at every step would be gone after a hundred of them."""
    growing = [(1.06 ** np.arange(60)[:, np.newaxis] * [[0.1, 0.2]]).astype(np.float32)] * 8
    layer = make()
    layer.fit(growing)
    drawn = draw(layer, "sequence", 500)
    assert drawn.max() <= growing[0].max() * 1.01
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("kind", ["sequence", "gmm", "gaussian"])
def test_what_is_drawn_spreads_as_what_was_fitted(kind: str) -> None:
    known = [make_walk(2000, seed) for seed in range(4)]
    layer = make()
    layer.fit(known)
    real, drawn = np.concatenate(known), np.concatenate(draw(layer, kind))
    np.testing.assert_allclose(drawn.mean(axis=0), real.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(drawn.std(axis=0), real.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(layer.spread, real.std(axis=0), rtol=1e-5)


def test_a_sequence_moves_as_what_was_fitted_and_single_steps_do_not() -> None:
    known = [make_walk(2000, seed) for seed in range(4)]
    layer = make()
    layer.fit(known)
    for lag in (1, 3):
        real = np.mean([correlation(one, lag) for one in known])
        moved = np.mean([correlation(one, lag) for one in draw(layer, "sequence")])
        still = np.mean([correlation(one, lag) for one in draw(layer, "gmm")])
        assert abs(real) > 0.3
        assert moved == pytest.approx(real, abs=0.08)
        assert abs(still) < 0.05


def test_two_clusters_stay_two_but_for_one_gaussian() -> None:
    random = np.random.default_rng(0)
    side = random.choice([-4.0, 4.0], size=(400, 10, 1))
    known = list((side + random.standard_normal((400, 10, 2))).astype(np.float32))
    layer = make()
    layer.fit(known)
    between = {kind: np.mean(np.abs(draw(layer, kind)[..., 0]) < 1) for kind in ("gmm", "gaussian")}
    assert between["gmm"] < 0.02
    assert between["gaussian"] > 0.1


def test_draws_are_those_of_their_songs_and_steps() -> None:
    layer = make()
    layer.fit([make_walk(300, 1)])
    for kind in ("sequence", "gmm", "standard"):
        whole = layer.draw(kind, 150, SEED, 3, 1.0)
        assert whole.shape == (3, 150, 2)
        assert whole.dtype == np.float32
        later = layer.draw(kind, 150, rng.seed_from(3, rng.SONGS, 1), 2, 1.0)
        np.testing.assert_allclose(later, whole[1:], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(layer.draw(kind, 70, SEED, 3, 1.0), whole[:, :70])
        other = layer.draw(kind, 150, rng.seed_from(4, rng.SONGS, 0), 3, 1.0)
        assert np.abs(other - whole).max() > 0.1


def test_songs_with_shared_noise_differ_by_their_conditioning() -> None:
    layer = make(conditions=(DIGIT,))
    latents = [make_walk(40, seed) + seed % 3 for seed in range(9)]
    cond = np.eye(3, dtype=np.float32)[np.arange(9) % 3]
    layer.fit(latents, cond=cond)
    for kind in ("sequence", "gmm", "gaussian", "standard"):
        first = layer.draw(kind, 70, SEED, 1, 1.0, cond[:1])
        shared = layer.draw(kind, 70, SEED, 3, 1.0, cond[:3], share_noise=True)
        np.testing.assert_allclose(shared[0], first[0], rtol=1e-4, atol=1e-4)
        apart = shared[1:] - shared[:1]
        np.testing.assert_allclose(apart, apart[:, :1] + 0 * apart, atol=1e-3)
        assert (np.abs(apart[:, 0]).max() > 0.1) == (kind != "standard")


def test_temperature_scales_what_is_drawn() -> None:
    layer = make()
    layer.fit([make_walk(2000, 1)])
    for kind in ("sequence", "gaussian", "standard"):
        calm, learned = (layer.draw(kind, 500, SEED, 2, scale)[..., 0] for scale in (0.5, 1.0))
        assert calm.std() < 0.75 * learned.std()


def test_until_it_is_fitted_there_is_the_standard_normal() -> None:
    layer = make()
    assert layer.resolve("") == layer.resolve("standard") == "standard"
    for kind in ("sequence", "gmm", "gaussian"):
        with pytest.raises(errors.InputError, match=r"finish the training.*--prior=standard"):
            layer.resolve(kind)
    assert draw(layer, "standard").std() == pytest.approx(1, abs=0.02)
    layer.fit([make_walk(300, 1)])
    assert layer.resolve("") == "sequence"
    assert layer.resolve("gmm") == "gmm"
    with pytest.raises(errors.InputError, match="prior_components"):
        layer.resolve("mixture")


def test_single_steps_are_no_sequence() -> None:
    layer = make()
    layer.fit(list(make_walk(300, 1)[:, np.newaxis]))
    assert layer.resolve("") == "gmm"
    with pytest.raises(errors.InputError, match="latents of several steps"):
        layer.resolve("sequence")


def test_conditioning_shifts_the_mean_and_classes_have_means() -> None:
    random = np.random.default_rng(0)
    digits = random.integers(0, 3, 300)
    centres = np.array([[0.0, 9.0], [5.0, 0.0], [-5.0, 0.0]])
    known = list(centres[digits, np.newaxis] + random.standard_normal((300, 6, 2)))
    cond = np.eye(3, dtype=np.float32)[digits]
    layer = make(conditions=(DIGIT,), classes=(DIGIT,))
    layer.fit([one.astype(np.float32) for one in known], {"label/digit": digits}, cond)
    for digit in range(3):
        own = np.concatenate([one for one, of in zip(known, digits, strict=True) if of == digit])
        np.testing.assert_allclose(layer.class_means()["digit"][digit], own.mean(axis=0), rtol=1e-4)
        asked = tf.one_hot([digit] * 2, 3)
        for kind in ("gaussian", "sequence"):
            drawn = layer.draw(kind, 500, SEED, 2, 1.0, asked)
            np.testing.assert_allclose(drawn.mean(axis=(0, 1)), centres[digit], atol=0.4)


def test_a_learned_mixture_has_its_density_and_is_drawn_from() -> None:
    layer = make(kinds=("standard", "mixture"), learned=3)
    assert len(layer.trainable_variables) == 3
    means = np.asarray(layer.trainable_variables[1])
    near = tf.constant(means[:1] + 0.1)
    expected = np.exp(-0.5 * np.sum((near.numpy() - means) ** 2, axis=-1)).mean() / (2 * np.pi)
    np.testing.assert_allclose(layer.learned_log_density(near)[0], np.log(expected), rtol=1e-4)
    drawn = np.concatenate(draw(layer, "mixture"))
    np.testing.assert_allclose(drawn.mean(axis=0), means.mean(axis=0), atol=0.1)
