"""Patches: consecutive frames as one vector, their principal components (PCA), codes, and a store.

A patch of several frames is modelled jointly, by few numbers: a step spans more time, so that the
same number of steps remembers more, and a song takes fewer of them.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

from lstm_gen.models import base

_FLOAT32: dict[str, Any] = {"dtype": "float32", "autocast": False, "trainable": False}
_FAR = 1e9


class Components(NamedTuple):
    """Principal components.

    Attributes:
      mean: float32 [width].
      vectors: float32 [width, size], orthonormal columns in order of falling variance.
      deviations: float32 [size], standard deviation along each column.
    """

    mean: np.ndarray
    vectors: np.ndarray
    deviations: np.ndarray


def join(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return consecutive frames side by side, [..., steps, stride * channels].

    The last patch is padded with the last frame.
    """
    frames = padded(frames, stride)
    return frames.reshape(*frames.shape[:-2], -1, stride * frames.shape[-1])


def padded(frames: np.ndarray, stride: int) -> np.ndarray:
    """Return frames, [..., frames, channels], the last repeated up to a multiple of `stride`."""
    width = [(0, 0)] * frames.ndim
    width[-2] = (0, -frames.shape[-2] % stride)
    return np.pad(frames, width, mode="edge")


def fit_components(rows: Iterable[np.ndarray], size: int) -> Components:
    """Return the first principal components of rows, in one pass and width x width memory.

    Args:
      rows: float [rows, width] each.
      size: Number of components; those beyond `width` are 0.
    """
    count, total, product = 0, 0.0, np.zeros((0, 0), np.float32)
    for chunk in rows:
        if not count:
            product = np.zeros((chunk.shape[1],) * 2, np.float32)
        product += chunk.T @ chunk
        total = total + chunk.sum(axis=0, dtype=np.float64)
        count += len(chunk)
    mean = np.asarray(total / count)
    covariance = product / np.float32(count) - np.outer(mean, mean).astype(np.float32)
    width = len(mean)
    kept = min(size, width)
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[width - kept, width - 1])
    padding = ((0, 0), (0, size - kept))
    return Components(
        mean=mean.astype(np.float32),
        vectors=np.pad(vectors[:, ::-1], padding).astype(np.float32),
        deviations=np.pad(np.sqrt(np.maximum(values[::-1], 0)), padding[1]).astype(np.float32),
    )


