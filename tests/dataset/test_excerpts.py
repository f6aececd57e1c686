import numpy as np
import pytest
import tiny

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts as primers
from lstm_gen.platform import errors

TRAIN = (tiny.make_frames(60, 1), tiny.make_frames(100, 2), tiny.make_frames(12, 4))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"), train=TRAIN, validation=())


def places(dataset: manifest.Dataset, excerpts: np.ndarray) -> list[tuple[int, int]]:
    """Return the segment and the first frame of each excerpt, found by its values."""
    found = []
    for excerpt in excerpts:
        matches = [
            (index, start)
            for index, frames in enumerate(map(dataset.normalise, TRAIN))
            for start in range(len(frames) - len(excerpt) + 1)
            if np.array_equal(frames[start : start + len(excerpt)], excerpt)
        ]
        assert len(matches) == 1
        found += matches
    return found


def test_excerpts_are_real_and_spread_over_the_material(dataset: manifest.Dataset) -> None:
    excerpts = primers.draw(dataset, "train", 8, 20, seed=0)
    assert excerpts.shape == (8, 20, tiny.AUDIO.n_mels)
    assert excerpts.dtype == np.float32
    # 41 places in the first recording and 81 in the second; each excerpt has an eighth of them.
    numbers = [start + (0, 41)[index] for index, start in places(dataset, excerpts)]
    assert [int(number / (122 / 8)) for number in numbers] == list(range(8))


def test_the_seed_decides(dataset: manifest.Dataset) -> None:
    first = primers.draw(dataset, "train", 3, 20, seed=1)
    np.testing.assert_array_equal(first, primers.draw(dataset, "train", 3, 20, seed=1))
    assert np.any(first != primers.draw(dataset, "train", 3, 20, seed=2))


def test_more_frames_than_there_are_give_the_longest_segment(dataset: manifest.Dataset) -> None:
    excerpts = primers.draw(dataset, "train", 2, 500, seed=0)
    assert places(dataset, excerpts) == [(1, 0), (1, 0)]
    assert excerpts.shape[1] == 100


def test_no_frames_give_one(dataset: manifest.Dataset) -> None:
    assert primers.draw(dataset, "train", 2, 0, seed=0).shape == (2, 1, tiny.AUDIO.n_mels)


def test_an_empty_split_is_refused(dataset: manifest.Dataset) -> None:
    with pytest.raises(errors.InputError, match="split='validation', empty"):
        primers.draw(dataset, "validation", 1, 10, seed=0)
