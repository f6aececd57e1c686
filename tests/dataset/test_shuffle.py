"""The whole order of reading, without TensorFlow and without a dataset."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.input import shuffle

WINDOW = WindowConfig(timesteps=20, shift=3, window_hop=10)
LENGTHS = np.array([100, 22, 97, 23, 88, 5, 41])  # two of them too short for a window
N_WINDOWS = int(shuffle.count_windows(LENGTHS, WINDOW).sum())
Place = tuple[int, int]
GOLDEN = [(4, 23), (3, 0), (2, 70), (2, 40), (4, 53), (0, 50), (0, 70), (6, 12)]


def make(lengths: np.ndarray = LENGTHS, **changes: Any) -> shuffle.Schedule:
    arguments = {"n_frames": lengths, "window": WINDOW, "seed": 5, "training": True}
    return shuffle.Schedule(**{**arguments, "batch_size": 4, **changes})


def places(scheduled: shuffle.Schedule, first_step: int, n_steps: int) -> list[list[Place]]:
    found = scheduled.excerpts(first_step, n_steps)
    return [
        list(zip(*rows, strict=True))
        for rows in zip(found.segments.tolist(), found.starts.tolist(), strict=True)
    ]


def stream(n_rows: int, **changes: Any) -> list[Place]:
    return [place for (place,) in places(make(batch_size=1, **changes), 0, n_rows)]


@pytest.mark.parametrize("n_frames", range(0, 60, 3))
def test_a_segment_gives_as_many_windows_as_fit(n_frames: int) -> None:
    fits = len(range(0, n_frames - WINDOW.frames + 1, WINDOW.hop))
    assert shuffle.count_windows(n_frames, WINDOW) == fits


@pytest.mark.parametrize("epoch", [0, 1, 2, 1000])
def test_an_epoch_has_every_window_once(epoch: int) -> None:
    found = [place for (place,) in places(make(batch_size=1), epoch * N_WINDOWS, N_WINDOWS)]
    assert len(set(found)) == N_WINDOWS
    for segment, n_frames in enumerate(LENGTHS.tolist()):
        starts = sorted(start for owner, start in found if owner == segment)
        assert len(starts) == shuffle.count_windows(n_frames, WINDOW)
        assert set(np.diff(starts)) <= {WINDOW.hop}
        assert all(0 <= start <= n_frames - WINDOW.frames for start in starts)


def test_each_phase_that_leaves_the_windows_their_number_is_drawn() -> None:
    lengths = np.array([100, 97, 33, 42])  # spare frames: 7, 4, 0, 9
    n_windows = int(shuffle.count_windows(lengths, WINDOW).sum())
    found = stream(100 * n_windows, lengths=lengths)
    phases = [{start % WINDOW.hop for owner, start in found if owner == s} for s in range(4)]
    assert phases == [set(range(8)), set(range(5)), {0}, set(range(10))]


def test_every_step_can_be_the_first() -> None:
    n_steps = 3 * N_WINDOWS // 4 + 2  # into the fourth epoch
    whole = make().excerpts(0, n_steps)
    for step in range(n_steps):
        part = make().excerpts(step, n_steps - step)
        for found, wanted in zip(part, whole, strict=True):
            np.testing.assert_array_equal(found, wanted[step:])


SHARES = {
    "one device": [range(1)],
    "two devices": [range(2)],
    "four devices": [range(4)],
    "two hosts": [range(1), range(1, 2)],
    "two hosts of two devices": [range(2), range(2, 4)],
}


@pytest.mark.parametrize("hosts", SHARES.values(), ids=SHARES.keys())
@pytest.mark.parametrize("training", [True, False])
def test_a_global_batch_is_the_same_however_it_is_shared(
    hosts: list[range], training: bool
) -> None:
    whole, n_replicas, n_steps = make(batch_size=8, training=training), hosts[-1].stop, 6
    shares = [
        dataclasses.replace(whole, replicas=replicas, n_replicas=n_replicas) for replicas in hosts
    ]
    found = [share.excerpts(3, n_steps) for share in shares]
    assert all(share.n_steps == whole.n_steps for share in shares)
    for name, wanted in whole.excerpts(3, n_steps)._asdict().items():
        parts = [getattr(each, name) for each in found]
        assert all(
            part.shape[:2] == (n_steps * len(r), 8 // n_replicas)
            for part, r in zip(parts, hosts, strict=True)
        )
        # Of each host the batches of one step, then those of the next.
        steps = [part.reshape(n_steps, -1, *part.shape[2:]) for part in parts]
        np.testing.assert_array_equal(np.concatenate(steps, axis=1), wanted, err_msg=name)
    np.testing.assert_array_equal(whole.excerpts(3, 1).rows, [range(8)])


def test_a_pass_is_in_order_and_filled_with_weight_0() -> None:
    wanted = [
        (segment, start)
        for segment, n_frames in enumerate(LENGTHS.tolist())
        for start in range(0, n_frames - WINDOW.frames + 1, WINDOW.hop)
    ]
    scheduled = make(training=False)
    n_steps = scheduled.n_steps or 0
    assert n_steps == -(-N_WINDOWS // 4)
    found = [place for batch in places(scheduled, 0, n_steps) for place in batch]
    assert found[:N_WINDOWS] == wanted
    weights = scheduled.excerpts(0, n_steps).weights.ravel()
    np.testing.assert_array_equal(weights, np.arange(4 * n_steps) < N_WINDOWS)
    assert make().n_steps is None


def test_a_late_step_of_a_large_dataset_is_found_at_once() -> None:
    """Sixty years of audio, step 10^6: what is computed is this batch and nothing before it."""
    lengths = np.full(100_000, 1000)
    found = make(lengths, batch_size=16).excerpts(1_000_000, 1)
    assert found.segments.shape == (1, 16)
    assert (
        found.segments.tolist()
        == make(lengths, batch_size=16).excerpts(999_999, 2).segments[1:].tolist()
    )


def test_the_schedule_is_the_same_for_ever() -> None:
    """A change would alter what every run in progress reads next."""
    assert stream(8) == GOLDEN
