"""The contract, over every family there is, of the sizes in `tiny.FAMILY_SETTINGS`."""

import dataclasses
import functools
import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen import models
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import TrainingConfig
from lstm_gen.models import base
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import devices, errors, traced_functions
from lstm_gen.runs import checkpoints
from lstm_gen.training import step as steps
from tools.tpu import lowering

AUDIOS = {  # of families that do not read log_mel
    "waveform_vae": AudioConfig(representation="waveform", hop_length=24),
    "note_vae": AudioConfig(representation="complex_stft", n_fft=64, hop_length=16),
    "gan": AudioConfig(representation="complex_stft", n_fft=64, hop_length=16),
}
CONDITIONS = (
    base.Condition(name="instrument", kind="class", n_values=3),
    base.Condition(name="pitch", kind="number", minimum=40.0, maximum=90.0),
    base.Condition(name="qualities", kind="multi", n_values=2),
)
Family = type[base.AudioModel]
BATCH_SIZE = 8
TRAINING = TrainingConfig(batch_size=BATCH_SIZE, steps=100, learning_rate=0.01)


@pytest.fixture(params=models.classes(), ids=lambda family: family.config_class.family)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


def make_model(family: Family, seed: int = 0) -> Any:
    keras.utils.set_random_seed(seed)
    return family.create(settings_of(family), spec_of(family))


def untrained(family: Family) -> Any:
    """Return a model for tests that leave its weights alone; what it has traced serves them all."""
    return _untrained(family.config_class.family)


@functools.cache
def _untrained(name: str) -> Any:
    return make_model(models.by_name(name))


def settings_of(family: Family) -> Any:
    return family.config_class(**tiny.FAMILY_SETTINGS[family.config_class.family])


def spec_of(family: Family) -> base.FrameSpec:
    """Return what the family's models are tested on, conditioned on all that they can be."""
    return base.FrameSpec(
        audio=AUDIOS.get(family.config_class.family, AudioConfig(n_mels=6)),
        timesteps=10,
        shift=2 if family.predicts else 0,
        conditions=CONDITIONS if family.conditional else (),
        classes=CONDITIONS[:1],
    )


def make_batch(family: Family) -> dict[str, Any]:
    """Return a batch as the family takes it."""
    return _make_batch(spec_of(family))


@functools.cache
def _make_batch(spec: base.FrameSpec) -> dict[str, Any]:
    batch = tiny.make_batch(BATCH_SIZE, spec.timesteps + spec.shift, spec.channels)
    found = {name: tf.constant(values) for name, values in batch.items()}
    return found | {name: tf.constant(values) for name, values in make_labels(spec).items()}


def make_labels(spec: base.FrameSpec) -> dict[str, np.ndarray]:
    """Return labels of a batch for all conditioning labels, one of each not known."""
    rows = np.arange(BATCH_SIZE)
    of_kind = {
        "class": lambda one: rows % (one.n_values + 1) - 1,
        "multi": lambda one: np.float32((rows[:, None] >> np.arange(one.n_values)) & 1),
        "number": lambda one: np.float32(
            np.where(rows == 2, np.nan, one.minimum + rows * (one.maximum - one.minimum) / 8)
        ),
    }
    return {f"label/{one.name}": of_kind[one.kind](one) for one in spec.conditions}


def generate(
    family: Family,
    model: Any,
    n_frames: int = 13,
    seed: int = 3,
    first_song: int = 0,
) -> np.ndarray:
    songs, spec = slice(first_song, first_song + 2), spec_of(family)
    request = base.GenerationRequest(
        n_songs=2,
        n_frames=n_frames,
        seed=seed,
        first_song=first_song,
        labels={name: values[songs] for name, values in make_labels(spec).items()},
    )
    primer = make_batch(family)["frames"].numpy()[songs, :5]
    return model.generate(request, primer, lambda _: None)


def test_every_family_has_settings_here() -> None:
    assert set(tiny.FAMILY_SETTINGS) == set(models.NAMES)


def test_controls_are_such_as_there_are(family: Family) -> None:
    assert family.controls <= set(base.CONTROLS)
    assert ("reconstruct" in family.controls) == (issubclass(family, LatentModel))
    assert ("prior" in family.controls) == bool(family.config_class.priors)
    assert ("primer" in family.controls) == family.predicts


def test_capabilities_are_implemented(family: Family) -> None:
    for method, claimed in (
        ("generate_in_graph", family.exportable),
        ("fit_data", bool(family.fitted)),
    ):
        overridden = getattr(family, method) is not getattr(base.AudioModel, method)
        assert overridden == claimed, method


def test_names_find_their_family(family: Family) -> None:
    name = family.config_class.family
    assert models.by_name(name) is family
    assert models.config_class(name) is family.config_class
    assert family.config_class.summary
    for find in (models.by_name, models.config_class):
        with pytest.raises(errors.InputError, match=f"one of .*{name}.*'nameless'"):
            find("nameless")


