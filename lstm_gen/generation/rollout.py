"""Rollout: generation of songs in batches, on several devices and by several processes.

Songs are generated in groups. A group is one batch on one device, and its songs depend on the
group alone, to the last bit, so that any number of devices generates the same songs.

Where the weights have limits (`models.common.loudness`), songs that fail are drawn again with other
noise, the whole group at once, which needs no new program, and of the group those that had failed
are taken.
"""

import concurrent.futures
import dataclasses
import functools
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from lstm_gen.models import base
from lstm_gen.models.common import loudness
from lstm_gen.platform import cluster, devices
from lstm_gen.runs import run as runs

LIMITS = "limits"
"""Name of the limits among the facts stored with the weights."""

_MOST_REDRAWN = 3
_SEEDS = 2**31
_SEED_STEP = 1_640_531_527  # odd, so that attempts have seeds of their own

Draw = Callable[[base.GenerationRequest], np.ndarray]


class Song(NamedTuple):
    """A song of a rollout.

    Attributes:
      frames: Normalised, float32 [n_frames, channels].
      attempt: Times that it was drawn again before this draw.
    """

    frames: np.ndarray
    attempt: int = 0


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
) -> dict[int, Song]:
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
      Index of each song to the song.

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

    within = limits_of(run)

    def generate_on(index: int) -> dict[int, Song]:
        made: dict[int, Song] = {}
        for group in groups[index :: len(used)]:
            own = {name: rows[group.start : group.stop] for name, rows in request.labels.items()}
            part = dataclasses.replace(
                request, n_songs=len(group), first_song=group.start, labels=own
            )
            advance = _Remaining(request.n_frames, bar, lock)
            start, model = primer[group.start : group.stop], models[index]
            with tf.device(used[index]):
                frames = model.generate(part, start, advance)
                advance(request.n_frames)  # the frames that the family has not reported
                songs = [Song(song) for song in frames]
                if within is not None and not request.share_noise:
                    again = functools.partial(model.generate, primer=start, progress=_ignore)
                    songs = _redraw_failed(songs, part, again, run, within)
            made |= dict(zip(group, songs, strict=True))
        return made

    with bar:
        if len(used) == 1:
            return generate_on(0)
        with concurrent.futures.ThreadPoolExecutor(len(used)) as pool:
            parts = pool.map(generate_on, range(len(used)))
            return dict(sorted(song for part in parts for song in part.items()))


def limits_of(run: runs.Run) -> loudness.Limits | None:
    """Return the limits stored with the weights of a run; None if there are none."""
    found = run.facts().get(LIMITS)
    return loudness.Limits(**found) if found else None


def place_model(run: runs.Run, device: str, compute: str) -> Any:
    """Return the trained model on a device."""
    with tf.device(device), devices.layer_precision(compute):
        return run.load_model()


def _redraw_failed(
    songs: list[Song],
    request: base.GenerationRequest,
    draw: Draw,
    run: runs.Run,
    within: loudness.Limits,
) -> list[Song]:
    """Return the songs of a group, those beyond the limits replaced by the best of up to 3 more.

    What a song becomes depends on its own draws alone, not on which others failed.
    """

    def excesses(frames: np.ndarray) -> dict[str, float]:
        return loudness.excesses(
            run.normalisation.undo(frames), within, run.audio.frames_per_second
        )

    best, found = list(songs), [excesses(song.frames) for song in songs]
    first = [*found]
    for attempt in range(1, _MOST_REDRAWN + 1):
        failed = [row for row, beyond in enumerate(found) if beyond]
        if not failed:
            break
        seed = (request.seed + attempt * _SEED_STEP) % _SEEDS
        drawn = draw(dataclasses.replace(request, seed=seed))
        for row in failed:
            beyond = excesses(drawn[row])
            if sum(beyond.values()) < sum(found[row].values()):
                best[row], found[row] = Song(drawn[row], attempt), beyond
    for row, beyond in enumerate(first):
        if beyond:
            name = f"song {request.first_song + row} {max(beyond, key=beyond.__getitem__)}"
            outcome = "no draw was within the limits of real music, the best is kept"
            tqdm.tqdm.write(
                f"{name}: {outcome if found[row] else f'drawn again, {best[row].attempt} x'}",
                file=sys.stderr,
            )
    return best


def _ignore(_: int) -> None:
    """Report no progress."""


class _Remaining:
    """Progress of one group: advances the bar by at most the group's number of frames."""

    def __init__(self, n_frames: int, bar: Any, lock: threading.Lock) -> None:
        self._left, self._bar, self._lock = n_frames, bar, lock

    def __call__(self, n_frames: int) -> None:
        with self._lock:
            n_frames = min(n_frames, self._left)
            self._left -= n_frames
            self._bar.update(n_frames)
