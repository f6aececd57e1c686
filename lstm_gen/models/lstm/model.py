"""`lstm`: stack of causal LSTMs over patches of frames, rolled forward patch by patch.

Shapes: frames in, float32 [batch, timesteps, channels], normalised; codes of patches of consecutive
frames, [batch, steps, width]; hidden states [batch, steps, units]; out, a distribution of the code
`shift` frames ahead.

    frames -> code x_t -> LSTM -> + LSTM(norm) ... (+ attention) -> norm -> head -> x_t+1 -> frames

Conditioning labels are mapped to a code, which is added to every input code. The model is causal:
the loss at step t is a true prediction, and generation carries the state of the same computation,
so that a step costs the same however long the song is.

Source: LSTM, Hochreiter & Schmidhuber 1997; mixture densities, Graves 2013 (arXiv 1308.0850).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, loudness, patches, rng
from lstm_gen.models.lstm import attention
from lstm_gen.models.lstm import head as heads
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.models.lstm.recurrent import layer as lstm
from lstm_gen.platform import devices, errors, traced_functions

_NOISE, _DROPOUT, _DRAWS = 0, 1, 2  # purposes of a step's seed
_FRAMES_PER_CALL = 128


class LSTMModel(base.AudioModel):
    """LSTM stack and output head; `call` returns hidden states, `step` one of them."""

    config_class = LSTMConfig
    controls = frozenset({"primer", "temperature", "sigma_scale", "neighbour_weight"})
    predicts = True
    conditional = True
    exportable = True
    fitted = "the loudness limits and the stored patches"

    def __init__(self, config: LSTMConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        errors.require(
            spec.shift >= 1, "shift must be at least 1 to predict anything", shift=spec.shift
        )
        errors.require(
            spec.shift % config.patch_frames == 0 and spec.timesteps % config.patch_frames == 0,
            "shift and timesteps must be multiples of patch_frames",
            shift=spec.shift,
            timesteps=spec.timesteps,
            patch_frames=config.patch_frames,
        )
        self.coder = patches.PatchCoder(
            config.patch_frames, spec.channels, config.patch_components, name="coder"
        )
        width = self.coder.width
        self.label_layer = (
            keras.layers.Dense(width, use_bias=False, name="told")  # as in saved weights
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
                    -(-config.attention_window // config.patch_frames),
                    config.attention_heads,
                    name=f"attention_{i}",
                )
                for i in range(n - 1)
            ]
            if config.attention_window
            else []
        )
        self.head = _make_head(config, width)
        self.bound = loudness.LoudnessClamp(name="bound")
        self.servo = (
            loudness.LevelServo(spec, config.patch_frames, name="servo")
            if config.level_servo
            else None
        )
        self.store = (
            patches.PatchStore(config.stored_patches, width, name="store")
            if config.stored_patches
            else None
        )

    @classmethod
    def target_shift(cls, config: LSTMConfig, shift: int) -> int:
        """Return the frames from an input to its target, by default those of a patch."""
        return shift or config.patch_frames

    def build_layers(self) -> None:
        """Create every layer's weights."""
        codes, width = (None, None, self.coder.width), self.config.units
        for index, layer in enumerate(self.recurrent):
            layer.build((None, None, width) if index else codes)
        for layer in [*self.norms, *self.attentions, self.head]:
            layer.build((None, None, width))
        self.bound.build((None, None, self.spec.channels))
        self.coder.build()
        if self.servo is not None:
            self.servo.build()
        if self.store is not None:
            self.store.build()
        if self.label_layer is not None:
            self.label_layer.build((None, conditioning.width(self.spec.conditions)))

    def initialise(self, examples: base.Examples) -> None:
        """Fit the codes of patches to the training frames."""
        self.coder.fit(examples)

    def label_code(self, labels: Mapping[str, Any], n_examples: int) -> Any:
        """Return the conditioning labels as a code, [examples, width]; 0 without labels."""
        if self.label_layer is None:
            return tf.zeros([])
        return self.label_layer(conditioning.vector(self.spec.conditions, labels, n_examples))

    def call(self, codes: Any, label_code: Any = 0.0, seed: Any = None) -> Any:
        """Return the hidden states, [batch, steps, units]; with a seed, dropout is on."""
        hidden = codes if self.label_layer is None else codes + label_code[:, tf.newaxis]
        for index, layer in enumerate(self.recurrent):
            outputs, _ = layer(self._normed(hidden, index))
            if seed is not None:
                rate = self.config.dropout
                outputs = rng.dropout(outputs, rate, rng.seed_for(seed, index))
            hidden = self._with_residual(hidden, outputs, index)
            if index < len(self.attentions):
                hidden = hidden + self.attentions[index](hidden)
        return self._normed(hidden, len(self.recurrent))

    def step(self, code: Any, state: Any, label_code: Any = 0.0) -> tuple[Any, Any]:
        """Return the hidden state after one more code, [batch, units], and the new state."""
        recurrent, caches = list(state[0]), list(state[1])
        hidden = code if self.label_layer is None else code + tf.cast(label_code, code.dtype)
        for index, layer in enumerate(self.recurrent):
            outputs, recurrent[index] = layer.step(self._normed(hidden, index), recurrent[index])
            hidden = self._with_residual(hidden, outputs, index)
            if index < len(self.attentions):
                attended, caches[index] = self.attentions[index].step(hidden, caches[index])
                hidden = hidden + attended
        state = (tuple(recurrent), tuple(caches), state[2])
        return self._normed(hidden, len(self.recurrent)), state

    def zero_state(self, batch_size: int) -> Any:
        """Return the state before the first code: layers, caches, levels of song and primer."""
        return (
            tuple(layer.zero_state(batch_size) for layer in self.recurrent),
            tuple(cell.zero_cache(batch_size, self.config.units) for cell in self.attentions),
            (tf.zeros([batch_size]), tf.zeros([batch_size])),
        )

    def _normed(self, hidden: Any, index: int) -> Any:
        """Return the input of layer `index` (the head's is one past the last)."""
        return self.norms[index - 1](hidden) if self.norms and index > 0 else hidden

    def _with_residual(self, hidden: Any, outputs: Any, index: int) -> Any:
        return hidden + outputs if self.config.residual and index > 0 else outputs

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the one objective: the head's loss of the target codes."""
        head, metric = self.head, self._metric_name()

        def score(hidden: Any, inputs: Any, targets: Any, normal: Any) -> tuple[Any, Any]:
            trained, shown = head.losses(hidden, inputs, targets, normal)
            return tf.reduce_mean(trained, axis=-1), tf.reduce_mean(shown, axis=-1)

        # Where the step as a whole is not compiled, this is: a mixture's density is a dozen passes
        # over [batch, frames, components, channels] that XLA makes one. Where it is, a function of
        # its own would hide constants from XLA as soon as gradients are accumulated in a loop.
        strategy = tf.distribute.get_strategy()
        alone = devices.compiles_with_xla(strategy) and not devices.compiles_whole_steps(strategy)
        compiled = alone and not head.trains_on_draws  # large products, which XLA does not speed up
        run_score = tf.function(score, jit_compile=True) if compiled else score

        def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
            inputs, targets = self._inputs_and_targets(batch)
            if training:
                noise = self.config.input_noise
                deviations = self.coder.deviations if self.coder.components else None
                inputs = rng.corrupt(inputs, noise, rng.seed_for(seed, _NOISE), deviations)
            label_code = self.label_code(batch, inputs.shape[0])
            hidden = self(inputs, label_code, rng.seed_for(seed, _DROPOUT) if training else None)
            normal = None
            if head.trains_on_draws:
                draws = rng.seed_for(rng.for_loss(seed, batch, training), _DRAWS)
                normal = self._normal(inputs, draws)
            per_example, shown = run_score(hidden, inputs, targets, normal)
            return base.Loss(per_example, {metric: shown})

        return (
            base.Objective(
                name="prediction" if head.trains_on_draws else "likelihood",
                loss=loss,
                variables=self.trainable_values(),
                metric_names=(metric,),
                loss_metric="" if self.config.head == "mse" else metric,
            ),
        )

    def _metric_name(self) -> str:
        """Return the head's metric, a likelihood by a name of its own unless it is of frames."""
        is_likelihood = self.head.metric == heads.Head.metric
        return "nats_per_code_dim" if is_likelihood and self.coder.components else self.head.metric

    def _normal(self, codes: Any, seed: Any) -> Any:
        """Return noise of the head's training draws, [draws, batch, steps, n_normal]."""
        n_examples, n_steps = codes.shape[0] or tf.shape(codes)[0], codes.shape[1]
        shape = [n_examples, heads.N_DRAWS, n_steps, self.head.n_normal]
        return tf.transpose(rng.normal(shape, seed), [1, 0, 2, 3])

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return the expected frame at every target position, [batch, timesteps, channels]."""
        inputs, _ = self._inputs_and_targets(batch)
        hidden = self(inputs, self.label_code(batch, inputs.shape[0]))
        frames = self.coder.decode(self.head.mean(hidden, inputs))
        n_frames = inputs.shape[1] * self.config.patch_frames
        return tf.reshape(frames, [tf.shape(inputs)[0], n_frames, self.spec.channels])

    def _inputs_and_targets(self, batch: base.Batch) -> tuple[Any, Any]:
        codes = self.coder(batch["frames"])
        patch_frames = self.config.patch_frames
        n_steps, shift = self.spec.timesteps // patch_frames, self.spec.shift // patch_frames
        return codes[:, :n_steps], codes[:, shift:]

    def generate(
        self, request: base.GenerationRequest, primer: Any, progress: base.Progress
    ) -> np.ndarray:
        """Roll the model forward from a primer; see `base.AudioModel.generate`.

        The whole primer warms up the state. Frame t yields the frame at t + shift, in generation as
        in training, so the first new frames come from the last `shift` of the primer.
        """
        shift = self.spec.shift // self.config.patch_frames
        primer = _whole_patches(np.asarray(primer, np.float32), self.config.patch_frames, shift)
        warm_up, roll_out = self._programs
        n_steps = _steps_per_call(self.config)
        draw = _compiled_draws(request.n_songs, n_steps, self.head.n_normal)
        state = self.zero_state(request.n_songs)
        label_code = self.label_code(request.labels, request.n_songs)
        codes = self.coder(tf.constant(primer))
        n_primed = codes.shape[1] - shift
        for start in range(0, n_primed, n_steps):
            state = warm_up(codes[:, start : min(start + n_steps, n_primed)], state, label_code)
        state = self._primed(state, tf.constant(primer))
        seed = rng.seed_from(request.seed, rng.SONGS, request.first_song)
        queue = tf.transpose(codes[:, n_primed:], [1, 0, 2])
        sampling = tuple(
            tf.constant(scale, tf.float32) for scale in dataclasses.astuple(request.sampling)
        )
        songs = []
        for chunk, start in enumerate(
            range(0, request.n_frames, n_steps * self.config.patch_frames)
        ):
            normal, uniform = draw(seed, tf.constant(chunk))
            frames, queue, state = roll_out(queue, state, normal, uniform, sampling, label_code)
            songs.append(frames.numpy())
            progress(min(n_steps * self.config.patch_frames, request.n_frames - start))
        return np.concatenate(songs, axis=0)[: request.n_frames].transpose(1, 0, 2)

    def generate_in_graph(
        self, primer: Any, n_frames: Any, seed: Any, sampling: tuple[Any, Any, Any]
    ) -> Any:
        """Roll the model forward in TensorFlow operations; see `base.AudioModel`."""
        patch_frames, channels = self.config.patch_frames, self.spec.channels
        shift = self.spec.shift // patch_frames
        length = tf.shape(primer)[1]
        missing = tf.maximum(0, shift * patch_frames - length)
        primer = tf.concat([tf.repeat(primer[:, :1], missing, axis=1), primer], axis=1)
        codes = self.coder(primer[:, (length + missing) % patch_frames :])
        draw = _draws(1, _steps_per_call(self.config), self.head.n_normal)
        label_code = self.label_code({}, 1)
        state = self.warm_up(codes[:, :-shift], self.zero_state(1), label_code)
        state = self._primed(state, primer)
        queue = tf.transpose(codes[:, -shift:], [1, 0, 2])
        queue = tf.ensure_shape(queue, [shift, 1, self.coder.width])
        call_frames = _steps_per_call(self.config) * patch_frames
        n_chunks = (n_frames + call_frames - 1) // call_frames
        songs = tf.TensorArray(tf.float32, n_chunks, element_shape=[call_frames, 1, channels])
        for chunk in tf.range(n_chunks):
            normal, uniform = draw(rng.seed_from(seed, rng.SONGS, 0), chunk)
            frames, queue, state = self.roll_out(
                queue, state, normal, uniform, sampling, label_code
            )
            songs = songs.write(chunk, frames)
        return tf.transpose(songs.concat()[:n_frames], [1, 0, 2])

    @functools.cached_property
    def _programs(self) -> tuple[Any, Any]:
        """The compiled warm-up and roll-out."""
        return traced_functions.program(self.warm_up), traced_functions.program(self.roll_out)

    def warm_up(self, codes: Any, state: Any, label_code: Any) -> Any:
        """Return the state after codes [batch, steps, width]."""
        for index in tf.range(tf.shape(codes)[1]):
            _, state = self.step(codes[:, index], state, label_code)
        return state

    def roll_out(
        self, queue: Any, state: Any, normal: Any, uniform: Any, sampling: Any, label_code: Any
    ) -> Any:
        """Return new frames [frames, batch, channels], the queue of input codes and the state."""
        constants, batch_size = self.head.constants(), queue.shape[1]
        patch_frames, channels = self.config.patch_frames, self.spec.channels
        shape = [batch_size, patch_frames, channels]
        made = tf.TensorArray(tf.float32, normal.shape[0], element_shape=shape)
        for index in tf.range(normal.shape[0]):
            current = queue[0]
            hidden, state = self.step(current, state, label_code)
            draws = heads.Draws(normal[index], uniform[index], *sampling[:2])
            code = self.head.sample(hidden, current, draws, constants)
            if self.store is not None:
                code = self.store(code, sampling[2])
            frames, levels = self._levelled(self.coder.decode(code), state[2])
            state = (*state[:2], levels)
            code = self.coder(frames)[:, 0]
            made = made.write(index, frames)
            queue = tf.concat([queue[1:], code[tf.newaxis]], axis=0)
        frames = tf.transpose(made.stack(), [0, 2, 1, 3])
        return tf.reshape(frames, [-1, batch_size, channels]), queue, state

    def _levelled(self, frames: Any, levels: Any) -> tuple[Any, Any]:
        """Return the frames of a step at a level near the primer's, and the levels after them."""
        if self.servo is not None:
            frames, level = self.servo(frames, *levels)
            levels = (level, levels[1])
        return self.bound(frames, self.spec.std), levels

    def _primed(self, state: Any, primer: Any) -> Any:
        """Return the state after a primer, with its level."""
        if self.servo is None:
            return state
        level = self.servo.level(primer)
        return (*state[:2], (level, level))

    def fit_data(self, examples: base.Examples) -> None:
        """Bound generated frames by the loudness of the training frames; store their patches."""
        self.bound.fit(self.spec, examples)
        if self.servo is not None:
            self.servo.fit(examples)
        if self.store is not None:
            self.store.fit(self.coder, examples)