def test_settings_survive_json(family: Family) -> None:
    settings = settings_of(family)
    assert fields.from_dict(family.config_class, fields.to_dict(settings), "here") == settings


def test_objectives_are_as_they_say(family: Family) -> None:
    model = untrained(family)
    objectives = model.objectives()
    names = [objective.name for objective in objectives]
    names += [name for objective in objectives for name in objective.metric_names]
    assert len(set(names)) == len(names)
    moved = [id(variable) for objective in objectives for variable in objective.variables]
    assert sorted(moved) == sorted(id(v.value) for v in model.trainable_variables)
    for objective in objectives:
        for training in (True, False):
            loss = objective.loss(make_batch(family), tf.constant([1, 2, 0]), training)
            assert set(loss.metrics) == set(objective.metric_names)
            for values in (loss.per_example, *loss.metrics.values()):
                assert values.shape == (BATCH_SIZE,)
                assert values.dtype == tf.float32
                assert np.isfinite(values).all()
            if objective.loss_metric and not training:
                same = loss.metrics[objective.loss_metric]
                np.testing.assert_allclose(same, loss.per_example, rtol=1e-5)


@pytest.mark.parametrize("rows", [slice(3), slice(5, None)], ids=["first", "last"])
def test_each_example_has_its_own_loss(family: Family, rows: slice) -> None:
    """What stands beside an example, and on which device, must not change what is said of it."""
    model = untrained(family)
    part = {name: values[rows] for name, values in make_batch(family).items()}
    for objective in model.objectives():
        whole = objective.loss(make_batch(family), tf.constant([1, 2, 0]), False).per_example
        alone = objective.loss(part, tf.constant([1, 2, 0]), False).per_example
        np.testing.assert_allclose(alone, whole[rows], rtol=1e-4)


