import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from lstm_gen.models.common import rng

SEED = tf.constant([3, 5, 0])


@pytest.mark.xla
def test_draws_repeat_eager_and_compiled() -> None:
    def draws(seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        other = rng.seed_for(seed, 4)
        return rng.normal([50], other), rng.uniform([50], other), other

    compiled = tf.function(draws, jit_compile=True)
    for eager, again, fast in zip(draws(SEED), draws(SEED), compiled(SEED), strict=True):
        np.testing.assert_array_equal(eager, again)
        np.testing.assert_allclose(eager, fast, rtol=1e-5, atol=1e-6)


@pytest.mark.xla
def test_an_example_draws_the_same_beside_whatever_others() -> None:
    """The first axis may be cut anywhere: odd sizes, which Philox makes in fours, included."""
    for shape in ([12, 7], [12], [12, 3, 5], [12, 64, 16]):
        for draw in (rng.normal, rng.uniform):
            whole = draw(shape, SEED).numpy()
            assert len(np.unique(whole)) > 0.99 * whole.size
            for parts in (2, 3, 12):
                n = 12 // parts
                seeds = [SEED + tf.constant([0, 0, part * n]) for part in range(parts)]
                for each in (draw, tf.function(draw, jit_compile=True)):
                    together = np.concatenate([each([n, *shape[1:]], seed) for seed in seeds])
                    np.testing.assert_allclose(together, whole, rtol=1e-5, atol=1e-6)


def test_what_a_model_does_to_an_example_is_the_same_beside_whatever_others() -> None:
    values = tf.constant(np.random.default_rng(1).standard_normal((6, 5, 3)), tf.float32)
    second = rng.seed_for(SEED, 2) + tf.constant([0, 0, 2])
    for act in (rng.dropout, rng.corrupt):
        whole = act(values, 0.5, rng.seed_for(SEED, 2))
        np.testing.assert_array_equal(act(values[2:], 0.5, second), whole[2:])
        assert np.abs(act(values[2:], 0.5, rng.seed_for(SEED, 2)) - whole[2:]).max() > 0.1


def test_purposes_are_independent() -> None:
    seeds = [tuple(rng.seed_for(SEED, purpose).numpy()) for purpose in range(100)]
    assert len(set(seeds)) == 100
    first, second = (rng.normal([20_000], rng.seed_for(SEED, purpose)) for purpose in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 6 / np.sqrt(20_000)


def test_draws_have_their_distribution() -> None:
    normal = rng.normal([20_000], SEED).numpy()
    uniform = rng.uniform([20_000], SEED).numpy()
    assert scipy.stats.kstest(normal, "norm").pvalue > 1e-4
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 1e-4
    assert uniform.min() >= 0
    assert uniform.max() < 1


def test_dropout_keeps_the_expectation() -> None:
    values = tf.ones([100, 1000])
    dropped = rng.dropout(values, 0.3, SEED).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.7], rtol=1e-6)
    share = np.mean(dropped == 0)
    assert share == pytest.approx(0.3, abs=6 * np.sqrt(0.3 * 0.7 / dropped.size))


def test_nothing_happens_at_rate_and_level_zero() -> None:
    values = tf.ones([2, 3, 4])
    assert rng.dropout(values, 0.0, SEED) is values
    assert rng.corrupt(values, 0.0, SEED) is values


def test_corruption_keeps_the_variance_and_its_share_differs_by_sequence() -> None:
    level, random = 0.8, np.random.default_rng(0)
    frames = random.standard_normal((400, 50, 8)).astype(np.float32)
    corrupted = rng.corrupt(tf.constant(frames), level, SEED).numpy()
    assert corrupted.var() == pytest.approx(1, abs=0.02)
    # Regressed on what it was, a sequence shows sqrt(1 - s^2), and its residual shows s.
    kept = np.einsum("ntc,ntc->n", corrupted, frames) / np.einsum("ntc,ntc->n", frames, frames)
    share = (corrupted - kept[:, None, None] * frames).std(axis=(1, 2))
    np.testing.assert_allclose(kept**2 + share**2, 1, atol=0.25)
    # Uniform from 0 to the level, the estimates being a little wider.
    assert scipy.stats.kstest(share, "uniform", args=(0, level)).pvalue > 1e-4
    assert share.max() < level + 0.1
