import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models.lstm import attention
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.platform import errors

WINDOW, HEADS, WIDTH, FRAMES = 4, 2, 6, 11


@pytest.fixture(scope="module")
def layer() -> attention.CausalWindowAttention:
    """Return a layer with every weight drawn, the bias of each distance too."""
    layer = attention.CausalWindowAttention(WINDOW, HEADS)
    layer.build((None, None, WIDTH))
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.standard_normal(weight.shape))
    return layer


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    random = np.random.default_rng(1)
    return random.standard_normal((2, FRAMES, WIDTH)).astype(np.float32)


def expected(layer: attention.CausalWindowAttention, inputs: np.ndarray) -> np.ndarray:
    """Return the definition, frame by frame and head by head, in float64."""
    kernel, out, bias = (np.asarray(weight, np.float64) for weight in layer.weights)
    size = WIDTH // HEADS
    outputs = np.zeros(inputs.shape)
    for index, sequence in enumerate(np.asarray(inputs, np.float64)):
        query, key, value = np.split(sequence @ kernel, 3, axis=1)
        for now in range(FRAMES):
            seen = np.arange(max(0, now - WINDOW + 1), now + 1)
            mixed = []
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                scores = key[seen, part] @ query[now, part] / np.sqrt(size) + bias[head, now - seen]
                weights = np.exp(scores - scores.max())
                mixed.append(weights / weights.sum() @ value[seen, part])
            outputs[index, now] = np.concatenate(mixed) @ out
    return outputs


def test_call_is_the_definition(layer: attention.CausalWindowAttention, inputs: np.ndarray) -> None:
    np.testing.assert_allclose(layer(inputs), expected(layer, inputs), rtol=1e-4, atol=1e-5)


def test_step_is_call_frame_by_frame(
    layer: attention.CausalWindowAttention, inputs: np.ndarray
) -> None:
    cache, outputs = layer.zero_cache(2, WIDTH), []
    for frame in range(FRAMES):
        output, cache = layer.step(inputs[:, frame], cache)
        outputs.append(output)
    np.testing.assert_allclose(np.stack(outputs, axis=1), layer(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changed", [0, 5, FRAMES - 1])
def test_a_frame_reaches_its_window_and_nothing_else(
    layer: attention.CausalWindowAttention, inputs: np.ndarray, changed: int
) -> None:
    other = inputs.copy()
    other[:, changed] += 1
    moved = np.abs(layer(other) - layer(inputs)).max(axis=(0, 2)) > 0
    assert moved.tolist() == [changed <= frame < changed + WINDOW for frame in range(FRAMES)]


def test_a_window_longer_than_the_sequence_sees_all_of_it(inputs: np.ndarray) -> None:
    long = attention.CausalWindowAttention(50, HEADS)
    long.build((None, None, WIDTH))
    outputs = long(inputs)
    other = inputs.copy()
    other[:, 0] += 1
    assert np.all(np.abs(long(other) - outputs).max(axis=(0, 2)) > 0)
    cache = long.zero_cache(2, WIDTH)
    for frame in range(FRAMES):
        last, cache = long.step(inputs[:, frame], cache)
    np.testing.assert_allclose(last, outputs[:, -1], rtol=1e-4, atol=1e-5)


def test_gradients_do_not_come_from_later_frames(
    layer: attention.CausalWindowAttention, inputs: np.ndarray
) -> None:
    frames = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(frames)
        early = tf.reduce_sum(layer(frames)[:, :6])
    gradient = tape.gradient(early, frames).numpy()
    assert np.all(gradient[:, 6:] == 0)
    assert np.all(np.abs(gradient[:, :6]).max(axis=2) > 0)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(errors.InputError, match="attention_heads must divide"):
        LSTMConfig(units=10, attention_heads=4, attention_window=8)
    with pytest.raises(errors.InputError, match="attention_heads"):
        LSTMConfig(attention_heads=0)
    assert LSTMConfig(units=10, attention_heads=4).attention_window == 0
