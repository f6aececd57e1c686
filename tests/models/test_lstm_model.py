import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny

from lstm_gen.config.audio import AudioConfig
from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.lstm import head as heads
from lstm_gen.models.lstm import model as lstm
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import errors

pytestmark = pytest.mark.usefixtures("without_xla")
CHANNELS = 6
SMALL = LSTMConfig(
    head="mixture",
    patch_frames=1,
    patch_components=0,
    stored_patches=0,
    layers=3,
    units=8,
    components=3,
    attention_heads=2,
)
PATCHES = LSTMConfig(
    patch_frames=2,
    patch_components=5,
    layers=2,
    units=8,
    attention_heads=2,
    attention_window=4,
    noise_size=4,
    head_blocks=1,
    stored_patches=16,
)
VARIANTS = {
    "patches": PATCHES,
    "plain": SMALL,
    "attention": dataclasses.replace(SMALL, attention_window=3),
    "bare": dataclasses.replace(SMALL, residual=False, layer_norm=False),
    "gaussian": dataclasses.replace(SMALL, layers=1, head="gaussian"),
    "mse": dataclasses.replace(SMALL, layers=1, head="mse"),
}


def make_model(settings: LSTMConfig, shift: int = 0) -> lstm.LSTMModel:
    """Return a model with every weight moved from its start, so that none hides behind a 0."""
    shift = lstm.LSTMModel.target_shift(settings, shift)
    spec = base.FrameSpec(audio=AudioConfig(n_mels=CHANNELS), timesteps=12, shift=shift)
    keras.utils.set_random_seed(5)
    model = lstm.LSTMModel.create(settings, spec)
    random = np.random.default_rng(6)
    for weight in model.weights:
        weight.assign_add(0.1 * random.standard_normal(weight.shape))
    if model.store is not None:
        model.store.codes.assign(1 + random.standard_normal(model.store.codes.shape))
    return model


def make_codes(model: lstm.LSTMModel, n_steps: int) -> np.ndarray:
    """Return two sequences of codes."""
    random = np.random.default_rng(0)
    return random.standard_normal((2, n_steps, model.coder.width)).astype(np.float32)


