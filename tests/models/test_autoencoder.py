"""The autoencoder: a linear code in closed form at step 0, whose time is time."""

import dataclasses
import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tiny

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import PHASES, AudioConfig
from lstm_gen.config.dataset import SegmentConfig, SplitConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.prepare import plan, prepare
from lstm_gen.generation import songs
from lstm_gen.models import base
from lstm_gen.models.autoencoder import model as autoencoder
from lstm_gen.models.autoencoder.config import AutoencoderConfig
from lstm_gen.models.common import losses, rng
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs
from lstm_gen.training import batches

CHANNELS, STRIDE, SIZE = 6, 3, 5
SETTINGS = AutoencoderConfig(latent_size=SIZE, stride=STRIDE, width=8, blocks=2)
REACH = 2 * SETTINGS.blocks  # steps, encoder and decoder
SPEC = base.FrameSpec(
    audio=AudioConfig(n_mels=CHANNELS),
    timesteps=12,
    shift=0,
    classes=(base.Condition(name="kind", kind="class", n_values=3),),
)
CONDITIONAL = dataclasses.replace(SPEC, conditions=SPEC.classes)


def make_model(spec: base.FrameSpec = SPEC, stir: bool = False) -> autoencoder.Autoencoder:
    """Return a model; stirred, its corrections say something, as after training."""
    keras.utils.set_random_seed(0)
    model = autoencoder.Autoencoder.create(SETTINGS, spec)
    if stir:
        random = np.random.default_rng(0)
        for layer in (model.encoder.last, model.decoder.last):
            layer.kernel.assign(0.3 * random.standard_normal(layer.kernel.shape))
    return model


def make_frames(n_windows: int = 8, n_frames: int = 12) -> np.ndarray:
    return np.array(tiny.make_batch(n_windows, n_frames, CHANNELS)["frames"])


def examples() -> Iterator[base.Batch]:
    """Yield two batches, of which the second is filled up with a window that does not count."""
    frames, kinds = make_frames(), np.array([0, 1, 1, -1, 0, 1, 0, 1])
    for first in (0, 4):
        weight = np.array([1, 1, 1, 1 if first == 0 else 0], np.float32)
        part = slice(first, first + 4)
        yield {
            "frames": frames[part],
            "weight": weight,
            "label/kind": kinds[part],
            "recording": np.arange(8)[part],
            "start_frame": np.zeros(4, np.int64),
        }


def test_the_start_is_the_best_linear_code() -> None:
    """Against NumPy's SVD of the training patches."""
    model = make_model()
    model.initialise(examples)
    patches = make_frames()[:7].reshape(-1, STRIDE * CHANNELS)
    mean = patches.mean(axis=0)
    vectors = np.linalg.svd(patches - mean, full_matrices=False)[2][:SIZE]
    wanted = (patches - mean) @ vectors.T @ vectors + mean
    made = model(tf.constant(make_frames()[:7])).numpy()
    np.testing.assert_allclose(made.reshape(wanted.shape), wanted, atol=1e-4)
    latents = model.encode_frames(tf.constant(make_frames()[:7])).numpy()
    np.testing.assert_allclose(latents.std(axis=(0, 1)), 1, atol=0.01)


