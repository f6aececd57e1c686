"""`note_vae`: a variational autoencoder of notes with phase, told pitch as its harmonics.

Shapes: frames of a whole example, float32 [batch, timesteps, 2 * bins], of representation
complex_stft; inside, an image [batch, timesteps, bins, 2] of levels and gated phase steps and one
number for loudness (`layers/levels.py`).

    image, loudness, labels -> encoder -> mean, log deviation [batch, noise_size]
    a draw of these, labels -> generator -> image, loudness

The generator is that of `gan`, the encoder is built as its discriminator: both are told the pitch
as the grid of its harmonics (`layers/harmonics.py`) and all labels as a vector. One latent stands
for a note, so it need not say what the labels do. A longer song is several notes, each faded into
the next.

The loss of an example is a mean of absolute errors of levels, of 1 - cos of the errors of phase
steps, which wrap, weighted by how loud a bin is, and of loudness, and the divergence of the
latents from the standard normal, lightly weighted: held closely to it, they would say nothing. New
notes are drawn around what latents of the same labels were in the training split, for they do say
something of labels: a linear regression on what is told, and the normal density of what it leaves.

Source: Kingma & Welling 2013 (arXiv 1312.6114); beta, Higgins et al. 2017; the rest is our own.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen import config as configs
from lstm_gen.models import family
from lstm_gen.models.layers import condition, levels, noise, note_maker, players

_PRIORS = ("gaussian", "standard")
_LOUDNESS = 0.1  # weight of its error
_LEAST_VARIANCE = 1e-4
_RIDGE = 1.0  # examples' worth of latents that know no labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoteVAEConfig:
    """Size and loss of the model.

    Attributes:
      noise_size: Values of the latent.
      width: Channels of the generator's middle; all others are in proportion.
      divergence: Weight of the divergence from the standard normal, of which the errors, some
        hundredths, are to be a multiple.
      pitch_label: The label that is a pitch as a MIDI note number, if it is among those told.
    """

    noise_size: int = 16
    width: int = 64
    divergence: float = 3e-4
    pitch_label: str = "pitch"

    def __post_init__(self) -> None:
        configs.require_least(self, 1, "noise_size")
        configs.require(
            self.width >= 4 and self.width % 4 == 0,
            "width must be a multiple of 4",
            width=self.width,
        )
        configs.require_sign(self, "divergence", zero=True)


class NoteVAE(note_maker.Maker):
    """Encoder and generator, and the density of latents, which is fitted after training."""

    def __init__(self, settings: NoteVAEConfig, signal: family.Signal) -> None:
        super().__init__(settings, signal, name="note_vae")
        self.settings = settings
        self.encoder = players.Encoder(self.size, name="encoder")
        self.classes = signal.classes

    def build(self, input_shape: Any) -> None:
        """Create every layer's weights."""
        self.generator.build()
        self.encoder.build()
        size = self.size.noise

        def fitted(name: str, shape: tuple[int, ...], start: str) -> Any:
            return self.add_weight(name=name, shape=shape, initializer=start, trainable=False)

        self.mean = fitted("mean", (size,), "zeros")
        self.factor = fitted("factor", (size, size), "identity")
        self.slope = fitted("slope", (self.size.told, size), "zeros") if self.size.told else None
        self.class_means = {
            one.name: fitted(f"mean_of_{one.name}", (one.n_values, size), "zeros")
            for one in self.classes
        }
        super().build(input_shape)

    def draw_of(self, prior: str) -> Callable[[Any, Any], Any]:
        """Return the function from standard normal noise, and what is told, to draws of a prior."""
        return _as_it_is if prior == "standard" else self._fitted

    def _fitted(self, normal: Any, told: Any) -> Any:
        centre = self.mean if self.slope is None else self.mean + told @ self.slope
        return tf.linalg.matmul(normal, self.factor, transpose_b=True) + centre


def _as_it_is(normal: Any, _: Any) -> Any:
    return normal


def build(settings: NoteVAEConfig, signal: family.Signal) -> NoteVAE:
    """Return the model with its weights created."""
    model = NoteVAE(settings, signal)
    model.build((None, signal.timesteps, signal.channels))
    return model


def objectives(model: NoteVAE, signal: family.Signal) -> tuple[family.Objective, ...]:
    """Return the one objective: errors and divergence."""
    settings = model.settings

    def loss(batch: family.Batch, seed: Any, training: bool) -> family.Loss:
        count = batch["frames"].shape[0]
        told = model.told(signal, batch, count)
        image, loudness = levels.from_frames(batch["frames"], signal)
        mean, log_sd = model.encoder(image, loudness, *told)
        draw = mean
        if training:
            draw = mean + tf.exp(log_sd) * noise.normal([count, settings.noise_size], seed)
        made, made_loudness = model.make(draw, told)
        level = tf.reduce_mean(tf.abs(image[..., 0] - made[..., 0]), axis=[1, 2])
        weight = tf.square((image[..., 0] + 1.0) / 2.0)
        wrong = 1.0 - tf.cos(math.pi * (image[..., 1] - made[..., 1]))
        step = tf.reduce_sum(weight * wrong, axis=[1, 2]) / tf.reduce_sum(weight, axis=[1, 2])
        louder = tf.abs(loudness - made_loudness)[:, 0]
        divergence = tf.reduce_sum(
            0.5 * (tf.square(mean) + tf.exp(2.0 * log_sd) - 1.0) - log_sd, axis=1
        )
        total = level + 0.5 * step + _LOUDNESS * louder + settings.divergence * divergence
        metrics = {"level_db": 40.0 * level, "step_error": step, "divergence": divergence}
        return family.Loss(total, metrics)

    return (
        family.Objective(
            name="note",
            loss=loss,
            variables=[variable.value for variable in model.trainable_variables],
            metric_names=("level_db", "step_error", "divergence"),
        ),
    )


