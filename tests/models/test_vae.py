"""The variational autoencoder: its mirror, its bound, its latents in time, what is fitted to it."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen.config.audio import AudioConfig
from lstm_gen.generation import resynthesis
from lstm_gen.models import base as families
from lstm_gen.models.common import convolutions, overlap_add
from lstm_gen.models.vae import model as vae
from lstm_gen.models.vae.config import VAEConfig
from lstm_gen.platform import errors
from lstm_gen.training import nan_guard

pytestmark = pytest.mark.usefixtures("without_xla")
DIGIT = families.Condition(name="digit", kind="class", n_values=3)
SPEC = families.FrameSpec(audio=AudioConfig(n_mels=6), timesteps=16, shift=0)
CONDITIONAL = dataclasses.replace(SPEC, conditions=(DIGIT,), classes=(DIGIT,))
SMALL: dict[str, Any] = {"latent_size": 3, "width": 8}


def make_model(spec: families.FrameSpec = SPEC, **settings: Any) -> vae.VAE:
    keras.utils.set_random_seed(1)
    return vae.VAE.create(VAEConfig(**SMALL | settings), spec)


def make_frames(n_frames: int, n_examples: int = 2, seed: int = 0) -> np.ndarray:
    return np.stack([tiny.make_frames(n_frames, seed + i, 6) + 3 for i in range(n_examples)])


def make_batch(n_examples: int = 4, n_frames: int = 16) -> dict[str, Any]:
    batch = {**tiny.make_batch(n_examples, n_frames, 6)}
    batch["label/digit"] = np.arange(n_examples) % 3
    return {name: tf.constant(values) for name, values in batch.items()}


def make_examples() -> Iterator[families.Batch]:
    """Yield two recordings in windows of 16 frames, and a window that only fills the batch."""
    frames = make_frames(16 * 16, 2).reshape(32, 16, 6)
    yield {
        "frames": np.concatenate([frames, np.full((1, 16, 6), 99, np.float32)]),
        "weight": np.array([1.0] * 32 + [0.0], np.float32),
        "recording": np.repeat([3, 4, -1], [16, 16, 1]),
        "start_frame": np.append(np.tile(np.arange(16) * 16, 2), 0),
        "label/digit": np.repeat([0, 2, -1], [16, 16, 1]),
    }


def losses(model: vae.VAE, batch: dict[str, Any], training: bool = False) -> families.Loss:
    (objective,) = model.objectives()
    return objective.loss(batch, tf.constant([1, 2, 0]), training)


def describe(layer: Any) -> tuple[Any, ...]:
    """Return what a layer does to time."""
    if isinstance(layer, convolutions.ResidualBlock):
        return ("residual", layer.filters)
    return (layer.kernel_size, layer.strides, layer.padding)


@pytest.mark.parametrize("settings", [{}, {"blocks": 2, "stride": 8}, {"latents": "global"}])
def test_the_decoder_mirrors_the_encoder(settings: dict[str, Any]) -> None:
    model = make_model(**settings)
    there, back = ([describe(one) for one in stack] for stack in (model.encoder, model.decoder))
    assert there == back[::-1]
    strided = [layer for layer in model.decoder if getattr(layer, "strides", (1,)) != (1,)]
    assert all(isinstance(layer, keras.layers.Conv1DTranspose) for layer in strided)
    assert len(strided) == math.log2(model.config.stride)


def test_a_latent_stands_for_its_frames_and_time_is_time() -> None:
    model = make_model(stride=4)
    frames, none = tf.constant(make_frames(80)), tf.zeros([2, 0])
    mean, log_sd = model.encode_frames(frames, none)
    assert mean.shape == log_sd.shape == (2, 20, 3)
    later, _ = model.encode_frames(frames[:, 8:], none)
    edge = model.config.context
    np.testing.assert_allclose(later[:, edge:-edge], mean[:, 2 + edge : -edge], atol=1e-5)
    decoded = model.decode_latents(mean, none)
    assert decoded.shape == (2, 80, 6)
    np.testing.assert_allclose(
        model.decode_latents(mean[:, 2:], none)[:, 4 * edge : -4 * edge],
        decoded[:, 4 * (2 + edge) : -4 * edge],
        atol=1e-5,
    )


def test_long_recordings_are_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    frames = make_frames(403)
    whole = np.pad(frames, [(0, 0), (0, 1), (0, 0)])
    expected, _ = model.encode_frames(tf.constant(whole), tf.zeros([2, 0]))
    decoded = model.decode_latents(expected, tf.zeros([2, 0]))[:, :403]
    monkeypatch.setattr(vae.VAE, "steps_per_chunk", 20)
    found = model.encode(frames, {})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    made = model.decode(found, 403, {})
    assert made.shape == frames.shape
    np.testing.assert_allclose(made, decoded, atol=1e-5)


def test_the_loss_is_the_bound() -> None:
    model = make_model(sigma_floor=0.1)
    model.raw_sigma.assign(-0.05)
    batch = make_batch()
    found = losses(model, batch)
    none = tf.zeros([4, 0])
    mean, log_sd = (
        np.asarray(one, np.float64) for one in model.encode_frames(batch["frames"], none)
    )
    variance = np.exp(2 * log_sd)
    divergence = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(axis=(1, 2))
    np.testing.assert_allclose(found.metrics["kl"], divergence, rtol=1e-4)
    error = np.square(batch["frames"] - model(batch["frames"], none)).mean(axis=(1, 2))
    np.testing.assert_allclose(found.metrics["mse"], error, rtol=1e-4)
    sigma = 0.1 + np.exp(-0.5)
    np.testing.assert_allclose(found.metrics["sigma"], sigma, rtol=1e-5)
    drawn = losses(model, batch, training=True)
    nll = 0.5 * np.log(2 * np.pi * sigma**2) + drawn.metrics["mse"] / (2 * sigma**2)
    np.testing.assert_allclose(drawn.per_example, nll + divergence / (16 * 6), rtol=1e-4)
    np.testing.assert_array_equal(found.per_example, found.metrics["nelbo_per_dim"])


def test_beta_warms_up() -> None:
    model = make_model(beta=0.5, beta_warmup=0.4)
    batch = make_batch()

    def loss_at(progress: float) -> np.ndarray:
        return losses(model, batch | {"progress": tf.constant(progress)}, True).per_example.numpy()

    metrics = losses(model, batch, True).metrics
    share = metrics["kl"].numpy() / (16 * 6)
    without = metrics["nelbo_per_dim"].numpy() - share
    for progress, beta in ((0.0, 0.0), (0.1, 0.125), (0.4, 0.5), (0.9, 0.5)):
        np.testing.assert_allclose(loss_at(progress), without + beta * share, rtol=1e-4)


def test_the_best_sigma_is_the_root_mean_square_error() -> None:
    model = make_model()
    batch = make_batch()
    rms = math.sqrt(np.mean(losses(model, batch, True).metrics["mse"]))
    variable = model.raw_sigma.value

    def slope(sigma: float) -> float:
        model.raw_sigma.assign(math.log(sigma - model.config.sigma_floor) / 10)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(losses(model, batch, True).per_example)
        return float(tape.gradient(loss, variable))

    assert slope(rms) == pytest.approx(0, abs=1e-4)
    assert slope(1.1 * rms) > 0.1
    assert slope(0.9 * rms) < -0.1


def test_collapsed_latents_are_warned_of() -> None:
    model = make_model()
    (objective,) = model.objectives()

    def warnings() -> list[str]:
        nats = losses(model, make_batch(), True).metrics["kl"].numpy().mean()
        return list(nan_guard.Saturation([objective], 100).update({"kl": np.repeat(nats, 30)}))

    assert not warnings()
    last = model.encoder[-1]
    for variable in last.variables:
        variable.assign(tf.zeros_like(variable))  # the same posterior for every input
    (text,) = warnings()
    assert text.startswith("warning: kl has been")


def test_a_global_latent_stands_for_a_window() -> None:
    model = make_model(latents="global")
    frames = make_frames(16)
    found = model.encode(frames, {})
    assert found.shape == (2, 1, 3)
    direct = model.decode_latents(tf.constant(found), tf.zeros([2, 0]))
    np.testing.assert_allclose(model.decode(found, 16, {}), direct, atol=1e-5)
    longer = model.encode(make_frames(45), {})
    assert longer.shape == (2, 5, 3)  # frames 0 to 16, 8 to 24, ... 32 to 48
    assert model.decode(longer, 45, {}).shape == (2, 45, 6)
    request = families.GenerationRequest(n_songs=2, n_frames=45)
    assert model.generate(request, None, lambda _: None).shape == (2, 45, 6)
    request = dataclasses.replace(request, prior="sequence")
    with pytest.raises(errors.InputError, match="priors of this model are: gmm"):
        model.generate(request, None, lambda _: None)


def test_overlapping_windows_fade_into_each_other() -> None:
    parts = [np.full((1, 8, 2), value, np.float32) for value in (1.0, 3.0)]
    faded = overlap_add.crossfade(parts, 4)
    assert faded.shape == (1, 12, 2)
    np.testing.assert_allclose(faded[0, :4], 1)
    np.testing.assert_allclose(faded[0, 8:], 3)
    assert (np.diff(faded[0, 3:9, 0]) > 0).all()


def test_windows_that_touch_become_one() -> None:
    joined = list(overlap_add.consecutive_windows(lambda: make_examples(), 16))
    assert [frames.shape for frames, _ in joined] == [(256, 6), (256, 6)]
    assert [int(labels["label/digit"][0]) for _, labels in joined] == [0, 2]
    for (frames, _), own in zip(joined, make_frames(256), strict=True):
        np.testing.assert_array_equal(frames, own)


def test_priors_and_means_are_fitted_to_the_training_split() -> None:
    model = make_model(dataclasses.replace(SPEC, classes=(DIGIT,)))
    assert model.priors.resolve("") == "standard"
    model.fit_data(make_examples)
    assert model.priors.resolve("") == "sequence"
    means = [model.encode(one[np.newaxis], {})[0] for one in make_frames(256)]
    found = model.priors.class_means()["digit"]
    np.testing.assert_allclose(found[0], means[0].mean(axis=0), atol=0.2)
    np.testing.assert_allclose(found[2], means[1].mean(axis=0), atol=0.2)
    request = families.GenerationRequest(n_songs=2, n_frames=50)
    songs = {
        prior: model.generate(dataclasses.replace(request, prior=prior), None, lambda _: None)
        for prior in ("", "sequence", "gmm", "gaussian", "standard")
    }
    np.testing.assert_array_equal(songs[""], songs["sequence"])
    assert len({song.tobytes() for song in songs.values()}) == 4


def test_labels_reach_encoder_and_decoder() -> None:
    model = make_model(CONDITIONAL)
    zeros, ones = ({"label/digit": np.full(2, digit)} for digit in (0, 1))
    frames = make_frames(16)
    found = model.encode(frames, zeros)
    assert np.abs(model.encode(frames, ones) - found).max() > 1e-3
    as_zero, as_one = (model.decode(found, 16, labels) for labels in (zeros, ones))
    assert np.abs(as_zero - as_one).max() > 1e-3
    request = families.GenerationRequest(n_songs=2, n_frames=20, labels=zeros)
    songs = model.generate(request, None, lambda _: None)
    other = dataclasses.replace(request, labels={"label/digit": np.array([0, 1])})
    mixed = model.generate(other, None, lambda _: None)
    np.testing.assert_allclose(mixed[0], songs[0], atol=1e-5)
    assert np.abs(mixed[1] - songs[1]).max() > 1e-3


def test_latents_are_what_generation_reconstructs_and_mixes() -> None:
    model = make_model(dataclasses.replace(SPEC, classes=(DIGIT,)))
    model.fit_data(make_examples)
    frames = make_frames(30)
    parts: tuple[Any, Any, Any] = (model, frames, {})
    again = resynthesis.reconstruct(*parts)
    way = resynthesis.interpolate(*parts, [0.0, 0.5, 1.0], {})
    assert again.shape == frames.shape
    assert way.shape == (3, 30, 6)
    np.testing.assert_allclose(way[[0, -1]], again, atol=1e-5)
    assert np.abs(resynthesis.perturb(*parts, 0.3, 0) - again).max() > 1e-3

    def move(classes: tuple[int, int]) -> np.ndarray:
        return resynthesis.transfer(*parts, name="digit", classes=classes)

    moved = move((0, 2))
    assert np.abs(moved - again).max() > 1e-3
    np.testing.assert_allclose(move((1, 1)), again, atol=1e-5)


def test_a_learned_mixture_is_held_to_and_drawn_from() -> None:
    model = make_model(prior_components=4)
    batch = make_batch()
    trained = [one.path for one in model.trainable_variables]
    assert sum("priors/" in path for path in trained) == 3
    assert np.isfinite(losses(model, batch).metrics["kl"]).all()
    # With one component at 0, of deviation 1, the estimate is about the closed form.
    single, plain = make_model(prior_components=1), make_model()
    mean, log_sd = tf.fill([1, 50, 3], 0.7), tf.fill([1, 50, 3], -0.5)
    drawn = mean + tf.exp(log_sd) * np.random.default_rng(0).standard_normal((1, 50, 3))
    for name in ("means", "log_sds"):
        (variable,) = [one for one in single.trainable_variables if one.path.endswith(name)]
        variable.assign(np.zeros(variable.shape))
    closed = plain.priors.kl_divergence(drawn, mean, log_sd)
    np.testing.assert_allclose(single.priors.kl_divergence(drawn, mean, log_sd), closed, rtol=0.15)
    request = families.GenerationRequest(n_songs=2, n_frames=9, prior="mixture")
    assert model.generate(request, None, lambda _: None).shape == (2, 9, 6)
    with pytest.raises(errors.InputError, match="prior_components"):
        plain.generate(request, None, lambda _: None)


@pytest.mark.parametrize("representation", ["log_stft", "complex_stft"])
def test_other_spectrograms_go_through_as_well(representation: str) -> None:
    audio = AudioConfig(representation=representation, n_fft=32, hop_length=8)
    spec = dataclasses.replace(SPEC, audio=audio)
    model = make_model(spec)
    frames = np.random.default_rng(0).standard_normal((1, 16, audio.channels), np.float32)
    found = model.encode(frames, {})
    assert model.decode(found, 16, {}).shape == frames.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 3}, "stride must be 1, 2, 4"),
        ({"latents": "several"}, "latents must be one of"),
        ({"beta_warmup": 2.0}, "beta_warmup"),
        ({"sigma_floor": 0.0}, "sigma_floor"),
        ({"beta": -1.0}, "beta"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        VAEConfig(**settings)
