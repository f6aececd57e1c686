"""Windows of frames put together again: those read one after another, those that overlap."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lstm_gen.models import family
from lstm_gen.models.layers import condition, priors

_MOST_JOINED = 16


def join(
    examples: family.Examples, timesteps: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield training windows, those that touch as one, and the labels of each, one row.

    What a compiled function is given should not be of a hundred lengths: of long recordings all
    parts but the last have the same.
    """
    parts: list[np.ndarray] = []
    labels: dict[str, np.ndarray] = {}
    following = (-1, -1)
    for batch in examples():
        names = [name for name in batch if name.startswith("label/")]
        for index in np.flatnonzero(batch["weight"]):
            place = int(batch["recording"][index]), int(batch["start_frame"][index])
            if parts and (place != following or len(parts) == _MOST_JOINED):
                yield np.concatenate(parts), labels
                parts = []
            labels = {name: batch[name][index : index + 1] for name in names}
            parts.append(batch["frames"][index][:timesteps])
            following = place[0], place[1] + timesteps
    if parts:
        yield np.concatenate(parts), labels


def fit(
    fitted: priors.Priors,
    signal: family.Signal,
    examples: family.Examples,
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
    for frames, labels in join(examples, signal.timesteps):
        own = np.asarray(condition.vector(signal.conditions, labels, 1))[0]
        mean, sd = (part[0] for part in densities(frames[np.newaxis], labels))
        for normal in random.standard_normal((n_draws, *mean.shape)):
            latents.append((mean + sd * normal).astype(np.float32))
            told.append(own)
            for name, values in classes.items():
                values.append(int(labels[name][0]))
    fitted.fit(latents, {name: np.array(rows) for name, rows in classes.items()}, np.stack(told))


def fade(windows: list[np.ndarray], hop: int) -> np.ndarray:
    """Return windows one after the other, each fading into the next where they overlap."""
    length = windows[0].shape[1]
    shape = np.hanning(length + 2)[1:-1, np.newaxis].astype(np.float32)
    total = np.zeros((len(windows[0]), hop * (len(windows) - 1) + length, windows[0].shape[2]))
    weight = np.zeros((total.shape[1], 1))
    for index, window in enumerate(windows):
        span = slice(index * hop, index * hop + length)
        total[:, span] += window * shape
        weight[span] += shape
    return (total / weight).astype(np.float32)
