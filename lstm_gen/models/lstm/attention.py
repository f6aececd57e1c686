"""Causal self-attention over a sliding window, with a cached step for generation."""

import math
from typing import Any

import keras
import tensorflow as tf

Cache = tuple[Any, Any, Any]


class CausalWindowAttention(keras.layers.Layer):
    """Each frame attends to itself and the `window - 1` frames before it, never ahead.

    The only position encoding is a learned bias per head and distance, so a rollout may have any
    length.

    Source: scaled dot-product attention, Vaswani et al. 2017 (arXiv 1706.03762); relative
    bias as in T5, Raffel et al. 2019 (arXiv 1910.10683), one per distance.

    Args:
      window: Frames attended to, the current one included.
      heads: Attention heads; they divide the width of the input.
    """

    def __init__(self, window: int, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.heads = heads

    def build(self, input_shape: Any) -> None:
        """Create the projections and the distance bias."""
        width = int(input_shape[-1])
        self.kernel = self.add_weight(name="kernel", shape=(width, 3 * width))
        self.out_kernel = self.add_weight(name="out_kernel", shape=(width, width))
        self.distance_bias = self.add_weight(
            name="distance_bias", shape=(self.heads, self.window), initializer="zeros"
        )
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the attended frames, [batch, frames, width]."""
        frames = inputs.shape[1]
        query, key, value = self._project(inputs)
        distance = tf.range(frames)[:, tf.newaxis] - tf.range(frames)[tf.newaxis, :]
        visible = (distance >= 0) & (distance < self.window)
        bias = tf.gather(
            tf.convert_to_tensor(self.distance_bias),
            tf.clip_by_value(distance, 0, self.window - 1),
            axis=1,
        )
        scores = tf.einsum("bqhc,bkhc->bhqk", query, key) + tf.cast(bias, query.dtype)
        return self._attend(tf.where(visible, scores, scores.dtype.min), value, "bhqk,bkhc->bqhc")

    def zero_cache(self, batch_size: int, width: int) -> Cache:
        """Return an empty cache: keys, values [batch, window, heads, width / heads], count."""
        shape = [batch_size, self.window, self.heads, width // self.heads]
        return (
            tf.zeros(shape, self.compute_dtype),
            tf.zeros(shape, self.compute_dtype),
            tf.zeros((), tf.int32),
        )

    def step(self, inputs: Any, cache: Cache) -> tuple[Any, Cache]:
        """Attend from one new frame.

        Args:
          inputs: [batch, width].
          cache: As returned by `zero_cache` or the last step.

        Returns:
          [batch, width] and the new cache; equal to `call` on the whole sequence.
        """
        query, key, value = self._project(inputs[:, tf.newaxis])
        keys = tf.concat([cache[0][:, 1:], key], axis=1)
        values = tf.concat([cache[1][:, 1:], value], axis=1)
        count = tf.minimum(cache[2] + 1, self.window)
        distance = self.window - 1 - tf.range(self.window)
        bias = tf.reverse(tf.convert_to_tensor(self.distance_bias), axis=[1])
        scores = (
            tf.einsum("bqhc,bkhc->bhqk", query, keys) + tf.cast(bias, query.dtype)[:, tf.newaxis]
        )
        scores = tf.where(distance < count, scores, scores.dtype.min)
        return self._attend(scores, values, "bhqk,bkhc->bqhc")[:, 0], (keys, values, count)

    def _project(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Return scaled queries, keys and values, [batch, frames, heads, width / heads]."""
        batch, frames, width = inputs.shape
        raw = tf.linalg.matmul(inputs, tf.cast(self.kernel, inputs.dtype))
        raw = tf.reshape(raw, [batch or -1, frames, 3, self.heads, width // self.heads])
        return raw[:, :, 0] / math.sqrt(width // self.heads), raw[:, :, 1], raw[:, :, 2]

    def _attend(self, scores: Any, value: Any, equation: str) -> Any:
        """Return the weighted values through the output projection, [batch, frames, width]."""
        weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), value.dtype)
        mixed = tf.einsum(equation, weights, value)
        flat = tf.reshape(mixed, [mixed.shape[0] or -1, mixed.shape[1], self.out_kernel.shape[0]])
        return tf.linalg.matmul(flat, tf.cast(self.out_kernel, flat.dtype))
