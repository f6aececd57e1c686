"""The energy head: its score beside NumPy, and the autoregression it starts as in closed form."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models.lstm import head as heads

WIDTH, CHANNELS, NOISE, LAGS = 5, 3, 4, 3


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


def repeated(values: np.ndarray, n: int) -> np.ndarray:
    return np.repeat(values, n, axis=0)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def make_process(shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a long vector autoregression of order 3: its rows, coefficients, mean, covariance.

    A row depends on three consecutive ones, the last of them `shift` before it.
    """
    random = np.random.default_rng(3)
    coefficients = 0.12 * random.standard_normal((LAGS, CHANNELS, CHANNELS))
    root = 0.5 * random.standard_normal((CHANNELS, CHANNELS)) + np.eye(CHANNELS)
    mean = np.array([1.0, -2.0, 0.5])
    n = 60_000
    rows, noise = np.zeros((n, CHANNELS)), random.standard_normal((n, CHANNELS)) @ root
    for t in range(LAGS + shift, n):
        lagged = rows[t - shift - np.arange(LAGS)]
        rows[t] = np.einsum("lc,lcd->d", lagged, coefficients) + noise[t]
    return (rows + mean)[1000:], coefficients, mean, root.T @ root


def sequences_of(rows: np.ndarray) -> Callable[[], Iterator[np.ndarray]]:
    """Return rows in batches of windows, as the training windows are read."""
    windows = rows[: len(rows) // 100 * 100].reshape(-1, 100, CHANNELS).astype(np.float32)
    return lambda: iter(np.array_split(windows, 7))


@pytest.mark.parametrize("shift", [1, 2])
def test_fitted_it_samples_the_autoregression_of_the_codes(shift: int) -> None:
    rows, coefficients, mean, covariance = make_process(shift)
    head = make_head(seed=None)
    head.fit(sequences_of(rows), shift)
    recent, n = draw(1, LAGS, CHANNELS) + np.float32(mean), 100_000
    expected = mean + np.einsum("lc,lcd->d", recent[0] - mean, coefficients)
    hidden = draw(1, WIDTH)
    np.testing.assert_allclose(head.mean(hidden, recent)[0], expected, atol=0.05)
    draws = heads.Draws(draw(n, NOISE), np.zeros(n, np.float32))
    samples = head.sample(repeated(hidden, n), repeated(recent, n), draws).numpy()
    np.testing.assert_allclose(samples.mean(axis=0), expected, atol=0.06)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.03 * covariance.max())


def test_few_draws_hold_the_largest_part_of_the_covariance() -> None:
    rows, _, _, covariance = make_process(1)
    head = make_head(noise_size=2, seed=None)
    head.fit(sequences_of(rows), 1)
    values, vectors = np.linalg.eigh(covariance)
    kept = (vectors[:, 1:] * values[1:]) @ vectors[:, 1:].T
    root = head.root.numpy()
    np.testing.assert_allclose(root.T @ root, kept, atol=0.03 * covariance.max())


