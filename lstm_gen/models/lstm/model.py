"""`lstm`: a stack of causal LSTMs with a mixture-density head, rolled forward frame by frame.

Shapes: frames in, float32 [batch, timesteps, channels], normalised; one hidden state
per frame, [batch, timesteps, units]; out, a mixture over the frame `shift` ahead.

    x_t -> LSTM -> + LSTM(norm) ... (+ attention to the last frames) -> norm -> head -> x_{t+shift}

Labels that the model is told are mapped to a frame, which is added to every one that it reads.
Nothing sees the future: the loss at frame t is a true prediction, and generation is the same
computation with the state carried, so a frame costs the same however long the song is.

Source: LSTM, Hochreiter & Schmidhuber 1997; mixture densities, Graves 2013 (arXiv 1308.0850).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, rng
from lstm_gen.models.lstm import attention, loudness_clamp
from lstm_gen.models.lstm import head as heads
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.lstm.recurrent import layer as lstm
from lstm_gen.platform import devices, errors, traced_functions

_NOISE, _DROPOUT = 0, 1  # purposes of a step's seed
_FRAMES_PER_CALL = 128


class SongLSTM(keras.Model):
    """The stack and its head; `call` gives the hidden states, `step` one frame of them."""

    def __init__(self, settings: LSTMConfig, signal: base.Signal, **kwargs: Any) -> None:
        super().__init__(name="lstm", **kwargs)
        self.settings, self.conditions = settings, signal.conditions
        self.telling = (
            keras.layers.Dense(signal.channels, use_bias=False, name="told")
            if signal.conditions
            else None
        )
        n = settings.layers
        self.recurrent = [lstm.LSTM(settings.units, name=f"lstm_{i}") for i in range(n)]
        self.norms = (
            [keras.layers.LayerNormalization(name=f"norm_{i}") for i in range(1, n + 1)]
            if settings.layer_norm
            else []
        )
        self.attentions = (
            [
                attention.CausalWindowAttention(
                    settings.attention_window, settings.attention_heads, name=f"attention_{i}"
                )
                for i in range(n - 1)
            ]
            if settings.attention_window
            else []
        )
        self.head = _make_head(settings, signal.channels)
        self.bound, self.std = loudness_clamp.LoudnessBound(name="bound"), signal.std

    def build(self, input_shape: Any) -> None:
        """Create every layer's weights."""
        width = self.settings.units
        for index, layer in enumerate(self.recurrent):
            layer.build((None, None, width if index else input_shape[-1]))
        for layer in [*self.norms, *self.attentions, self.head]:
            layer.build((None, None, width))
        self.bound.build(input_shape)
        if self.telling is not None:
            self.telling.build((None, conditioning.width(self.conditions)))
        super().build(input_shape)

    def told(self, labels: Mapping[str, Any], n_examples: int) -> Any:
        """Return what labels add to every frame, [examples, channels] or 0."""
        if self.telling is None:
            return tf.zeros([])
        return self.telling(conditioning.vector(self.conditions, labels, n_examples))

    def call(self, frames: Any, told: Any = 0.0, seed: Any = None) -> Any:
        """Return the hidden states, [batch, frames, units]; a seed turns dropout on."""
        hidden = frames if self.telling is None else frames + told[:, tf.newaxis]
        for index, layer in enumerate(self.recurrent):
            outputs, _ = layer(self._normed(hidden, index))
            if seed is not None:
                rate = self.settings.dropout
                outputs = rng.dropout(outputs, rate, rng.seed_for(seed, index))
            hidden = self._joined(hidden, outputs, index)
            if index < len(self.attentions):
                hidden = hidden + self.attentions[index](hidden)
        return self._normed(hidden, len(self.recurrent))

    def step(self, frame: Any, state: Any, told: Any = 0.0) -> tuple[Any, Any]:
        """Return the hidden state after one more frame, [batch, units], and the new state."""
        recurrent, caches = list(state[0]), list(state[1])
        hidden = frame if self.telling is None else frame + tf.cast(told, frame.dtype)
        for index, layer in enumerate(self.recurrent):
            outputs, recurrent[index] = layer.step(self._normed(hidden, index), recurrent[index])
            hidden = self._joined(hidden, outputs, index)
            if index < len(self.attentions):
                seen, caches[index] = self.attentions[index].step(hidden, caches[index])
                hidden = hidden + seen
        return self._normed(hidden, len(self.recurrent)), (tuple(recurrent), tuple(caches))

    def zero_state(self, batch_size: int) -> Any:
        """Return the state before the first frame."""
        return (
            tuple(layer.zero_state(batch_size) for layer in self.recurrent),
            tuple(cell.zero_cache(batch_size, self.settings.units) for cell in self.attentions),
        )

    def _normed(self, hidden: Any, index: int) -> Any:
        """Return the input of layer `index` (the head's is one past the last)."""
        return self.norms[index - 1](hidden) if self.norms and index > 0 else hidden

    def _joined(self, hidden: Any, outputs: Any, index: int) -> Any:
        return hidden + outputs if self.settings.residual and index > 0 else outputs


