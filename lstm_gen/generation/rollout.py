"""Rollout: generation of songs in batches, on several devices and by several processes.

Songs are generated in groups. A group is one batch on one device, and its songs depend on the
group alone, to the last bit, so that any number of devices generates the same songs.
"""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from lstm_gen.models import base
from lstm_gen.platform import cluster, devices
from lstm_gen.runs import run as runs


def assign_groups(n_songs: int, at_once: int) -> list[range]:
    """Return the groups of songs that this process generates, among those of a cluster."""
    groups = [range(first, min(first + at_once, n_songs)) for first in range(0, n_songs, at_once)]
    member = cluster.member()
    return groups[member.rank :: member.size]


def roll_out(
    run: runs.Run,
    request: base.GenerationRequest,
    primer: np.ndarray,
    groups: Sequence[range],
    device_names: Sequence[str],
    compute: str = "float32",
    show_progress: bool = False,
) -> dict[int, np.ndarray]:
    """Generate groups of songs, as many groups at a time as there are devices.

    Args:
      run: Run with trained weights.
      request: Request for all songs.
      primer: Frames that each song continues, normalised, float32 [n_songs, frames, channels].
      groups: Indices of the songs of each batch.
      device_names: Names of devices, as `platform.devices.devices` returns them.
      compute: "float32" or "bfloat16".
      show_progress: Whether to show a progress bar on stderr.

    Returns:
      Index of each song to its frames, normalised, float32 [n_frames, channels].

    Raises:
      InputError: If the run has no trained weights.
    """
    if not groups:  # the other processes of the cluster generate all songs
        return {}
    used = device_names[: len(groups)]
    models = [place_model(run, device, compute) for device in used]
    # Delayed, so that an error before the first frame is the only line on stderr.
    bar = tqdm.tqdm(
        total=request.n_frames * len(groups),
        unit="frame",
        desc="generating",
        leave=False,
        delay=1e-3,
        disable=not show_progress,
    )
    lock = threading.Lock()

    def generate_on(index: int) -> dict[int, np.ndarray]:
        made: dict[int, np.ndarray] = {}
        for group in groups[index :: len(used)]:
            own = {name: rows[group.start : group.stop] for name, rows in request.labels.items()}
            part = dataclasses.replace(
                request, n_songs=len(group), first_song=group.start, labels=own
            )
            advance = _Remaining(request.n_frames, bar, lock)
            with tf.device(used[index]):
                frames = models[index].generate(part, primer[group.start : group.stop], advance)
            advance(request.n_frames)  # the frames that the family has not reported
            made |= dict(zip(group, frames, strict=True))
        return made

    with bar:
        if len(used) == 1:
            return generate_on(0)
        with concurrent.futures.ThreadPoolExecutor(len(used)) as pool:
            parts = pool.map(generate_on, range(len(used)))
            return dict(sorted(song for part in parts for song in part.items()))


def place_model(run: runs.Run, device: str, compute: str) -> Any:
    """Return the trained model on a device."""
    with tf.device(device), devices.layer_precision(compute):
        return run.load_model()


class _Remaining:
    """Progress of one group: advances the bar by at most the group's number of frames."""

    def __init__(self, n_frames: int, bar: Any, lock: threading.Lock) -> None:
        self._left, self._bar, self._lock = n_frames, bar, lock

    def __call__(self, n_frames: int) -> None:
        with self._lock:
            n_frames = min(n_frames, self._left)
            self._left -= n_frames
            self._bar.update(n_frames)
