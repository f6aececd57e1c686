"""The energy head: its score beside NumPy, and what it is of the noise and of the code before."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from lstm_gen.models.lstm import head as heads

WIDTH, CHANNELS, NOISE = 5, 3, 4


def make_head(noise_size: int = NOISE, blocks: int = 2, seed: int | None = 0) -> heads.EnergyHead:
    """Return a head with every weight drawn, or without a seed as it starts."""
    keras.utils.set_random_seed(1)
    head = heads.EnergyHead(CHANNELS, noise_size, blocks)
    head.build((None, WIDTH))
    if seed is not None:
        random = np.random.default_rng(seed)
        for weight in head.weights:
            weight.assign(0.5 * random.standard_normal(weight.shape))
    return head


def draw(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def expected_samples(
    head: heads.EnergyHead, hidden: np.ndarray, current: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Return samples in float64 from the head's weights."""
    x = np.float64(hidden) @ head.from_hidden.numpy() + noise @ head.from_noise.numpy()
    for norm, weights in zip(head.norms, head.kernels, strict=True):
        kernel, from_hidden, from_noise, bias, output = (weight.numpy() for weight in weights)
        centred = x - x.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt(x.var(axis=1, keepdims=True) + norm.epsilon)
        normed = normed * norm.gamma.numpy() + norm.beta.numpy()
        inner = normed @ kernel + bias + hidden @ from_hidden + noise @ from_noise
        x = x + inner * scipy.stats.norm.cdf(inner) @ output
    return head.skip.numpy() * current + x @ head.kernel.numpy() + head.bias.numpy()


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_samples_are_those_of_the_network_in_numpy(blocks: int) -> None:
    head = make_head(blocks=blocks)
    hidden, current, noise = draw(6, WIDTH), draw(6, CHANNELS), draw(6, NOISE, seed=2)
    expected = expected_samples(head, hidden, current, noise)
    np.testing.assert_allclose(head(hidden, current, noise), expected, rtol=1e-4, atol=1e-5)
    sample = head.sample(hidden, current, heads.Draws(noise, np.zeros(6, np.float32)))
    np.testing.assert_allclose(sample, expected, rtol=1e-4, atol=1e-5)
    mean = expected_samples(head, hidden, current, np.zeros_like(noise))
    np.testing.assert_allclose(head.mean(hidden, current), mean, rtol=1e-4, atol=1e-5)


def test_without_blocks_samples_are_normal_and_correlated() -> None:
    head, n = make_head(blocks=0), 100_000
    hidden, current = draw(1, WIDTH), draw(1, CHANNELS)
    draws = heads.Draws(draw(n, NOISE), np.zeros(n, np.float32))
    samples = head.sample(np.repeat(hidden, n, axis=0), np.repeat(current, n, axis=0), draws)
    root = head.from_noise.numpy() @ head.kernel.numpy()
    expected, covariance = head.mean(hidden, current)[0], root.T @ root
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() > 0.1
    deviations = np.sqrt(np.diag(covariance))
    error = 6 * deviations / np.sqrt(n)  # six standard errors
    assert np.all(np.abs(np.mean(samples, axis=0) - expected) < error)
    scale = np.outer(deviations, deviations)
    assert np.all(np.abs(np.cov(np.transpose(samples)) - covariance) < 6 * np.sqrt(3 / n) * scale)


def test_loss_is_the_energy_score_of_two_samples() -> None:
    head = make_head()
    hidden, current, target = draw(6, WIDTH), draw(6, CHANNELS), draw(6, CHANNELS, seed=2)
    normal = draw(2, 6, NOISE, seed=3)
    one, two = (np.float64(head(hidden, current, noise)) for noise in normal)
    distances = [np.linalg.norm(a - b, axis=1) for a, b in ((one, target), (two, target))]
    expected = (sum(distances) - np.linalg.norm(one - two, axis=1)) / 2 / np.sqrt(CHANNELS)
    trained, shown = head.losses(hidden, current, target, normal)
    np.testing.assert_allclose(trained, expected, rtol=1e-4)
    np.testing.assert_array_equal(shown, trained)


def test_loss_keeps_leading_axes() -> None:
    head = make_head()
    hidden, current, target = draw(2, 4, WIDTH), draw(2, 4, CHANNELS), draw(2, 4, CHANNELS)
    normal = draw(2, 2, 4, NOISE)
    whole, _ = head.losses(hidden, current, target, normal)
    assert whole.shape == (2, 4)
    part, _ = head.losses(hidden[1], current[1], target[1], normal[:, 1])
    np.testing.assert_allclose(whole[1], part, rtol=1e-4)


