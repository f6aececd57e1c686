import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base as families
from lstm_gen.models.common import losses, overlap_add
from lstm_gen.models.waveform_vae import model as waveform_vae
from lstm_gen.models.waveform_vae.config import WaveformVAEConfig
from lstm_gen.platform import errors, traced_functions

pytestmark = pytest.mark.usefixtures("without_xla")
SPEC = families.FrameSpec(
    audio=AudioConfig(sample_rate=3000, representation="waveform", hop_length=16),
    timesteps=64,
    shift=0,
    classes=(families.Condition(name="hand", kind="class", n_values=3),),
)
SETTINGS = WaveformVAEConfig(strides="4,4", channels="6,8", latent_size=3)
STRIDE = 16


def make_model(
    seed: int = 0, spec: families.FrameSpec = SPEC, **changed: Any
) -> waveform_vae.WaveformVAE:
    keras.utils.set_random_seed(seed)
    return waveform_vae.WaveformVAE.create(dataclasses.replace(SETTINGS, **changed), spec)


def make_frames(n_examples: int, n_frames: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((n_examples, n_frames, 16)).astype(np.float32)


def make_batch(n_examples: int = 4, scale: float = 1.0) -> dict[str, Any]:
    return {
        "frames": scale * make_frames(n_examples, SPEC.timesteps),
        "weight": np.ones(n_examples, np.float32),
        "row": np.arange(n_examples),
        "recording": np.arange(n_examples),
        "start_frame": np.zeros(n_examples, np.int64),
        "label/hand": np.arange(n_examples) % 3,
    }


def encode(model: waveform_vae.WaveformVAE, frames: np.ndarray) -> np.ndarray:
    return model.encode(frames, {})


def reconstruct(model: waveform_vae.WaveformVAE, frames: np.ndarray) -> np.ndarray:
    latents = encode(model, frames)
    return model.decode(latents, frames.shape[1], {})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strides": "4,4,8", "channels": "1,1,1"}, "at most 64.*'4,4,8'"),
        ({"strides": "1,4"}, "2 or more each"),
        ({"strides": "4;4"}, "whole numbers separated by commas.*'4;4'"),
        ({"strides": ""}, "whole numbers separated by commas"),
        ({"channels": "8"}, "one for each stride"),
        ({"windows": "8"}, "multiples of 4 samples, from 16 on"),
        ({"latent_size": 0}, "latent_size must be from 1 to 4096"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"spectral_weight": 0.0, "waveform_weight": 0.0}, "must not both be 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        dataclasses.replace(SETTINGS, **changed)


def test_64_samples_a_latent_step_are_the_default_and_the_most() -> None:
    assert WaveformVAEConfig().stride == 64


def test_windows_too_short_for_any_spectrum_are_refused() -> None:
    model = make_model(spec=dataclasses.replace(SPEC, timesteps=16), windows="512")
    with pytest.raises(errors.InputError, match=r"shortest of windows.*samples=256"):
        model.objectives()


@pytest.mark.parametrize("strides", ["4,4", "2,3", "4,2,2"])
def test_time_is_time(strides: str) -> None:
    """What is moved by a latent step comes out moved by a latent step, in between and after."""
    model = make_model(strides=strides, channels=",".join(["4"] * strides.count(",")) + ",6")
    stride, context = model.config.stride, model.config.context
    sound = make_frames(1, 90).reshape(1, -1, 1)[:, : 60 * stride]
    later = np.roll(sound, stride, axis=1)
    inner = slice(context + 1, -context)
    latents, moved = model.encode_samples(sound)[0].numpy(), model.encode_samples(later)[0].numpy()
    assert latents.shape == (1, sound.shape[1] // stride, 3)
    np.testing.assert_allclose(moved[:, 1:][:, inner], latents[:, :-1][:, inner], atol=1e-5)
    made, made_later = (
        model.decode_latents(latents).numpy(),
        model.decode_latents(np.roll(latents, 1, 1)).numpy(),
    )
    assert made.shape == sound.shape
    start, stop = (context + 1) * stride, -context * stride
    np.testing.assert_allclose(
        made_later[:, stride:][:, start:stop], made[:, :-stride][:, start:stop], atol=1e-5
    )
    assert np.abs(made[:, stride:][:, start:stop] - made[:, :-stride][:, start:stop]).max() > 1e-3


def test_a_latent_is_heard_where_it_stands_and_nowhere_else() -> None:
    model = make_model()
    latents = np.zeros((1, 40, 3), np.float32)
    other = latents.copy()
    other[0, 20] = 1
    apart = np.abs(model.decode_latents(other) - model.decode_latents(latents)).max(axis=(0, 2))
    context = model.config.context
    assert apart[20 * STRIDE : 21 * STRIDE].max() > 1e-3
    assert apart[: (20 - context) * STRIDE].max() == 0
    assert apart[(21 + context) * STRIDE :].max() == 0


def test_samples_are_along_time_and_never_channels() -> None:
    model = make_model()
    assert model.encoder[0].kernel.shape[1] == 1
    assert model.decoder[-1].kernel.shape[2] == 1
    # Frames are but a way to store samples: their length makes no other model.
    sound = make_frames(1, 64).reshape(1, -1)
    by_frames = model.predict_frames({"frames": tf.constant(sound.reshape(1, 64, 16))})
    audio = dataclasses.replace(SPEC.audio, hop_length=32)
    other = make_model(spec=dataclasses.replace(SPEC, audio=audio, timesteps=32))
    same = other.predict_frames({"frames": tf.constant(sound.reshape(1, 32, 32))})
    np.testing.assert_array_equal(np.reshape(same, -1), np.reshape(by_frames, -1))


@pytest.mark.parametrize("n_frames", [1, 2, 7, 64, 65])
@pytest.mark.parametrize("hop_length", [16, 10, 24])
def test_length_is_exact(n_frames: int, hop_length: int) -> None:
    audio = dataclasses.replace(SPEC.audio, hop_length=hop_length)
    model = make_model(spec=dataclasses.replace(SPEC, audio=audio))
    frames = np.ones((2, n_frames, hop_length), np.float32)
    latents = model.encode(frames, {})
    assert latents.shape == (2, -(-n_frames * hop_length // STRIDE), 3)
    made = model.decode(latents, n_frames, {})
    assert made.shape == frames.shape
    assert made.dtype == np.float32


def test_long_sounds_are_worked_off_in_pieces_as_if_they_were_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model(blocks=2)
    frames = make_frames(2, 200)
    latents, made = encode(model, frames), reconstruct(model, frames)
    monkeypatch.setattr(waveform_vae.WaveformVAE, "steps_per_chunk", 20)
    shapes = set()

    def note(values: Any) -> Any:
        shapes.add(values.shape)
        return model._decoder_program(tf.constant(values))

    np.testing.assert_allclose(encode(model, frames), latents, atol=1e-5)
    np.testing.assert_allclose(reconstruct(model, frames), made, atol=1e-5)
    told: list[int] = []
    context = model.config.context
    whole = overlap_add.run_in_chunks(note, latents, 1, 20, context, told.append)
    np.testing.assert_allclose(whole.reshape(made.shape), made, atol=1e-5)
    assert shapes == {(2, 20 + 2 * context, 3)}  # so one program, whatever the length
    assert sum(told) == 200


def train(
    model: waveform_vae.WaveformVAE, batch: dict[str, Any], steps: int
) -> dict[str, np.ndarray]:
    """Train on one batch; return the last metrics."""
    (objective,) = model.objectives()
    optimizer = keras.optimizers.Adam(0.005, global_clipnorm=1.0)
    optimizer.build(objective.variables)

    @tf.function
    def step(seed: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = objective.loss(batch, tf.stack([1, seed, 0]), True)
            total = tf.reduce_mean(loss.per_example)
        optimizer.apply(tape.gradient(total, objective.variables), objective.variables)
        return loss.metrics

    for index in range(steps):
        metrics = step(tf.constant(index))
    return {name: values.numpy() for name, values in metrics.items()}


def make_tones(n_examples: int, decibels: float) -> dict[str, Any]:
    """Return a batch of tones, each louder than the one before it."""
    time = np.arange(SPEC.timesteps * 16) / 3000
    rows = [np.sin(2 * np.pi * (200 + 60 * index) * time) for index in range(n_examples)]
    levels = 10 ** (np.linspace(-decibels, 0, n_examples) / 20)
    frames = np.stack(rows) * levels[:, np.newaxis]
    return make_batch(n_examples) | {
        "frames": frames.reshape(n_examples, SPEC.timesteps, 16).astype(np.float32)
    }


def level_slope(wanted: np.ndarray, made: np.ndarray) -> float:
    """Return how much log level comes out for log level that goes in."""
    logs = [np.log(np.sqrt(np.square(one).mean(axis=(1, 2)))) for one in (wanted, made)]
    return float(np.polyfit(logs[0], logs[1], 1)[0])


@pytest.mark.slow
def test_what_is_learnt_is_signed_without_offset_and_as_loud_as_it_was() -> None:
    batch = make_tones(6, 12)
    model = make_model(channels="12,24", latent_size=8, beta=0.3, spectral_weight=0.3)
    train(model, batch, 400)
    made = reconstruct(model, batch["frames"])
    wanted = batch["frames"]
    error = np.square(made - wanted).sum() / np.square(wanted).sum()
    assert 10 * np.log10(1 / error) > 8
    rms = np.sqrt(np.square(wanted).mean(axis=(1, 2)))
    for sound, level in zip(made, rms, strict=True):
        assert sound.min() < -0.8 * level
        assert sound.max() > 0.8 * level
        assert abs(sound.mean()) < 0.1 * level
    assert 0.9 < level_slope(wanted, made) < 1.1


def test_spectra_are_as_far_apart_as_numpy_says() -> None:
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, 3, 400)).astype(np.float32)
    found = losses.multi_resolution_stft(one, other, (32,))
    hann = np.hanning(33)[:-1]

    def magnitudes(signal: np.ndarray) -> np.ndarray:
        padded = np.pad(signal, (0, 32))
        cuts = [padded[start : start + 32] for start in range(0, 400, 8)]
        return np.sqrt(np.square(np.abs(np.fft.rfft(cuts * hann))) / 12 + 1e-5)

    for row, (first, second) in enumerate(zip(one, other, strict=True)):
        a, b = magnitudes(first), magnitudes(second)
        expected = np.linalg.norm(a - b) / np.linalg.norm(a) + np.abs(np.log(a / b)).mean()
        assert float(found[row]) == pytest.approx(expected, rel=1e-4)
    assert float(np.max(losses.multi_resolution_stft(one, one))) < 1e-3


def test_the_spectral_gradient_is_gated_by_the_explained_waveform() -> None:
    spectral = tf.constant([2.0, 2.0, 2.0])
    ratio = tf.math.log([1.0, 4.0, 0.5])  # nothing, three quarters, worse than silence
    with tf.GradientTape() as tape:
        tape.watch(spectral)
        gated = losses.gated(spectral, ratio)
        total = tf.reduce_sum(gated)
    np.testing.assert_allclose(gated, [2.0, 2.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, spectral), [0.03, 0.75, 0.03], rtol=1e-5)


def test_silence_has_a_finite_loss_and_gradient() -> None:
    model = make_model()
    (objective,) = model.objectives()
    batch = make_batch() | {"frames": np.zeros((4, 64, 16), np.float32)}
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(objective.loss(batch, tf.constant([1, 2, 0]), True).per_example)
    gradients = tape.gradient(loss, objective.variables)
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_divergence_is_that_of_gaussians() -> None:
    model = make_model()
    (objective,) = model.objectives()
    batch = make_batch()
    found = objective.loss(batch, tf.zeros([3], tf.int32), False).metrics["kl_per_sample"]
    mean, log_sd = model.encode_samples(batch["frames"].reshape(4, -1, 1))
    variance = np.exp(2 * log_sd)
    expected = 0.5 * (np.square(mean) + variance - 1 - np.log(variance)).sum(axis=(1, 2)) / 1024
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_priors_are_fitted_and_each_can_be_drawn_from() -> None:
    model = make_model()
    request = families.GenerationRequest(n_songs=2, n_frames=90)
    primer = np.zeros((2, 0, 16), np.float32)

    def generate(prior: str) -> np.ndarray:
        asked = dataclasses.replace(request, prior=prior)
        return model.generate(asked, primer, lambda _: None)

    with pytest.raises(errors.InputError, match="fitted when training ends"):
        generate("sequence")
    np.testing.assert_array_equal(generate(""), generate("standard"))
    batches = [make_batch(8), make_batch(8) | {"weight": np.repeat([1.0, 0.0], 4)}]
    model.fit_data(lambda: iter(batches))
    songs = {prior: generate(prior) for prior in SETTINGS.priors}
    assert all(song.shape == (2, 90, 16) for song in songs.values())
    assert len({song.tobytes() for song in songs.values()}) == len(SETTINGS.priors)
    assert model.latent_std().shape == (3,)
    assert (model.latent_std() > 0).all()
    assert model.class_means()["hand"].shape == (3, 3)
    assert np.unique(model.class_means()["hand"]).size > 3


def test_priors_are_fitted_to_whole_stretches_but_for_their_padded_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, fitted = make_model(), list[np.ndarray]()
    monkeypatch.setattr(model.priors, "fit", lambda latents, *_: fitted.extend(latents))
    places = {
        "recording": np.repeat([3, 4], 6),
        "start_frame": np.tile(np.arange(6) * SPEC.timesteps, 2),
    }
    batch = make_batch(12) | places
    model.fit_data(lambda: iter([batch]))
    context, stride = model.config.context, model.config.stride
    steps = 6 * SPEC.timesteps * SPEC.channels // stride
    assert [len(one) for one in fitted] == [steps - 2 * context] * 2
    random, samples = np.random.default_rng(0), batch["frames"].reshape(2, -1, 1)
    for one, mean, log_sd in zip(fitted, *model.encode_samples(samples), strict=True):
        inner = slice(context, -context)
        draw = random.standard_normal((steps - 2 * context, one.shape[1]))
        np.testing.assert_allclose(one, mean[inner] + np.exp(log_sd[inner]) * draw, atol=1e-4)


@pytest.mark.xla
def test_a_song_costs_programs_of_one_length_however_long_it_is() -> None:
    model, primer = make_model(), np.zeros((1, 0, 16), np.float32)
    request = families.GenerationRequest(n_songs=1, n_frames=3000)
    with traced_functions.listing() as calls:
        model.generate(request, primer, lambda _: None)
    assert {one.name: one.calls for one in calls}["decode_latents"] > 4
    assert len(calls) == 2


def test_a_level_reaches_the_latents() -> None:
    model, frames = make_model(), make_frames(2, 64)
    quiet, loud = encode(model, frames), encode(model, 4 * frames)
    assert np.abs(loud - quiet).mean() > np.abs(quiet).mean()
