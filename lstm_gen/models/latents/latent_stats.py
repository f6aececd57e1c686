"""What families do alike whose models keep `Priors`: fit them, draw from them, be coders."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lstm_gen.models import base
from lstm_gen.models.common import conditioning, overlap_add, rng
from lstm_gen.models.latents import priors


def fit(
    fitted: priors.Priors,
    signal: base.Signal,
    examples: base.Examples,
    densities: Callable[[np.ndarray, Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray]],
    n_draws: int = 1,
) -> None:
    """Fit priors, and the means of classes, to the latents of the training split.

    Args:
      fitted: What to fit.
      signal: What the model reads.
      examples: The training windows.
      densities: Frames of one stretch of music, float32 [1, frames, channels], and its labels to
        what is believed of its latents: mean and deviation, float32 [1, steps, size].
      n_draws: From each of these.
    """
    random = np.random.default_rng(0)
    latents: list[np.ndarray] = []
    told: list[np.ndarray] = []
    classes: dict[str, list[int]] = {f"label/{one.name}": [] for one in signal.classes}
    for frames, labels in overlap_add.consecutive_windows(examples, signal.timesteps):
        own = np.asarray(conditioning.vector(signal.conditions, labels, 1))[0]
        mean, sd = (part[0] for part in densities(frames[np.newaxis], labels))
        for normal in random.standard_normal((n_draws, *mean.shape)):
            latents.append((mean + sd * normal).astype(np.float32))
            told.append(own)
            for name, values in classes.items():
                values.append(int(labels[name][0]))
    fitted.fit(latents, {name: np.array(rows) for name, rows in classes.items()}, np.stack(told))


def draw(
    fitted: priors.Priors, controls: base.Controls, n_steps: int, told: Any = None
) -> np.ndarray:
    """Return the latents of the songs that are asked for, float32 [n_songs, n_steps, size].

    Args:
      fitted: What to draw from.
      controls: What is asked for.
      n_steps: Of each song.
      told: What the songs are to be, float32 [n_songs, width]; None where nothing is told.

    Raises:
      InputError: If there is no such prior.
    """
    first_row = 0 if controls.alike else controls.first_song
    return fitted.draw(
        fitted.resolve(controls.prior),
        n_steps,
        rng.seed_from(controls.seed, rng.SONGS, first_row),
        controls.n_songs,
        controls.temperature,
        told,
        controls.alike,
    )


def coder(
    encode: Callable[[Any, base.Signal, Any, Mapping[str, Any]], np.ndarray],
    decode: Callable[[Any, base.Signal, Any, int, Mapping[str, Any]], np.ndarray],
) -> base.Coder:
    """Return the coder of a family whose models keep their `Priors` as `priors`."""

    def spread(model: Any) -> np.ndarray:
        model.priors.require_fitted()
        return np.asarray(model.priors.spread)

    def class_means(model: Any) -> Mapping[str, np.ndarray]:
        model.priors.require_fitted()
        found: Mapping[str, np.ndarray] = model.priors.class_means()
        return found

    return base.Coder(encode=encode, decode=decode, spread=spread, class_means=class_means)
