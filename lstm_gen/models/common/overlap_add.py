"""Overlap-add: long inputs in overlapping chunks, and windows crossfaded into one sequence."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lstm_gen.models import base

_MAX_WINDOWS = 16


def run_in_chunks(
    function: Callable[[np.ndarray], Any],
    values: np.ndarray,
    stride: int,
    chunk_steps: int,
    context: int,
    progress: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """Apply a convolutional function to a sequence in chunks of one length.

    The result equals that of the whole sequence, while memory and the number of compiled shapes
    stay constant: chunks overlap by the function's receptive field.

    Args:
      function: [examples, steps * stride, ...] to [examples, steps * other, ...], for any number
        of steps; step t of the result depends on steps t - context to t + context alone, and the
        function pads both ends of its input itself.
      values: [examples, steps * stride, ...].
      stride: Input values per step.
      chunk_steps: Steps that a chunk adds to the result, at least 1, its context not counted.
      context: Receptive field to either side, steps.
      progress: Called with the steps done since the last call.
    """
    n_steps, width = values.shape[1] // stride, chunk_steps + 2 * context
    if n_steps <= width:
        result = np.asarray(function(values))
        progress(n_steps)
        return result
    chunks, done = [], 0
    while done < n_steps:
        start = min(max(0, done - context), n_steps - width)  # the last chunk is as wide as all
        stop = start + width
        kept_until = n_steps if stop == n_steps else stop - context
        outputs = np.asarray(function(values[:, start * stride : stop * stride]))
        other = outputs.shape[1] // width
        chunks.append(outputs[:, (done - start) * other : (kept_until - start) * other])
        progress(kept_until - done)
        done = kept_until
    return np.concatenate(chunks, axis=1)


def consecutive_windows(
    examples: base.Examples, timesteps: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield adjacent training windows as one array, at most 16 of them.

    The limit bounds the number of compiled shapes: all but the last part of a long recording
    have the same length.

    Yields:
      Frames, float32 [frames, channels], and their labels, a batch of one row.
    """
    windows: list[np.ndarray] = []
    labels: dict[str, np.ndarray] = {}
    following = (-1, -1)
    for batch in examples():
        names = [name for name in batch if name.startswith("label/")]
        for index in np.flatnonzero(batch["weight"]):
            position = int(batch["recording"][index]), int(batch["start_frame"][index])
            if windows and (position != following or len(windows) == _MAX_WINDOWS):
                yield np.concatenate(windows), labels
                windows = []
            labels = {name: batch[name][index : index + 1] for name in names}
            windows.append(batch["frames"][index][:timesteps])
            following = position[0], position[1] + timesteps
    if windows:
        yield np.concatenate(windows), labels


def crossfade(windows: list[np.ndarray], hop: int) -> np.ndarray:
    """Return the overlap-add of windows under a Hann window, divided by the windows' sum.

    Args:
      windows: float32 [examples, length, channels] each, in order.
      hop: Frames from the start of a window to that of the next.

    Returns:
      float32 [examples, hop * (windows - 1) + length, channels].
    """
    length = windows[0].shape[1]
    hann = np.hanning(length + 2)[1:-1, np.newaxis].astype(np.float32)
    total = np.zeros((len(windows[0]), hop * (len(windows) - 1) + length, windows[0].shape[2]))
    weight = np.zeros((total.shape[1], 1))
    for index, window in enumerate(windows):
        span = slice(index * hop, index * hop + length)
        total[:, span] += window * hann
        weight[span] += hann
    return (total / weight).astype(np.float32)
