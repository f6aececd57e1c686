import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import conditioning

PLAYER = base.Condition(name="player", kind="class", n_values=3)
MOODS = base.Condition(name="moods", kind="multi", n_values=2)
PITCH = base.Condition(name="pitch", kind="number", minimum=20.0, maximum=100.0)


def test_a_class_is_one_hot_and_an_unknown_one_zero() -> None:
    vectors = conditioning.vector([PLAYER], {"label/player": tf.constant([2, 0, -1])}, 3)
    np.testing.assert_array_equal(vectors, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_labels_stand_side_by_side_in_order() -> None:
    labels = {
        "label/moods": tf.constant([[1.0, 1.0]]),
        "label/player": tf.constant([1]),
        "label/pitch": tf.constant([60.0]),
    }
    vectors = conditioning.vector([PLAYER, MOODS, PITCH], labels, 1)
    assert vectors.shape == (1, conditioning.width([PLAYER, MOODS, PITCH]))
    np.testing.assert_array_equal(vectors[0, :6], [0, 1, 0, 1, 1, 0])  # 60 is the middle


def test_close_numbers_have_close_and_different_vectors() -> None:
    values = tf.constant([20.0, 21.0, 60.0, 100.0, np.nan])
    vectors = conditioning.vector([PITCH], {"label/pitch": values}, 5).numpy()
    np.testing.assert_allclose(vectors[[0, 2, 3], 0], [-1, 0, 1], atol=1e-6)
    assert not vectors[4].any(), "an unknown number must be all zeros"
    close, far = (np.abs(vectors[0] - vectors[i]).max() for i in (1, 2))
    assert 0.05 < close < 0.5 < far


def test_without_conditions_the_vector_is_empty() -> None:
    assert conditioning.vector([], {}, 4).shape == (4, 0)
    assert conditioning.width([]) == 0


@pytest.mark.parametrize("extreme", [0.0, 7.0])
def test_a_number_that_never_changes_is_finite(extreme: float) -> None:
    only = base.Condition(name="n", kind="number", minimum=extreme, maximum=extreme)
    assert np.isfinite(conditioning.vector([only], {"label/n": tf.constant([extreme])}, 1)).all()
