"""Codes of patches beside scikit-learn, and moves towards stored ones beside NumPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.spatial
import sklearn.decomposition
import tensorflow as tf

from lstm_gen.models import base
from lstm_gen.models.common import patches

FRAMES, CHANNELS = 3, 4
SIZE = FRAMES * CHANNELS


def make_examples(n_windows: int = 30, n_frames: int = 20) -> base.Examples:
    """Return batches of correlated windows, the last row of each batch padding."""
    random = np.random.default_rng(0)
    mix = random.standard_normal((CHANNELS, CHANNELS))
    windows = np.cumsum(random.standard_normal((n_windows, n_frames, CHANNELS)), axis=1) @ mix
    frames = 0.3 * windows.astype(np.float32) + 1.0

    def examples() -> Any:
        for first in range(0, n_windows, 10):
            padded = np.concatenate([frames[first : first + 10], np.full_like(frames[:1], 1e6)])
            weight = np.ones(len(padded), np.float32)
            weight[-1] = 0.0
            yield {"frames": padded, "weight": weight}

    return examples


def whole_patches(examples: base.Examples, patch_frames: int = FRAMES) -> np.ndarray:
    """Return the patches of examples in order, [patches, values]."""
    windows = np.concatenate([batch["frames"][:-1] for batch in examples()])
    whole = windows.shape[1] // patch_frames * patch_frames
    return windows[:, :whole].reshape(-1, patch_frames * CHANNELS)


def make_coder(components: int, examples: base.Examples) -> patches.PatchCoder:
    coder = patches.PatchCoder(FRAMES, CHANNELS, components)
    coder.build()
    coder.fit(examples)
    return coder


def draw(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("components", [1, 5, SIZE])
def test_codes_are_principal_components_over_roots_of_their_deviations(components: int) -> None:
    examples = make_examples()
    coder, real = make_coder(components, examples), whole_patches(examples)
    expected = sklearn.decomposition.PCA(components).fit(np.float64(real))
    codes = coder(real.reshape(-1, FRAMES, CHANNELS)).numpy()[:, 0]
    scores = expected.transform(real)
    signs = np.sign((codes * scores).sum(axis=0))
    np.testing.assert_allclose(codes, signs * scores / np.sqrt(scores.std(axis=0)), atol=2e-3)
    np.testing.assert_allclose(coder.deviations, codes.std(axis=0), rtol=1e-3)
    # Decoded they are the projection, whatever the signs.
    projected = expected.inverse_transform(scores).reshape(-1, FRAMES, CHANNELS)
    np.testing.assert_allclose(coder.decode(codes), projected, atol=2e-3)


def test_all_components_of_a_patch_lose_nothing() -> None:
    coder = make_coder(100, make_examples())  # as many as a patch has values
    frames = draw(2, 5 * FRAMES, CHANNELS)
    codes = coder(frames)
    assert codes.shape == (2, 5, SIZE)
    np.testing.assert_allclose(tf.reshape(coder.decode(codes), frames.shape), frames, atol=1e-4)


def test_without_components_a_code_is_the_frame() -> None:
    coder = patches.PatchCoder(1, CHANNELS, 0)
    coder.build()
    coder.fit(make_examples())
    frames = draw(2, 7, CHANNELS)
    assert coder.width == CHANNELS
    assert not coder.weights
    np.testing.assert_array_equal(coder(frames), frames)
    np.testing.assert_array_equal(coder.whole(frames), frames)
    np.testing.assert_array_equal(coder.decode(frames)[:, :, 0], frames)
    np.testing.assert_array_equal(coder.deviations, np.ones(CHANNELS))


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_codes_have_any_leading_shape(leading: tuple[int, ...]) -> None:
    coder = make_coder(5, make_examples())
    frames = draw(*leading, 4 * FRAMES, CHANNELS)
    codes = coder(frames)
    assert codes.shape == (*leading, 4, 5)
    flat = coder(frames.reshape(-1, FRAMES, CHANNELS))
    np.testing.assert_allclose(tf.reshape(codes, [-1, 5]), flat[:, 0], rtol=1e-4, atol=1e-5)
    assert coder.decode(codes).shape == (*leading, 4, FRAMES, CHANNELS)


def test_codes_are_the_same_where_sizes_are_not_static() -> None:
    coder, frames = make_coder(5, make_examples()), draw(2, 4 * FRAMES, CHANNELS)
    traced = tf.function(coder, input_signature=[tf.TensorSpec([None, None, CHANNELS])])
    np.testing.assert_allclose(traced(frames), coder(frames), rtol=1e-5, atol=1e-6)


def test_rest_of_a_window_and_padding_are_no_patches() -> None:
    examples = make_examples(n_frames=20)  # six patches and two frames
    np.testing.assert_array_equal(
        make_coder(4, examples).vectors, make_coder(4, make_shortened(examples)).vectors
    )
    coder = make_coder(4, examples)
    windows = next(iter(examples()))["frames"][:-1]
    assert coder.whole(windows).shape == (10, 6, 4)
    np.testing.assert_allclose(coder.whole(windows), coder(windows[:, :18]), rtol=1e-5, atol=1e-6)


def make_shortened(examples: base.Examples) -> base.Examples:
    """Return the examples without padding, cut to whole patches."""

    def shortened() -> Any:
        for batch in examples():
            whole = batch["frames"].shape[1] // FRAMES * FRAMES
            yield {"frames": batch["frames"][:-1, :whole], "weight": batch["weight"][:-1]}

    return shortened


def test_fewer_patches_than_components_leave_all_codes_finite() -> None:
    few = make_examples(n_windows=1, n_frames=2 * FRAMES)
    coder, real = make_coder(8, few), whole_patches(few)
    frames = real.reshape(-1, FRAMES, CHANNELS)
    np.testing.assert_allclose(coder.decode(coder(frames)[:, 0]), frames, atol=1e-4)
    others = coder(draw(50, FRAMES, CHANNELS))
    assert np.isfinite(others).all()
    assert np.abs(others).max() < 1e3


def expected_move(codes: np.ndarray, stored: np.ndarray, weight: float) -> np.ndarray:
    """Return codes moved towards their nearest neighbour."""
    wide = np.float64(codes)
    nearest = stored[scipy.spatial.distance.cdist(wide, stored).argmin(axis=1)]
    return np.asarray((1 - weight) * wide + weight * nearest)


def move(store: patches.PatchStore, codes: np.ndarray, weight: float) -> np.ndarray:
    return np.asarray(store(codes, tf.constant(weight)))


def make_store(size: int, examples: base.Examples | None = None) -> patches.PatchStore:
    store = patches.PatchStore(size, 5)
    store.build()
    if examples is not None:
        store.fit(make_coder(5, examples), examples)
    return store


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("size", [2, 4, 40, 500])
def test_codes_move_towards_their_nearest_neighbour(size: int, weight: float) -> None:
    examples = make_examples()
    coder = make_coder(5, examples)
    real = coder(whole_patches(examples).reshape(-1, FRAMES, CHANNELS)).numpy()[:, 0]
    kept = np.linspace(0, len(real) - 1, min(size, len(real))).round().astype(int)
    codes = draw(20, 5)
    moved = move(make_store(size, examples), codes, weight)
    np.testing.assert_allclose(moved, expected_move(codes, real[kept], weight), atol=2e-3)
    if weight == 0.0:
        np.testing.assert_array_equal(moved, codes)


def test_an_empty_store_moves_nothing() -> None:
    codes = draw(20, 5)
    for weight in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(move(make_store(7), codes, weight), codes)


def test_a_stored_code_stays() -> None:
    store = make_store(40, make_examples())
    stored = store.codes.numpy()
    moved = move(store, stored, 1.0)
    assert np.isfinite(moved).all()
    np.testing.assert_allclose(moved, stored, atol=0.02)


def test_few_patches_fill_a_part_of_the_store() -> None:
    few = make_examples(n_windows=1, n_frames=3 * FRAMES)
    store = make_store(10, few)
    is_filled = np.abs(store.codes.numpy()).max(axis=1) < 1e3
    np.testing.assert_array_equal(is_filled, np.arange(10) < 3)
    real = store.codes.numpy()[:3]
    codes = draw(6, 5)
    moved = move(store, codes, 0.7)
    np.testing.assert_allclose(moved, expected_move(codes, real, 0.7), atol=1e-3)


def test_many_patches_are_stored_evenly_and_the_same_each_time() -> None:
    examples = make_examples()  # 180 patches
    store, again = make_store(10, examples), make_store(10, examples)
    np.testing.assert_array_equal(store.codes, again.codes)
    every = make_store(180, examples).codes.numpy()
    found: Sequence[int] = [
        int(np.abs(every - code).max(axis=1).argmin()) for code in store.codes.numpy()
    ]
    assert found == [0, 20, 40, 60, 80, 99, 119, 139, 159, 179]
