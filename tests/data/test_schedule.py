"""The whole order of reading, without TensorFlow and without a dataset."""

from typing import Any

import numpy as np
import pytest

from lstm_gen import config
from lstm_gen.data import schedule

WINDOW = config.WindowConfig(timesteps=20, shift=3, window_hop=10)
LENGTHS = np.array([100, 22, 97, 23, 88, 5, 41])  # two of them too short for a window
N_WINDOWS = int(schedule.count_windows(LENGTHS, WINDOW).sum())
Place = tuple[int, int]
GOLDEN = [(4, 23), (3, 0), (2, 70), (2, 40), (4, 53), (0, 50), (0, 70), (6, 12)]


def make(lengths: np.ndarray = LENGTHS, **changes: Any) -> schedule.Schedule:
    arguments = {"n_frames": lengths, "window": WINDOW, "seed": 5, "training": True}
    return schedule.Schedule(**{**arguments, "batch_size": 4, **changes})


def places(scheduled: schedule.Schedule, first_step: int, n_steps: int) -> list[list[Place]]:
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
    assert schedule.count_windows(n_frames, WINDOW) == fits


@pytest.mark.parametrize("epoch", [0, 1, 2, 1000])
def test_an_epoch_has_every_window_once(epoch: int) -> None:
    found = [place for (place,) in places(make(batch_size=1), epoch * N_WINDOWS, N_WINDOWS)]
    assert len(set(found)) == N_WINDOWS
    for segment, n_frames in enumerate(LENGTHS.tolist()):
        starts = sorted(start for owner, start in found if owner == segment)
        assert len(starts) == schedule.count_windows(n_frames, WINDOW)
        assert set(np.diff(starts)) <= {WINDOW.hop}
        assert all(0 <= start <= n_frames - WINDOW.frames for start in starts)


def test_each_phase_that_leaves_the_windows_their_number_is_drawn() -> None:
    lengths = np.array([100, 97, 33, 42])  # spare frames: 7, 4, 0, 9
    n_windows = int(schedule.count_windows(lengths, WINDOW).sum())
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


@pytest.mark.parametrize("pipelines", [1, 2, 4])
def test_pipelines_that_take_turns_have_the_same_stream(pipelines: int) -> None:
    n_steps = 3 * N_WINDOWS // 4
    wanted = stream(4 * n_steps)
    shares = [
        places(
            make(batch_size=4 // pipelines, input_pipeline_id=i, num_input_pipelines=pipelines),
            0,
            n_steps,
        )
        for i in range(pipelines)
    ]
    together = [
        place
        for step in zip(*shares, strict=True)
        for turn in zip(*step, strict=True)
        for place in turn
    ]
    assert together == wanted
    chances = make().excerpts(0, n_steps).chances.reshape(-1, pipelines, 4)
    for i in range(pipelines):
        share = make(
            batch_size=4 // pipelines, input_pipeline_id=i, num_input_pipelines=pipelines
        ).excerpts(0, n_steps)
        np.testing.assert_array_equal(share.chances.reshape(-1, 4), chances[:, i])


def test_a_pass_is_in_order_and_filled_with_weight_0() -> None:
    wanted = [
        (segment, start)
        for segment, n_frames in enumerate(LENGTHS.tolist())
        for start in range(0, n_frames - WINDOW.frames + 1, WINDOW.hop)
    ]
    for pipelines in (1, 2):
        shares = [
            make(training=False, input_pipeline_id=i, num_input_pipelines=pipelines)
            for i in range(pipelines)
        ]
        n_steps = shares[0].n_steps or 0
        assert n_steps == -(-N_WINDOWS // (4 * pipelines))
        found, weights = [], []
        for step in range(n_steps):
            parts = [places(share, step, 1)[0] for share in shares]
            found += [place for turn in zip(*parts, strict=True) for place in turn]
            weights += [share.excerpts(step, 1).weights[0] for share in shares]
        assert found[:N_WINDOWS] == wanted
        assert sum(weight.sum() for weight in weights) == N_WINDOWS
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
