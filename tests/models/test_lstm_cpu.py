import gc

import numpy as np
import tensorflow as tf

from lstm_gen.models.lstm.recurrent import layer as lstm


def test_an_array_is_lent_again_only_when_nobody_refers_to_it() -> None:
    pool = lstm.BufferPool()
    first = pool.take(3, 5)
    address = first.ctypes.data
    assert first.shape == (3, 5)
    assert first.dtype == np.float32
    assert address % 64 == 0
    view = first[1:, ::2].T
    assert pool.take(3, 5).ctypes.data != address
    del first
    assert pool.take(3, 5).ctypes.data != address, "the view still refers to it"
    del view
    assert address in {pool.take(3, 5).ctypes.data, pool.take(5, 3).ctypes.data}


def test_an_array_that_tensorflow_holds_is_not_lent_again() -> None:
    pool = lstm.BufferPool()
    lent: list[int] = []

    def lend() -> np.ndarray:
        array = pool.take(1000)
        array[:] = len(lent)
        lent.append(array.ctypes.data)
        return array

    @tf.function
    def call() -> tf.Tensor:
        return tf.numpy_function(lend, [], tf.float32, stateful=True)

    held = call()
    shared = tf.reshape(held, [10, 100])  # the same memory under another shape
    assert np.asarray(memoryview(held)).ctypes.data == lent[0], "TensorFlow copied the array"
    del held
    for _ in range(5):
        call()
    assert lent[0] not in lent[1:]
    assert len(set(lent)) < len(lent), "none was lent again"
    np.testing.assert_array_equal(shared, np.zeros([10, 100], np.float32))
    del shared
    gc.collect()
    for _ in range(3):
        call()
    assert lent[0] in lent[-3:]


def test_idle_memory_of_other_sizes_does_not_pile_up() -> None:
    pool = lstm.BufferPool()
    for size in range(1, 50):
        pool.take(size)
    assert len(pool._blocks) <= lstm._MAX_IDLE + 2
