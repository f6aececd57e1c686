"""Windows of frames for training and validation, as a `tf.data` input pipeline.

The order is a function of (seed, epoch, step) and of nothing else: no state is saved, and
a run that resumes at step k sees what an uninterrupted one sees. An epoch permutes the
shards, interleaves their records, cuts each segment from a phase of its own, and shuffles
the windows in a buffer of 32 MB (an hour of music fits, so its shuffle is perfect). Every draw
is stateless. Frames stay as they are stored until a batch is complete.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen import config, errors
from lstm_gen.audio import dtypes
from lstm_gen.data import manifest, records

_SHUFFLE_BYTES = 32 << 20
_PADDING = -1  # recording of a window that only fills a batch
_OPEN_SHARDS = 8
_PREFETCH_BATCHES = 2


def count_windows(n_frames: int, window: config.WindowConfig) -> int:
    """Return how many windows a segment gives; the phase does not change it."""
    return 0 if n_frames < window.frames else 1 + (n_frames - window.frames) // window.hop


def windows_per_epoch(dataset: manifest.Dataset, split: str, window: config.WindowConfig) -> int:
    """Return how many windows a pass over a split gives, known without reading it."""
    return sum(count_windows(n_frames, window) for n_frames in _segment_frames(dataset, split))


def count_short_segments(
    dataset: manifest.Dataset, split: str, window: config.WindowConfig
) -> tuple[int, int]:
    """Return how many segments are shorter than a window, and their frames: they give none."""
    short = [n for n in _segment_frames(dataset, split) if n < window.frames]
    return len(short), sum(short)


def windows(
    dataset: manifest.Dataset,
    split: str,
    window: config.WindowConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    training: bool = True,
    input_pipeline_id: int = 0,
    num_input_pipelines: int = 1,
) -> tf.data.Dataset:
    """Return the batches of a split, as `lstm_gen.models.family` documents them.

    Args:
      dataset: Where the shards are and how they are normalised.
      split: "train", "validation" or "test".
      window: Which windows to cut.
      batch_size: Windows per batch of this pipeline.
      seed: Decides the order and the phases, with the epoch; 0 to 2^31 - 1.
      start_step: Batches that an earlier run has had already.
      training: True for an endless, shuffled stream; False for one pass in the order of the
        shards, whose last batch is filled with windows of weight 0.
      input_pipeline_id: Which of the pipelines that share the stream this one is.
      num_input_pipelines: How many pipelines take turns with the stream's windows.

    Raises:
      InputError: If the split has no window, or an argument is out of range.
    """
    n_windows = windows_per_epoch(dataset, split, window)
    _require_windows(n_windows, dataset, split, window)
    config.require(batch_size >= 1, "batch_size must be at least 1", batch_size=batch_size)
    config.require(0 <= seed < 1 << 31, "seed must be from 0 to 2147483647", seed=seed)
    config.require(start_step >= 0, "start_step must not be negative", start_step=start_step)
    rows = batch_size * num_input_pipelines
    if training:
        first_epoch, taken = divmod(start_step * rows, n_windows)
        epochs = tf.data.Dataset.counter(first_epoch)
        stream = epochs.flat_map(lambda epoch: _shuffled_epoch(dataset, split, window, seed, epoch))
    else:
        stream, taken = _padded_pass(dataset, split, window, -n_windows % rows), start_step * rows
    batches = (
        stream.skip(taken)
        .shard(num_input_pipelines, input_pipeline_id)
        .batch(batch_size, drop_remainder=True)
        .map(_finisher(dataset), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(_PREFETCH_BATCHES)
    )
    options = tf.data.Options()
    options.deterministic = True
    # The stream is shared out here already; tf.distribute must not do it again by files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)


def segments(dataset: manifest.Dataset, split: str) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield each segment of a split in the order of its shards, without TensorFlow.

    Yields:
      frames, float32 [n_frames, channels], normalised; the recording's line in the manifest;
      the segment's first frame within the recording.
    """
    for shard in dataset.splits[split].shards:
        for segment in records.read_segments(
            dataset.path(shard), dataset.audio.channels, dataset.segment.dtype
        ):
            yield dataset.normalise(segment.frames), segment.recording, segment.start_frame


def _segment_frames(dataset: manifest.Dataset, split: str) -> Iterator[int]:
    """Yield the length of every segment of a split."""
    config.require(
        split in dataset.splits, f"split must be one of {', '.join(dataset.splits)}", split=split
    )
    for shard in dataset.splits[split].shards:
        yield from shard.frames


