"""Windows of frames for training and validation, as a `tf.data` input pipeline.

The order is a function of (seed, epoch, step) and of nothing else: no state is saved, no
buffer is filled, and a run that resumes at step k reads what an uninterrupted one reads, at
once. An epoch cuts each segment from a phase of its own and permutes the windows (`order`);
the index says where each of them lies in its shard. Frames stay as they are stored until a
batch is complete.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen import config, errors
from lstm_gen.audio import dtypes
from lstm_gen.data import augmentation, index, manifest, records, schedule

_PADDING = -1  # recording of a window that only fills a batch
_SCHEDULED_STEPS = 64  # at a time: one costs about as much as many
_PREFETCH_BATCHES = 2


def windows_per_epoch(dataset: manifest.Dataset, split: str, window: config.WindowConfig) -> int:
    """Return how many windows a pass over a split gives, known without reading it."""
    return int(schedule.count_windows(_segment_frames(dataset, split), window).sum())


def count_short_segments(
    dataset: manifest.Dataset, split: str, window: config.WindowConfig
) -> tuple[int, int]:
    """Return how many segments are shorter than a window, and their frames: they give none."""
    n_frames = _segment_frames(dataset, split)
    short = n_frames[n_frames < window.frames]
    return len(short), int(short.sum())


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
    augment: config.AugmentationConfig | None = None,
) -> tf.data.Dataset:
    """Return the batches of a split, as `lstm_gen.models.family` documents them.

    Args:
      dataset: Where the shards are, on this machine, and how they are normalised.
      split: "train", "validation" or "test".
      window: Which windows to cut.
      batch_size: Windows per batch of this pipeline.
      seed: Decides the order, the phases and the augmentation, with the epoch; 0 to 2^31 - 1.
      start_step: Batches that an earlier run has had already.
      training: True for an endless, shuffled stream; False for one pass in the order of the
        shards, whose last batch is filled with windows of weight 0.
      input_pipeline_id: Which of the pipelines that share the stream this one is.
      num_input_pipelines: How many pipelines take turns with the stream's windows.
      augment: How windows are varied, each time anew; None for not at all.

    Raises:
      InputError: If the split has no window, an argument is out of range, or a shard is not
        as `dataset.json` says.
    """
    n_windows = windows_per_epoch(dataset, split, window)
    _require_windows(n_windows, dataset, split, window)
    config.require(batch_size >= 1, "batch_size must be at least 1", batch_size=batch_size)
    config.require(0 <= seed < 1 << 31, "seed must be from 0 to 2147483647", seed=seed)
    config.require(start_step >= 0, "start_step must not be negative", start_step=start_step)
    found = index.Index(dataset, split)
    scheduled = schedule.Schedule(
        n_frames=found.segments.n_frames,
        window=window,
        seed=seed,
        training=training,
        batch_size=batch_size,
        input_pipeline_id=input_pipeline_id,
        num_input_pipelines=num_input_pipelines,
    )
    batches = (
        _excerpts(scheduled, start_step)
        .map(
            _reader(dataset, found, window, batch_size, augment or config.AugmentationConfig()),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(_PREFETCH_BATCHES)
    )
    options = tf.data.Options()
    options.deterministic = True
    # The stream is shared out here already; tf.distribute must not do it again by files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)


def segments(dataset: manifest.Dataset, split: str) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield each segment of a split in the order of its shards, as `shard_segments` does."""
    for shard in dataset.splits[split].shards:
        yield from shard_segments(dataset, shard)


def shard_segments(
    dataset: manifest.Dataset, shard: manifest.Shard
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield each segment of a shard, without TensorFlow.

    Yields:
      frames, float32 [n_frames, channels], normalised; the recording's id; the segment's first
      frame within the recording.
    """
    for segment in records.read_segments(
        dataset.path(shard), dataset.audio.channels, dataset.segment.dtype
    ):
        yield dataset.normalise(segment.frames), segment.recording, segment.start_frame


def _segment_frames(dataset: manifest.Dataset, split: str) -> np.ndarray:
    """Return the length of every segment of a split, int64 [segments]."""
    config.require(
        split in dataset.splits, f"split must be one of {', '.join(dataset.splits)}", split=split
    )
    return np.array([n for shard in dataset.splits[split].shards for n in shard.frames], np.int64)


def _require_windows(
    n_windows: int, dataset: manifest.Dataset, split: str, window: config.WindowConfig
) -> None:
    """Refuse a split that has no window at all."""
    longest = _segment_frames(dataset, split).max(initial=0)
    if n_windows == 0:
        raise errors.InputError(
            f"a window of timesteps + shift = {window.frames} frames must fit into a segment of "
            f"the {split} split; use fewer --timesteps, or make the dataset again with a larger "
            "--segment_frames, --validation_fraction or --block_seconds. "
            f"Received: longest segment {longest} frames in {dataset.data_dir!r}"
        )


def _excerpts(scheduled: schedule.Schedule, start_step: int) -> tf.data.Dataset:
    """Return the schedule's batches from a step on, one by one."""

    def schedule_some(step: Any) -> Any:
        return tf.numpy_function(
            lambda first: scheduled.excerpts(int(first), _SCHEDULED_STEPS),
            [step],
            [tf.int64, tf.int64, tf.float32, tf.float32],
            stateful=False,
        )

    stop = tf.int64.max if scheduled.n_steps is None else scheduled.n_steps
    steps = tf.data.Dataset.range(start_step, stop, _SCHEDULED_STEPS)
    some = steps.map(schedule_some, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return some.unbatch().take(max(0, stop - start_step))


def _reader(
    dataset: manifest.Dataset,
    found: index.Index,
    window: config.WindowConfig,
    batch_size: int,
    augment: config.AugmentationConfig,
) -> Callable[[Any, Any, Any, Any], Any]:
    """Return the function that reads a batch, widens it to float32, varies and normalises it."""
    scale, offset = 1 / dataset.std, -dataset.mean / dataset.std
    unit = dtypes.unit(dataset.segment.dtype)
    vary = augmentation.make(augment, dataset.audio)
    rows = [batch_size]

    def read(segments: Any, starts: Any, weights: Any, chances: Any) -> dict[str, Any]:
        frames, recording, start_frame = tf.numpy_function(
            lambda segments, starts: found.read(segments, starts, window.frames),
            [segments, starts],
            [dataset.segment.dtype, tf.int64, tf.int64],
            stateful=False,
        )
        frames = tf.ensure_shape(frames, [*rows, window.frames, dataset.audio.channels])
        varied = vary(tf.cast(frames, tf.float32) * unit, tf.ensure_shape(chances, [*rows, 4]))
        weights = tf.ensure_shape(weights, rows)
        return {
            "frames": varied * scale + offset,
            "weight": weights,
            "recording": tf.where(weights > 0, tf.ensure_shape(recording, rows), _PADDING),
            "start_frame": tf.ensure_shape(start_frame, rows),
        }

    return read