def test_windows_too_short_for_the_lags_fit_nothing() -> None:
    head = make_head(seed=None)
    before = [weight.numpy() for weight in head.weights]
    head.fit(lambda: iter([draw(4, LAGS, CHANNELS)]), 1)
    for weight, old in zip(head.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_loss_is_the_energy_score_of_two_samples() -> None:
    head = make_head()
    hidden, recent, target = draw(6, WIDTH), draw(6, LAGS, CHANNELS), draw(6, CHANNELS, seed=2)
    normal = draw(2, 6, NOISE, seed=3)
    one, two = (np.float64(head(hidden, recent, noise)) for noise in normal)
    distances = [np.linalg.norm(a - b, axis=1) for a, b in ((one, target), (two, target))]
    expected = (sum(distances) - np.linalg.norm(one - two, axis=1)) / 2 / np.sqrt(CHANNELS)
    trained, shown = head.losses(hidden, recent, target, normal)
    np.testing.assert_allclose(trained, expected, rtol=1e-4)
    np.testing.assert_array_equal(shown, trained)


def test_loss_keeps_leading_axes() -> None:
    head = make_head()
    hidden, recent, target = draw(2, 4, WIDTH), draw(2, 4, LAGS, CHANNELS), draw(2, 4, CHANNELS)
    normal = draw(2, 2, 4, NOISE)
    whole, _ = head.losses(hidden, recent, target, normal)
    assert whole.shape == (2, 4)
    part, _ = head.losses(hidden[1], recent[1], target[1], normal[:, 1])
    np.testing.assert_allclose(whole[1], part, rtol=1e-4)


@pytest.mark.parametrize("wrong", ["mean", "wide", "narrow", "uncorrelated"])
def test_no_other_distribution_scores_as_well_as_the_true_one(wrong: str) -> None:
    head, n = make_head(seed=None), 50_000
    root = np.zeros((NOISE, CHANNELS), np.float32)
    root[:CHANNELS] = [[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.5]]
    bias = np.array([0.5, -0.5, 1.0], np.float32)
    hidden, recent = np.zeros((n, WIDTH), np.float32), np.zeros((n, LAGS, CHANNELS), np.float32)
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
        head.root.assign(used_root)
        head.bias.assign(used_bias)
        loss, _ = head.losses(hidden, recent, target, draw(2, n, NOISE, seed=6))
        scores.append(loss.numpy())
    difference = scores[1] - scores[0]
    assert difference.mean() > 4 * difference.std() / np.sqrt(n)


@pytest.mark.parametrize(("temperature", "sigma_scale"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.25)])
def test_both_scales_multiply_the_noise(temperature: float, sigma_scale: float) -> None:
    head = make_head()
    hidden, recent, normal = draw(6, WIDTH), draw(6, LAGS, CHANNELS), draw(6, NOISE)
    draws = heads.Draws(normal, np.zeros(6, np.float32), temperature, sigma_scale)
    expected = head(hidden, recent, temperature * sigma_scale * normal)
    np.testing.assert_allclose(head.sample(hidden, recent, draws), expected, rtol=1e-5, atol=1e-6)
    still = head.sample(hidden, recent, draws._replace(sigma_scale=0.0))
    np.testing.assert_allclose(still, head.mean(hidden, recent), rtol=1e-6)


@pytest.mark.usefixtures("mixed_bfloat16")
def test_score_and_linear_part_are_float32_under_bfloat16() -> None:
    head = make_head()
    hidden, recent = draw(6, WIDTH), 100 * draw(6, LAGS, CHANNELS)
    target, normal = draw(6, CHANNELS), draw(2, 6, NOISE)
    coarse = tf.cast(hidden, tf.bfloat16)
    trained, _ = head.losses(coarse, recent, target, normal)
    sample = head.sample(coarse, recent, heads.Draws(normal[0], np.zeros(6, np.float32)))
    assert {trained.dtype, sample.dtype, head.mean(coarse, recent).dtype} == {tf.float32}
    # Without the kernel nothing is bfloat16 that reaches a sample: large codes keep all digits.
    head.kernel.assign(tf.zeros_like(head.kernel))
    sample = head.sample(coarse, recent, heads.Draws(normal[0], np.zeros(6, np.float32)))
    expected = recent.reshape(6, -1) @ head.linear.numpy() + normal[0] @ head.root.numpy()
    np.testing.assert_allclose(sample, expected + head.bias.numpy(), rtol=1e-5, atol=1e-4)


def test_gradients_are_finite_where_draws_and_target_coincide() -> None:
    head = make_head()
    hidden, recent, noise = draw(6, WIDTH), draw(6, LAGS, CHANNELS), draw(6, NOISE)
    target = head(hidden, recent, noise)
    with tf.GradientTape() as tape:
        loss, _ = head.losses(hidden, recent, target, np.stack([noise, noise]))
    gradients = tape.gradient(loss, [weight.value for weight in head.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_allclose(loss, 0, atol=1e-3)


def test_every_weight_that_trains_gets_a_gradient() -> None:
    head = make_head()
    with tf.GradientTape() as tape:
        loss, _ = head.losses(
            draw(6, WIDTH), draw(6, LAGS, CHANNELS), draw(6, CHANNELS), draw(2, 6, NOISE)
        )
    weights = head.trainable_weights
    assert all(weight is not head.linear for weight in weights)
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.abs(gradient).max() > 0, weight.path