def _require_windows(
    n_windows: int, dataset: manifest.Dataset, split: str, window: config.WindowConfig
) -> None:
    """Refuse a split that has no window at all."""
    longest = max(_segment_frames(dataset, split), default=0)
    if n_windows == 0:
        raise errors.InputError(
            f"a window of timesteps + shift = {window.frames} frames must fit into a segment of "
            f"the {split} split; use fewer --timesteps, or make the dataset again with a larger "
            "--segment_frames, --validation_fraction or --block_seconds. "
            f"Received: longest segment {longest} frames in {dataset.data_dir!r}"
        )


def _shuffled_epoch(
    dataset: manifest.Dataset, split: str, window: config.WindowConfig, seed: int, epoch: Any
) -> tf.data.Dataset:
    """Return one epoch's windows in that epoch's order."""
    # The keys below decide every draw; `tf.random.set_seed` elsewhere must not.
    tf.compat.v1.get_default_graph().seed = 1
    shard_key, phase_key, shuffle_key = (tf.stack([seed * 4 + use, epoch]) for use in range(3))
    paths = _paths(dataset, split)
    order = tf.argsort(_draw([len(paths)], shard_key, tf.int32), stable=True)
    examples = tf.data.Dataset.from_tensor_slices(tf.gather(paths, order)).interleave(
        lambda path: tf.data.TFRecordDataset(path),
        cycle_length=min(_OPEN_SHARDS, len(paths)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    phases = tf.data.Dataset.from_tensor_slices(
        _draw([dataset.splits[split].n_records], phase_key, tf.float32)
    )
    window_bytes = window.frames * dataset.audio.channels * tf.as_dtype(dataset.segment.dtype).size
    return (
        tf.data.Dataset.zip((examples, phases))
        .map(_cutter(dataset, window), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .unbatch()
        .shuffle(
            max(1, _SHUFFLE_BYTES // window_bytes),
            seed=_draw([], shuffle_key, tf.int64),
            reshuffle_each_iteration=False,
        )
    )


def _padded_pass(
    dataset: manifest.Dataset, split: str, window: config.WindowConfig, n_padding: int
) -> tf.data.Dataset:
    """Return a split's windows in the order of its shards, and padding after them."""
    examples = tf.data.TFRecordDataset(_paths(dataset, split))
    stream = examples.map(
        lambda example: _cutter(dataset, window)(example, 0.0),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).unbatch()
    nothing = {
        "frames": np.tile(dtypes.store(dataset.mean, dataset.segment.dtype), (window.frames, 1)),
        "recording": np.int64(_PADDING),
        "start_frame": np.int64(0),
    }
    return stream.concatenate(tf.data.Dataset.from_tensors(nothing).repeat(n_padding))


def _paths(dataset: manifest.Dataset, split: str) -> list[str]:
    """Return where the shards of a split are that hold anything."""
    return [dataset.path(shard) for shard in dataset.splits[split].shards if shard.records]


def _draw(shape: list[int], key: Any, dtype: tf.DType) -> Any:
    """Return what the key decides: any non-negative integers, or floats in [0, 1)."""
    below = None if dtype.is_floating else dtype.max
    return tf.random.stateless_uniform(shape, key, 0, below, dtype, alg=tf.random.Algorithm.PHILOX)


def _cutter(dataset: manifest.Dataset, window: config.WindowConfig) -> Callable[[Any, Any], Any]:
    """Return the function from a serialised segment and a phase in [0, 1) to its windows.

    The phase moves all windows alike, by no more than keeps their number. A segment shorter
    than a window gives none.
    """

    def cut(example: Any, phase: Any) -> dict[str, Any]:
        frames, recording, start_frame = records.parse(
            example, dataset.audio.channels, dataset.segment.dtype
        )
        room = tf.shape(frames, tf.int64)[0] - window.frames
        spare = tf.math.floormod(room, window.hop) + 1
        first = tf.minimum(tf.cast(phase * tf.cast(spare, tf.float32), tf.int64), spare - 1)
        starts = tf.range(first, tf.maximum(first, room + 1), window.hop)
        windows = tf.gather(frames, starts[:, tf.newaxis] + tf.range(window.frames, dtype=tf.int64))
        windows.set_shape([None, window.frames, dataset.audio.channels])
        return {
            "frames": windows,
            "recording": tf.fill(tf.shape(starts), recording),
            "start_frame": start_frame + starts,
        }

    return cut


def _finisher(dataset: manifest.Dataset) -> Callable[[Any], Any]:
    """Return the function that widens a batch to float32, normalises it and weighs its rows."""
    scale = np.float32(dtypes.unit(dataset.segment.dtype)) / dataset.std
    offset = -dataset.mean / dataset.std

    def finish(batch: dict[str, Any]) -> dict[str, Any]:
        return {
            "frames": tf.cast(batch["frames"], tf.float32) * scale + offset,
            "weight": tf.cast(batch["recording"] != _PADDING, tf.float32),
            "recording": batch["recording"],
            "start_frame": batch["start_frame"],
        }

    return finish
