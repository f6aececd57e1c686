"""Songs rolled out on several devices: which songs go where, and one model on each device.

Songs are rolled out in groups. A group is one batch on one device, and what a song is depends on
its group alone, to the last bit, so that any number of devices makes the same songs.
"""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.platform import cluster, devices
from lstm_gen.runs import run as runs


def deal(n_songs: int, at_once: int) -> list[range]:
    """Return the groups of songs that fall to this process among those that work together."""
    groups = [range(first, min(first + at_once, n_songs)) for first in range(0, n_songs, at_once)]
    member = cluster.member()
    return groups[member.rank :: member.size]


def roll_out(
    run_dir: str,
    run: runs.Run,
    request: base.GenerationRequest,
    primer: np.ndarray,
    groups: Sequence[range],
    devices: Sequence[str],
    compute: str = "float32",
    progress: Callable[[int], None] = lambda _: None,
) -> dict[int, np.ndarray]:
    """Roll out groups of songs, as many at a time as there are devices.

    Args:
      run_dir: Where the trained weights are.
      run: What that directory says of itself.
      request: What is asked for of all songs.
      primer: What each song starts from, normalised, float32 [n_songs, frames, channels].
      groups: Songs that make up a batch each.
      devices: Where to, as `distribute.devices` names them.
      compute: "float32" or "bfloat16".
      progress: Called with the number of frames that a group has got since the last call.

    Returns:
      Index of each song to its frames, normalised, float32 [n_frames, channels].

    Raises:
      InputError: If the run has no trained weights.
    """
    if not groups:  # a process among several, of which others make all there is to make
        return {}
    used = devices[: len(groups)]
    models = [place_model(run_dir, run, device, compute) for device in used]
    lock = threading.Lock()

    def tell(n_frames: int) -> None:
        with lock:
            progress(n_frames)

    def work(place: int) -> dict[int, np.ndarray]:
        made: dict[int, np.ndarray] = {}
        for group in groups[place :: len(used)]:
            own = {name: rows[group.start : group.stop] for name, rows in request.labels.items()}
            asked = dataclasses.replace(
                request, n_songs=len(group), first_song=group.start, labels=own
            )
            start = primer[group.start : group.stop]
            with tf.device(used[place]):
                frames = models[place].generate(asked, start, tell)
            made |= dict(zip(group, frames, strict=True))
        return made

    if len(used) == 1:
        return work(0)
    with concurrent.futures.ThreadPoolExecutor(len(used)) as pool:
        parts = pool.map(work, range(len(used)))
        return dict(sorted(song for part in parts for song in part.items()))


def place_model(run_dir: str, run: runs.Run, device: str, compute: str) -> Any:
    """Return the trained model on a device."""
    with tf.device(device), devices.layer_precision(compute):
        return runs.load_model(run_dir, run)
