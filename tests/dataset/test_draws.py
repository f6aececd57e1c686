import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.dataset.input import draws


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        (0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (0xFFFFFFFF, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_words_are_those_that_the_authors_published(word: int, wanted: tuple[int, ...]) -> None:
    assert tuple(draws.words(word, word, *[word] * 4).tolist()) == wanted


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
        np.testing.assert_array_equal(draws.words(key, second, *counter), theirs)


def test_a_draw_does_not_know_its_neighbours() -> None:
    together = draws.words(3, draws.PHASE, np.arange(50), 7)
    assert together.shape == (50, 4)
    for index in range(50):
        np.testing.assert_array_equal(draws.words(3, draws.PHASE, index, 7), together[index])
    assert len({tuple(row) for row in together.tolist()}) == 50


def test_each_use_has_numbers_of_its_own() -> None:
    found = {
        tuple(draws.words(seed, purpose, index, epoch).tolist())
        for seed in range(3)
        for purpose in (draws.ORDER, draws.PHASE, draws.AUGMENTATION)
        for index in range(3)
        for epoch in range(3)
    }
    assert len(found) == 81


def test_integers_are_even_and_below_their_limit() -> None:
    limits = np.tile([1, 2, 5, 257], 20_000)
    found = draws.below(limits, 0, draws.PHASE, np.arange(80_000))
    assert found.dtype == np.int64
    for limit in (1, 2, 5, 257):
        counts = np.bincount(found[limits == limit], minlength=limit)
        expected = 20_000 / limit
        assert len(counts) == limit
        # A statistic of chi-square with `limit` - 1 degrees of freedom: 6 sd above its mean.
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert statistic < limit - 1 + 6 * np.sqrt(2 * limit)


def test_numbers_fill_the_unit_interval() -> None:
    found = draws.uniform(1, draws.AUGMENTATION, np.arange(100_000))
    assert found.dtype == np.float32
    assert found.shape == (100_000, 4)
    assert 0 <= found.min() < 1e-4
    assert 1 - 1e-4 < found.max() < 1
    np.testing.assert_allclose(found.mean(0), 0.5, atol=0.005)  # 5 sd
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.016  # 5 sd