def _make_head(config: LSTMConfig, channels: int) -> heads.Head:
    if config.head == "energy":
        return heads.EnergyHead(channels, config.noise_size, config.head_blocks, name="head")
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


def _steps_per_call(config: LSTMConfig) -> int:
    """Return the steps that one call of the rollout makes."""
    return max(1, _FRAMES_PER_CALL // config.patch_frames)


def _whole_patches(primer: np.ndarray, patch_frames: int, patches_: int) -> np.ndarray:
    """Return the last whole patches of a primer, its first frame repeated if they are too few."""
    missing = max(0, patches_ * patch_frames - primer.shape[1])
    primer = np.pad(primer, [(0, 0), (missing, 0), (0, 0)], mode="edge")
    return primer[:, primer.shape[1] % patch_frames :]


@functools.lru_cache(maxsize=4)
def _compiled_draws(n_songs: int, n_steps: int, n_normal: int) -> Any:
    """Return `_draws`, compiled."""
    return traced_functions.program(_draws(n_songs, n_steps, n_normal))


def _draws(n_songs: int, n_steps: int, n_normal: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a function from a seed and a chunk's number to the chunk's noise.

    The noise is [steps, songs, n_normal], normal, and [steps, songs], uniform.
    """

    def draw(seed: Any, chunk: Any) -> tuple[Any, Any]:
        seed = rng.seed_for(seed, chunk)
        normal = rng.normal([n_songs, n_steps, n_normal], rng.seed_for(seed, 0))
        uniform = rng.uniform([n_songs, n_steps], rng.seed_for(seed, 1))
        return tf.transpose(normal, [1, 0, 2]), tf.transpose(uniform)

    return draw