def make_frames(n_sequences: int, n_frames: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((n_sequences, n_frames, CHANNELS)).astype(np.float32)


def generate(model: lstm.LSTMModel, primer: np.ndarray, n_frames: int, **asked: Any) -> np.ndarray:
    """Return songs that continue a primer; `asked` are fields of the request or of sampling."""
    names = {field.name for field in dataclasses.fields(base.Sampling)} & set(asked)
    sampling = base.Sampling(**{name: asked.pop(name) for name in names})
    request = base.GenerationRequest(
        n_songs=len(primer), n_frames=n_frames, sampling=sampling, **asked
    )
    return model.generate(request, primer, lambda _: None)


@pytest.fixture(scope="module", params=VARIANTS)
def built(request: pytest.FixtureRequest) -> lstm.LSTMModel:
    return make_model(VARIANTS[request.param])


SAMPLERS = {
    "frames": (dataclasses.replace(SMALL, layers=2, attention_window=4), 1),
    "three frames ahead": (dataclasses.replace(SMALL, layers=2, attention_window=4), 3),
    "patches": (PATCHES, 2),
    "two patches ahead": (PATCHES, 4),
}


@pytest.fixture(scope="module", params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> lstm.LSTMModel:
    """Return a model with everything on, of which many songs are made."""
    return make_model(*SAMPLERS[request.param])


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_no_state_sees_the_future(built: lstm.LSTMModel) -> None:
    model = built
    codes = make_codes(model, 10)
    changed = codes.copy()
    changed[:, 6] += 1
    difference = np.abs(model(codes) - model(changed)).max(axis=(0, 2))
    assert np.all(difference[:6] == 0)
    assert np.all(difference[6:] > 0)


def test_step_is_call_code_by_code(built: lstm.LSTMModel) -> None:
    model = built
    codes, state, outputs = make_codes(model, 10), model.zero_state(2), []
    for index in range(10):
        hidden, state = model.step(tf.constant(codes[:, index]), state)
        outputs.append(hidden)
    np.testing.assert_allclose(np.stack(outputs, axis=1), model(codes), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("mixed_bfloat16")
@pytest.mark.parametrize("variant", ["attention", "patches"])
def test_step_is_call_under_bfloat16(variant: str) -> None:
    model = make_model(VARIANTS[variant])
    codes, state = make_codes(model, 10), model.zero_state(2)
    for index in range(10):
        hidden, state = model.step(tf.constant(codes[:, index]), state)
    assert hidden.dtype == tf.bfloat16
    expected = tf.cast(model(codes)[:, -1], tf.float32)
    np.testing.assert_allclose(tf.cast(hidden, tf.float32), expected, atol=0.05)
    (objective,) = model.objectives()
    batch = tiny.make_batch(2, 12 + model.spec.shift, CHANNELS)
    loss = objective.loss(batch, tf.constant([0, 0, 0]), True)
    assert loss.per_example.dtype == tf.float32
    assert {variable.dtype for variable in objective.variables} == {tf.float32}


def test_switches_change_the_weights_that_there_are() -> None:
    names = {
        name: {weight.path.removeprefix("lstm/") for weight in make_model(settings).weights}
        for name, settings in VARIANTS.items()
    }
    assert names["attention"] - names["plain"] == {
        f"attention_{i}/{weight}"
        for i in (0, 1)
        for weight in ("kernel", "out_kernel", "distance_bias")
    }
    assert names["plain"] - names["bare"] == {
        f"norm_{i}/{weight}" for i in (1, 2, 3) for weight in ("gamma", "beta")
    }
    assert "head/coupling" in names["plain"]
    assert "head/coupling" not in names["gaussian"] | names["mse"]
    of_patches = {name for name in names["patches"] if name.startswith(("coder/", "store/"))}
    assert of_patches == {
        *(f"coder/{weight}" for weight in ("mean", "vectors", "scale")),
        "store/codes",
    }
    assert not any(name.startswith(("coder/", "store/")) for name in names["plain"])
    residual = make_model(dataclasses.replace(SMALL, residual=False))
    assert np.abs(residual(make_frames(1, 3)) - make_model(SMALL)(make_frames(1, 3))).max() > 0


def test_loss_pairs_each_frame_with_the_one_it_predicts() -> None:
    model = make_model(SMALL, shift=3)
    batch = tiny.make_batch(4, model.spec.timesteps + 3, CHANNELS)
    (objective,) = model.objectives()
    loss = objective.loss(batch, tf.constant([0, 0, 0]), False)
    frames = batch["frames"]
    nll = model.head.negative_log_likelihood(
        model(frames[:, :12]), frames[:, :12], frames[:, 3:15]
    ).numpy()
    np.testing.assert_allclose(loss.per_example, nll.mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(loss.metrics["nats_per_dim"], loss.per_example)
    expected = model.predict_frames(batch)
    inputs = tf.constant(frames[:, :12])
    np.testing.assert_allclose(
        expected, model.head.mean(model(inputs), inputs), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shift", [2, 4])
def test_loss_pairs_each_patch_with_the_one_it_predicts(shift: int) -> None:
    model = make_model(PATCHES, shift)
    batch = tiny.make_batch(4, 12 + shift, CHANNELS)
    (objective,) = model.objectives()
    loss = objective.loss(batch, tf.constant([5, 6, 0]), False)
    starts = range(0, 12 + shift, 2)
    codes = tf.stack([model.coder(batch["frames"][:, i : i + 2])[:, 0] for i in starts], axis=1)
    inputs, targets = codes[:, :6], codes[:, shift // 2 :]
    hidden = model(inputs)
    # In validation always the same draws, by row.
    seed = rng.seed_for(rng.seed_from(0, rng.TRAINING, 0), 2)
    normal = tf.transpose(rng.normal([4, heads.N_DRAWS, 6, 4], seed), [1, 0, 2, 3])
    expected, _ = model.head.losses(hidden, inputs, targets, normal)
    np.testing.assert_allclose(loss.per_example, np.mean(expected, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(loss.metrics["energy_score"], loss.per_example)
    frames = model.coder.decode(model.head.mean(hidden, inputs))
    np.testing.assert_allclose(
        model.predict_frames(batch), tf.reshape(frames, [4, 12, CHANNELS]), rtol=1e-5, atol=1e-6
    )
    first, second = (objective.loss(batch, tf.constant([n, 0, 0]), True) for n in (1, 2))
    assert np.all(first.per_example != second.per_example)


@pytest.mark.parametrize("head", ["mixture", "gaussian", "mse"])
def test_likelihoods_of_codes_are_not_called_as_those_of_frames(head: str) -> None:
    frames, codes = (dataclasses.replace(one, head=head) for one in (SMALL, PATCHES))
    for settings, name in ((frames, "nats_per_dim"), (codes, "nats_per_code_dim")):
        model = make_model(settings)
        (objective,) = model.objectives()
        batch = tiny.make_batch(2, 12 + model.spec.shift, CHANNELS)
        loss = objective.loss(batch, tf.constant([0, 0, 0]), False)
        assert (*loss.metrics,) == objective.metric_names == (name,)
        assert objective.loss_metric in ("", name)


def test_squared_error_head_lowers_both_and_reports_the_likelihood() -> None:
    model = make_model(VARIANTS["mse"])
    batch = tiny.make_batch(4, model.spec.timesteps + 1, CHANNELS)
    (objective,) = model.objectives()
    loss = objective.loss(batch, tf.constant([0, 0, 0]), False)
    mean = model.predict_frames(batch).numpy()
    square = ((batch["frames"][:, 1:] - mean) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(loss.per_example, square + loss.metrics["nats_per_dim"], rtol=1e-5)


@pytest.mark.parametrize("changed", [{"dropout": 0.5}, {"input_noise": 0.5}])
def test_noise_and_dropout_act_in_training_only(changed: dict[str, Any]) -> None:
    quiet = dataclasses.replace(SMALL, input_noise=0.0)
    batch = tiny.make_batch(4, 13, CHANNELS)
    losses = {}
    for name, settings in {"quiet": quiet, "loud": dataclasses.replace(quiet, **changed)}.items():
        model = make_model(settings)
        (objective,) = model.objectives()
        for training in (True, False):
            for seed in (1, 2):
                loss = objective.loss(batch, tf.constant([seed, 0, 0]), training)
                losses[name, training, seed] = loss.per_example.numpy()
    calm = losses["quiet", False, 1]
    np.testing.assert_array_equal(losses["quiet", True, 1], calm)
    np.testing.assert_array_equal(losses["loud", False, 1], calm)
    np.testing.assert_array_equal(losses["loud", False, 2], calm)
    assert np.all(losses["loud", True, 1] != calm)
    assert np.all(losses["loud", True, 1] != losses["loud", True, 2])


def test_generation_is_what_the_whole_model_would_say(
    sampler: lstm.LSTMModel,
) -> None:
    """Step t + shift is drawn from the state after step t, from the primer's last on."""
    model, patch_frames = sampler, sampler.config.patch_frames
    shift, n_frames, seed = model.spec.shift // patch_frames, 140, 11  # more than one chunk
    primer = make_frames(2, 9)
    sampling = {"temperature": 0.7, "sigma_scale": 0.9, "neighbour_weight": 0.4}
    songs = generate(model, primer, n_frames, seed=seed, **sampling)
    assert songs.shape == (2, n_frames, CHANNELS)
    assert songs.dtype == np.float32
    whole = np.concatenate([primer[:, 9 % patch_frames :], songs], axis=1)
    codes, n_steps = model.coder(tf.constant(whole)), n_frames // patch_frames
    hidden = model(codes)
    for song in range(2):
        draws = [
            rng.seed_for(rng.seed_for(_song_seed(seed, song), chunk), purpose)
            for chunk in range(2)
            for purpose in (0, 1)
        ]
        shape = [1, 128 // patch_frames, model.head.n_normal]
        normal = np.concatenate([rng.normal(shape, d)[0] for d in draws[0::2]])
        uniform = np.concatenate([rng.uniform(shape[:2], d)[0] for d in draws[1::2]])
        # One "batch" of all positions: each new step from the true ones before it.
        first = codes.shape[1] - n_steps - shift
        before = slice(first, first + n_steps)
        expected = model.head.sample(
            hidden[song, before],
            codes[song, before],
            heads.Draws(normal[:n_steps], uniform[:n_steps], 0.7, 0.9),
            model.head.constants(),
        )
        if model.store is not None:
            expected = model.store(expected, tf.constant(0.4))
        frames = tf.reshape(model.coder.decode(expected), [n_frames, CHANNELS])
        np.testing.assert_allclose(songs[song], frames, rtol=1e-3, atol=1e-3)


def test_a_song_depends_on_its_seed_and_index_only(
    sampler: lstm.LSTMModel,
) -> None:
    model = sampler
    primer = np.repeat(make_frames(1, 9), 3, axis=0)
    three = generate(model, primer, 20, seed=4)
    np.testing.assert_array_equal(three, generate(model, primer, 20, seed=4))
    # Another batch size is another order of summation, and nothing else.
    np.testing.assert_allclose(
        generate(model, primer[:1], 20, seed=4), three[:1], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(generate(model, primer, 7, seed=4), three[:, :7])
    assert np.abs(generate(model, primer, 20, seed=5) - three).max() > 0.1
    assert np.abs(three[0] - three[1]).max() > 0.1
    assert np.abs(three[1] - three[2]).max() > 0.1


def test_a_primer_shorter_than_the_shift_is_repeated_in_front() -> None:
    model = make_model(dataclasses.replace(SMALL, layers=1), shift=3)
    short = make_frames(1, 2)
    padded = np.concatenate([short[:, :1], short], axis=1)
    songs = generate(model, short, 5)
    np.testing.assert_array_equal(songs, generate(model, padded, 5))
    single = generate(model, short[:, :1], 5)
    assert np.isfinite(single).all()


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5, 8, 9])
def test_a_primer_of_patches_has_any_length(n_frames: int) -> None:
    model = make_model(PATCHES, shift=4)
    primer = make_frames(2, n_frames)
    missing = max(0, 4 - n_frames)
    used = np.concatenate([np.repeat(primer[:, :1], missing, axis=1), primer], axis=1)
    used = used[:, used.shape[1] % 2 :]
    songs = generate(model, primer, 7, seed=1)
    assert songs.shape == (2, 7, CHANNELS)
    np.testing.assert_array_equal(songs, generate(model, used, 7, seed=1))
    traced = tf.function(model.generate_in_graph)
    for length in (7, 131):
        one = generate(model, primer[:1], length, seed=1, temperature=0.5, neighbour_weight=0.3)
        sampling = tuple(map(tf.constant, (0.5, 1.0, 0.3)))
        graph = traced(tf.constant(primer[:1]), tf.constant(length), 1, sampling)
        assert graph.shape == (1, length, CHANNELS)
        np.testing.assert_allclose(graph, one, rtol=1e-3, atol=1e-3)


def test_neighbours_change_songs_of_models_that_store_patches() -> None:
    model, primer = make_model(PATCHES), make_frames(2, 6)
    songs = generate(model, primer, 8, seed=1)
    assert np.abs(generate(model, primer, 8, seed=1, neighbour_weight=0.5) - songs).max() > 1e-3
    without = make_model(dataclasses.replace(PATCHES, stored_patches=0))
    np.testing.assert_array_equal(
        generate(without, primer, 8, seed=1, neighbour_weight=0.5),
        generate(without, primer, 8, seed=1),
    )


def test_a_model_starts_at_the_components_of_its_windows() -> None:
    model = make_model(PATCHES)

    def examples() -> Iterator[base.Batch]:
        for first in range(0, 40, 10):
            yield tiny.make_batch(10, 14, CHANNELS, seed=first)

    model.initialise(examples)
    starts = [weight.numpy() for weight in model.coder.weights]
    other = make_model(PATCHES)
    other.initialise(examples)  # the same to the last bit, as a resumed training assumes
    for weight, start in zip(other.coder.weights, starts, strict=True):
        np.testing.assert_array_equal(weight, start, err_msg=weight.path)
    codes = np.concatenate([model.coder(batch["frames"]) for batch in examples()])
    np.testing.assert_allclose(codes.mean(axis=(0, 1)), np.zeros(5), atol=1e-3)
    np.testing.assert_allclose(
        np.cov(codes.reshape(-1, 5).T), np.diag(codes.var((0, 1))), atol=0.02
    )
    model.fit_data(examples)
    assert model.store is not None
    assert model.servo is not None
    assert np.abs(model.store.codes).max() < 1e3
    assert model.servo.lowest.numpy() < model.servo.highest.numpy() < 1e3


def test_a_long_primer_warms_the_state_in_chunks() -> None:
    model = make_model(dataclasses.replace(SMALL, layers=1))
    primer = make_frames(1, 300)
    songs = generate(model, primer, 2, sigma_scale=0.0)
    hidden = model(primer)[:, -1]
    seed = rng.seed_for(rng.seed_for(_song_seed(0, 0), 0), 1)
    uniform = rng.uniform([1, 128], seed)[:, 0]
    draws = heads.Draws(np.zeros((1, CHANNELS), np.float32), uniform, 1.0, 0.0)
    expected = model.head.sample(hidden, primer[:, -1], draws, model.head.constants())
    np.testing.assert_allclose(songs[:, 0], expected, rtol=1e-4, atol=1e-4)


def _song_seed(seed: int, song: int) -> Any:
    """Return the seed of one song."""
    return rng.seed_from(seed, rng.SONGS, song)


@pytest.mark.parametrize("head", ["gaussian", "mse"])
def test_the_other_heads_generate_too(head: str) -> None:
    model = make_model(VARIANTS[head])
    primer = make_frames(2, 5)
    first = generate(model, primer, 6, seed=1, sigma_scale=0.0)
    second = generate(model, primer, 6, seed=2, sigma_scale=0.0)
    np.testing.assert_array_equal(first, second)  # nothing is drawn
    whole = np.concatenate([primer, first], axis=1)
    expected = model.predict_frames({"frames": whole[:, :10]})
    np.testing.assert_allclose(first, expected[:, 4:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["mse", "patches"])
def test_progress_adds_up_to_the_frames(variant: str) -> None:
    model = make_model(VARIANTS[variant])
    request = base.GenerationRequest(n_songs=1, n_frames=300)
    done: list[int] = []
    model.generate(request, make_frames(1, 2), done.append)
    assert done == [128, 128, 44]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"layers": 0}, "layers"),
        ({"units": 0}, "units"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"attention_window": -1}, "attention_window"),
        ({"attention_window": 4, "layers": 1}, "attention_window"),
        ({"head": "softmax"}, "head"),
        ({"components": 0}, "components"),
        ({"sigma_floor": 0.0}, "sigma_floor"),
        ({"input_noise": 1.0}, "input_noise"),
        ({"sigma_floor": float("nan")}, "sigma_floor"),
        ({"patch_frames": 0}, "patch_frames"),
        ({"patch_frames": 2, "patch_components": 0}, "patch_components"),
        ({"noise_size": 0}, "noise_size"),
        ({"head_blocks": -1}, "head_blocks"),
        ({"stored_patches": -1}, "stored_patches"),
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(errors.InputError, match=rf"{named}.*Received: .*{named}="):
        LSTMConfig(**changed)


@pytest.mark.parametrize(("timesteps", "shift"), [(12, 1), (12, 3), (11, 2)])
def test_windows_of_broken_patches_are_refused(timesteps: int, shift: int) -> None:
    spec = base.FrameSpec(audio=AudioConfig(n_mels=CHANNELS), timesteps=timesteps, shift=shift)
    received = f"Received: shift={shift}, timesteps={timesteps}, patch_frames=2$"
    with pytest.raises(errors.InputError, match=received):
        lstm.LSTMModel(PATCHES, spec)


def test_by_default_a_step_ahead_is_predicted() -> None:
    assert lstm.LSTMModel.target_shift(PATCHES, 0) == 2
    assert lstm.LSTMModel.target_shift(SMALL, 0) == 1
    assert lstm.LSTMModel.target_shift(PATCHES, 4) == 4