@pytest.mark.parametrize("wrong", ["mean", "wide", "narrow", "uncorrelated"])
def test_no_other_distribution_scores_as_well_as_the_true_one(wrong: str) -> None:
    head, n = make_head(blocks=0, seed=None), 50_000
    root = np.zeros((NOISE, CHANNELS), np.float32)
    root[:CHANNELS] = [[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.5]]
    bias = np.array([0.5, -0.5, 1.0], np.float32)
    hidden, current = np.zeros((n, WIDTH), np.float32), np.zeros((n, CHANNELS), np.float32)
    target = draw(n, NOISE, seed=5) @ root + bias
    spread = np.diag(np.sqrt((root**2).sum(axis=0)))
    changed = {
        "mean": (root, bias + 0.5),
        "wide": (1.4 * root, bias),
        "narrow": (0.6 * root, bias),
        "uncorrelated": (np.concatenate([spread, np.zeros((1, CHANNELS))]), bias),
    }
    scores = []
    for used_root, used_bias in ((root, bias), changed[wrong]):
        head.from_noise.assign(np.eye(NOISE, WIDTH))
        head.kernel.assign(np.concatenate([used_root, np.zeros((WIDTH - NOISE, CHANNELS))]))
        head.bias.assign(used_bias)
        loss, _ = head.losses(hidden, current, target, draw(2, n, NOISE, seed=6))
        scores.append(loss.numpy())
    difference = scores[1] - scores[0]
    assert difference.mean() > 4 * difference.std() / np.sqrt(n)


@pytest.mark.parametrize(("temperature", "sigma_scale"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.25)])
def test_both_scales_multiply_the_noise(temperature: float, sigma_scale: float) -> None:
    head = make_head()
    hidden, current, normal = draw(6, WIDTH), draw(6, CHANNELS), draw(6, NOISE)
    draws = heads.Draws(normal, np.zeros(6, np.float32), temperature, sigma_scale)
    expected = head(hidden, current, temperature * sigma_scale * normal)
    np.testing.assert_allclose(head.sample(hidden, current, draws), expected, rtol=1e-5, atol=1e-6)
    still = head.sample(hidden, current, draws._replace(sigma_scale=0.0))
    np.testing.assert_allclose(still, head.mean(hidden, current), rtol=1e-6)


@pytest.mark.usefixtures("mixed_bfloat16")
def test_score_and_copy_are_float32_under_bfloat16() -> None:
    head = make_head()
    hidden, current = draw(6, WIDTH), 100 * draw(6, CHANNELS)
    target, normal = draw(6, CHANNELS), draw(2, 6, NOISE)
    coarse = tf.cast(hidden, tf.bfloat16)
    trained, _ = head.losses(coarse, current, target, normal)
    sample = head.sample(coarse, current, heads.Draws(normal[0], np.zeros(6, np.float32)))
    assert {trained.dtype, sample.dtype, head.mean(coarse, current).dtype} == {tf.float32}
    # Without the kernel nothing is bfloat16 that reaches a sample: large codes keep all digits.
    head.kernel.assign(tf.zeros_like(head.kernel))
    sample = head.sample(coarse, current, heads.Draws(normal[0], np.zeros(6, np.float32)))
    np.testing.assert_allclose(sample, head.skip * current + head.bias, rtol=1e-6)


def test_gradients_are_finite_where_draws_and_target_coincide() -> None:
    head = make_head()
    hidden, current, noise = draw(6, WIDTH), draw(6, CHANNELS), draw(6, NOISE)
    target = head(hidden, current, noise)
    with tf.GradientTape() as tape:
        loss, _ = head.losses(hidden, current, target, np.stack([noise, noise]))
    gradients = tape.gradient(loss, [weight.value for weight in head.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_allclose(loss, 0, atol=1e-3)


def test_every_weight_that_trains_gets_a_gradient() -> None:
    head = make_head()
    with tf.GradientTape() as tape:
        loss, _ = head.losses(
            draw(6, WIDTH), draw(6, CHANNELS), draw(6, CHANNELS), draw(2, 6, NOISE)
        )
    weights = head.trainable_weights
    assert len(weights) == len(head.weights)
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.abs(gradient).max() > 0, weight.path
