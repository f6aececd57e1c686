import numpy as np
import pytest

from lstm_gen.dataset.input import order

GOLDEN = (
    [4, 9, 0, 5, 11, 8, 2, 3, 10, 7, 6, 1],
    [4, 11, 8, 9, 1, 7, 3, 6, 0, 5, 10, 2],
    [6, 7, 11, 4, 3, 2, 1, 10, 9, 8, 5, 0],
    [3068288322504],
)


def permutation(n: int, epoch: int = 0, seed: int = 0) -> list[int]:
    return order.permute(np.arange(n), np.full(n, epoch), n, seed).tolist()


@pytest.mark.parametrize("n", [*range(1, 40), 100, 256, 257, 1009, 10_000])
def test_each_number_comes_once(n: int) -> None:
    for epoch in range(3):
        assert sorted(permutation(n, epoch)) == list(range(n))


def test_the_order_is_the_same_for_ever() -> None:
    """A change would alter what every run in progress reads next."""
    assert permutation(12) == GOLDEN[0]
    assert permutation(12, epoch=1) == GOLDEN[1]
    assert permutation(12, seed=7) == GOLDEN[2]
    far = order.permute(np.array([10**12]), np.array([4_000_000_000]), 10**13, 2**31 - 1)
    assert far.tolist() == GOLDEN[3]


def test_positions_may_be_asked_for_in_any_company() -> None:
    positions = np.array([900, 3, 3, 0, 999])
    epochs = np.array([0, 5, 6, 5, 2])
    found = order.permute(positions, epochs, 1000, 1).tolist()
    wanted = [permutation(1000, e, 1)[p] for p, e in zip(positions, epochs, strict=True)]
    assert found == wanted


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {tuple(permutation(50, epoch, seed)) for epoch in range(5) for seed in range(5)}
    assert len(orders) == 25


@pytest.mark.parametrize("n", [3, 7, 24])
def test_every_number_is_as_likely_everywhere(n: int) -> None:
    epochs = 3000
    positions = np.tile(np.arange(n), epochs)
    found = order.permute(positions, np.repeat(np.arange(epochs), n), n, 0)
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
