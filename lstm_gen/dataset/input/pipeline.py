"""Windows of frames for training and validation, as a `tf.data` input pipeline.

The order is a function of (seed, epoch, step) and of nothing else: no state is saved, no
buffer is filled, and a run that resumes at step k reads what an uninterrupted one reads, at
once. A step's batch is the same for any number of devices and hosts, each of which reads its
rows of it alone. An epoch cuts each segment from a phase of its own and permutes the windows
(`order`); the index says where each of them lies in its shard. Frames stay as they are stored
until a batch is complete.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from lstm_gen.audio import representations
from lstm_gen.config.training import AugmentationConfig, WindowConfig
from lstm_gen.dataset.format import manifest, records
from lstm_gen.dataset.input import augmentation, index, shuffle
from lstm_gen.platform import errors

_PADDING = -1  # recording of a window that only fills a batch
_SCHEDULED_STEPS = 64  # at a time: one costs about as much as many
_PREFETCH_BATCHES = 2


def windows_per_epoch(dataset: manifest.Dataset, split: str, window: WindowConfig) -> int:
    """Return how many windows a pass over a split gives, known without reading it."""
    return int(shuffle.count_windows(_segment_frames(dataset, split), window).sum())


def windows(
    dataset: manifest.Dataset,
    split: str,
    window: WindowConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    training: bool = True,
    replicas: range = range(1),
    n_replicas: int = 1,
    augment: AugmentationConfig | None = None,
) -> tf.data.Dataset:
    """Return the batches of a split, as `lstm_gen.models.base` documents them.

    Args:
      dataset: Where the shards are, on this machine, and how they are normalised.
      split: "train", "validation" or "test".
      window: Which windows to cut.
      batch_size: Windows of a global batch.
      seed: Decides the order, the phases and the augmentation, with the epoch; 0 to 2^31 - 1.
      start_step: Global batches that an earlier run has had already.
      training: True for an endless, shuffled stream; False for one pass in the order of the
        shards, whose last batch is filled with windows of weight 0.
      replicas: Which replicas this pipeline is for; they take turns with what it yields.
      n_replicas: How many there are in all; each has an equal part of the global batch.
      augment: How windows are varied, each time anew; None for not at all.

    Raises:
      InputError: If the split has no window, an argument is out of range, or a shard is not
        as `dataset.json` says.
    """
    n_windows = windows_per_epoch(dataset, split, window)
    _require_windows(n_windows, dataset, split, window)
    errors.require(
        batch_size >= 1 and batch_size % n_replicas == 0,
        "batch_size must be at least 1 and a multiple of the number of devices",
        batch_size=batch_size,
        devices=n_replicas,
    )
    errors.require(0 <= seed < 1 << 31, "seed must be from 0 to 2147483647", seed=seed)
    errors.require(start_step >= 0, "start_step must not be negative", start_step=start_step)
    found = index.Index(dataset, split)
    scheduled = shuffle.Schedule(
        n_frames=found.segments.n_frames,
        window=window,
        seed=seed,
        training=training,
        batch_size=batch_size,
        replicas=replicas,
        n_replicas=n_replicas,
    )
    batches = (
        _excerpts(scheduled, start_step)
        .map(
            _reader(
                dataset,
                found,
                window,
                batch_size // n_replicas,
                augment or AugmentationConfig(),
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .prefetch(_PREFETCH_BATCHES * len(replicas))
    )
    if training:
        # Or replicas would ask each other before every step whether one of them has had its last.
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        batches = batches.apply(endless)
    options = tf.data.Options()
    options.deterministic = True
    # The stream is shared out here already; tf.distribute must not do it again by files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)


def shared_windows(
    strategy: tf.distribute.Strategy,
    dataset: manifest.Dataset,
    split: str,
    window: WindowConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    training: bool = True,
    augment: AugmentationConfig | None = None,
) -> tf.distribute.DistributedDataset:
    """Return the batches of a split shared out over a strategy's replicas; see `windows`.

    The order of rows over replicas is that of their numbers, on one host and on several.
    """

    def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
        here = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * here
        return windows(
            dataset,
            split,
            window,
            batch_size,
            seed,
            start_step,
            training,
            replicas=range(first, first + here),
            n_replicas=context.num_replicas_in_sync,
            augment=augment,
        )

    return strategy.distribute_datasets_from_function(share)


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
    errors.require(
        split in dataset.splits, f"split must be one of {', '.join(dataset.splits)}", split=split
    )
    return np.array([n for shard in dataset.splits[split].shards for n in shard.frames], np.int64)


def _require_windows(
    n_windows: int, dataset: manifest.Dataset, split: str, window: WindowConfig
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


def _excerpts(scheduled: shuffle.Schedule, start_step: int) -> tf.data.Dataset:
    """Return the schedule's batches from a step on, one by one."""

    def schedule_some(step: Any) -> Any:
        return tf.numpy_function(
            lambda first: scheduled.excerpts(int(first), _SCHEDULED_STEPS),
            [step],
            [tf.int64, tf.int64, tf.int64, tf.float32, tf.float32],
            stateful=False,
        )

    stop = tf.int64.max if scheduled.n_steps is None else scheduled.n_steps
    steps = tf.data.Dataset.range(start_step, stop, _SCHEDULED_STEPS)
    some = steps.map(schedule_some, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    n_batches = min(max(0, stop - start_step) * len(scheduled.replicas), tf.int64.max)
    return some.unbatch().take(n_batches)


def _reader(
    dataset: manifest.Dataset,
    found: index.Index,
    window: WindowConfig,
    n_rows: int,
    augment: AugmentationConfig,
) -> Callable[..., Any]:
    """Return the function that reads a batch, widens it to float32, varies and normalises it."""
    scale, offset = dataset.normalisation.scale, dataset.normalisation.offset
    vary = augmentation.make(augment, dataset.audio)
    shape = [n_rows]

    def read(rows: Any, segments: Any, starts: Any, weights: Any, chances: Any) -> dict[str, Any]:
        frames, recording, start_frame = tf.numpy_function(
            lambda segments, starts: found.read(segments, starts, window.frames),
            [segments, starts],
            [dataset.segment.dtype, tf.int64, tf.int64],
            stateful=False,
        )
        frames = tf.ensure_shape(frames, [*shape, window.frames, dataset.audio.channels])
        values = tf.cast(frames, tf.float32) * representations.quantisation_step(
            dataset.segment.dtype
        )
        varied = vary(values, tf.ensure_shape(chances, [*shape, 4]))
        weights = tf.ensure_shape(weights, shape)
        return {
            "frames": varied * scale + offset,
            "weight": weights,
            "recording": tf.where(weights > 0, tf.ensure_shape(recording, shape), _PADDING),
            "start_frame": tf.ensure_shape(start_frame, shape),
            "row": tf.ensure_shape(rows, shape),
            **{
                name: tf.gather(values, tf.ensure_shape(segments, shape))
                for name, values in found.labels.items()
            },
        }

    return read
