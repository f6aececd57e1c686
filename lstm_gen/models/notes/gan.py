"""`gan`: two players over note-length spectrograms with phase; one makes them of noise.

Shapes: frames of a whole example, float32 [batch, timesteps, 2 * bins], of representation
complex_stft; inside, an image [batch, timesteps, bins, 2] of levels and gated phase steps and one
number for loudness (`layers/notes/levels.py`).

    noise, labels -> generator -> image, loudness
    image, loudness, labels -> discriminator -> score

An example is made as a whole. A longer song is several of them, each faded into the next; a shorter
one is cut. Labels are told to both players: all of them as a vector, by which the discriminator
also matches what it sees (projection), and the pitch once more as a grid of its harmonics
(`layers/notes/harmonics.py`).

The discriminator's gradient at real examples is penalised, exactly (a tape in a tape), for one
example in four of a step, which it is drawn, at four times the weight: the same mean for a quarter
of the cost, and no shape that depends on the step. What stands beside an example in a batch never
matters: there is no batch normalisation and no statistic over a batch.

Sources: Goodfellow et al. 2014 (arXiv 1406.2661); Engel et al. 2019, GANSynth (arXiv 1902.08710);
Mescheder et al. 2018 (R1, arXiv 1801.04406); Miyato & Koyama 2018 (projection, arXiv 1802.05637);
Karras et al. 2020 (what is varied is varied for both,
arXiv 2006.06676).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.notes import networks, note_model, spectrogram_image
from lstm_gen.models.notes.config import GANConfig

_DRAW, _ANOTHER_DRAW, _VARY_REAL, _VARY_MADE, _VARY_AGAIN, _PENALTY = range(6)  # of a step's seed
_PENALISED = 4  # examples, of which one is


class SoundGAN(note_model.Maker):
    """Both players; only the generator is needed to make songs."""

    def __init__(self, settings: GANConfig, signal: base.Signal) -> None:
        super().__init__(settings, signal, name="gan")
        self.settings = settings
        self.discriminator = networks.Discriminator(self.size, name="discriminator")

    def build(self, input_shape: Any) -> None:
        """Create every layer's weights."""
        self.generator.build()
        self.discriminator.build()
        super().build(input_shape)


def build(settings: GANConfig, signal: base.Signal) -> SoundGAN:
    """Return the model with its weights created."""
    model = SoundGAN(settings, signal)
    model.build((None, signal.timesteps, signal.channels))
    return model