def test_the_decoder_mirrors_the_encoder() -> None:
    model = make_model()
    shapes = [
        [tuple(weight.shape) for weight in part.weights if len(weight.shape) > 1]
        for part in (model.encoder, model.decoder)
    ]
    turned = [(*shape[:-2], shape[-1], shape[-2]) for shape in reversed(shapes[1])]
    assert shapes[0] == turned
    assert model.project.kernel.shape == model.restore.kernel.shape[::-1]


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 11, 12, 13, 50])
def test_as_many_frames_come_out_as_go_in(n_frames: int) -> None:
    model, frames = make_model(stir=True), make_frames(2, n_frames)
    assert model(tf.constant(frames)).shape == frames.shape
    latents = model.encode(frames, {})
    assert latents.shape == (2, -(-n_frames // STRIDE), SIZE)
    made = model.decode(latents, n_frames, {})
    np.testing.assert_allclose(made, model(tf.constant(frames)), rtol=1e-5, atol=1e-6)


def test_time_is_time() -> None:
    """A sound that begins a step later comes back a step later, and what is far off says nothing.

    In a model with frames as channels neither holds.
    """
    model, frames = make_model(stir=True), make_frames(1, 60)
    whole = model(tf.constant(frames)).numpy()
    later = model(tf.constant(np.roll(frames, STRIDE, axis=1))).numpy()
    inner = slice((REACH + 1) * STRIDE, -(REACH + 1) * STRIDE)
    np.testing.assert_allclose(later[:, inner], np.roll(whole, STRIDE, 1)[:, inner], atol=1e-5)
    changed = frames.copy()
    changed[:, 30] += 5
    moved = np.abs(model(tf.constant(changed)).numpy() - whole).max(axis=(0, 2)) > 1e-5
    assert moved[30]
    assert not moved[: 30 - REACH * STRIDE].any()
    assert not moved[33 + REACH * STRIDE :].any()


def test_a_whole_recording_is_its_windows() -> None:
    """No stretch in training and pad in generation: frames mean the same in any length."""
    model, frames = make_model(stir=True), make_frames(1, 60)
    whole = model(tf.constant(frames)).numpy()
    part = model(tf.constant(frames[:, 12:48])).numpy()
    edge = REACH * STRIDE
    np.testing.assert_allclose(part[:, edge:-edge], whole[:, 12:48][:, edge:-edge], atol=1e-5)


def test_long_recordings_are_worked_off_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model, frames = make_model(stir=True), make_frames(2, 200)
    monkeypatch.setattr(autoencoder.Autoencoder, "steps_per_chunk", 8)
    latents = model.encode(frames, {})
    np.testing.assert_allclose(
        latents, model.encode_frames(tf.constant(frames)), rtol=1e-4, atol=1e-5
    )
    made = model.decode(latents, 200, {})
    np.testing.assert_allclose(made, model(tf.constant(frames)), rtol=1e-4, atol=1e-4)


def fitted_model() -> autoencoder.Autoencoder:
    model = make_model(stir=True)
    model.initialise(examples)
    model.fit_data(examples)
    return model


def test_fitted_are_the_training_latents_and_their_classes() -> None:
    model = fitted_model()
    latents = model.encode(make_frames()[:7], {})
    np.testing.assert_allclose(model.latent_std(), latents.std(axis=(0, 1)), atol=1e-4)
    means = model.class_means()["kind"]
    np.testing.assert_allclose(means[0], latents[[0, 4, 6]].mean(axis=(0, 1)), atol=1e-4)
    np.testing.assert_allclose(means[1], latents[[1, 2, 5]].mean(axis=(0, 1)), atol=1e-4)
    np.testing.assert_allclose(means[2], latents.mean(axis=(0, 1)), atol=1e-4)  # never occurs
    assert not model.priors.trainable_variables


def test_songs_are_decoded_from_the_fitted_gaussian() -> None:
    model = fitted_model()
    known = model.encode(make_frames()[:7], {}).reshape(-1, SIZE)
    request = base.GenerationRequest(n_songs=60, n_frames=180, seed=1, prior="gaussian")
    songs = model.generate(request, None, lambda _: None)
    assert songs.shape == (60, 180, CHANNELS)
    drawn = model.priors.draw("gaussian", 60, rng.seed_from(1, rng.SONGS, 0), 60, 1.0)
    decoded = model.decode(drawn, 180, {})
    np.testing.assert_allclose(songs, decoded, rtol=1e-4, atol=1e-5)
    spread = known.std(axis=0)
    rows = drawn.reshape(-1, SIZE)
    # Draws stay within what the latents reach, which takes off a little.
    np.testing.assert_allclose(rows.mean(axis=0), known.mean(axis=0), atol=0.2 * spread.max())
    np.testing.assert_allclose(rows.std(axis=0), spread, rtol=0.25)


def test_steps_of_a_song_go_on_from_each_other() -> None:
    """A prior that draws every step for itself would sound chopped."""
    keras.utils.set_random_seed(0)
    spec = dataclasses.replace(SPEC, timesteps=60)
    model = autoencoder.Autoencoder.create(dataclasses.replace(SETTINGS, stride=1), spec)

    def long() -> Iterator[base.Batch]:
        for batch in examples():
            yield dict(batch) | {"frames": make_frames(4, 60)}

    model.initialise(long)
    model.fit_data(long)

    def autocorrelation(latents: np.ndarray) -> float:
        """Return the correlation of a step with the next, -1 to 1."""
        return float(np.corrcoef(latents[:, 1:].ravel(), latents[:, :-1].ravel())[0, 1])

    seed = rng.seed_from(1, rng.SONGS, 0)
    drawn = {
        prior: model.priors.draw(prior, 100, seed, 8, 1.0) for prior in ("sequence", "gaussian")
    }
    real = autocorrelation(model.encode(make_frames(4, 60), {}))
    assert real > 0.5
    assert autocorrelation(drawn["sequence"]) == pytest.approx(real, abs=0.25)
    assert abs(autocorrelation(drawn["gaussian"])) < 0.1


def test_labels_condition_the_decoder_alone() -> None:
    model, frames = make_model(CONDITIONAL, stir=True), make_frames(2)
    one, other = ({"label/kind": np.array([kind, kind])} for kind in (0, 1))
    latents = model.encode(frames, one)
    np.testing.assert_array_equal(model.encode(frames, other), latents)
    made = [model.decode(latents, 12, labels) for labels in (one, other)]
    assert np.abs(made[0] - made[1]).max() > 1e-3
    request = base.GenerationRequest(n_songs=2, n_frames=9, labels=one)
    song = model.generate(request, None, lambda _: None)
    same = dataclasses.replace(request, labels=other)
    assert np.abs(model.generate(same, None, lambda _: None) - song).max() > 1e-3


def test_phases_of_silent_bins_do_not_count() -> None:
    audio = AudioConfig(representation="complex_stft", n_fft=16, hop_length=4, n_bins=2)
    statistics = normalisation.Normalisation(
        mean=np.array([-2, -2, 0, 0], np.float32), std=np.array([3, 3, 0.5, 0.5], np.float32)
    )
    spec = base.FrameSpec(audio=audio, timesteps=2, shift=0, statistics=statistics)
    # Power in nats: 0, and 60 dB below it; then 30 dB below.
    levels = np.array([[0, -13.8155], [-6.9078, 0]], np.float32)
    frames = np.concatenate([(levels + 2) / 3, np.ones((2, 2), np.float32)], axis=1)[np.newaxis]
    weight = np.asarray(losses.phase_weight(frames, spec))[0]
    np.testing.assert_allclose(weight, np.array([[1, 1, 1, 0], [1, 1, 0.25, 1.0]]), atol=1e-4)
    made = frames + np.array([0, 0, 0, 1], np.float32)
    error = losses.weighted_squared_error(frames, made, spec)
    np.testing.assert_allclose(error, [1 / 6.25], rtol=1e-4)


@pytest.mark.parametrize("representation", ["log_mel", "log_stft", "complex_stft"])
@pytest.mark.parametrize("phase", PHASES)
def test_any_spectrogram_is_learnt(representation: str, phase: str) -> None:
    audio = AudioConfig(
        representation=representation, n_fft=32, hop_length=8, n_mels=5, phase=phase
    )
    spec = base.FrameSpec(audio=audio, timesteps=12, shift=0)
    model = autoencoder.Autoencoder.create(SETTINGS, spec)
    batch = {
        name: tf.constant(values) for name, values in tiny.make_batch(4, 12, spec.channels).items()
    }
    (objective,) = model.objectives()
    loss = objective.loss(batch, tf.zeros([3], tf.int32), True)
    assert np.isfinite(loss.per_example).all()
    assert model.predict_frames(batch).shape == (4, 12, spec.channels)


def test_settings_out_of_range_are_refused() -> None:
    for field, value in (("latent_size", 0), ("stride", 0), ("blocks", -1), ("width", 0)):
        with pytest.raises(errors.InputError, match=f"{field}={value}"):
            AutoencoderConfig(**{field: value})


def test_samples_are_refused() -> None:
    assert "waveform" not in autoencoder.Autoencoder.representations


def make_recordings(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write notes of lengths that no hop divides."""
    folder.mkdir()
    paths = []
    for index, n_samples in enumerate((7001, 8000, 8500, 9003)):
        time = np.arange(n_samples) / 8000
        note = 0.3 * np.sin(2 * np.pi * 220 * 2 ** (index / 4) * time) * np.exp(-2 * time)
        paths.append(folder / f"note-{index}.wav")
        soundfile.write(paths[-1], note, 8000, "FLOAT")
    return paths


def test_a_recording_comes_back_as_long_and_as_loud_as_it_was(tmp_path: pathlib.Path) -> None:
    """With as many numbers as a patch has values nothing is lost, through all of the commands.

    So the normalisation is taken back, and analysis and synthesis agree.
    """
    paths = make_recordings(tmp_path / "notes")
    audio = AudioConfig(sample_rate=8000, n_fft=256, hop_length=128, n_mels=8)
    job = plan.Job(
        input_dir=str(tmp_path / "notes"),
        data_dir=str(tmp_path / "dataset"),
        plots_dir="",
        audio=audio,
        segment=SegmentConfig(trim_db=0, dtype="float32"),
        split=SplitConfig(split="recording", validation_fraction=0.25),
    )
    dataset, _ = prepare.prepare(job, n_workers=1)
    run = dataclasses.replace(
        tiny.make_run(dataset),
        settings=dataclasses.replace(SETTINGS, latent_size=24),
        window=WindowConfig(timesteps=12, shift=0),
    )
    run_dir = str(tmp_path / "run")
    runs.open_or_create(run_dir, run)
    model = run.build_model()
    model.initialise(batches.examples(run, dataset))
    runs.save_model(run_dir, model, 1, {})
    asked = GenerationConfig(reconstruct=(str(paths[0]),), subtype="FLOAT")
    made = songs.make(runs.load(run_dir), str(tmp_path / "songs"), asked)
    names = [pathlib.Path(path).name for path in made]
    assert names == [f"note-0-{what}.wav" for what in ("original", "inverted", "reconstructed")]
    original, inverted, reconstructed = (soundfile.read(path)[0] for path in made)
    assert original.shape == inverted.shape == reconstructed.shape == (7001,)
    assert np.abs(inverted).max() > 0.1
    np.testing.assert_allclose(reconstructed, inverted, atol=0.02)
