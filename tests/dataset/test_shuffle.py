import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.config.training import WindowConfig
from lstm_gen.dataset.input import shuffle

WINDOW = WindowConfig(timesteps=20, shift=3, window_hop=10)
LENGTHS = np.array([100, 22, 97, 23, 88, 5, 41])  # two of them too short for a window
N_WINDOWS = int(shuffle.count_windows(LENGTHS, WINDOW).sum())
Place = tuple[int, int]
FIRST_PLACES = [(4, 23), (3, 0), (2, 70), (2, 40), (4, 53), (0, 50), (0, 70), (6, 12)]


def make(lengths: np.ndarray = LENGTHS, **changes: Any) -> shuffle.Schedule:
    arguments = {"n_frames": lengths, "window": WINDOW, "seed": 5, "training": True}
    return shuffle.Schedule(**{**arguments, "batch_size": 4, **changes})


def places(schedule: shuffle.Schedule, first_step: int, n_steps: int) -> list[list[Place]]:
    found = schedule.windows(first_step, n_steps)
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
    whole = make().windows(0, n_steps)
    for step in range(n_steps):
        part = make().windows(step, n_steps - step)
        for found, wanted in zip(part, whole, strict=True):
            np.testing.assert_array_equal(found, wanted[step:])


HOSTS = {
    "one device": [range(1)],
    "two devices": [range(2)],
    "four devices": [range(4)],
    "two hosts": [range(1), range(1, 2)],
    "two hosts of two devices": [range(2), range(2, 4)],
}