def objectives(model: SoundGAN, signal: base.Signal) -> tuple[base.Objective, ...]:
    """Return those of the two players, the discriminator first."""
    settings = model.settings

    def made(told: Any, count: int, seed: Any, purposes: tuple[int, int], training: bool) -> Any:
        """Return examples made of noise, when training varied too."""
        draw = rng.normal([count, settings.noise_size], rng.seed_for(seed, purposes[0]))
        fake = model.make(draw, told)
        return _vary(fake, settings, rng.seed_for(seed, purposes[1])) if training else fake

    def tell_apart(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        count, told = _told(model, signal, batch)
        seed = _seed(batch, seed, training)
        real = spectrogram_image.from_frames(batch["frames"], signal)
        if training:
            real = _vary(real, settings, rng.seed_for(seed, _VARY_REAL))
        fake = made(told, count, seed, (_DRAW, _VARY_MADE), training)
        both = [
            tf.concat(pair, axis=0) for pair in zip((*real, *told), (*fake, *told), strict=True)
        ]
        of_real, of_fake = tf.split(model.discriminator(*both), 2)
        apart = tf.nn.softplus(-of_real) + tf.nn.softplus(of_fake)
        penalty = tf.zeros([count])
        if training and settings.r1:
            penalty = _penalty(model.discriminator, real, told, rng.seed_for(seed, _PENALTY))
        metrics = {
            "told_apart": apart,
            "real_score": of_real,
            "made_score": of_fake,
            "gradient_penalty": penalty,
        }
        return base.Loss(apart + 0.5 * settings.r1 * penalty, metrics)

    def be_believed(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        count, told = _told(model, signal, batch)
        purposes = (_ANOTHER_DRAW, _VARY_AGAIN)
        fake = made(told, count, _seed(batch, seed, training), purposes, training)
        score = model.discriminator(*fake, *told)
        return base.Loss(tf.nn.softplus(-score), {"believed": tf.sigmoid(score)})

    return (
        base.Objective(
            name="discriminator",
            loss=tell_apart,
            variables=[variable.value for variable in model.discriminator.trainable_variables],
            metric_names=("told_apart", "real_score", "made_score", "gradient_penalty"),
            saturation={"told_apart": (2.0 * math.log(2.0), 0.0)},
            momentum=0.0,
            plain=True,
        ),
        base.Objective(
            name="generator",
            loss=be_believed,
            variables=[variable.value for variable in model.generator.trainable_variables],
            metric_names=("believed",),
            saturation={"believed": (0.5, 0.0)},
            momentum=0.0,
            plain=True,
        ),
    )


def _seed(batch: base.Batch, seed: Any, training: bool) -> Any:
    """Return a step's seed, or that of a validation, in which each row always has its draw."""
    return seed if training else rng.seed_from(0, rng.TRAINING, batch["row"][0])


def _told(model: SoundGAN, signal: base.Signal, batch: base.Batch) -> tuple[int, Any]:
    count = batch["frames"].shape[0]
    return count, model.told(signal, batch, count)


def _vary(example: tuple[Any, Any], settings: GANConfig, seed: Any) -> tuple[Any, Any]:
    """Return images and loudness, each example made louder and moved in time by its own draw."""
    image, loudness = example
    count, frames = image.shape[:2]
    if settings.vary_db:
        draw = 2.0 * rng.uniform([count, 1], rng.seed_for(seed, 0)) - 1.0
        loudness = loudness + draw * (settings.vary_db / 40.0)
    if settings.vary_frames:
        most = settings.vary_frames
        place = rng.uniform([count], rng.seed_for(seed, 1)) * (2 * most + 1)
        chosen = tf.one_hot(tf.cast(place, tf.int32), 2 * most + 1)[:, :, None, None, None]
        silence = tf.constant([-1.0, 0.0])
        longer = tf.pad(image - silence, [(0, 0), (most, most), (0, 0), (0, 0)])
        moved = [chosen[:, i] * longer[:, i : i + frames] for i in range(2 * most + 1)]
        image = tf.add_n(moved) + silence
    return image, loudness


def _penalty(discriminator: Any, real: tuple[Any, Any], told: tuple[Any, Any], seed: Any) -> Any:
    """Return the squared gradient of each example's score, float32 [examples].

    It is worked out for one example of each four of the global batch, drawn, times four, and 0 for
    the others.
    """
    count = real[0].shape[0]
    # Drawn by the step alone: the same one of four on whatever device.
    draw = rng.uniform([1], tf.concat([seed[:2], [0]], axis=0))[0]
    index = tf.cast(draw * _PENALISED, tf.int32)
    rows = seed[2] + tf.range(count)
    weight = _PENALISED * tf.cast(rows % _PENALISED == index, tf.float32)
    # A device whose share is no multiple of four works it out for all: shapes depend on no draw.
    group = _PENALISED if count % _PENALISED == 0 else 1

    def chosen(values: Any) -> Any:
        if group == 1:
            return values
        groups = tf.reshape(values, [count // group, group, *values.shape[1:]])
        return tf.gather(groups, index, axis=1)  # of a slice XLA would compile each place anew

    image, loudness = chosen(real[0]), chosen(real[1])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([image, loudness])
        total = tf.reduce_sum(discriminator(image, loudness, *map(chosen, told)))
    gradients = tape.gradient(total, [image, loudness])
    squares = tf.reduce_sum(tf.square(gradients[0]), axis=[1, 2, 3])
    squares += tf.reduce_sum(tf.square(gradients[1]), axis=1)
    return weight * tf.repeat(squares, group)


def predict(model: SoundGAN, signal: base.Signal, batch: base.Batch) -> Any:
    """Return an example of the same labels for each of a batch's, always of the same noise."""
    count, told = _told(model, signal, batch)
    seed = rng.seed_for(tf.zeros([3], tf.int32), _DRAW)
    image, loudness = model.make(rng.normal([count, model.size.noise], seed), told)
    return spectrogram_image.to_frames(image, loudness, signal)


def generate(
    model: SoundGAN,
    signal: base.Signal,
    controls: base.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Make examples and fade each into the next; see `family.Family.generate`."""
    del primer  # there is no such control
    seed = rng.seed_from(controls.seed, rng.SONGS, 0 if controls.alike else controls.first_song)
    shape = [1 if controls.alike else controls.n_songs, model.size.noise]
    each = [
        rng.normal(shape, rng.seed_for(seed, index))
        for index in range(note_model.count_examples(signal, controls.n_frames))
    ]
    draws = controls.temperature * np.stack(each, axis=1)
    draws = np.broadcast_to(draws, [controls.n_songs, *draws.shape[1:]])
    return note_model.generate(model, signal, controls, draws, progress)


FAMILY = base.Family(
    name="gan",
    summary=GANConfig.summary,
    config_class=GANConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("complex_stft",),
    controls=frozenset({"temperature", "between"}),
    conditional=True,
    initialise=note_model.initialise,
    competes=True,
)
