"""Windows of frames put together again: those read one after another, those that overlap."""

from collections.abc import Iterator

import numpy as np

from lstm_gen.models import base

_MOST_JOINED = 16


def join(
    examples: base.Examples, timesteps: int
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
