"""What can be done with sounds as latents: the same again, others near it, and ways between."""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_gen.models.latents.latent_model import LatentModel

Labels = Mapping[str, np.ndarray]


def reconstruct(model: LatentModel, frames: np.ndarray, labels: Labels) -> np.ndarray:
    """Return frames as the model gives them back, the shape of `frames`.

    Args:
      model: The trained model.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
    """
    latents = model.encode(frames, labels)
    return model.decode(latents, frames.shape[1], labels)


def perturb(
    model: LatentModel,
    frames: np.ndarray,
    labels: Labels,
    share: float,
    seed: int,
) -> np.ndarray:
    """Return what the model makes of latents with noise added, the shape of `frames`.

    Args:
      model: The trained model.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      share: Deviation of the noise, where 1 is that of the latents over the training split.
      seed: Of the noise; that of example i is the same however many there are.
    """
    latents = model.encode(frames, labels)
    noise = [
        np.random.default_rng([seed, i]).standard_normal(z.shape) for i, z in enumerate(latents)
    ]
    spread = np.float32(share) * model.latent_std()
    moved = latents + spread * np.asarray(noise, np.float32)
    return model.decode(moved, frames.shape[1], labels)


def interpolate(
    model: LatentModel,
    frames: np.ndarray,
    labels: Labels,
    shares: Sequence[float],
    labels_between: Labels,
) -> np.ndarray:
    """Return sounds on the way from one recording to another.

    Args:
      model: The trained model.
      frames: float32 [2, frames, channels], normalised, the ends.
      labels: Of the ends, "label/NAME" to an array with a row for each.
      shares: How far from the first to the last each sound is, 0 to 1.
      labels_between: "label/NAME" to an array with a row for each sound.

    Returns:
      float32 [sounds, frames, channels].
    """
    first, last = model.encode(frames, labels)
    way = np.stack([(1 - share) * first + share * last for share in shares]).astype(np.float32)
    return model.decode(way, frames.shape[1], labels_between)


def steps(n_songs: int) -> list[float]:
    """Return equal steps from one end of a way to the other, 0 to 1; for one song its middle."""
    return np.linspace(0, 1, n_songs).tolist() if n_songs > 1 else [0.5]


def transfer(
    model: LatentModel,
    frames: np.ndarray,
    labels: Labels,
    name: str,
    classes: tuple[int, int],
) -> np.ndarray:
    """Return sounds of one class moved to another, by the difference of the classes' means.

    A model that is told that label is told the one to encode, and the other to decode.

    Args:
      model: The trained model.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      name: A label of the spec's `classes`.
      classes: Index of the class that the frames are of, and of the one that they become.

    Source: latent arithmetic as in Radford et al. 2015 (arXiv 1511.06434).
    """
    means = model.class_means()[name]
    latents = model.encode(frames, labels) + (means[classes[1]] - means[classes[0]])
    told = dict(labels)
    if f"label/{name}" in told:
        told[f"label/{name}"] = np.full_like(told[f"label/{name}"], classes[1])
    return model.decode(latents.astype(np.float32), frames.shape[1], told)
