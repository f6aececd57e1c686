"""What can be done with sounds as latents: the same again, others near it, and ways between."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.models import base as families
from lstm_gen.platform import errors

Labels = Mapping[str, np.ndarray]


class Trained(NamedTuple):
    """A model with latents.

    Attributes:
      family: Its family.
      model: The trained model.
      signal: What it reads.
    """

    family: families.Family
    model: Any
    signal: families.Signal

    @property
    def coder(self) -> families.Coder:
        """The way to latents and back.

        Raises:
          InputError: If there are no latents.
        """
        if self.family.coder is None:
            raise errors.InputError(f"this model has no latents. Received: {self.family.name}")
        return self.family.coder

    def encode(self, frames: np.ndarray, labels: Labels) -> np.ndarray:
        """Return latents, float32 [examples, steps, size]; see `reconstruct`."""
        return self.coder.encode(self.model, self.signal, frames, labels)

    def decode(self, latents: np.ndarray, n_frames: int, labels: Labels) -> np.ndarray:
        """Return frames, float32 [examples, n_frames, channels], normalised."""
        return self.coder.decode(self.model, self.signal, latents, n_frames, labels)


def reconstruct(trained: Trained, frames: np.ndarray, labels: Labels) -> np.ndarray:
    """Return frames as the model gives them back, the shape of `frames`.

    Args:
      trained: A model with latents.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
    """
    latents = trained.encode(frames, labels)
    return trained.decode(latents, frames.shape[1], labels)


def perturb(
    trained: Trained,
    frames: np.ndarray,
    labels: Labels,
    share: float,
    seed: int,
) -> np.ndarray:
    """Return what the model makes of latents with noise added, the shape of `frames`.

    Args:
      trained: A model with latents.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      share: Deviation of the noise, where 1 is that of the latents over the training split.
      seed: Of the noise; that of example i is the same however many there are.
    """
    latents = trained.encode(frames, labels)
    noise = [
        np.random.default_rng([seed, i]).standard_normal(z.shape) for i, z in enumerate(latents)
    ]
    spread = np.float32(share) * trained.coder.spread(trained.model)
    moved = latents + spread * np.asarray(noise, np.float32)
    return trained.decode(moved, frames.shape[1], labels)


def interpolate(
    trained: Trained,
    frames: np.ndarray,
    labels: Labels,
    shares: Sequence[float],
    labels_between: Labels,
) -> np.ndarray:
    """Return sounds on the way from one recording to another.

    Args:
      trained: A model with latents.
      frames: float32 [2, frames, channels], normalised, the ends.
      labels: Of the ends, "label/NAME" to an array with a row for each.
      shares: How far from the first to the last each sound is, 0 to 1.
      labels_between: "label/NAME" to an array with a row for each sound.

    Returns:
      float32 [sounds, frames, channels].
    """
    first, last = trained.encode(frames, labels)
    way = np.stack([(1 - share) * first + share * last for share in shares]).astype(np.float32)
    return trained.decode(way, frames.shape[1], labels_between)


def steps(n_songs: int) -> list[float]:
    """Return equal steps from one end of a way to the other, 0 to 1; for one song its middle."""
    return np.linspace(0, 1, n_songs).tolist() if n_songs > 1 else [0.5]


def transfer(
    trained: Trained,
    frames: np.ndarray,
    labels: Labels,
    name: str,
    classes: tuple[int, int],
) -> np.ndarray:
    """Return sounds of one class moved to another, by the difference of the classes' means.

    A model that is told that label is told the one to encode, and the other to decode.

    Args:
      trained: A model with latents.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      name: A label of the signal's `classes`.
      classes: Index of the class that the frames are of, and of the one that they become.

    Source: latent arithmetic as in Radford et al. 2015 (arXiv 1511.06434).
    """
    means = trained.coder.class_means(trained.model)[name]
    latents = trained.encode(frames, labels) + (means[classes[1]] - means[classes[0]])
    told = dict(labels)
    if f"label/{name}" in told:
        told[f"label/{name}"] = np.full_like(told[f"label/{name}"], classes[1])
    return trained.decode(latents.astype(np.float32), frames.shape[1], told)