@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS.keys())
@pytest.mark.parametrize("training", [True, False])
def test_a_global_batch_is_the_same_however_it_is_shared(
    hosts: list[range], training: bool
) -> None:
    whole, n_replicas, n_steps = make(batch_size=8, training=training), hosts[-1].stop, 6
    parts_of = [
        dataclasses.replace(whole, replicas=replicas, n_replicas=n_replicas) for replicas in hosts
    ]
    found = [one.windows(3, n_steps) for one in parts_of]
    assert all(one.n_steps == whole.n_steps for one in parts_of)
    for name, wanted in whole.windows(3, n_steps)._asdict().items():
        parts = [getattr(each, name) for each in found]
        assert all(
            part.shape[:2] == (n_steps * len(r), 8 // n_replicas)
            for part, r in zip(parts, hosts, strict=True)
        )
        # Of each host the batches of one step, then those of the next.
        steps = [part.reshape(n_steps, -1, *part.shape[2:]) for part in parts]
        np.testing.assert_array_equal(np.concatenate(steps, axis=1), wanted, err_msg=name)
    np.testing.assert_array_equal(whole.windows(3, 1).rows, [range(8)])


def test_a_pass_is_in_order_and_filled_with_weight_0() -> None:
    wanted = [
        (segment, start)
        for segment, n_frames in enumerate(LENGTHS.tolist())
        for start in range(0, n_frames - WINDOW.frames + 1, WINDOW.hop)
    ]
    schedule = make(training=False)
    n_steps = schedule.n_steps or 0
    assert n_steps == -(-N_WINDOWS // 4)
    found = [place for batch in places(schedule, 0, n_steps) for place in batch]
    assert found[:N_WINDOWS] == wanted
    weights = schedule.windows(0, n_steps).weights.ravel()
    np.testing.assert_array_equal(weights, np.arange(4 * n_steps) < N_WINDOWS)
    assert make().n_steps is None


def test_a_late_step_of_a_large_dataset_is_found_at_once() -> None:
    """Sixty years of audio, step 10^6: what is computed is this batch and nothing before it."""
    lengths = np.full(100_000, 1000)
    found = make(lengths, batch_size=16).windows(1_000_000, 1)
    assert found.segments.shape == (1, 16)
    assert (
        found.segments.tolist()
        == make(lengths, batch_size=16).windows(999_999, 2).segments[1:].tolist()
    )


def test_the_schedule_is_the_same_for_ever() -> None:
    """A change would alter what every run in progress reads next."""
    assert stream(8) == FIRST_PLACES


PERMUTATIONS = (
    [4, 9, 0, 5, 11, 8, 2, 3, 10, 7, 6, 1],
    [4, 11, 8, 9, 1, 7, 3, 6, 0, 5, 10, 2],
    [6, 7, 11, 4, 3, 2, 1, 10, 9, 8, 5, 0],
    [3068288322504],
)


def permutation(n: int, epoch: int = 0, seed: int = 0) -> list[int]:
    return shuffle.permute(np.arange(n), np.full(n, epoch), n, seed).tolist()


@pytest.mark.parametrize("n", [*range(1, 40), 100, 256, 257, 1009, 10_000])
def test_each_number_comes_once(n: int) -> None:
    for epoch in range(3):
        assert sorted(permutation(n, epoch)) == list(range(n))


def test_permutations_are_the_same_for_ever() -> None:
    """A change would alter what every run in progress reads next."""
    assert permutation(12) == PERMUTATIONS[0]
    assert permutation(12, epoch=1) == PERMUTATIONS[1]
    assert permutation(12, seed=7) == PERMUTATIONS[2]
    far = shuffle.permute(np.array([10**12]), np.array([4_000_000_000]), 10**13, 2**31 - 1)
    assert far.tolist() == PERMUTATIONS[3]


def test_positions_may_be_asked_for_in_any_company() -> None:
    positions = np.array([900, 3, 3, 0, 999])
    epochs = np.array([0, 5, 6, 5, 2])
    found = shuffle.permute(positions, epochs, 1000, 1).tolist()
    wanted = [permutation(1000, e, 1)[p] for p, e in zip(positions, epochs, strict=True)]
    assert found == wanted


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(permutation(50, epoch, seed)) for epoch in range(5) for seed in range(5)}
    assert len(orders) == 25


@pytest.mark.parametrize("n", [3, 7, 24])
def test_every_number_is_as_likely_everywhere(n: int) -> None:
    epochs = 3000
    positions = np.tile(np.arange(n), epochs)
    found = shuffle.permute(positions, np.repeat(np.arange(epochs), n), n, 0)
    counts = np.bincount(positions * n + found, minlength=n * n)
    statistic = ((counts - epochs / n) ** 2 / (epochs / n)).sum()
    freedom = (n - 1) ** 2
    assert statistic < freedom + 6 * np.sqrt(2 * freedom)


def test_neighbours_are_torn_apart() -> None:
    """What was side by side is afterwards as far apart as chance would have it."""
    n = 10_000
    distances = np.abs(np.diff(permutation(n)))
    assert abs(distances.mean() / (n / 3) - 1) < 0.04  # 5 sd of the mean of random pairs
    assert np.mean(distances == 1) < 10 / n


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        (0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (0xFFFFFFFF, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_words_are_those_that_the_authors_published(word: int, wanted: tuple[int, ...]) -> None:
    assert tuple(shuffle.philox(word, word, *[word] * 4).tolist()) == wanted


def test_words_are_those_of_tensorflow() -> None:
    random = np.random.default_rng(0)
    for key, second, *counter in random.integers(0, 2**32, (20, 6)).tolist():
        theirs = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[4],
            key=np.array([key | second << 32], np.uint64),
            counter=np.array([a | b << 32 for a, b in (counter[:2], counter[2:])], np.uint64),
            alg=1,
            dtype=tf.uint32,
        )
        np.testing.assert_array_equal(shuffle.philox(key, second, *counter), theirs)


def test_a_random_number_depends_on_its_counter_alone() -> None:
    together = shuffle.philox(3, shuffle.PHASE, np.arange(50), 7)
    assert together.shape == (50, 4)
    for index in range(50):
        np.testing.assert_array_equal(shuffle.philox(3, shuffle.PHASE, index, 7), together[index])
    assert len({tuple(row) for row in together.tolist()}) == 50


def test_each_use_has_numbers_of_its_own() -> None:
    found = {
        tuple(shuffle.philox(seed, purpose, index, epoch).tolist())
        for seed in range(3)
        for purpose in (shuffle.ORDER, shuffle.PHASE, shuffle.AUGMENTATION)
        for index in range(3)
        for epoch in range(3)
    }
    assert len(found) == 81


def test_integers_are_even_and_below_their_limit() -> None:
    limits = np.tile([1, 2, 5, 257], 20_000)
    found = shuffle.integers(limits, 0, shuffle.PHASE, np.arange(80_000))
    assert found.dtype == np.int64
    for limit in (1, 2, 5, 257):
        counts = np.bincount(found[limits == limit], minlength=limit)
        expected = 20_000 / limit
        assert len(counts) == limit
        # A statistic of chi-square with `limit` - 1 degrees of freedom: 6 sd above its mean.
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert statistic < limit - 1 + 6 * np.sqrt(2 * limit)


def test_numbers_fill_the_unit_interval() -> None:
    found = shuffle.uniform(1, shuffle.AUGMENTATION, np.arange(100_000))
    assert found.dtype == np.float32
    assert found.shape == (100_000, 4)
    assert 0 <= found.min() < 1e-4
    assert 1 - 1e-4 < found.max() < 1
    np.testing.assert_allclose(found.mean(0), 0.5, atol=0.005)  # 5 sd
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.016  # 5 sd
