import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning

PLAYER = base.Condition(name="player", kind="class", n_values=3)
MOODS = base.Condition(name="moods", kind="multi", n_values=2)
PITCH = base.Condition(name="pitch", kind="number", minimum=20.0, maximum=100.0)


def test_a_class_is_its_place_and_none_is_nothing() -> None:
    told = conditioning.vector([PLAYER], {"label/player": tf.constant([2, 0, -1])}, 3)
    np.testing.assert_array_equal(told, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_labels_stand_side_by_side_in_order() -> None:
    labels = {
        "label/moods": tf.constant([[1.0, 1.0]]),
        "label/player": tf.constant([1]),
        "label/pitch": tf.constant([60.0]),
    }
    told = conditioning.vector([PLAYER, MOODS, PITCH], labels, 1)
    assert told.shape == (1, conditioning.width([PLAYER, MOODS, PITCH]))
    np.testing.assert_array_equal(told[0, :6], [0, 1, 0, 1, 1, 0])  # 60 is the middle


def test_numbers_that_are_close_are_told_alike_and_yet_apart() -> None:
    values = tf.constant([20.0, 21.0, 60.0, 100.0, np.nan])
    told = conditioning.vector([PITCH], {"label/pitch": values}, 5).numpy()
    np.testing.assert_allclose(told[[0, 2, 3], 0], [-1, 0, 1], atol=1e-6)
    assert not told[4].any(), "a number that is not known must be told as nothing"
    close, far = (np.abs(told[0] - told[i]).max() for i in (1, 2))
    assert 0.05 < close < 0.5 < far


def test_told_nothing_is_a_vector_of_no_length() -> None:
    assert conditioning.vector([], {}, 4).shape == (4, 0)
    assert conditioning.width([]) == 0


@pytest.mark.parametrize("extreme", [0.0, 7.0])
def test_a_number_that_never_changes_is_told_as_one(extreme: float) -> None:
    only = base.Condition(name="n", kind="number", minimum=extreme, maximum=extreme)
    assert np.isfinite(conditioning.vector([only], {"label/n": tf.constant([extreme])}, 1)).all()
