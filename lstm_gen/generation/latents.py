"""What can be done with sounds as latents: the same again, others near it, and ways between."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_gen import config
from lstm_gen.models import family as families

Labels = Mapping[str, np.ndarray]


def reconstruct(
    family: families.Family, model: Any, signal: families.Signal, frames: np.ndarray, labels: Labels
) -> np.ndarray:
    """Return frames as the model gives them back, the shape of `frames`.

    Args:
      family: One with a coder.
      model: Its trained model.
      signal: What the model reads.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
    """
    coder = _coder(family)
    latents = coder.encode(model, signal, frames, labels)
    return coder.decode(model, signal, latents, frames.shape[1], labels)


def perturb(
    family: families.Family,
    model: Any,
    signal: families.Signal,
    frames: np.ndarray,
    labels: Labels,
    share: float,
    seed: int,
) -> np.ndarray:
    """Return what the model makes of latents with noise added, the shape of `frames`.

    Args:
      family: One with a coder.
      model: Its trained model.
      signal: What the model reads.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      share: Deviation of the noise, where 1 is that of the latents over the training split.
      seed: Of the noise; that of example i is the same however many there are.
    """
    coder = _coder(family)
    latents = coder.encode(model, signal, frames, labels)
    noise = [
        np.random.default_rng([seed, i]).standard_normal(z.shape) for i, z in enumerate(latents)
    ]
    moved = latents + np.float32(share) * np.asarray(noise, np.float32) * coder.spread(model)
    return coder.decode(model, signal, moved, frames.shape[1], labels)


def interpolate(
    family: families.Family,
    model: Any,
    signal: families.Signal,
    frames: np.ndarray,
    labels: Labels,
    n_songs: int,
) -> np.ndarray:
    """Return a way from one recording to another in equal steps, both ends included.

    Args:
      family: One with a coder.
      model: Its trained model.
      signal: What the model reads.
      frames: float32 [2, frames, channels], normalised, the ends.
      labels: "label/NAME" to an array with a row for each example.
      n_songs: Steps of the way, 1 for its middle.

    Returns:
      float32 [n_songs, frames, channels].
    """
    coder = _coder(family)
    first, last = coder.encode(model, signal, frames, labels)
    shares = np.linspace(0, 1, n_songs) if n_songs > 1 else np.array([0.5])
    way = np.stack([(1 - share) * first + share * last for share in shares]).astype(np.float32)
    own = {
        name: np.stack([values[int(share > 0.5)] for share in shares])
        for name, values in labels.items()
    }
    return coder.decode(model, signal, way, frames.shape[1], own)


def transfer(
    family: families.Family,
    model: Any,
    signal: families.Signal,
    frames: np.ndarray,
    labels: Labels,
    name: str,
    classes: tuple[int, int],
) -> np.ndarray:
    """Return sounds of one class moved to another, by the difference of the classes' means.

    Args:
      family: One with a coder.
      model: Its trained model.
      signal: What the model reads.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      name: A label of the signal's `classes`.
      classes: Index of the class that the frames are of, and of the one that they become.

    Source: latent arithmetic as in Radford et al. 2015 (arXiv 1511.06434).
    """
    coder = _coder(family)
    means = coder.class_means(model)[name]
    latents = coder.encode(model, signal, frames, labels) + (means[classes[1]] - means[classes[0]])
    return coder.decode(model, signal, latents.astype(np.float32), frames.shape[1], labels)


def _coder(family: families.Family) -> families.Coder:
    """Return a family's way to latents and back."""
    coder = family.coder
    if coder is None:
        config.require(False, "this model has no latents", model=family.name)
        raise AssertionError
    return coder
