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
from lstm_gen.models.lstm import model as lstm
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import errors

pytestmark = pytest.mark.usefixtures("without_xla")
CHANNELS = 6
SMALL = LSTMConfig(layers=3, units=8, components=3, attention_heads=2)
VARIANTS = {
    "plain": SMALL,
    "attention": dataclasses.replace(SMALL, attention_window=3),
    "bare": dataclasses.replace(SMALL, residual=False, layer_norm=False),
    "gaussian": dataclasses.replace(SMALL, layers=1, head="gaussian"),
    "mse": dataclasses.replace(SMALL, layers=1, head="mse"),
}


def make_model(settings: LSTMConfig, shift: int = 1) -> lstm.LSTMModel:
    """Return a model with every weight moved from its start, so that none hides behind a 0."""
    spec = base.FrameSpec(audio=AudioConfig(n_mels=CHANNELS), timesteps=12, shift=shift)
    keras.utils.set_random_seed(5)
    model = lstm.LSTMModel.create(settings, spec)
    random = np.random.default_rng(6)
    for weight in model.weights:
        weight.assign_add(0.1 * random.standard_normal(weight.shape))
    return model


def make_frames(n_sequences: int, n_frames: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((n_sequences, n_frames, CHANNELS)).astype(np.float32)


def generate(model: lstm.LSTMModel, primer: np.ndarray, n_frames: int, **asked: Any) -> np.ndarray:
    """Return songs that continue a primer."""
    request = base.GenerationRequest(n_songs=len(primer), n_frames=n_frames, **asked)
    return model.generate(request, primer, lambda _: None)


@pytest.fixture(scope="module", params=VARIANTS)
def built(request: pytest.FixtureRequest) -> lstm.LSTMModel:
    return make_model(VARIANTS[request.param])


@pytest.fixture(scope="module", params=[1, 3])
def sampler(request: pytest.FixtureRequest) -> lstm.LSTMModel:
    """Return a model with everything on, of which many songs are made."""
    return make_model(dataclasses.replace(SMALL, layers=2, attention_window=4), request.param)


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_no_state_sees_the_future(built: lstm.LSTMModel) -> None:
    model = built
    frames = make_frames(2, 10)
    changed = frames.copy()
    changed[:, 6] += 1
    difference = np.abs(model(frames) - model(changed)).max(axis=(0, 2))
    assert np.all(difference[:6] == 0)
    assert np.all(difference[6:] > 0)


def test_step_is_call_frame_by_frame(built: lstm.LSTMModel) -> None:
    model = built
    frames, state, outputs = make_frames(2, 10), model.zero_state(2), []
    for index in range(10):
        hidden, state = model.step(tf.constant(frames[:, index]), state)
        outputs.append(hidden)
    np.testing.assert_allclose(np.stack(outputs, axis=1), model(frames), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("mixed_bfloat16")
def test_step_is_call_under_bfloat16() -> None:
    model = make_model(VARIANTS["attention"])
    frames, state = make_frames(2, 10), model.zero_state(2)
    for index in range(10):
        hidden, state = model.step(tf.constant(frames[:, index]), state)
    assert hidden.dtype == tf.bfloat16
    expected = tf.cast(model(frames)[:, -1], tf.float32)
    np.testing.assert_allclose(tf.cast(hidden, tf.float32), expected, atol=0.05)
    (objective,) = model.objectives()
    loss = objective.loss(tiny.make_batch(2, 13, CHANNELS), tf.constant([0, 0, 0]), True)
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
    np.testing.assert_allclose(
        expected, model.head.mean(model(frames[:, :12]), frames[:, :12]), rtol=1e-5, atol=1e-6
    )


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
    """Frame t + shift is drawn from the state after frame t, from the primer's last on."""
    model = sampler
    shift, n_primer, n_frames, seed = model.spec.shift, 9, 140, 11  # more than one chunk
    primer = make_frames(2, n_primer)
    songs = generate(model, primer, n_frames, seed=seed, temperature=0.7, sigma_scale=0.9)
    assert songs.shape == (2, n_frames, CHANNELS)
    assert songs.dtype == np.float32
    whole = np.concatenate([primer, songs], axis=1)
    hidden = model(whole)
    for song in range(2):
        draws = [
            rng.seed_for(rng.seed_for(_song_seed(seed, song), chunk), purpose)
            for chunk in range(2)
            for purpose in (0, 1)
        ]
        normal = np.concatenate([rng.normal([1, 128, CHANNELS], d)[0] for d in draws[0::2]])
        uniform = np.concatenate([rng.uniform([1, 128], d)[0] for d in draws[1::2]])
        # One "batch" of all positions: each new frame from the true frames before it.
        before = slice(n_primer - shift, n_primer - shift + n_frames)
        expected = model.head.sample(
            hidden[song, before],
            whole[song, before],
            normal[:n_frames],
            uniform[:n_frames],
            (0.7, 0.9),
            model.head.colouring(),
        )
        np.testing.assert_allclose(songs[song], expected, rtol=1e-3, atol=1e-3)


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


def test_a_long_primer_warms_the_state_in_chunks() -> None:
    model = make_model(dataclasses.replace(SMALL, layers=1))
    primer = make_frames(1, 300)
    songs = generate(model, primer, 2, sigma_scale=0.0)
    hidden = model(primer)[:, -1]
    seed = rng.seed_for(rng.seed_for(_song_seed(0, 0), 0), 1)
    uniform = rng.uniform([1, 128], seed)[:, 0]
    current = primer[:, -1]
    expected = model.head.sample(
        hidden, current, np.zeros_like(current), uniform, (1.0, 0.0), model.head.colouring()
    )
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


def test_progress_adds_up_to_the_frames() -> None:
    model = make_model(VARIANTS["mse"])
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
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(errors.InputError, match=rf"{named}.*Received: .*{named}="):
        LSTMConfig(**changed)
