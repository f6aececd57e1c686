from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from lstm_gen.models.lstm import head as heads

WIDTH, CHANNELS, COMPONENTS, FLOOR = 5, 4, 3, 0.05


def make_head(
    channels: int = CHANNELS, components: int = COMPONENTS, triangular: bool = True, seed: int = 0
) -> heads.MixtureHead:
    """Return a head with every weight drawn, none left at its start."""
    head = heads.MixtureHead(channels, components, triangular, sigma_floor=FLOOR)
    head.build((None, WIDTH))
    random = np.random.default_rng(seed)
    for weight in head.weights:
        weight.assign(0.5 * random.standard_normal(weight.shape))
    return head


def parameters(head: heads.MixtureHead, hidden: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return weights, means, deviations, skip and A of a head, in float64 from its weights."""
    k, d = head.components, head.channels
    raw = np.asarray(hidden, np.float64) @ np.asarray(head.kernel, np.float64)
    logits, means, sigmas = np.split(raw, [k, k + k * d], axis=-1)
    weights = scipy.special.softmax(logits + head.weight_bias.numpy(), axis=-1)
    means = means.reshape(-1, k, d) + head.mean_bias.numpy()
    sigmas = FLOOR + np.logaddexp(0, sigmas.reshape(-1, k, d) + head.sigma_bias.numpy())
    coupling = (
        np.triu(np.asarray(head.coupling, np.float64), 1) if head.triangular else np.zeros((d, d))
    )
    return weights, means, sigmas, np.asarray(head.skip, np.float64), coupling


def expected_density(
    head: heads.MixtureHead, hidden: np.ndarray, current: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Return p(target), from full covariances in the space of the frames themselves.

    With u = (y - b)(I - A) normal, y is normal with mean b + mu C and covariance C' S C,
    where C = (I - A)^-1: no log-determinant is left out by assumption.
    """
    weights, means, sigmas, skip, coupling = parameters(head, hidden)
    colouring = np.linalg.inv(np.eye(head.channels) - coupling)
    density = np.zeros(len(hidden))
    for row in range(len(hidden)):
        for weight, mean, sigma in zip(weights[row], means[row], sigmas[row], strict=True):
            density[row] += weight * scipy.stats.multivariate_normal.pdf(
                target[row],
                skip * current[row] + mean @ colouring,
                colouring.T @ np.diag(sigma**2) @ colouring,
            )
    return density


def draw(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sample(
    head: heads.Head, hidden: np.ndarray, current: np.ndarray, draws: heads.Draws
) -> np.ndarray:
    """Return samples of a head."""
    return np.asarray(head.sample(hidden, current, draws, head.constants()))


def losses(head: heads.MeanHead, hidden: Any, target: np.ndarray) -> tuple[Any, Any]:
    """Return the loss of a mean, its squared error and likelihood added, and the likelihood."""
    return head.losses(hidden, np.zeros_like(target), target, None)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("components", "triangular"), [(COMPONENTS, True), (COMPONENTS, False), (1, False)]
)
def test_likelihood_is_that_of_scipy(components: int, triangular: bool) -> None:
    head = make_head(components=components, triangular=triangular)
    hidden, current, target = draw(6, WIDTH), draw(6, CHANNELS, seed=2), draw(6, CHANNELS, seed=3)
    nll = head.negative_log_likelihood(hidden, current, target).numpy()
    expected = -np.log(expected_density(head, hidden, current, target)) / CHANNELS
    np.testing.assert_allclose(nll, expected, rtol=1e-5)


def test_likelihood_keeps_leading_axes() -> None:
    head = make_head()
    hidden, frames = draw(2, 3, WIDTH), draw(2, 3, CHANNELS)
    nll = head.negative_log_likelihood(hidden, frames, frames)
    assert nll.shape == (2, 3)
    one = head.negative_log_likelihood(hidden[1, 2][None], frames[1, 2][None], frames[1, 2][None])
    np.testing.assert_allclose(nll[1, 2], one[0], rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_density_integrates_to_one(channels: int) -> None:
    head = make_head(channels)
    axis = np.linspace(-12, 12, 4801 if channels == 1 else 601).astype(np.float32)
    grid = np.stack(np.meshgrid(*[axis] * channels, indexing="ij"), axis=-1).reshape(-1, channels)
    hidden = np.repeat(draw(1, WIDTH), len(grid), axis=0)
    current = np.repeat(draw(1, channels), len(grid), axis=0)
    nll = head.negative_log_likelihood(hidden, current, grid).numpy() * channels
    mass = np.exp(-np.float64(nll)).sum() * np.float64(axis[1] - axis[0]) ** channels
    assert mass == pytest.approx(1, abs=1e-3)


def test_mean_and_covariance_of_samples_are_those_of_the_mixture() -> None:
    head, n = make_head(), 200_000
    hidden, current = draw(1, WIDTH), draw(1, CHANNELS)
    weights, means, sigmas, skip, coupling = parameters(head, hidden)
    colouring = np.linalg.inv(np.eye(CHANNELS) - coupling)
    mean_u = weights[0] @ means[0]
    spread = np.einsum("k,kc,kd->cd", weights[0], means[0] - mean_u, means[0] - mean_u)
    covariance = colouring.T @ (np.diag(weights[0] @ sigmas[0] ** 2) + spread) @ colouring
    random = np.random.default_rng(7)
    draws = heads.Draws(
        random.standard_normal((n, CHANNELS)).astype(np.float32),
        random.random(n).astype(np.float32),
    )
    samples = sample(head, np.repeat(hidden, n, axis=0), np.repeat(current, n, axis=0), draws)
    expected = skip * current[0] + mean_u @ colouring
    # Six standard errors of a mean and of a variance.
    error = 6 * np.sqrt(np.diag(covariance) / n)
    assert np.all(np.abs(samples.mean(axis=0) - expected) < error)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.all(np.abs(np.cov(samples.T) - covariance) < 6 * np.sqrt(3 / n) * scale)
    np.testing.assert_allclose(head.mean(hidden, current)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_component_is_the_inverse_of_the_cumulative_weights(temperature: float) -> None:
    head, n = make_head(), 101
    hidden = np.repeat(draw(1, WIDTH), n, axis=0)
    uniform = np.linspace(0, 1, n, endpoint=False, dtype=np.float32)
    weights, means, _, skip, coupling = parameters(head, hidden[:1])
    tempered = weights[0] ** (1 / temperature)
    chosen = np.searchsorted(np.cumsum(tempered / tempered.sum()), uniform, side="right")
    assert set(chosen) == set(range(COMPONENTS)), "the test must reach every component"
    current = np.repeat(draw(1, CHANNELS), n, axis=0)
    noise = draw(n, CHANNELS)  # must not matter at sigma_scale 0
    samples = sample(head, hidden, current, heads.Draws(noise, uniform, temperature, 0.0))
    colouring = np.linalg.inv(np.eye(CHANNELS) - coupling)
    expected = skip * current + means[0][chosen] @ colouring
    np.testing.assert_allclose(samples, expected, rtol=1e-4, atol=1e-5)


def test_largest_uniform_draw_takes_the_last_component() -> None:
    head = make_head()
    hidden, current, below_one = draw(1, WIDTH), draw(1, CHANNELS), np.nextafter(np.float32(1), 0)
    none = np.zeros((1, CHANNELS), np.float32)
    draws = heads.Draws(none, np.array([below_one], np.float32), 1.0, 0.0)
    _, means, _, skip, coupling = parameters(head, hidden)
    colouring = np.linalg.inv(np.eye(CHANNELS) - coupling)
    np.testing.assert_allclose(
        sample(head, hidden, current, draws),
        skip * current + means[:, -1] @ colouring,
        rtol=1e-4,
        atol=1e-5,
    )


def test_sigma_scale_multiplies_the_deviation() -> None:
    head = make_head(components=1)
    hidden, current, noise = draw(3, WIDTH), draw(3, CHANNELS), draw(3, CHANNELS, seed=9)
    uniform = np.zeros(3, np.float32)
    still, whole, half = (
        sample(head, hidden, current, heads.Draws(noise, uniform, 1.0, scale))
        for scale in (0.0, 1.0, 0.5)
    )
    np.testing.assert_allclose(half - still, (whole - still) / 2, rtol=1e-4, atol=1e-5)
    assert np.abs(whole - still).min() > 1e-4


def test_no_deviation_is_below_the_floor() -> None:
    head = make_head()
    head.sigma_bias.assign(np.full((COMPONENTS, CHANNELS), -1e4))
    _, _, sigmas = head(draw(10, WIDTH))
    np.testing.assert_allclose(sigmas, np.full((10, COMPONENTS, CHANNELS), FLOOR), rtol=1e-6)


def test_only_what_is_above_the_diagonal_counts() -> None:
    head = make_head()
    hidden, current, target = draw(3, WIDTH), draw(3, CHANNELS), draw(3, CHANNELS, seed=4)
    before = head.negative_log_likelihood(hidden, current, target)
    head.coupling.assign(np.triu(head.coupling.numpy(), 1) + 7 * np.tril(np.ones((4, 4))))
    after = head.negative_log_likelihood(hidden, current, target)
    np.testing.assert_array_equal(before, after)


@pytest.mark.usefixtures("mixed_bfloat16")
def test_density_is_float32_under_bfloat16() -> None:
    mixture, mean = make_head(), heads.MeanHead(CHANNELS)
    mean.build((None, WIDTH))
    hidden, frames = tf.cast(draw(3, WIDTH), tf.bfloat16), draw(3, CHANNELS)
    nll = mixture.negative_log_likelihood(hidden, frames, frames)
    outputs: list[Any] = [nll, *mixture(hidden), mixture.mean(hidden, frames)]
    outputs += [mean(hidden), *losses(mean, hidden, frames)]
    assert {output.dtype for output in outputs} == {tf.float32}
    # Only the one product is bfloat16, of 8 bits: its error, and no more.
    exact = -np.log(expected_density(mixture, tf.cast(hidden, tf.float32).numpy(), frames, frames))
    np.testing.assert_allclose(nll, exact / CHANNELS, atol=0.05)
    # Float32 biases must not pass through bfloat16 on their way.
    mixture.kernel.assign(tf.zeros_like(mixture.kernel))
    exact = -np.log(expected_density(mixture, np.zeros((3, WIDTH)), frames, frames))
    still = mixture.negative_log_likelihood(hidden, frames, frames)
    np.testing.assert_allclose(still, exact / CHANNELS, rtol=1e-5)


def test_mean_head_scores_as_scipy_does() -> None:
    head = heads.MeanHead(CHANNELS, sigma_floor=FLOOR)
    head.build((None, WIDTH))
    head.sigma_bias.assign(draw(CHANNELS, seed=5))
    hidden, target = draw(6, WIDTH), draw(6, CHANNELS)
    both, likelihood = losses(head, hidden, target)
    mean = head(hidden).numpy()
    sigma = FLOOR + np.logaddexp(0, np.float64(head.sigma_bias.numpy()))
    expected = -scipy.stats.norm.logpdf(target, mean, sigma).mean(axis=1)
    np.testing.assert_allclose(likelihood, expected, rtol=1e-5)
    np.testing.assert_allclose(both, ((target - mean) ** 2).mean(axis=1) + expected, rtol=1e-5)


def test_likelihood_of_the_mean_head_moves_its_deviation_only() -> None:
    head = heads.MeanHead(CHANNELS)
    head.build((None, WIDTH))
    hidden = tf.constant(draw(6, WIDTH))
    variables = [head.kernel.value, head.bias.value, head.sigma_bias.value]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(hidden)
        both, likelihood = losses(head, hidden, draw(6, CHANNELS, seed=3))
    assert tape.gradient(likelihood, [hidden, *variables[:2]]) == [None, None, None]
    of_deviation = tape.gradient(likelihood, variables[2])
    assert np.abs(of_deviation).min() > 0
    assert np.abs(tape.gradient(both, variables[0])).max() > 0
    np.testing.assert_array_equal(tape.gradient(both, variables[2]), of_deviation)
