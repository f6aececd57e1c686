"""`note_vae`: a variational autoencoder of notes with phase, told pitch as its harmonics.

Shapes: frames of a whole example, float32 [batch, timesteps, 2 * bins], of representation
complex_stft; inside, an image [batch, timesteps, bins, 2] of levels and gated phase steps and one
number for loudness (`layers/notes/levels.py`).

    image, loudness, labels -> encoder -> mean, log deviation [batch, noise_size]
    a draw of these, labels -> generator -> image, loudness

The generator is that of `gan`, the encoder is built as its discriminator: both are told the pitch
as the grid of its harmonics (`layers/notes/harmonics.py`) and all labels as a vector. One latent
stands for a note, so it need not say what the labels do. A longer song is several notes, each faded
into the next.

The loss of an example is a sum of errors: of levels, absolute, as a mean over all bins and as one
weighted by amplitude, for the partials are a hundredth of the bins; of phase steps, 1 - cos, since
they wrap, weighted by how loud a bin is; and of loudness. To it comes the divergence of the
latents from the standard normal, lightly weighted: held closely to it, they would say nothing. They
do say something of labels, so new notes are drawn from a density that what is told moves, fitted
after training (`layers/latents/priors.py`).

Source: Kingma & Welling 2013 (arXiv 1312.6114); beta, Higgins et al. 2017; the rest is our own.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, rng
from lstm_gen.models.latents import latent_stats, posterior, priors
from lstm_gen.models.notes import crossfade, networks, note_model, spectrogram_image
from lstm_gen.models.notes.config import NoteVAEConfig

_LOUD, _STEP, _LOUDNESS = 0.5, 0.5, 0.1  # weights of errors; that of all levels is 1
_DRAWS = 4  # from each latent's density, to fit priors to


class NoteVAE(note_model.Maker):
    """Encoder and generator, and the densities of latents, which are fitted after training."""

    def __init__(self, settings: NoteVAEConfig, signal: base.Signal) -> None:
        super().__init__(settings, signal, name="note_vae")
        self.settings = settings
        self.encoder = networks.Encoder(self.size, name="encoder")
        self.priors = priors.Priors(
            settings.noise_size,
            NoteVAEConfig.priors,
            conditions=signal.conditions,
            classes=signal.classes,
        )

    def build(self, input_shape: Any) -> None:
        """Create every layer's weights."""
        self.generator.build()
        self.encoder.build()
        self.priors.build()
        super().build(input_shape)


def build(settings: NoteVAEConfig, signal: base.Signal) -> NoteVAE:
    """Return the model with its weights created."""
    model = NoteVAE(settings, signal)
    model.build((None, signal.timesteps, signal.channels))
    return model


