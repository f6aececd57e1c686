"""The autoencoder of notes: its loss, what is fitted to it, recordings of any length through it."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.common import conditioning, rng
from lstm_gen.models.notes import note_vae, spectrogram_image
from lstm_gen.models.notes.config import NoteVAEConfig
from lstm_gen.platform import errors

pytestmark = pytest.mark.usefixtures("without_xla")
AUDIO = AudioConfig(
    sample_rate=4000, representation="complex_stft", n_fft=128, hop_length=32, n_bins=40
)
INSTRUMENT = base.Condition(name="instrument", kind="class", n_values=3)
PITCH = base.Condition(name="pitch", kind="number", minimum=40.0, maximum=90.0)
SPEC = base.FrameSpec(
    audio=AUDIO, timesteps=12, shift=0, conditions=(INSTRUMENT, PITCH), classes=(INSTRUMENT,)
)


def make_model(**settings: Any) -> note_vae.NoteVAE:
    keras.utils.set_random_seed(0)
    values = {"noise_size": 4, "width": 8} | settings
    return note_vae.NoteVAE.create(NoteVAEConfig(**values), SPEC)


def make_batch(count: int = 8) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "frames": random.standard_normal((count, 12, 80)).astype(np.float32),
        "weight": (np.arange(count) < count - 1).astype(np.float32),
        "recording": np.arange(count),
        "start_frame": np.zeros(count, np.int64),
        "label/instrument": np.arange(count) % 2,
        "label/pitch": np.linspace(45, 80, count).astype(np.float32),
    }


def tensors(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(values) for name, values in batch.items()}


def test_the_loss_is_of_levels_steps_that_wrap_loudness_and_divergence() -> None:
    model = make_model(divergence=0.01)
    batch = tensors(make_batch())
    (objective,) = model.objectives()
    found = objective.loss(batch, tf.constant([1, 2, 0]), False)
    cond = model.conditioning(batch, 8)
    image, loudness = (
        part.numpy() for part in spectrogram_image.from_frames(batch["frames"], SPEC)
    )
    mean, log_sd = (part.numpy() for part in model.encoder(image, loudness, *cond))
    made, made_loudness = (part.numpy() for part in model.make(mean, cond))
    apart = np.abs(image[..., 0] - made[..., 0])
    level = apart.mean(axis=(1, 2))
    amplitude = 10 ** (2 * (image[..., 0] - 1))  # 40 dB less for a level 1 lower
    loud = (amplitude * apart).sum(axis=(1, 2)) / amplitude.sum(axis=(1, 2))
    weight = ((image[..., 0] + 1) / 2) ** 2
    wrong = 1 - np.cos(np.pi * (image[..., 1] - made[..., 1]))
    step = (weight * wrong).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    divergence = (0.5 * (mean**2 + np.exp(2 * log_sd) - 1) - log_sd).sum(axis=1)
    louder = np.abs(loudness - made_loudness)[:, 0]
    np.testing.assert_allclose(found.metrics["level_db"], 40 * level, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["loud_level_db"], 40 * loud, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["step_error"], step, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["kl"], divergence, rtol=1e-4)
    expected = level + 0.5 * loud + 0.5 * step + 0.1 * louder + 0.01 * divergence
    np.testing.assert_allclose(found.per_example, expected, rtol=1e-4)


def test_priors_are_fitted_to_draws_of_the_latents_and_padding_is_left_out() -> None:
    model, batch = make_model(), make_batch()
    bias = model.encoder.code.bias
    bias.assign(np.where(np.arange(8) < 4, 0.0, -100.0))  # latents are certain: draws are means
    batch["frames"][-1] *= 100  # the padding
    assert model.priors.resolve("") == "standard"
    model.fit_data(lambda: iter([batch]))
    assert model.priors.resolve("") == "gaussian"
    labels = {name: values for name, values in batch.items() if name.startswith("label/")}
    latents = model.encode(batch["frames"], labels)[:7, 0]
    np.testing.assert_allclose(model.latent_std(), latents.std(axis=0), atol=0.01)
    means, own = model.class_means()["instrument"], batch["label/instrument"][:7]
    for value in (0, 1):
        np.testing.assert_allclose(means[value], latents[own == value].mean(axis=0), atol=0.01)
    np.testing.assert_allclose(means[2], latents.mean(axis=0), atol=0.01)  # there is none


def test_songs_are_made_of_draws_of_the_prior_that_was_asked_for() -> None:
    model, batch = make_model(), make_batch()
    model.fit_data(lambda: iter([batch]))
    labels = {"label/instrument": np.array([0, 1]), "label/pitch": np.array([50, 70], np.float32)}
    cond = conditioning.vector(SPEC.conditions, labels, 2)
    for share_noise in (False, True):
        for prior in ("gaussian", "standard"):
            request = base.GenerationRequest(
                n_songs=2, n_frames=12, seed=5, prior=prior, labels=labels, share_noise=share_noise
            )
            made = model.generate(request, None, lambda _: None)
            seed = rng.seed_from(5, rng.SONGS, 0)
            draws = model.priors.draw(prior, 1, seed, 2, 1.0, cond, share_noise)
            image, loudness = model.make(draws[:, 0], model.conditioning(labels, 2))
            expected = spectrogram_image.to_frames(image, loudness, SPEC)
            np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_frames", [5, 12, 25])
def test_recordings_of_any_length_go_through_it(n_frames: int) -> None:
    model, batch = make_model(), make_batch()
    labels = {name: values for name, values in batch.items() if name.startswith("label/")}
    frames = np.tile(batch["frames"], (1, 3, 1))[:, :n_frames]
    latents = model.encode(frames, labels)
    assert latents.shape == (8, math.ceil(n_frames / 12), 4)
    made = model.decode(latents, n_frames, labels)
    assert made.shape == frames.shape
    if n_frames >= 12:
        expected = model.predict_frames(tensors(batch))
        np.testing.assert_allclose(made[:, :12], expected, rtol=1e-3, atol=1e-3)
    if n_frames >= 24:  # the first frame of another has the step that leads to it
        np.testing.assert_allclose(made[:, 13:24], expected[:, 1:], rtol=1e-3, atol=1e-3)


def test_labels_reach_encoder_and_generator() -> None:
    model, batch = make_model(), make_batch()
    before = model.predict_frames(tensors(batch))
    for change in ({"label/instrument": np.full(8, 2)}, {"label/pitch": np.full(8, 50, "f")}):
        assert np.abs(model.predict_frames(tensors(batch | change)) - before).max() > 0


def test_settings_and_frames_that_make_no_sense_are_refused() -> None:
    for change, message in (
        ({"width": 2}, "note_width must be at least 4"),
        ({"width": 6}, "multiple of 4"),
        ({"divergence": -1.0}, "divergence must be at least 0"),
        ({"noise_size": 0}, "noise_size must be at least 1"),
    ):
        with pytest.raises(errors.InputError, match=message):
            NoteVAEConfig(**change)
    spec = dataclasses.replace(SPEC, audio=AudioConfig(), conditions=(), classes=())
    with pytest.raises(errors.InputError, match="complex_stft"):
        note_vae.NoteVAE.create(NoteVAEConfig(noise_size=4, width=8), spec)
