"""The autoencoder of notes: its loss, what is fitted to it, recordings of any length through it."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen import config, errors
from lstm_gen.models import family, note_vae
from lstm_gen.models.layers import levels

AUDIO = config.AudioConfig(
    sample_rate=4000, representation="complex_stft", n_fft=128, hop_length=32, n_bins=40
)
INSTRUMENT = family.Condition(name="instrument", kind="class", n_values=3)
PITCH = family.Condition(name="pitch", kind="number", minimum=40.0, maximum=90.0)
SIGNAL = family.Signal(
    audio=AUDIO, timesteps=12, shift=0, conditions=(INSTRUMENT, PITCH), classes=(INSTRUMENT,)
)


def make_model(**settings: Any) -> note_vae.NoteVAE:
    keras.utils.set_random_seed(0)
    values = {"noise_size": 4, "width": 8} | settings
    return note_vae.build(note_vae.NoteVAEConfig(**values), SIGNAL)


def make_batch(count: int = 8) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "frames": random.standard_normal((count, 12, 80)).astype(np.float32),
        "weight": (np.arange(count) < count - 1).astype(np.float32),
        "label/instrument": np.arange(count) % 2,
        "label/pitch": np.linspace(45, 80, count).astype(np.float32),
    }


def tensors(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(values) for name, values in batch.items()}


def test_the_loss_is_of_levels_steps_that_wrap_loudness_and_divergence() -> None:
    model = make_model(divergence=0.01)
    batch = tensors(make_batch())
    (objective,) = note_vae.objectives(model, SIGNAL)
    found = objective.loss(batch, tf.constant([1, 2, 0]), False)
    told = model.told(SIGNAL, batch, 8)
    image, loudness = (part.numpy() for part in levels.from_frames(batch["frames"], SIGNAL))
    mean, log_sd = (part.numpy() for part in model.encoder(image, loudness, *told))
    made, made_loudness = (part.numpy() for part in model.make(mean, told))
    level = np.abs(image[..., 0] - made[..., 0]).mean(axis=(1, 2))
    weight = ((image[..., 0] + 1) / 2) ** 2
    wrong = 1 - np.cos(np.pi * (image[..., 1] - made[..., 1]))
    step = (weight * wrong).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    divergence = (0.5 * (mean**2 + np.exp(2 * log_sd) - 1) - log_sd).sum(axis=1)
    louder = np.abs(loudness - made_loudness)[:, 0]
    np.testing.assert_allclose(found.metrics["level_db"], 40 * level, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["step_error"], step, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["divergence"], divergence, rtol=1e-4)
    expected = level + 0.5 * step + 0.1 * louder + 0.01 * divergence
    np.testing.assert_allclose(found.per_example, expected, rtol=1e-4)


def test_what_is_fitted_is_the_density_of_latents_and_the_mean_of_each_class() -> None:
    model, batch = make_model(), make_batch()
    note_vae.fit(model, SIGNAL, lambda: iter([batch, batch]))
    told = model.told(SIGNAL, tensors(batch), 8)
    mean, log_sd = model.encoder(*levels.from_frames(tf.constant(batch["frames"]), SIGNAL), *told)
    mean, log_sd = mean.numpy()[:7], log_sd.numpy()[:7]  # the last one is padding
    vector = np.tile(told[0].numpy()[:7], (2, 1)).astype(np.float64)
    latents = np.tile(mean, (2, 1)).astype(np.float64)
    beside = np.concatenate([vector - vector.mean(0), np.eye(vector.shape[1])])
    wanted = np.concatenate([latents - latents.mean(0), np.zeros((vector.shape[1], 4))])
    slope = np.linalg.lstsq(beside, wanted, rcond=None)[0]
    assert model.slope is not None
    np.testing.assert_allclose(model.slope.numpy(), slope, rtol=1e-2, atol=1e-3)
    intercept = latents.mean(0) - vector.mean(0) @ slope
    np.testing.assert_allclose(model.mean, intercept, rtol=1e-2, atol=1e-3)
    covariance = model.factor.numpy() @ model.factor.numpy().T
    rest = latents - intercept - vector @ slope
    expected = rest.T @ rest / 13 + np.diag(np.exp(2 * log_sd).mean(axis=0) + 1e-4)
    np.testing.assert_allclose(covariance, expected, rtol=1e-3, atol=1e-3)
    means = note_vae.FAMILY.coder.class_means(model)["instrument"]  # type: ignore[union-attr]
    own = batch["label/instrument"][:7]
    for value in (0, 1):
        np.testing.assert_allclose(means[value], mean[own == value].mean(0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(means[2], mean.mean(axis=0), rtol=1e-3, atol=1e-4)  # there is none


def test_draws_have_the_density_that_was_fitted() -> None:
    model = make_model()
    factor = np.tril(np.random.default_rng(1).uniform(0.5, 2, (4, 4)))
    model.factor.assign(factor)
    model.mean.assign([1.0, -2.0, 3.0, 0.0])
    slope = np.zeros((model.size.told, 4))
    slope[1] = [0, 1, 0, 2]
    assert model.slope is not None
    model.slope.assign(slope)
    normal = tf.random.stateless_normal([20000, 4], [1, 2])
    told = tf.one_hot([1] * 20000, model.size.told)
    draws = model.draw_of("gaussian")(normal, told).numpy()
    np.testing.assert_allclose(draws.mean(axis=0), [1, -1, 3, 2], atol=0.1)
    np.testing.assert_allclose(np.cov(draws, rowvar=False), factor @ factor.T, atol=0.4)
    np.testing.assert_array_equal(model.draw_of("standard")(normal, told), normal)


@pytest.mark.parametrize("n_frames", [5, 12, 25])
def test_recordings_of_any_length_go_through_it(n_frames: int) -> None:
    model, batch = make_model(), make_batch()
    coder = note_vae.FAMILY.coder
    assert coder is not None
    labels = {name: values for name, values in batch.items() if name.startswith("label/")}
    frames = np.tile(batch["frames"], (1, 3, 1))[:, :n_frames]
    latents = coder.encode(model, SIGNAL, frames, labels)
    assert latents.shape == (8, math.ceil(n_frames / 12), 4)
    made = coder.decode(model, SIGNAL, latents, n_frames, labels)
    assert made.shape == frames.shape
    if n_frames >= 12:
        expected = note_vae.predict(model, SIGNAL, tensors(batch))
        np.testing.assert_allclose(made[:, :12], expected, rtol=1e-3, atol=1e-3)


def test_what_is_told_reaches_encoder_and_generator() -> None:
    model, batch = make_model(), make_batch()
    before = note_vae.predict(model, SIGNAL, tensors(batch))
    for change in ({"label/instrument": np.full(8, 2)}, {"label/pitch": np.full(8, 50, "f")}):
        assert np.abs(note_vae.predict(model, SIGNAL, tensors(batch | change)) - before).max() > 0


def test_settings_and_frames_that_make_no_sense_are_refused() -> None:
    for change, message in (
        ({"width": 2}, "multiple of 4"),
        ({"divergence": -1.0}, "divergence must not be negative"),
        ({"noise_size": 0}, "noise_size must be at least 1"),
    ):
        with pytest.raises(errors.InputError, match=message):
            note_vae.NoteVAEConfig(**change)
    signal = dataclasses.replace(SIGNAL, audio=config.AudioConfig(), conditions=(), classes=())
    with pytest.raises(errors.InputError, match="complex_stft"):
        note_vae.build(note_vae.NoteVAEConfig(noise_size=4, width=8), signal)