def predict(model: NoteVAE, signal: family.Signal, batch: family.Batch) -> Any:
    """Return examples as the model gives them back."""
    count = batch["frames"].shape[0]
    told = model.told(signal, batch, count)
    mean, _ = model.encoder(*levels.from_frames(batch["frames"], signal), *told)
    image, loudness = model.make(mean, told)
    return levels.to_frames(image, loudness, signal)


def fit(model: NoteVAE, signal: family.Signal, examples: family.Examples) -> None:
    """Fit the density of latents, and the mean of each class, to the training split."""
    rows, weights, vectors = [], [], []
    classes: dict[str, list[np.ndarray]] = {one.name: [] for one in model.classes}
    encode = tf.function(lambda batch: _density(model, signal, batch))
    for batch in examples():
        mean, log_sd = (part.numpy() for part in encode(_tensors(batch)))
        rows.append(np.stack([mean, np.exp(log_sd)]))
        weights.append(batch["weight"] > 0)
        vectors.append(condition.vector(signal.conditions, batch, len(batch["weight"])).numpy())
        for name, found in classes.items():
            found.append(batch[f"label/{name}"])
    known = np.concatenate(weights)
    means, deviations = np.concatenate(rows, axis=1)[:, known].astype(np.float64)
    told = np.concatenate(vectors)[known].astype(np.float64)
    centre, told_centre = means.mean(axis=0), told.mean(axis=0)
    beside = told - told_centre
    gram = beside.T @ beside + _RIDGE * np.eye(told.shape[1])
    slope = np.linalg.solve(gram, beside.T @ (means - centre))
    rest = means - centre - beside @ slope
    covariance = rest.T @ rest / max(1, len(rest) - 1)
    covariance += np.diag(np.square(deviations).mean(axis=0) + _LEAST_VARIANCE)
    model.mean.assign(centre - told_centre @ slope)
    model.factor.assign(np.linalg.cholesky(covariance))
    if model.slope is not None:
        model.slope.assign(slope)
    for name, found in classes.items():
        own = np.concatenate(found)[known]
        table = [
            means[own == value].mean(axis=0) if (own == value).any() else means.mean(axis=0)
            for value in range(model.class_means[name].shape[0])
        ]
        model.class_means[name].assign(np.asarray(table))


def generate(
    model: NoteVAE,
    signal: family.Signal,
    controls: family.Controls,
    primer: Any,
    progress: Callable[[int], None],
) -> np.ndarray:
    """Make examples and fade each into the next; see `family.Family.generate`."""
    del primer  # there is no such control
    draw = model.draw_of(controls.prior or _PRIORS[0])
    return note_maker.generate(model, signal, controls, progress, draw)


def _density(model: NoteVAE, signal: family.Signal, batch: family.Batch) -> tuple[Any, Any]:
    """Return mean and log deviation of examples' latents."""
    told = model.told(signal, batch, batch["frames"].shape[0])
    found: tuple[Any, Any] = model.encoder(*levels.from_frames(batch["frames"], signal), *told)
    return found


def _tensors(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tf.constant(values) for name, values in batch.items()}


def _encode(
    model: NoteVAE, signal: family.Signal, frames: np.ndarray, labels: Mapping[str, Any]
) -> np.ndarray:
    """Return a latent for each stretch as long as an example; the last is filled with silence."""
    count, n_frames = frames.shape[:2]
    steps = -(-n_frames // signal.timesteps)
    silence = np.zeros(signal.channels, np.float32)
    silence[: signal.audio.n_bins_resolved] = math.log(signal.audio.log_floor)
    rest = np.broadcast_to(
        (silence - signal.mean) / signal.std,
        (count, steps * signal.timesteps - n_frames, signal.channels),
    )
    whole = np.concatenate([frames, rest], axis=1).astype(np.float32)
    cut = whole.reshape(count * steps, signal.timesteps, signal.channels)
    told = {name: np.repeat(values, steps, axis=0) for name, values in labels.items()}
    mean, _ = _density(model, signal, _tensors({"frames": cut} | told))
    return np.asarray(mean).reshape(count, steps, -1)


def _decode(
    model: NoteVAE,
    signal: family.Signal,
    latents: np.ndarray,
    n_frames: int,
    labels: Mapping[str, Any],
) -> np.ndarray:
    """Return the examples of latents one after another, as many frames as asked."""
    count, steps = latents.shape[:2]
    told = _tensors({name: np.repeat(values, steps, axis=0) for name, values in labels.items()})
    flat = tf.constant(latents.reshape(count * steps, -1), tf.float32)
    image, loudness = model.make(flat, model.told(signal, told, count * steps))
    frames = levels.to_frames(image, loudness, signal).numpy()
    return np.asarray(frames.reshape(count, -1, signal.channels)[:, :n_frames])


def _spread(model: NoteVAE) -> np.ndarray:
    """Return the deviation of latents of the same labels."""
    return np.asarray(np.linalg.norm(model.factor.numpy(), axis=1))


def _class_means(model: NoteVAE) -> dict[str, np.ndarray]:
    return {name: means.numpy() for name, means in model.class_means.items()}


FAMILY = family.Family(
    name="note_vae",
    summary="variational autoencoder of notes with phase, told pitch as harmonics",
    config_class=NoteVAEConfig,
    build=build,
    objectives=objectives,
    generate=generate,
    predict=predict,
    representations=("complex_stft",),
    controls=frozenset({"temperature", "prior", "reconstruct", "between"}),
    priors=_PRIORS,
    conditional=True,
    fit=fit,
    coder=family.Coder(encode=_encode, decode=_decode, spread=_spread, class_means=_class_means),
)
