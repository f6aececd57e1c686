"""The phase that a magnitude implies: `kernels.integrate_phase` as TensorFlow operations.

There a bin takes its phase from a neighbour that took its own just before. Here that is done at
once: who takes from whom depends on the magnitude alone, so each bin's source, the *root* of its
chain, is known for all frames before any phase is.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import inversion
from lstm_gen.config.audio import AudioConfig

_TURN = 2 * np.pi


def integrate(log_magnitude: Any, audio: AudioConfig) -> Any:
    """Return the phase, radians, float32 [frames, bins], of ln(magnitude) of that shape."""
    n_bins = 1 + audio.n_fft // 2
    bins = np.arange(n_bins)
    gamma = inversion.GAMMA * audio.n_fft**2
    slope = _slope(log_magnitude, audio.hop_length * audio.n_fft / gamma / 2)
    turn = _TURN * ((audio.hop_length * bins) % audio.n_fft) / audio.n_fft
    advance = turn + (_shift(slope, 1, 0.0, axis=0) + slope) / 2
    offset = _offset(log_magnitude, -gamma / (audio.hop_length * audio.n_fft) / 2)
    root = _roots(log_magnitude)
    beyond_root = offset - tf.gather(offset, root, batch_dims=1)

    def go_on(now: Any, frame: Any) -> Any:
        advance, root, beyond_root = frame
        now = now + advance
        return tf.gather(now - _TURN * tf.floor(now / _TURN), root) + beyond_root

    phase = tf.scan(go_on, (advance, root, beyond_root), tf.zeros([n_bins], tf.float64))
    return tf.cast(phase + np.pi * (bins % 2), tf.float32)  # frames start at their edge


def _slope(loud: Any, along_time: float) -> Any:
    """Return each bin's frequency beyond that of its centre, radians a hop, float64."""
    above = tf.concat([loud[:, 1:], loud[:, -1:]], axis=1)
    below = tf.concat([loud[:, :1], loud[:, :-1]], axis=1)
    return along_time * tf.cast(above - below, tf.float64)


def _offset(loud: Any, along_bins: float) -> Any:
    """Return each bin's phase relative to bin 0, by the gradient along frequency, float64."""
    after = tf.concat([loud[1:], loud[-1:]], axis=0)
    before = tf.concat([loud[:1], loud[:-1]], axis=0)
    change = after[:, 1:] - before[:, 1:] + after[:, :-1] - before[:, :-1]
    steps = along_bins * tf.cast(change, tf.float64) / 2
    return tf.pad(tf.cumsum(steps, axis=1), [[0, 0], [1, 0]])


def _roots(loud: Any) -> Any:
    """Return the bin that each bin's phase comes from, int32 [frames, bins]: itself, if by time."""
    past = _shift(loud, 1, -np.inf, axis=0)
    left, right = _shift(loud, 1, -np.inf), _shift(loud, -1, -np.inf)
    # Bins beside the edge count as their own outer neighbour.
    outer_right = tf.concat([right[:, :-1], loud[:, -1:]], axis=1)
    outer_left = tf.concat([loud[:, :1], left[:, 1:]], axis=1)
    from_left = (left > loud) & (left >= outer_right) & (left >= past)
    from_right = (right > loud) & (right > outer_left) & (right >= past)
    climbed = tf.gather(_last_true(~from_left), _next_true(~from_right), batch_dims=1)
    peaks = (loud >= outer_left) & (loud >= outer_right)
    return tf.gather(_peak_roots(loud, past, peaks), climbed, batch_dims=1)


def _peak_roots(loud: Any, past: Any, peaks: Any) -> Any:
    """Return the peak that each peak's phase comes from; all other bins are their own."""
    n_bins = loud.shape[1]
    before = _shift(_last_true(peaks), 1, -1)
    after = _shift(_next_true(peaks), -1, n_bins)
    left = tf.where(before >= 0, _at(loud, before), -np.inf)
    right = tf.where(after < n_bins, _at(loud, after), -np.inf)
    left_valley = _valleys(loud, peaks)
    right_valley = _at(left_valley, after)
    left_rival = tf.where(left > loud, left_valley, -np.inf)
    right_rival = tf.where(right > loud, right_valley, -np.inf)
    from_left = (left > loud) & (left_valley > past) & (left_valley >= right_rival)
    from_right = (right > loud) & (right_valley > past) & (right_valley > left_rival)
    up = _at(_last_true(peaks & ~from_left), _next_true(peaks & ~from_right))
    return tf.where(peaks, up, tf.range(n_bins))


def _valleys(loud: Any, peaks: Any) -> Any:
    """Return, at peaks, the least value since the peak before, both included."""
    lowest = tf.minimum(loud, _shift(loud, 1, np.inf))
    begins = _shift(peaks, 1, True)
    for step in _doublings(loud.shape[1]):
        reached = _shift(lowest, step, np.inf)
        lowest = tf.where(begins, lowest, tf.minimum(lowest, reached))
        begins = begins | _shift(begins, step, True)
    return lowest


def _last_true(mask: Any) -> Any:
    """Return the last bin at or before each one at which the mask holds, int32; -1 for none."""
    found = tf.where(mask, tf.range(mask.shape[1]), -1)
    for step in _doublings(mask.shape[1]):
        found = tf.maximum(found, _shift(found, step, -1))
    return found


def _next_true(mask: Any) -> Any:
    """Return the first bin at or after each one at which the mask holds; `bins` for none."""
    n_bins = mask.shape[1]
    found = tf.where(mask, tf.range(n_bins), n_bins)
    for step in _doublings(n_bins):
        found = tf.minimum(found, _shift(found, -step, n_bins))
    return found


def _doublings(n_bins: int) -> list[int]:
    """Return 1, 2, 4 ... below the number of bins: sums over all in a few steps."""
    return [1 << power for power in range((n_bins - 1).bit_length())]


def _at(values: Any, index: Any) -> Any:
    """Return each frame's values at an index; what it is outside of the bins does not matter."""
    return tf.gather(values, tf.clip_by_value(index, 0, values.shape[1] - 1), batch_dims=1)


def _shift(values: Any, by: int, fill: Any, axis: int = 1) -> Any:
    """Return the values moved to later places, earlier if negative, and `fill` for the others."""
    count = min(abs(by), values.shape[axis] or abs(by))
    body = values[:, :-count] if axis else values[:-count]
    if by < 0:
        body = values[:, count:] if axis else values[count:]
    edge = tf.fill(
        [count, tf.shape(values)[1]] if not axis else [tf.shape(values)[0], count],
        tf.cast(fill, values.dtype),
    )
    return tf.concat([edge, body] if by > 0 else [body, edge], axis=axis)