class PatchCoder(keras.layers.Layer):
    """Linear code of a patch: its principal components, or without any the one frame itself.

    Each component is divided by the square root of its deviation: distances of codes then weigh
    small components more than distances of frames do, and less than if all had deviation 1.

    Args:
      patch_frames: Frames of a patch.
      channels: Values of a frame.
      components: Values of a code; 0 for the frame itself, of patches of one frame.
    """

    def __init__(self, patch_frames: int, channels: int, components: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.patch_frames, self.channels = patch_frames, channels
        self.components = min(components, patch_frames * channels)

    @property
    def width(self) -> int:
        """Values of a code."""
        return self.components or self.channels

    def build(self, input_shape: Any = None) -> None:
        """Create the components: the first values of a patch, until `fit`."""
        del input_shape
        self.built = True
        if not self.components:
            return
        size = self.patch_frames * self.channels
        self.mean = self.add_weight(name="mean", shape=(size,), initializer="zeros", **_FLOAT32)
        self.vectors = self.add_weight(
            name="vectors",
            shape=(size, self.components),
            initializer=keras.initializers.Identity(),
            **_FLOAT32,
        )
        self.scale = self.add_weight(
            name="scale", shape=(self.components,), initializer="ones", **_FLOAT32
        )

    def fit(self, examples: base.Examples) -> None:
        """Fit the components to the training windows, read once."""
        if not self.components:
            return
        found = fit_components(self._patches(examples), self.components)
        self.mean.assign(found.mean)
        self.vectors.assign(found.vectors)
        # Where there are fewer patches than components some deviations are 0.
        self.scale.assign(np.sqrt(np.maximum(found.deviations, 1e-2)))

    def call(self, frames: Any) -> Any:
        """Return the codes of frames.

        Args:
          frames: float32 [..., frames, channels], normalised; a multiple of `patch_frames`.

        Returns:
          float32 [..., patches, width].
        """
        if not self.components:
            return frames
        size = self.patch_frames * self.channels
        patches = tf.reshape(frames, [*_leading(frames), -1, size])
        return tf.linalg.matmul(patches - self.mean, self._scaled(-1))

    def decode(self, codes: Any) -> Any:
        """Return the frames of codes [..., width], float32 [..., patch_frames, channels]."""
        if not self.components:
            return codes[..., tf.newaxis, :]
        patches = tf.linalg.matmul(codes, self._scaled(1), transpose_b=True) + self.mean
        return tf.reshape(patches, [*codes.shape[:-1], self.patch_frames, self.channels])

    @property
    def deviations(self) -> Any:
        """Standard deviation of each value of a code over the training frames, [width]."""
        return tf.convert_to_tensor(self.scale) if self.components else tf.ones([self.channels])

    def _scaled(self, power: int) -> Any:
        return tf.convert_to_tensor(self.vectors) * tf.convert_to_tensor(self.scale) ** power

    def whole(self, frames: np.ndarray) -> np.ndarray:
        """Return the codes of the whole patches of windows, [windows, patches, width]."""
        n_frames = frames.shape[1] // self.patch_frames * self.patch_frames
        return np.asarray(self(tf.constant(frames[:, :n_frames])))

    def _patches(self, examples: base.Examples) -> Iterator[np.ndarray]:
        """Yield the patches of each batch of training windows, [patches, values]."""
        for batch in examples():
            frames = batch["frames"][batch["weight"] > 0]
            whole = frames.shape[1] // self.patch_frames * self.patch_frames
            yield frames[:, :whole].reshape(-1, self.patch_frames * self.channels)


class PatchStore(keras.layers.Layer):
    """Codes of training patches, towards which generated ones are moved.

    A drawn patch lies off the patches that music has, in all directions at once: what should
    sustain wavers, and the gaps between partials fill. Moving it some of the way to the nearest
    real one undoes that, before the model continues from it.

    Source: interpolation of a model with the nearest neighbours in its training data, as in
    kNN-LM, Khandelwal et al. 2020 (arXiv 1911.00172), there of probabilities, here of vectors.

    Args:
      size: Patches stored.
      width: Values of a code.
    """

    def __init__(self, size: int, width: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.size, self.width = size, width

    def build(self, input_shape: Any = None) -> None:
        """Create the store, empty: codes far from all others."""
        del input_shape
        self.codes = self.add_weight(
            name="codes",
            shape=(self.size, self.width),
            initializer=keras.initializers.Constant(_FAR),
            **_FLOAT32,
        )
        self.built = True

    def fit(self, coder: PatchCoder, examples: base.Examples) -> None:
        """Store codes of the training windows, evenly spaced if there are more than the size."""
        count = sum(
            int(np.sum(batch["weight"] > 0)) * (batch["frames"].shape[1] // coder.patch_frames)
            for batch in examples()
        )
        kept = np.unique(np.linspace(0, count - 1, min(count, self.size)).round().astype(int))
        stored, first = np.full((self.size, self.width), _FAR, np.float32), 0
        for batch in examples():
            codes = coder.whole(batch["frames"][batch["weight"] > 0]).reshape(-1, self.width)
            start, stop = np.searchsorted(kept, [first, first + len(codes)])
            stored[start:stop] = codes[kept[start:stop] - first]
            first += len(codes)
        self.codes.assign(stored)

    def call(self, codes: Any, weight: Any) -> Any:
        """Return codes moved towards their nearest neighbour.

        One neighbour, since the mean of several has the partials of all.

        Args:
          codes: float32 [batch, width].
          weight: Fraction of the way, 0 to 1, scalar; without effect before `fit`.
        """
        stored = tf.convert_to_tensor(self.codes)
        # The squared distances, less the squares of the codes, which are the same for all.
        distances = tf.reduce_sum(tf.square(stored), axis=-1) - 2.0 * tf.linalg.matmul(
            codes, stored, transpose_b=True
        )
        nearest = tf.gather(stored, tf.argmin(distances, axis=-1, output_type=tf.int32))
        is_stored = tf.cast(nearest[:, :1] < _FAR, tf.float32)
        return codes + weight * is_stored * (nearest - codes)


def _leading(frames: Any) -> list[Any]:
    """Return the shape before frames and channels, a tensor where a size is not static."""
    dynamic = tf.shape(frames)
    return [size if size is not None else dynamic[i] for i, size in enumerate(frames.shape[:-2])]