def objectives(model: NoteVAE, signal: base.Signal) -> tuple[base.Objective, ...]:
    """Return the one objective: errors and divergence."""
    settings = model.settings

    def loss(batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        count = batch["frames"].shape[0]
        told = model.told(signal, batch, count)
        image, loudness = spectrogram_image.from_frames(batch["frames"], signal)
        mean, log_sd = model.encoder(image, loudness, *told)
        draw = mean
        if training:
            draw = mean + tf.exp(log_sd) * rng.normal([count, settings.noise_size], seed)
        made, made_loudness = model.make(draw, told)
        apart, amplitude = (
            tf.abs(image[..., 0] - made[..., 0]),
            spectrogram_image.amplitude(image[..., 0]),
        )
        level = tf.reduce_mean(apart, axis=[1, 2])
        loud = tf.reduce_sum(amplitude * apart, axis=[1, 2]) / tf.reduce_sum(amplitude, axis=[1, 2])
        weight = tf.square((image[..., 0] + 1.0) / 2.0)
        wrong = 1.0 - tf.cos(math.pi * (image[..., 1] - made[..., 1]))
        step = tf.reduce_sum(weight * wrong, axis=[1, 2]) / tf.reduce_sum(weight, axis=[1, 2])
        louder = tf.abs(loudness - made_loudness)[:, 0]
        divergence = tf.reduce_sum(posterior.kl_divergence(mean, log_sd), axis=1)
        total = level + _LOUD * loud + _STEP * step + _LOUDNESS * louder
        total += settings.divergence * divergence
        metrics = {
            "level_db": 40.0 * level,
            "loud_level_db": 40.0 * loud,
            "step_error": step,
            "divergence": divergence,
        }
        return base.Loss(total, metrics)

    return (
        base.Objective(
            name="note",
            loss=loss,
            variables=[variable.value for variable in model.trainable_variables],
            metric_names=("level_db", "loud_level_db", "step_error", "divergence"),
            plain=True,
        ),
    )


def predict(model: NoteVAE, signal: base.Signal, batch: base.Batch) -> Any:
    """Return examples as the model gives them back."""
    count = batch["frames"].shape[0]
    told = model.told(signal, batch, count)
    mean, _ = model.encoder(*spectrogram_image.from_frames(batch["frames"], signal), *told)
    image, loudness = model.make(mean, told)
    return spectrogram_image.to_frames(image, loudness, signal)


def fit(model: NoteVAE, signal: base.Signal, examples: base.Examples) -> None:
    """Fit the priors to latents drawn from what is believed of the training split."""

    def believed(
        frames: np.ndarray, labels: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        return _densities(model, signal, frames, labels)

    latent_stats.fit(model.priors, signal, examples, believed, _DRAWS)


def generate(
    model: NoteVAE,
    signal: base.Signal,
    controls: base.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Make examples and fade each into the next; see `family.Family.generate`."""
    del primer  # there is no such control
    told = conditioning.vector(signal.conditions, controls.labels, controls.n_songs)
    n_examples = note_model.count_examples(signal, controls.n_frames)
    draws = latent_stats.draw(model.priors, controls, n_examples, told)
    return note_model.generate(model, signal, controls, draws, progress)


def encode(
    model: NoteVAE, signal: base.Signal, frames: Any, labels: Mapping[str, Any]
) -> np.ndarray:
    """Return the latents of frames, one for each stretch as long as an example."""
    return _densities(model, signal, frames, labels)[0]


def decode(
    model: NoteVAE,
    signal: base.Signal,
    latents: np.ndarray,
    n_frames: int,
    labels: Mapping[str, Any],
) -> np.ndarray:
    """Return the examples of latents one after another, as many frames as asked."""
    count, steps = latents.shape[:2]
    flat = tf.constant(latents.reshape(count * steps, -1), tf.float32)
    image, loudness = model.make(flat, _told(model, signal, labels, count, steps))
    frames = spectrogram_image.to_frames(image, loudness, signal)
    each = tf.reshape(frames, [count, steps, signal.timesteps, signal.channels])
    return np.asarray(crossfade.follow(each, signal)[:, :n_frames])


def _densities(
    model: NoteVAE, signal: base.Signal, frames: np.ndarray, labels: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of the latents of recordings, whose ends are filled with silence.

    Both are float32 [examples, steps, noise_size], of frames [examples, frames, channels].
    """
    count, n_frames = frames.shape[:2]
    steps = -(-n_frames // signal.timesteps)
    silence = np.zeros(signal.channels, np.float32)
    silence[: signal.audio.n_bins_resolved] = math.log(signal.audio.log_floor)
    rest = np.broadcast_to(
        (silence - signal.mean) / signal.std,
        (count, steps * signal.timesteps - n_frames, signal.channels),
    )
    whole = np.concatenate([frames, rest], axis=1).astype(np.float32)
    cut = tf.constant(whole.reshape(count * steps, signal.timesteps, signal.channels))
    told = _told(model, signal, labels, count, steps)
    mean, log_sd = model.encoder(*spectrogram_image.from_frames(cut, signal), *told)
    shape = (count, steps, -1)
    return np.reshape(mean, shape), np.exp(np.reshape(log_sd, shape))


def _told(
    model: NoteVAE, signal: base.Signal, labels: Mapping[str, Any], count: int, steps: int
) -> tuple[Any, Any]:
    """Return what is told of recordings for each of their examples."""
    each = {name: tf.constant(np.repeat(rows, steps, axis=0)) for name, rows in labels.items()}
    return model.told(signal, each, count * steps)


FAMILY = base.Family(
    name="note_vae",
    summary=NoteVAEConfig.summary,
    config_class=NoteVAEConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("complex_stft",),
    controls=frozenset({"temperature", "prior", "reconstruct", "between"}),
    priors=NoteVAEConfig.priors,
    conditional=True,
    initialise=note_model.initialise,
    fit=fit,
    coder=latent_stats.coder(encode, decode),
)
