"""`gan`: adversarial model of note-length spectrograms with phase.

Shapes: frames of a whole example, float32 [batch, timesteps, 2 * bins], of representation
complex_stft; the networks work on an image [batch, timesteps, bins, 2] of levels and gated phase
steps, and one value of loudness (`models.notes.spectrogram_image`).

    noise, labels -> generator -> image, loudness
    image, loudness, labels -> discriminator -> score

An example is generated as a whole. A longer song consists of several, each crossfaded into the
next; a shorter one is cut. Both networks are conditioned on the labels: on all of them as a vector,
for the discriminator by projection, and on the pitch as an encoding of its harmonics
(`models.notes.harmonic_encoding`).

The gradient penalty at real examples is exact (a tape in a tape). It is computed for a random one
of each four examples, at four times the weight: the same mean at a quarter of the cost, and no
shape depends on the step. An example's loss does not depend on the rest of the batch: there is no
batch normalisation and no statistic over a batch.

Sources: Goodfellow et al. 2014 (arXiv 1406.2661); Engel et al. 2019, GANSynth (arXiv 1902.08710);
Mescheder et al. 2018 (R1, arXiv 1801.04406); Miyato & Koyama 2018 (projection, arXiv 1802.05637);
Karras et al. 2020 (the same augmentation of real and generated examples, arXiv 2006.06676).
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.notes import networks, note_model, spectrogram_image
from lstm_gen.models.notes.config import GANConfig

_NOISE, _GENERATOR_NOISE, _VARY_REAL, _VARY_FAKE, _VARY_GENERATOR, _PENALTY = range(6)  # of a seed
_PENALISED = 4  # examples, of which one is


class GAN(note_model.NoteModel):
    """Generator and discriminator; only the generator makes songs."""

    config_class = GANConfig
    controls = frozenset({"temperature", "between"})
    adversarial = True

    def __init__(self, config: GANConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        self.discriminator = networks.Discriminator(self.size, name="discriminator")

    def build_layers(self) -> None:
        """Create every layer's weights."""
        self.generator.build()
        self.discriminator.build()

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the objectives of discriminator and generator, in this order."""
        return (
            base.Objective(
                name="discriminator",
                loss=self._discriminator_loss,
                variables=[one.value for one in self.discriminator.trainable_variables],
                metric_names=("d_cross_entropy", "d_real", "d_fake", "gradient_penalty"),
                loss_metric="d_cross_entropy",
                saturation={"d_cross_entropy": (2.0 * math.log(2.0), 0.0)},
                momentum=0.0,
                jit_compile=True,
            ),
            base.Objective(
                name="generator",
                loss=self._generator_loss,
                variables=[one.value for one in self.generator.trainable_variables],
                metric_names=("fake_probability",),
                saturation={"fake_probability": (0.5, 0.0)},
                momentum=0.0,
                jit_compile=True,
            ),
        )

    def _discriminator_loss(self, batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        """Return the cross entropy of real and fake examples, in training with the penalty.

        Metrics: the cross entropy, the mean scores of real and fake examples, and the penalty.
        """
        count, conditioning = self._conditioning_of(batch)
        seed = rng.for_loss(seed, batch, training)
        real = spectrogram_image.from_frames(batch["frames"], self.spec)
        if training:
            real = _vary(real, self.config, rng.seed_for(seed, _VARY_REAL))
        fake = self._fake(conditioning, count, seed, (_NOISE, _VARY_FAKE), training)
        both = [
            tf.concat(pair, axis=0)
            for pair in zip((*real, *conditioning), (*fake, *conditioning), strict=True)
        ]
        of_real, of_fake = tf.split(self.discriminator(*both), 2)
        cross_entropy = tf.nn.softplus(-of_real) + tf.nn.softplus(of_fake)
        penalty = tf.zeros([count])
        if training and self.config.r1:
            penalty = _gradient_penalty(
                self.discriminator, real, conditioning, rng.seed_for(seed, _PENALTY)
            )
        metrics = {
            "d_cross_entropy": cross_entropy,
            "d_real": of_real,
            "d_fake": of_fake,
            "gradient_penalty": penalty,
        }
        return base.Loss(cross_entropy + 0.5 * self.config.r1 * penalty, metrics)

    def _generator_loss(self, batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        """Return the non-saturating loss; its metric is the probability given to fake examples."""
        count, conditioning = self._conditioning_of(batch)
        purposes = (_GENERATOR_NOISE, _VARY_GENERATOR)
        seed = rng.for_loss(seed, batch, training)
        fake = self._fake(conditioning, count, seed, purposes, training)
        score = self.discriminator(*fake, *conditioning)
        return base.Loss(tf.nn.softplus(-score), {"fake_probability": tf.sigmoid(score)})

    def _fake(
        self, conditioning: Any, count: int, seed: Any, purposes: tuple[int, int], training: bool
    ) -> Any:
        """Return generated examples, augmented in training."""
        noise = rng.normal([count, self.config.noise_size], rng.seed_for(seed, purposes[0]))
        fake = self.make(noise, conditioning)
        return _vary(fake, self.config, rng.seed_for(seed, purposes[1])) if training else fake

    def _conditioning_of(self, batch: base.Batch) -> tuple[int, Any]:
        count = batch["frames"].shape[0]
        return count, self.conditioning(batch, count)

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return generated examples with the labels of the batch, always from the same noise."""
        count, conditioning = self._conditioning_of(batch)
        seed = rng.seed_for(tf.zeros([3], tf.int32), _NOISE)
        image, loudness = self.make(rng.normal([count, self.size.noise], seed), conditioning)
        return spectrogram_image.to_frames(image, loudness, self.spec)

    def generate(
        self, request: base.GenerationRequest, primer: Any, progress: base.Progress
    ) -> np.ndarray:
        """Generate examples and crossfade each into the next; see `base.AudioModel.generate`."""
        del primer  # not supported by this family
        first_row = 0 if request.share_noise else request.first_song
        seed = rng.seed_from(request.seed, rng.SONGS, first_row)
        shape = [1 if request.share_noise else request.n_songs, self.size.noise]
        each = [
            rng.normal(shape, rng.seed_for(seed, index))
            for index in range(self.count_examples(request.n_frames))
        ]
        noise = request.sampling.temperature * np.stack(each, axis=1)
        noise = np.broadcast_to(noise, [request.n_songs, *noise.shape[1:]])
        return self.generate_from(noise, request, progress)


