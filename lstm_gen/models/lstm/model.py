"""`lstm`: stack of causal LSTMs with a mixture-density head, rolled forward frame by frame.

Shapes: frames in, float32 [batch, timesteps, channels], normalised; hidden states
[batch, timesteps, units]; out, a mixture density of the frame `shift` ahead.

    x_t -> LSTM -> + LSTM(norm) ... (+ attention to the last frames) -> norm -> head -> x_{t+shift}

Conditioning labels are mapped to a frame, which is added to every input frame. The model is causal:
the loss at frame t is a true prediction, and generation carries the state of the same computation,
so that a frame costs the same however long the song is.

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
from lstm_gen.models.lstm import attention
from lstm_gen.models.lstm import head as heads
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.lstm.recurrent import layer as lstm
from lstm_gen.platform import devices, errors, traced_functions

_NOISE, _DROPOUT = 0, 1  # purposes of a step's seed
_FRAMES_PER_CALL = 128


class LSTMModel(base.AudioModel):
    """LSTM stack and output head; `call` returns hidden states, `step` one frame of them."""

    config_class = LSTMConfig
    controls = frozenset({"primer", "temperature", "sigma_scale"})
    predicts = True
    conditional = True
    exportable = True
    fitted = "the loudness limits"

    def __init__(self, config: LSTMConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        errors.require(
            spec.shift >= 1, "shift must be at least 1 to predict anything", shift=spec.shift
        )
        self.label_layer = (
            keras.layers.Dense(spec.channels, use_bias=False, name="told")  # as in saved weights
            if spec.conditions
            else None
        )
        n = config.layers
        self.recurrent = [lstm.LSTM(config.units, name=f"lstm_{i}") for i in range(n)]
        self.norms = (
            [keras.layers.LayerNormalization(name=f"norm_{i}") for i in range(1, n + 1)]
            if config.layer_norm
            else []
        )
        self.attentions = (
            [
                attention.CausalWindowAttention(
                    config.attention_window, config.attention_heads, name=f"attention_{i}"
                )
                for i in range(n - 1)
            ]
            if config.attention_window
            else []
        )
        self.head = _make_head(config, spec.channels)
        self.bound = heads.LoudnessClamp(name="bound")

    def build_layers(self) -> None:
        """Create every layer's weights."""
        frames, width = (None, None, self.spec.channels), self.config.units
        for index, layer in enumerate(self.recurrent):
            layer.build((None, None, width) if index else frames)
        for layer in [*self.norms, *self.attentions, self.head]:
            layer.build((None, None, width))
        self.bound.build(frames)
        if self.label_layer is not None:
            self.label_layer.build((None, conditioning.width(self.spec.conditions)))

    def label_frame(self, labels: Mapping[str, Any], n_examples: int) -> Any:
        """Return the conditioning labels as a frame, [examples, channels]; 0 without labels."""
        if self.label_layer is None:
            return tf.zeros([])
        return self.label_layer(conditioning.vector(self.spec.conditions, labels, n_examples))

    def call(self, frames: Any, label_frame: Any = 0.0, seed: Any = None) -> Any:
        """Return the hidden states, [batch, frames, units]; with a seed, dropout is on."""
        hidden = frames if self.label_layer is None else frames + label_frame[:, tf.newaxis]
        for index, layer in enumerate(self.recurrent):
            outputs, _ = layer(self._normed(hidden, index))
            if seed is not None:
                rate = self.config.dropout
                outputs = rng.dropout(outputs, rate, rng.seed_for(seed, index))
            hidden = self._with_residual(hidden, outputs, index)
            if index < len(self.attentions):
                hidden = hidden + self.attentions[index](hidden)
        return self._normed(hidden, len(self.recurrent))

    def step(self, frame: Any, state: Any, label_frame: Any = 0.0) -> tuple[Any, Any]:
        """Return the hidden state after one more frame, [batch, units], and the new state."""
        recurrent, caches = list(state[0]), list(state[1])
        hidden = frame if self.label_layer is None else frame + tf.cast(label_frame, frame.dtype)
        for index, layer in enumerate(self.recurrent):
            outputs, recurrent[index] = layer.step(self._normed(hidden, index), recurrent[index])
            hidden = self._with_residual(hidden, outputs, index)
            if index < len(self.attentions):
                attended, caches[index] = self.attentions[index].step(hidden, caches[index])
                hidden = hidden + attended
        return self._normed(hidden, len(self.recurrent)), (tuple(recurrent), tuple(caches))

    def zero_state(self, batch_size: int) -> Any:
        """Return the state before the first frame."""
        return (
            tuple(layer.zero_state(batch_size) for layer in self.recurrent),
            tuple(cell.zero_cache(batch_size, self.config.units) for cell in self.attentions),
        )

    def _normed(self, hidden: Any, index: int) -> Any:
        """Return the input of layer `index` (the head's is one past the last)."""
        return self.norms[index - 1](hidden) if self.norms and index > 0 else hidden

    def _with_residual(self, hidden: Any, outputs: Any, index: int) -> Any:
        return hidden + outputs if self.config.residual and index > 0 else outputs

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the one objective: negative log likelihood (or squared error) of target frames."""
        is_mse = self.config.head == "mse"

        def score(hidden: Any, inputs: Any, targets: Any) -> tuple[Any, Any]:
            if is_mse:
                square, likelihood = self.head.losses_of(hidden, targets)
                nats = tf.reduce_mean(likelihood, axis=-1)
                return tf.reduce_mean(square, axis=-1) + nats, nats
            nll = self.head.negative_log_likelihood(hidden, inputs, targets)
            nats = tf.reduce_mean(nll, axis=-1)
            return nats, nats

        # Where the step as a whole is not compiled, this is: a mixture's density is a dozen passes
        # over [batch, frames, components, channels] that XLA makes one. Where it is, a function of
        # its own would hide constants from XLA as soon as gradients are accumulated in a loop.
        strategy = tf.distribute.get_strategy()
        alone = devices.compiles_with_xla(strategy) and not devices.compiles_whole_steps(strategy)
        run_score = tf.function(score, jit_compile=True) if alone else score

        def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
            inputs, targets = self._inputs_and_targets(batch)
            if training:
                noise = self.config.input_noise
                inputs = rng.corrupt(inputs, noise, rng.seed_for(seed, _NOISE))
            label_frame = self.label_frame(batch, inputs.shape[0])
            hidden = self(inputs, label_frame, rng.seed_for(seed, _DROPOUT) if training else None)
            per_example, nats = run_score(hidden, inputs, targets)
            return base.Loss(per_example, {"nats_per_dim": nats})

        return (
            base.Objective(
                name="likelihood",
                loss=loss,
                variables=self.trainable_values(),
                metric_names=("nats_per_dim",),
                loss_metric="" if is_mse else "nats_per_dim",
            ),
        )

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return the expected frame at every target position, [batch, timesteps, channels]."""
        inputs, _ = self._inputs_and_targets(batch)
        hidden = self(inputs, self.label_frame(batch, inputs.shape[0]))
        is_mse = self.config.head == "mse"
        return self.head(hidden) if is_mse else self.head.mean(hidden, inputs)

    def _inputs_and_targets(self, batch: base.Batch) -> tuple[Any, Any]:
        frames = batch["frames"]
        return frames[:, : self.spec.timesteps], frames[:, self.spec.shift :]

    def generate(
        self, request: base.GenerationRequest, primer: Any, progress: base.Progress
    ) -> np.ndarray:
        """Roll the model forward from a primer; see `base.AudioModel.generate`.

        The whole primer warms up the state. Frame t yields the frame at t + shift, in generation as
        in training, so the first new frames come from the last `shift` of the primer.
        """
        shift = self.spec.shift
        primer = _at_least(np.asarray(primer, np.float32), shift)
        n_primed = primer.shape[1] - shift
        warm_up, roll_out = self._programs
        draw = _compiled_draws(request.n_songs, self.spec.channels)
        state = self.zero_state(request.n_songs)
        label_frame = self.label_frame(request.labels, request.n_songs)
        for start in range(0, n_primed, _FRAMES_PER_CALL):
            frames = tf.constant(primer[:, start : min(start + _FRAMES_PER_CALL, n_primed)])
            state = warm_up(frames, state, label_frame)
        seed = rng.seed_from(request.seed, rng.SONGS, request.first_song)
        queue = tf.transpose(tf.constant(primer[:, n_primed:]), [1, 0, 2])
        scales = (tf.constant(request.temperature), tf.constant(request.sigma_scale))
        songs = []
        for chunk, start in enumerate(range(0, request.n_frames, _FRAMES_PER_CALL)):
            normal, uniform = draw(seed, tf.constant(chunk))
            frames, queue, state = roll_out(queue, state, normal, uniform, scales, label_frame)
            songs.append(frames.numpy())
            progress(min(_FRAMES_PER_CALL, request.n_frames - start))
        return np.concatenate(songs, axis=0)[: request.n_frames].transpose(1, 0, 2)

    def generate_in_graph(
        self, primer: Any, n_frames: Any, seed: Any, scales: tuple[Any, Any]
    ) -> Any:
        """Roll the model forward in TensorFlow operations; see `base.AudioModel`."""
        shift, channels = self.spec.shift, self.spec.channels
        missing = tf.maximum(0, shift - tf.shape(primer)[1])
        primer = tf.concat([tf.repeat(primer[:, :1], missing, axis=1), primer], axis=1)
        draw = _draws(1, channels)
        label_frame = self.label_frame({}, 1)
        state = self.warm_up(primer[:, :-shift], self.zero_state(1), label_frame)
        queue = tf.ensure_shape(tf.transpose(primer[:, -shift:], [1, 0, 2]), [shift, 1, channels])
        n_chunks = (n_frames + _FRAMES_PER_CALL - 1) // _FRAMES_PER_CALL
        songs = tf.TensorArray(tf.float32, n_chunks, element_shape=[_FRAMES_PER_CALL, 1, channels])
        for chunk in tf.range(n_chunks):
            normal, uniform = draw(rng.seed_from(seed, rng.SONGS, 0), chunk)
            frames, queue, state = self.roll_out(queue, state, normal, uniform, scales, label_frame)
            songs = songs.write(chunk, frames)
        return tf.transpose(songs.concat()[:n_frames], [1, 0, 2])

    @functools.cached_property
    def _programs(self) -> tuple[Any, Any]:
        """The compiled warm-up and roll-out."""
        return traced_functions.program(self.warm_up), traced_functions.program(self.roll_out)

    def warm_up(self, frames: Any, state: Any, label_frame: Any) -> Any:
        """Return the state after frames [batch, frames, channels]."""
        for index in tf.range(tf.shape(frames)[1]):
            _, state = self.step(frames[:, index], state, label_frame)
        return state

    def roll_out(
        self, queue: Any, state: Any, normal: Any, uniform: Any, scales: Any, label_frame: Any
    ) -> Any:
        """Return new frames [frames, batch, channels], the queue of inputs and the state."""
        is_mse = self.config.head == "mse"
        colouring = None if is_mse else self.head.colouring()
        frames = tf.TensorArray(tf.float32, normal.shape[0], element_shape=queue.shape[1:])
        for index in tf.range(normal.shape[0]):
            current = queue[0]
            hidden, state = self.step(current, state, label_frame)
            if is_mse:
                frame = self.head(hidden)
            else:
                frame = self.head.sample(
                    hidden, current, normal[index], uniform[index], scales, colouring
                )
            frame = self.bound(frame, self.spec.std)
            frames = frames.write(index, frame)
            queue = tf.concat([queue[1:], frame[tf.newaxis]], axis=0)
        return frames.stack(), queue, state

    def fit_data(self, examples: base.Examples) -> None:
        """Bound the loudness of generated frames by that of the training frames."""
        self.bound.fit(self.spec, examples)