def test_an_example_is_varied_the_same_on_whatever_device(family: Family) -> None:
    """A seed holds the row of the first example: half a batch draws what it draws in the whole."""
    model = untrained(family)
    half = {name: values[BATCH_SIZE // 2 :] for name, values in make_batch(family).items()}
    for objective in model.objectives():
        whole = objective.loss(make_batch(family), tf.constant([1, 2, 0]), True).per_example
        alone = objective.loss(half, tf.constant([1, 2, BATCH_SIZE // 2]), True).per_example
        np.testing.assert_allclose(alone, whole[BATCH_SIZE // 2 :], rtol=1e-4)


def test_training_lowers_every_loss(family: Family) -> None:
    """Under XLA where there is one loss.

    Adversarial losses fall while the other network stands still; together, both move.
    """
    model = make_model(family)
    objectives = model.objectives()
    before = [variable.numpy() for variable in model.trainable_variables]
    with pytest.MonkeyPatch.context() as patched:
        if family.adversarial:  # XLA compiles its step in the next test
            patched.setattr(devices, "compiles_whole_steps", lambda *_, **__: False)
        for together in [[one] for one in objectives] if family.adversarial else [objectives]:
            for objective, losses in train(family, together, 100).items():
                assert losses[-10:].mean() < losses[:10].mean() - 0.05, objective
        if family.adversarial:
            assert all(np.isfinite(one).all() for one in train(family, objectives, 20).values())
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), f"{variable.path} was never moved"


def train(family: Family, objectives: Any, n_steps: int) -> dict[str, np.ndarray]:
    """Return the losses of training steps on one batch."""
    optimizers = steps.make_optimizers(TRAINING, objectives)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    call = steps.make_train_call(strategy, objectives, optimizers, TRAINING)
    data = tf.data.Dataset.from_tensors(make_batch(family)).repeat()
    metrics = call(iter(data), tf.constant(0), tf.constant(n_steps))
    losses = {one.name: metrics[f"{one.name}_loss"].numpy() for one in objectives}
    assert all(found.shape == (n_steps,) for found in losses.values())
    return losses


@pytest.mark.xla
def test_whole_training_step_is_one_xla_program(family: Family) -> None:
    model = untrained(family)
    if not family.adversarial and all(one.jit_compile for one in model.objectives()):
        pytest.skip("its training is, in test_training_lowers_every_loss")

    @tf.function(jit_compile=True)
    def gradients(batch: Any) -> Any:
        results = []
        for objective in model.objectives():
            with tf.GradientTape() as tape:
                loss = objective.loss(batch, tf.constant([0, 1, 0]), True)
                total = tf.reduce_mean(loss.per_example)
            results += tape.gradient(total, objective.variables)
        return results

    with devices.portable():
        text = gradients.experimental_get_compiler_ir(make_batch(family))(stage="hlo")
        assert "<=" not in text, "a dimension is dynamic"
        assert all(np.isfinite(gradient).all() for gradient in gradients(make_batch(family)))


def test_saved_weights_give_the_same_outputs(family: Family, tmp_path: pathlib.Path) -> None:
    model, other = untrained(family), make_model(family, seed=2)
    before = model.predict_frames(make_batch(family))
    assert np.abs(other.predict_frames(make_batch(family)) - before).max() > 0
    state = checkpoints.write(str(tmp_path), 1, checkpoints.variables_of(model=model), {})
    checkpoints.read(state, checkpoints.variables_of(model=other))
    for weight, expected in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected, err_msg=weight.path)
    np.testing.assert_array_equal(other.predict_frames(make_batch(family)), before)
    np.testing.assert_array_equal(generate(family, other), generate(family, model))


def test_prediction_has_a_frame_per_target(family: Family) -> None:
    expected = untrained(family).predict_frames(make_batch(family))
    assert expected.shape == (
        BATCH_SIZE,
        spec_of(family).timesteps,
        spec_of(family).channels,
    )
    assert expected.dtype == tf.float32


def test_generation_repeats_and_is_as_long_as_asked(family: Family) -> None:
    model = untrained(family)
    songs = generate(family, model)
    assert songs.shape == (2, 13, spec_of(family).channels)
    assert songs.dtype == np.float32
    assert np.isfinite(songs).all()
    np.testing.assert_array_equal(generate(family, model), songs)
    assert np.any(generate(family, model, seed=4) != songs)
    # Songs 1 and 2: the first of them is the second from above.
    shifted = generate(family, model, first_song=1)[0]
    np.testing.assert_allclose(shifted, songs[1], rtol=1e-4, atol=1e-6)  # phase steps pass 0
    for n_frames in (1, 128, 129):
        assert generate(family, model, n_frames).shape[1] == n_frames


def test_songs_and_latents_are_made_in_bfloat16_too(family: Family) -> None:
    with devices.layer_precision("bfloat16"):
        model = make_model(family)
        assert np.isfinite(generate(family, model)).all()
        if issubclass(family, LatentModel):
            labels = make_labels(spec_of(family))
            frames = make_batch(family)["frames"].numpy()
            latents = model.encode(frames, labels)
            back = model.decode(latents, 7, labels)
            assert back.shape == (BATCH_SIZE, 7, spec_of(family).channels)
            assert np.isfinite(back).all()


def make_plan(family: Family, precision: str = "float32") -> lowering.Plan:
    return lowering.Plan(
        settings=settings_of(family),
        spec=spec_of(family),
        training=dataclasses.replace(TRAINING, precision=precision),
    )


@pytest.mark.xla
@pytest.mark.parametrize(("precision", "n_parts"), [("float32", 1), ("bfloat16", 2)])
def test_a_training_step_lowers_for_a_tpu(family: Family, precision: str, n_parts: int) -> None:
    """In either precision, with the gradients of one batch or accumulated over parts of it."""
    policy = keras.config.dtype_policy()
    plan = make_plan(family, precision)
    training = dataclasses.replace(plan.training, accumulate=n_parts)
    text = lowering.lower_step(dataclasses.replace(plan, training=training), 4).stablehlo
    assert keras.config.dtype_policy() == policy
    spec = spec_of(family)
    window = f"{spec.timesteps + spec.shift}x{spec.channels}xf32"
    # A device's windows, not the whole batch; in parts of two.
    assert f"tensor<{'4' if n_parts == 1 else '2x2'}x{window}>" in text
    assert ("bf16" in text) == (precision == "bfloat16")


@pytest.mark.xla
def test_generation_runs_as_programs_that_lower_for_a_tpu(family: Family) -> None:
    model = untrained(family)
    with traced_functions.listing() as calls:
        frames = generate(family, model, n_frames=300)
    assert frames.shape == (2, 300, spec_of(family).channels)
    assert calls
    assert not frames.any()  # nothing was computed
    assert generate(family, model).any()
    request = base.GenerationRequest(n_songs=2, n_frames=300)
    lowered = lowering.lower_generation(make_plan(family), request, primer_frames=5)
    assert [(one.name, one.calls) for one in lowered] == [(one.name, one.calls) for one in calls]


def test_songs_with_shared_noise_differ_by_their_labels_alone(
    family: Family,
) -> None:
    if not family.conditional or family.predicts:
        pytest.skip("no labels, or a primer makes the difference")
    model, spec = untrained(family), spec_of(family)
    rows = {name: values[[3, 3]] for name, values in make_labels(spec).items()}
    for first_song in (0, 4):
        request = base.GenerationRequest(
            n_songs=2, n_frames=13, first_song=first_song, labels=rows, share_noise=True
        )
        songs = model.generate(request, None, lambda _: None)
        np.testing.assert_allclose(songs[0], songs[1], rtol=1e-4, atol=1e-5)