def _vary(example: tuple[Any, Any], config: GANConfig, seed: Any) -> tuple[Any, Any]:
    """Return images and loudness, each example with its own random gain and shift in time."""
    image, loudness = example
    count, frames = image.shape[:2]
    if config.vary_db:
        draw = 2.0 * rng.uniform([count, 1], rng.seed_for(seed, 0)) - 1.0
        loudness = loudness + draw * (config.vary_db / 40.0)
    if config.vary_frames:
        most = config.vary_frames
        place = rng.uniform([count], rng.seed_for(seed, 1)) * (2 * most + 1)
        chosen = tf.one_hot(tf.cast(place, tf.int32), 2 * most + 1)[:, :, None, None, None]
        silence = tf.constant([-1.0, 0.0])
        longer = tf.pad(image - silence, [(0, 0), (most, most), (0, 0), (0, 0)])
        moved = [chosen[:, i] * longer[:, i : i + frames] for i in range(2 * most + 1)]
        image = tf.add_n(moved) + silence
    return image, loudness


def _gradient_penalty(
    discriminator: Any, real: tuple[Any, Any], conditioning: tuple[Any, Any], seed: Any
) -> Any:
    """Return the squared gradient of each example's score, float32 [examples].

    It is computed for a random one of each four examples of the global batch, times four, and is 0
    for the others.
    """
    count = real[0].shape[0]
    # Drawn per step, from a seed without the row: the same one of four on every device.
    draw = rng.uniform([1], tf.concat([seed[:2], [0]], axis=0))[0]
    index = tf.cast(draw * _PENALISED, tf.int32)
    rows = seed[2] + tf.range(count)
    weight = _PENALISED * tf.cast(rows % _PENALISED == index, tf.float32)
    # A device batch that is no multiple of four is computed whole: shapes depend on no draw.
    group = _PENALISED if count % _PENALISED == 0 else 1

    def chosen(values: Any) -> Any:
        if group == 1:
            return values
        groups = tf.reshape(values, [count // group, group, *values.shape[1:]])
        return tf.gather(groups, index, axis=1)  # XLA would recompile a slice for each index

    image, loudness = chosen(real[0]), chosen(real[1])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([image, loudness])
        total = tf.reduce_sum(discriminator(image, loudness, *map(chosen, conditioning)))
    gradients = tape.gradient(total, [image, loudness])
    squares = tf.reduce_sum(tf.square(gradients[0]), axis=[1, 2, 3])
    squares += tf.reduce_sum(tf.square(gradients[1]), axis=1)
    return weight * tf.repeat(squares, group)