def _make_head(settings: LSTMConfig, channels: int) -> keras.layers.Layer:
    if settings.head == "mse":
        return heads.MeanHead(channels, settings.sigma_floor, name="head")
    mixture = settings.head == "mixture"
    return heads.MixtureHead(
        channels,
        components=settings.components if mixture else 1,
        triangular=mixture,
        sigma_floor=settings.sigma_floor,
        name="head",
    )


def build(settings: LSTMConfig, signal: base.Signal) -> SongLSTM:
    """Return the model with its weights created."""
    errors.require(
        signal.shift >= 1, "shift must be at least 1 to predict anything", shift=signal.shift
    )
    model = SongLSTM(settings, signal)
    model.build((None, None, signal.channels))
    return model


def objectives(model: SongLSTM, signal: base.Signal) -> tuple[base.Objective, ...]:
    """Return the one objective: the likelihood (or squared error) of the frames ahead."""
    settings = model.settings

    def score(hidden: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
        if settings.head == "mse":
            square, likelihood = model.head.losses_of(hidden, targets)
            nats = tf.reduce_mean(likelihood, axis=-1)
            return tf.reduce_mean(square, axis=-1) + nats, nats
        nll = model.head.negative_log_likelihood(hidden, inputs, targets)
        nats = tf.reduce_mean(nll, axis=-1)
        return nats, nats

    # Where the step as a whole is not compiled, this is: a mixture's density is a dozen passes over
    # [batch, frames, components, channels] that XLA makes one. Where it is, a function of its own
    # would hide constants from XLA as soon as gradients are accumulated in a loop.
    strategy = tf.distribute.get_strategy()
    alone = devices.compiles_with_xla(strategy) and not devices.compiles_whole_steps(strategy)
    run_score = tf.function(score, jit_compile=True) if alone else score

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        inputs, targets = _inputs_and_targets(batch, signal)
        if training:
            inputs = rng.corrupt(inputs, settings.input_noise, rng.seed_for(seed, _NOISE))
        told = model.told(batch, inputs.shape[0])
        hidden = model(inputs, told, rng.seed_for(seed, _DROPOUT) if training else None)
        per_example, nats = run_score(hidden, inputs, targets)
        return base.Loss(per_example, {"nats_per_dim": nats})

    variables = [variable.value for variable in model.trainable_variables]
    return (
        base.Objective(
            name="likelihood", loss=loss, variables=variables, metric_names=("nats_per_dim",)
        ),
    )


def predict(model: SongLSTM, signal: base.Signal, batch: base.Batch) -> Any:
    """Return the expected frame at every target position, [batch, timesteps, channels]."""
    inputs, _ = _inputs_and_targets(batch, signal)
    hidden = model(inputs, model.told(batch, inputs.shape[0]))
    mean = model.settings.head == "mse"
    return model.head(hidden) if mean else model.head.mean(hidden, inputs)


def _inputs_and_targets(batch: base.Batch, signal: base.Signal) -> tuple[Any, Any]:
    frames = batch["frames"]
    return frames[:, : signal.timesteps], frames[:, signal.shift :]


def generate(
    model: SongLSTM,
    signal: base.Signal,
    controls: base.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Roll the model forward from a primer; see `family.Family.generate`.

    The whole primer warms the state. Frame t yields the frame at t + shift, in generation as
    in training, so the first new frames come from the last `shift` of the primer.
    """
    primer = _at_least(np.asarray(primer, np.float32), signal.shift)
    shift, n_frames = signal.shift, primer.shape[1]
    warm, roll = _compiled(model)
    draw = _compiled_draws(controls.n_songs, signal.channels)
    state, told = model.zero_state(controls.n_songs), model.told(controls.labels, controls.n_songs)
    for start in range(0, n_frames - shift, _FRAMES_PER_CALL):
        state = warm(
            tf.constant(primer[:, start : min(start + _FRAMES_PER_CALL, n_frames - shift)]),
            state,
            told,
        )
    seed = rng.seed_from(controls.seed, rng.SONGS, controls.first_song)
    queue = tf.transpose(tf.constant(primer[:, n_frames - shift :]), [1, 0, 2])
    scales = (tf.constant(controls.temperature), tf.constant(controls.sigma_scale))
    songs = []
    for chunk, start in enumerate(range(0, controls.n_frames, _FRAMES_PER_CALL)):
        normal, uniform = draw(seed, tf.constant(chunk))
        frames, queue, state = roll(queue, state, normal, uniform, scales, told)
        songs.append(frames.numpy())
        progress(min(_FRAMES_PER_CALL, controls.n_frames - start))
    return np.concatenate(songs, axis=0)[: controls.n_frames].transpose(1, 0, 2)


def _at_least(primer: np.ndarray, frames: int) -> np.ndarray:
    """Return the primer with its first frame repeated in front until it is long enough."""
    missing = max(0, frames - primer.shape[1])
    return np.pad(primer, [(0, 0), (missing, 0), (0, 0)], mode="edge")


def generate_in_graph(
    model: SongLSTM,
    signal: base.Signal,
    primer: Any,
    n_frames: Any,
    seed: Any,
    scales: tuple[Any, Any],
) -> Any:
    """Roll the model forward in TensorFlow operations; see `family.Family.generate_in_graph`."""
    missing = tf.maximum(0, signal.shift - tf.shape(primer)[1])
    primer = tf.concat([tf.repeat(primer[:, :1], missing, axis=1), primer], axis=1)
    warm, roll = _loops(model)
    draw = _draws(1, signal.channels)
    told = model.told({}, 1)
    state = warm(primer[:, : -signal.shift], model.zero_state(1), told)
    queue = tf.ensure_shape(
        tf.transpose(primer[:, -signal.shift :], [1, 0, 2]), [signal.shift, 1, signal.channels]
    )
    n_chunks = (n_frames + _FRAMES_PER_CALL - 1) // _FRAMES_PER_CALL
    songs = tf.TensorArray(
        tf.float32, n_chunks, element_shape=[_FRAMES_PER_CALL, 1, signal.channels]
    )
    for chunk in tf.range(n_chunks):
        normal, uniform = draw(rng.seed_from(seed, rng.SONGS, 0), chunk)
        frames, queue, state = roll(queue, state, normal, uniform, scales, told)
        songs = songs.write(chunk, frames)
    return tf.transpose(songs.concat()[:n_frames], [1, 0, 2])


@functools.lru_cache(maxsize=4)
def _compiled_draws(n_songs: int, channels: int) -> Any:
    """Return `_draws`, compiled."""
    return traced_functions.program(_draws(n_songs, channels))


def _draws(n_songs: int, channels: int) -> Any:
    """Return a function from a seed and a chunk's number to the chunk's noise.

    The noise is [frames, songs, channels], normal, and [frames, songs], uniform.
    """

    def draw(seed: Any, chunk: Any) -> tuple[Any, Any]:
        seed = rng.seed_for(seed, chunk)
        normal = rng.normal([n_songs, _FRAMES_PER_CALL, channels], rng.seed_for(seed, 0))
        uniform = rng.uniform([n_songs, _FRAMES_PER_CALL], rng.seed_for(seed, 1))
        return tf.transpose(normal, [1, 0, 2]), tf.transpose(uniform)

    return draw


@functools.lru_cache(maxsize=4)
def _compiled(model: SongLSTM) -> tuple[Any, Any]:
    """Return the compiled warm-up and roll-out of a model."""
    warm, roll = _loops(model)
    return traced_functions.program(warm), traced_functions.program(roll)


def _loops(model: SongLSTM) -> tuple[Any, Any]:
    """Return the warm-up and the roll-out of a model, to be traced."""
    settings = model.settings

    def warm(frames: Any, state: Any, told: Any) -> Any:
        for index in tf.range(tf.shape(frames)[1]):
            _, state = model.step(frames[:, index], state, told)
        return state

    def roll(queue: Any, state: Any, normal: Any, uniform: Any, scales: Any, told: Any) -> Any:
        colouring = None if settings.head == "mse" else model.head.colouring()
        frames = tf.TensorArray(tf.float32, normal.shape[0], element_shape=queue.shape[1:])
        for index in tf.range(normal.shape[0]):
            current = queue[0]
            hidden, state = model.step(current, state, told)
            if settings.head == "mse":
                frame = model.head(hidden)
            else:
                frame = model.head.sample(
                    hidden, current, normal[index], uniform[index], scales, colouring
                )
            frame = model.bound(frame, model.std)
            frames = frames.write(index, frame)
            queue = tf.concat([queue[1:], frame[tf.newaxis]], axis=0)
        return frames.stack(), queue, state

    return warm, roll


def fit(model: SongLSTM, signal: base.Signal, examples: base.Examples) -> None:
    """Take note of how loud the training frames are: songs become no louder."""
    model.bound.fit(signal, examples)


FAMILY = base.Family(
    name="lstm",
    summary=LSTMConfig.summary,
    config_class=LSTMConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    fit=fit,
    controls=frozenset({"primer", "temperature", "sigma_scale"}),
    predicts=True,
    conditional=True,
    generate_in_graph=generate_in_graph,
)
