"""The GAN: losses, gradient penalty, conditioning, and songs longer than a note."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.notes import crossfade, gan, networks, spectrogram_image
from lstm_gen.models.notes.config import GANConfig
from lstm_gen.platform import errors

pytestmark = pytest.mark.usefixtures("without_xla")
AUDIO = AudioConfig(
    sample_rate=4000, representation="complex_stft", n_fft=128, hop_length=32, n_bins=40
)
CONDITIONS = (
    base.Condition(name="instrument", kind="class", n_values=3),
    base.Condition(name="pitch", kind="number", minimum=40.0, maximum=90.0),
)
SPEC = base.FrameSpec(audio=AUDIO, timesteps=12, shift=0, conditions=CONDITIONS)
SEED = [1, 2, 0]


def make_model(spec: base.FrameSpec = SPEC, **settings: Any) -> gan.GAN:
    keras.utils.set_random_seed(0)
    return gan.GAN.create(GANConfig(**{"noise_size": 4, "width": 8} | settings), spec)


def make_batch(count: int = 8) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "frames": tf.constant(random.standard_normal((count, 12, 80)), tf.float32),
        "row": tf.range(count),
        "label/instrument": tf.constant(np.arange(count) % 3),
        "label/pitch": tf.constant(np.linspace(45, 80, count), tf.float32),
    }


def labels_of(**labels: Any) -> dict[str, np.ndarray]:
    found = {f"label/{name}": np.asarray(values) for name, values in labels.items()}
    return found | {"label/pitch": np.asarray(labels["pitch"], np.float32)}


def losses(model: gan.GAN, training: bool = True, **batch: Any) -> list[base.Loss]:
    found = model.objectives()
    return [one.loss(make_batch() | batch, tf.constant(SEED), training) for one in found]


def test_the_losses_are_non_saturating() -> None:
    of_discriminator, of_generator = losses(make_model(), training=False)
    real, made = (of_discriminator.metrics[f"d_{name}"].numpy() for name in ("real", "fake"))
    expected = np.log1p(np.exp(-real)) + np.log1p(np.exp(made))
    np.testing.assert_allclose(of_discriminator.per_example, expected, rtol=1e-5)
    expected = -np.log(of_generator.metrics["fake_probability"])
    np.testing.assert_allclose(of_generator.per_example, expected, rtol=1e-4, atol=1e-5)


def test_an_untrained_discriminator_is_where_saturation_begins() -> None:
    model = make_model()
    for variable in model.discriminator.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    found = losses(model, training=False)
    for one, objective in zip(found, model.objectives(), strict=True):
        for name, (start, end) in objective.saturation.items():
            np.testing.assert_allclose(one.metrics[name], start, rtol=1e-6)
            assert end == 0.0


def test_the_penalty_is_the_exact_squared_gradient_of_one_in_four() -> None:
    model = make_model(vary_db=0.0, vary_frames=0)
    batch = make_batch()
    penalty = losses(model)[0].metrics["gradient_penalty"].numpy()
    assert ((penalty > 0).sum(axis=0), penalty.size) == (2, 8)
    image, loudness = spectrogram_image.from_frames(batch["frames"], SPEC)
    cond = model.conditioning(batch, 8)
    for row in map(int, np.flatnonzero(penalty)):

        def score(pixels: Any, level: Any, row: int = row) -> float:
            own = [values[row : row + 1] for values in cond]
            return float(model.discriminator(pixels, level, *own)[0])

        one = tf.Variable(image[row : row + 1]), tf.Variable(loudness[row : row + 1])
        with tf.GradientTape() as tape:
            own = [values[row : row + 1] for values in cond]
            total = model.discriminator(one[0], one[1], *own)[0]
        slopes = tape.gradient(total, one)
        expected = sum(float(tf.reduce_sum(tf.square(slope))) for slope in slopes)
        assert penalty[row] == pytest.approx(4 * expected, rel=1e-3)
        # The slope itself, by a difference along it.
        step = 1e-2 * slopes[0] / tf.norm(slopes[0])
        rise = score(one[0] + step, one[1]) - score(one[0] - step, one[1])
        assert rise / 2e-2 == pytest.approx(float(tf.norm(slopes[0])), rel=0.05)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_the_penalty_is_that_of_the_global_batch_however_it_is_shared_out(parts: int) -> None:
    model = make_model(vary_db=0.0, vary_frames=0)
    objective, batch = model.objectives()[0], make_batch()
    for step in range(4):  # of which each may draw another place of four
        seed = rng.seed_for(tf.constant(SEED), step)
        whole = objective.loss(batch, seed, True).metrics["gradient_penalty"]
        shares = [
            objective.loss(
                {name: values[row : row + 8 // parts] for name, values in batch.items()},
                tf.concat([seed[:2], [row]], axis=0),
                True,
            ).metrics["gradient_penalty"]
            for row in range(0, 8, 8 // parts)
        ]
        np.testing.assert_allclose(np.concatenate(shares), whole, rtol=1e-4, atol=1e-6)
        assert np.count_nonzero(whole) == 2


def test_notes_are_no_louder_and_no_quieter_than_all_that_was_trained_on() -> None:
    model, batch = make_model(), make_batch()
    examples = {name: values.numpy() for name, values in batch.items()}
    examples["weight"] = np.array([1, 1, 1, 1, 1, 1, 1, 0], np.float32)
    examples["frames"][7] += 50.0  # the padding
    model.initialise(lambda: iter([examples]))
    _, loudness = spectrogram_image.from_frames(batch["frames"][:7], SPEC)
    low, high = float(tf.reduce_min(loudness)), float(tf.reduce_max(loudness))
    model.generator.loudness.kernel.assign(100 * model.generator.loudness.kernel)
    draws = rng.normal([8, 4], tf.constant(SEED))
    _, made = model.make(draws, model.conditioning(batch, 8))
    assert made.numpy().min() == pytest.approx(low, abs=1e-3)
    assert made.numpy().max() == pytest.approx(high, abs=1e-3)


def test_the_penalty_moves_the_discriminator() -> None:
    """Its gradient passes through the inner tape: without it the loss falls otherwise."""
    gradients = []
    for r1 in (0.0, 10.0):
        model = make_model(r1=r1)
        objective = model.objectives()[0]
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(objective.loss(make_batch(), tf.constant(SEED), True).per_example)
        gradients.append(tape.gradient(total, model.discriminator.trainable_variables))
    first = [float(tf.norm(a - b)) for a, b in zip(*gradients, strict=True)]
    assert max(first) > 0


def test_each_objective_moves_the_variables_of_one_network() -> None:
    model = make_model()
    first, second = model.objectives()
    assert not {id(v) for v in first.variables} & {id(v) for v in second.variables}
    assert {id(v) for v in second.variables} == {
        id(v.value) for v in model.generator.trainable_variables
    }


def test_each_example_is_augmented_by_its_own_draw() -> None:
    model = make_model(vary_db=6.0, vary_frames=2)
    image = tf.random.stateless_uniform([64, 12, 40, 2], [1, 2]) - 0.5
    loudness = tf.zeros([64, 1])
    moved, louder = gan._vary((image, loudness), model.config, tf.constant(SEED))
    assert np.abs(louder).max() <= 6 / 40
    assert np.abs(louder).max() > 5 / 40
    places = []
    for old, new in zip(image.numpy(), moved.numpy(), strict=True):
        silence = np.broadcast_to(np.array([-1, 0], np.float32), (2, 40, 2))
        longer = np.concatenate([silence, old, silence])
        found = [i for i in range(5) if np.allclose(longer[i : i + 12], new, atol=1e-6)]
        places += found
    assert len(places) == 64
    assert set(places) == set(range(5))


def test_labels_reach_the_discriminator() -> None:
    model = make_model()
    scores = [
        losses(model, training=False, **change)[0].metrics
        for change in (
            {},
            {"label/instrument": tf.constant([2] * 8)},
            {"label/pitch": tf.constant([50.0] * 8)},
        )
    ]
    for other in scores[1:]:
        for name in ("d_real", "d_fake"):
            assert np.abs(scores[0][name] - other[name]).max() > 0


def test_a_pitch_under_another_name_is_no_grid_unless_named() -> None:
    renamed = (dataclasses.replace(CONDITIONS[1], name="note"),)
    spec = dataclasses.replace(SPEC, conditions=renamed)
    assert make_model(spec).pitch is None
    assert make_model(spec, pitch_label="note").pitch == renamed[0]


def test_a_model_without_labels_generates() -> None:
    spec = dataclasses.replace(SPEC, conditions=())
    model = make_model(spec)
    assert model.discriminator.match is None
    request = base.GenerationRequest(n_songs=3, n_frames=12)
    songs = model.generate(request, None, lambda _: None)
    assert songs.shape == (3, 12, 80)
    assert np.abs(songs[0] - songs[1]).max() > 0


def test_a_long_song_is_crossfaded_notes() -> None:
    model = make_model()
    labels = labels_of(instrument=[0, 1], pitch=[60.0, 61.0])
    done: list[int] = []

    def songs(n_frames: int) -> np.ndarray:
        done.clear()
        request = base.GenerationRequest(n_songs=2, n_frames=n_frames, labels=labels)
        return model.generate(request, None, done.append)

    long, short = songs(40), songs(5)
    assert sum(done) == 5
    np.testing.assert_allclose(long[:, :5], short, rtol=1e-5)
    assert long.shape == (2, 40, 80)
    seed = rng.seed_from(0, rng.SONGS, 0)
    second = rng.normal([2, 4], rng.seed_for(seed, 1))
    note = model.make(second, model.conditioning(labels, 2))
    expected = spectrogram_image.to_frames(*note, SPEC).numpy()
    # One frame of twelve is shared: the last of a note, and the first of the next.
    np.testing.assert_allclose(long[:, 13:22], expected[:, 2:11], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(long[:, 12, :40], expected[:, 1, :40], rtol=1e-3)
    fade = crossfade.crossfade(tf.constant(songs(12)), tf.constant(expected), 1, SPEC)
    np.testing.assert_allclose(long[:, 11:13], fade, rtol=1e-3, atol=1e-4)


def test_temperature_nought_is_nearly_the_mean() -> None:
    model = make_model()
    labels = labels_of(instrument=[0, 0], pitch=[60.0, 60.0])
    near, far = (
        model.generate(
            base.GenerationRequest(
                n_songs=2,
                n_frames=12,
                sampling=base.Sampling(temperature=temperature),
                labels=labels,
            ),
            None,
            lambda _: None,
        )
        for temperature in (0.01, 1.0)
    )
    assert np.abs(near[0] - near[1]).mean() < 0.1 * np.abs(far[0] - far[1]).mean()


@pytest.mark.parametrize(("frames", "bins"), [(10, 33), (64, 512), (3, 7)])
def test_images_fold_into_places_and_back(frames: int, bins: int) -> None:
    size = networks.Size(frames=frames, bins=bins, noise=1, cond=0, pitched=False, width=4)
    image = tf.random.stateless_uniform([2, frames, bins, 3], [1, 2])
    patches = networks._to_patches(image, size)
    assert patches.shape[1:3] == size.patches
    np.testing.assert_array_equal(networks._from_patches(patches, size), image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 6}, "multiple of 4"),
        ({"r1": -1.0}, "r1 must be at least 0"),
        ({"vary_frames": -1}, "vary_frames must be at least 0"),
        ({"noise_size": 0}, "noise_size must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        GANConfig(**change)


def test_spectrograms_without_phase_are_refused() -> None:
    spec = dataclasses.replace(SPEC, audio=AudioConfig(), conditions=())
    with pytest.raises(errors.InputError, match="complex_stft"):
        make_model(spec)