def _make_head(config: LSTMConfig, channels: int) -> keras.layers.Layer:
    if config.head == "mse":
        return heads.MeanHead(channels, config.sigma_floor, name="head")
    mixture = config.head == "mixture"
    return heads.MixtureHead(
        channels,
        components=config.components if mixture else 1,
        triangular=mixture,
        sigma_floor=config.sigma_floor,
        name="head",
    )


def _at_least(primer: np.ndarray, frames: int) -> np.ndarray:
    """Return the primer with its first frame repeated in front until it is long enough."""
    missing = max(0, frames - primer.shape[1])
    return np.pad(primer, [(0, 0), (missing, 0), (0, 0)], mode="edge")


@functools.lru_cache(maxsize=4)
def _compiled_draws(n_songs: int, channels: int) -> Any:
    """Return `_draws`, compiled."""
    return traced_functions.program(_draws(n_songs, channels))


def _draws(n_songs: int, channels: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a function from a seed and a chunk's number to the chunk's noise.

    The noise is [frames, songs, channels], normal, and [frames, songs], uniform.
    """

    def draw(seed: Any, chunk: Any) -> tuple[Any, Any]:
        seed = rng.seed_for(seed, chunk)
        normal = rng.normal([n_songs, _FRAMES_PER_CALL, channels], rng.seed_for(seed, 0))
        uniform = rng.uniform([n_songs, _FRAMES_PER_CALL], rng.seed_for(seed, 1))
        return tf.transpose(normal, [1, 0, 2]), tf.transpose(uniform)

    return draw
