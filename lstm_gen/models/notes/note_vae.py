"""`note_vae`: variational autoencoder of notes with phase.

Shapes: frames of a whole example, float32 [batch, timesteps, 2 * bins], of representation
complex_stft; the networks work on an image [batch, timesteps, bins, 2] of levels and gated phase
steps, and one value of loudness (`models.notes.spectrogram_image`).

    image, loudness, labels -> encoder -> mean, log deviation [batch, noise_size]
    latent, labels -> generator -> image, loudness

The generator is that of `gan`, and the encoder has the layers of its discriminator. Both are
conditioned on all labels as a vector and on the pitch as an encoding of its harmonics
(`models.notes.harmonic_encoding`). A note has a single latent, which need not encode its labels. A
longer song consists of several notes, each crossfaded into the next.

The loss of an example is a sum of errors and a KL divergence: the absolute error of levels, as a
mean over all bins and as a mean weighted by amplitude, because partials are a hundredth of the
bins; 1 - cos of the error of phase steps, since they wrap, weighted by level; the error of
loudness; and the KL divergence from the standard normal, with a small weight, since a larger one
empties the latents. Latents still correlate with labels, so new notes are drawn from Gaussians
whose mean depends on the labels, fitted after training (`models.latents.priors`).

Source: Kingma & Welling 2013 (arXiv 1312.6114); beta, Higgins et al. 2017; the rest is our own.
"""

import math
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import rng
from lstm_gen.models.latents import latent_model, posterior, priors
from lstm_gen.models.notes import crossfade, networks, note_model, spectrogram_image
from lstm_gen.models.notes.config import NoteVAEConfig

_LOUD, _STEP, _LOUDNESS = 0.5, 0.5, 0.1  # weights of errors; that of all levels is 1


class NoteVAE(note_model.NoteModel, latent_model.LatentModel):
    """Encoder, generator, and priors of the latents; see the module."""

    config_class = NoteVAEConfig
    controls = frozenset({"temperature", "prior", "reconstruct", "between"})
    n_draws: ClassVar[int] = 4

    def __init__(self, config: NoteVAEConfig, spec: base.FrameSpec) -> None:
        super().__init__(config, spec)
        self.encoder = networks.Encoder(self.size, name="encoder")
        self.priors = priors.Priors(
            config.noise_size, config.priors, conditions=spec.conditions, classes=spec.classes
        )

    def build_layers(self) -> None:
        """Create every layer's weights."""
        self.generator.build()
        self.encoder.build()
        self.priors.build()

    def objectives(self) -> tuple[base.Objective, ...]:
        """Return the one objective: errors of the reconstruction, and the KL divergence."""
        return (
            base.Objective(
                name="note",
                loss=self._loss,
                variables=self.trainable_values(),
                metric_names=("level_db", "loud_level_db", "step_error", "kl"),
                jit_compile=True,
            ),
        )

    def _loss(self, batch: base.Batch, seed: Any, training: bool) -> base.Loss:
        count = batch["frames"].shape[0]
        conditioning = self.conditioning(batch, count)
        image, loudness = spectrogram_image.from_frames(batch["frames"], self.spec)
        mean, log_sd = self.encoder(image, loudness, *conditioning)
        latent = mean
        if training:
            latent = mean + tf.exp(log_sd) * rng.normal([count, self.config.noise_size], seed)
        made, made_loudness = self.make(latent, conditioning)
        level_error = tf.abs(image[..., 0] - made[..., 0])
        amplitude = spectrogram_image.amplitude(image[..., 0])
        level = tf.reduce_mean(level_error, axis=[1, 2])
        loud_level = tf.reduce_sum(amplitude * level_error, axis=[1, 2]) / tf.reduce_sum(
            amplitude, axis=[1, 2]
        )
        weight = tf.square((image[..., 0] + 1.0) / 2.0)
        step_error = 1.0 - tf.cos(math.pi * (image[..., 1] - made[..., 1]))
        step = tf.reduce_sum(weight * step_error, axis=[1, 2]) / tf.reduce_sum(weight, axis=[1, 2])
        loudness_error = tf.abs(loudness - made_loudness)[:, 0]
        kl = tf.reduce_sum(posterior.kl_divergence(mean, log_sd), axis=1)
        total = level + _LOUD * loud_level + _STEP * step + _LOUDNESS * loudness_error
        total += self.config.divergence * kl
        metrics = {
            "level_db": 40.0 * level,
            "loud_level_db": 40.0 * loud_level,
            "step_error": step,
            "kl": kl,
        }
        return base.Loss(total, metrics)

    def predict_frames(self, batch: base.Batch) -> Any:
        """Return frames reconstructed from the posterior's means."""
        conditioning = self.conditioning(batch, batch["frames"].shape[0])
        image, loudness = spectrogram_image.from_frames(batch["frames"], self.spec)
        mean, _ = self.encoder(image, loudness, *conditioning)
        return spectrogram_image.to_frames(*self.make(mean, conditioning), self.spec)

    def generate(
        self, request: base.GenerationRequest, primer: Any, progress: base.Progress
    ) -> np.ndarray:
        """Generate examples and crossfade each into the next; see `base.AudioModel.generate`."""
        del primer  # not supported by this family
        latents = self.draw_latents(request, self.count_examples(request.n_frames))
        return self.generate_from(latents, request, progress)

    def posterior(
        self, frames: np.ndarray, labels: latent_model.Labels
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the latents of recordings, one for each example's length.

        The last example is padded with silence.
        """
        spec = self.spec
        count, n_frames = frames.shape[:2]
        steps = -(-n_frames // spec.timesteps)
        silence = np.zeros(spec.channels, np.float32)
        silence[: spec.audio.n_bins_resolved] = math.log(spec.audio.log_floor)
        padding = np.broadcast_to(
            (silence - spec.mean) / spec.std,
            (count, steps * spec.timesteps - n_frames, spec.channels),
        )
        whole = np.concatenate([frames, padding], axis=1).astype(np.float32)
        examples = tf.constant(whole.reshape(count * steps, spec.timesteps, spec.channels))
        conditioning = self._repeated_conditioning(labels, count, steps)
        image, loudness = spectrogram_image.from_frames(examples, spec)
        mean, log_sd = self.encoder(image, loudness, *conditioning)
        shape = (count, steps, -1)
        return np.reshape(mean, shape), np.exp(np.reshape(log_sd, shape))

    def decode(self, latents: np.ndarray, n_frames: int, labels: latent_model.Labels) -> np.ndarray:
        """Return the first `n_frames` frames of the latents' examples, without a crossfade."""
        count, steps = latents.shape[:2]
        flat = tf.constant(latents.reshape(count * steps, -1), tf.float32)
        made = self.make(flat, self._repeated_conditioning(labels, count, steps))
        frames = spectrogram_image.to_frames(*made, self.spec)
        each = tf.reshape(frames, [count, steps, self.spec.timesteps, self.spec.channels])
        return np.asarray(crossfade.concatenate(each, self.spec)[:, :n_frames])

    def _repeated_conditioning(
        self, labels: latent_model.Labels, count: int, steps: int
    ) -> tuple[Any, Any]:
        """Return the conditioning of recordings, repeated for each of their examples."""
        each = {name: tf.constant(np.repeat(rows, steps, axis=0)) for name, rows in labels.items()}
        return self.conditioning(each, count * steps)
