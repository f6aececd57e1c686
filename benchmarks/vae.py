"""The vae family: a training step beside plain Keras, and its songs beside real time.

The network of flags/presets/vae.flags at its batch of 24 windows of 64 frames. The baseline is the
same network of stock Keras layers, trained with `fit`: no warm-up, no clipping, no metrics but the
loss, and noise of TensorFlow's own generator.
"""

import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import harness
from lstm_gen import config, distribute, training_config
from lstm_gen.audio import representations
from lstm_gen.models import family, vae
from lstm_gen.training import step

_BATCH, _STEPS, _ROUNDS = 24, 40, 7
_SONGS, _SECONDS = 4, 20.0
_AUDIO = config.AudioConfig(n_fft=1024, n_mels=80)
_SIGNAL = family.Signal(audio=_AUDIO, timesteps=64, shift=0)


def rows() -> list[harness.Row]:
    """Return what a step costs, and a song."""
    frames = np.random.default_rng(0).standard_normal((_BATCH, 64, 80), np.float32)
    times = harness.take_turns({"plain": _plain(frames), "ours": _ours(frames)}, _ROUNDS, 2)
    ours, plain = (1e3 * min(times[name]) / _STEPS for name in ("ours", "plain"))
    return [
        harness.Row(
            what="vae training step, 24 x 64 frames of 80 mels",
            beside="the same network in stock Keras layers and fit",
            value=harness.ratio(times["plain"], times["ours"]),
            unit="x",
            reach=1,
            detail=f"{ours:.0f} ms and {plain:.0f} ms at best",
        ),
        _songs(),
    ]


def _ours(frames: np.ndarray) -> Any:
    """Return a function that takes some steps of this package."""
    model = vae.build(vae.VAEConfig(), _SIGNAL)
    training = training_config.TrainingConfig(batch_size=_BATCH, steps=10_000)
    objectives = vae.objectives(model, _SIGNAL)
    optimizers = [step.make_optimizer(training) for _ in objectives]
    optimizers[0].build(objectives[0].variables)
    call = step.make_train_call(distribute.strategy("cpu"), objectives, optimizers, training)
    batch = {
        "frames": frames,
        "weight": np.ones(_BATCH, np.float32),
        "row": np.arange(_BATCH, dtype=np.int64),
    }
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    first, count = tf.constant(0), tf.constant(_STEPS)
    return lambda: call(data, first, count)["bound_loss"].numpy()


class _Bound(keras.layers.Layer):
    """Adds the bound of what is decoded as a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sigma = self.add_weight(name="log_sigma", shape=[], initializer="zeros")

    def call(self, values: Any) -> Any:
        """Return what was decoded."""
        frames, decoded, mean, log_sd = values
        error = keras.ops.mean(keras.ops.square(frames - decoded), axis=[1, 2])
        each = 0.5 * (keras.ops.square(mean) + keras.ops.exp(2 * log_sd) - 1) - log_sd
        kl = keras.ops.sum(each, axis=[1, 2]) / (64 * 80)
        nll = self.log_sigma + 0.5 * error * keras.ops.exp(-2 * self.log_sigma)
        self.add_loss(keras.ops.mean(nll + kl))
        return decoded


class _Draw(keras.layers.Layer):
    """Draws latents."""

    def call(self, values: Any) -> Any:
        """Return a draw of mean and log deviation."""
        mean, log_sd = values
        return mean + keras.ops.exp(log_sd) * keras.random.normal(keras.ops.shape(mean), seed=1)


def _plain(frames: np.ndarray) -> Any:
    """Return a function that takes some steps of stock Keras."""
    layers = keras.layers
    width, size = vae.VAEConfig.width, vae.VAEConfig.latent_size

    def conv(values: Any, count: int, transposed: bool = False, kernel: int = 3) -> Any:
        kind = layers.Conv1DTranspose if transposed else layers.Conv1D
        stride = 2 if kernel == 4 else 1
        return kind(count, kernel, strides=stride, padding="same")(values)

    def rectify(values: Any) -> Any:
        return layers.LeakyReLU(negative_slope=0.2)(values)

    def residual(values: Any) -> Any:
        return values + conv(rectify(conv(rectify(values), width)), width)

    inputs = keras.Input((64, 80))
    hidden = conv(inputs, width)
    for _ in range(2):
        hidden = conv(rectify(hidden), width, kernel=4)
    encoded = conv(rectify(residual(hidden)), 2 * size)
    mean, raw = encoded[..., :size], encoded[..., size:]
    log_sd = keras.ops.softplus(raw + 6) - 6
    hidden = residual(conv(_Draw()([mean, log_sd]), width))
    for _ in range(2):
        hidden = conv(rectify(hidden), width, transposed=True, kernel=4)
    decoded = conv(rectify(hidden), 80)
    model = keras.Model(inputs, _Bound()([inputs, decoded, mean, log_sd]))
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    data = tf.data.Dataset.from_tensors(frames).repeat(_STEPS)
    return lambda: model.fit(data, verbose=0)


def _songs() -> harness.Row:
    """Return how fast songs are drawn, decoded and inverted, with a prior of a sequence."""
    model = vae.build(vae.VAEConfig(), _SIGNAL)
    random = np.random.default_rng(0)
    model.priors.fit([random.standard_normal((100, 16)).astype(np.float32) for _ in range(30)])
    n_frames = round(_SECONDS * _AUDIO.frames_per_second)
    controls = family.Controls(n_songs=_SONGS, n_frames=n_frames)
    vae.generate(model, _SIGNAL, controls, None, lambda _: None)
    start = time.perf_counter()
    songs = vae.generate(model, _SIGNAL, controls, None, lambda _: None)
    drawn = time.perf_counter() - start
    representations.invert(songs[0][:64] - 5, _AUDIO)
    for song in songs:
        representations.invert(song - 5, _AUDIO)
    seconds = time.perf_counter() - start
    return harness.Row(
        what=f"vae, {_SONGS} songs of {_SECONDS:.0f} s, inversion included",
        beside="real time",
        value=_SONGS * _SECONDS / seconds,
        unit="x",
        reach=20,
        detail=f"{drawn:.2f} s to draw and decode, {seconds - drawn:.2f} s to invert",
    )
