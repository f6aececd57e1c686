"""Input pipeline: the shards of a split as a `tf.data` stream of batches of windows.

The order is a pure function of seed, epoch and step (`shuffle`): there is no state to save and no
buffer to fill, and a run resumed at step k continues at once with the batches of an uninterrupted
one. A step's batch is the same for any number of devices and hosts, each of which reads only its
own rows. Frames keep their stored type until a batch is complete.
"""

import mmap
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lstm_gen.audio import representations
from lstm_gen.config.training import AugmentationConfig, WindowConfig
from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.dataset.format.labels import Values
from lstm_gen.dataset.input import augmentation, shuffle
from lstm_gen.platform import errors

_PADDING = -1  # recording of a window that pads a batch
_SCHEDULED_STEPS = 64  # at a time: one costs about as much as many
_PREFETCH_BATCHES = 2


def windows_per_epoch(dataset: manifest.Dataset, split: str, window: WindowConfig) -> int:
    """Return the number of windows in a pass over a split, without reading it."""
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
    """Return the batches of a split; `lstm_gen.models.base` documents their contents.

    Args:
      dataset: With its shards on this machine.
      split: "train", "validation" or "test".
      window: Length and hop of the windows.
      batch_size: Windows of a global batch.
      seed: Determines, with the epoch, order, phases and augmentation; 0 to 2^31 - 1.
      start_step: Global batches to skip, used by an earlier run.
      training: True for an endless, shuffled stream; False for one pass in the order of the
        shards, whose last batch is padded with windows of weight 0.
      replicas: Indices of the replicas to serve; their batches alternate.
      n_replicas: Number of replicas in all; each has an equal part of the global batch.
      augment: Augmentation, drawn anew each epoch; None for none.

    Raises:
      InputError: If the split has no window, an argument is out of range, or a shard
        differs from `dataset.json`.
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
    index = Index(dataset, split)
    schedule = shuffle.Schedule(
        n_frames=index.segments.n_frames,
        window=window,
        seed=seed,
        training=training,
        batch_size=batch_size,
        replicas=replicas,
        n_replicas=n_replicas,
    )
    read = _reader(
        dataset, index, window, batch_size // n_replicas, augment or AugmentationConfig()
    )
    batches = (
        _schedule(schedule, start_step)
        .map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(_PREFETCH_BATCHES * len(replicas))
    )
    if training:
        # Otherwise replicas synchronise before every step, to check for the end of the stream.
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        batches = batches.apply(endless)
    options = tf.data.Options()
    options.deterministic = True
    # Each replica has its rows already; tf.distribute must not shard by files as well.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options)


def distributed_windows(
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
    """Return the batches of a split, distributed over a strategy's replicas; see `windows`.

    Replicas have consecutive rows in the order of their indices, on one host and on several.
    """

    def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
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

    return strategy.distribute_datasets_from_function(read)


def segments(dataset: manifest.Dataset, split: str) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield every segment of a split in the order of its shards, without TensorFlow.

    Yields:
      frames, float32 [n_frames, channels], normalised; the recording's id; the segment's first
      frame within the recording.
    """
    for shard in dataset.splits[split].shards:
        for segment in dataset.read_segments(shard):
            yield dataset.normalise(segment.frames), segment.recording, segment.start_frame


class Segments(NamedTuple):
    """Places of the segments of a split, in the order of its shards; each int64 [segments].

    Attributes:
      shard: Index of the shard within the split.
      offset: First byte of the frames in the shard.
      n_frames: Length.
      recording: Id of the recording.
      start_frame: First frame within the recording.
    """

    shard: np.ndarray
    offset: np.ndarray
    n_frames: np.ndarray
    recording: np.ndarray
    start_frame: np.ndarray


class Index:
    """Random access to the segments of a split, through open files.

    Only the heads of the records are read at the start. Files are read, not kept mapped: if a
    shard is cut short later, that is an error with its name and not the end of the process by a
    signal. A shard that is replaced later is read as it was when it was verified.

    Attributes:
      segments: Place of each segment.
      labels: "label/NAME" to the encoded labels of each segment, [segments, ...].
    """

    def __init__(self, dataset: manifest.Dataset, split: str) -> None:
        """Read the heads of all records of a split.

        Args:
          dataset: With its shards on this machine.
          split: "train", "validation" or "test".

        Raises:
          InputError: If a shard does not hold the segments that `dataset.json` lists.
        """
        self._channels = dataset.audio.channels
        self._dtype = np.dtype(dataset.segment.dtype).newbyteorder("<")
        shards = dataset.splits[split].shards
        self._paths = [dataset.path(shard) for shard in shards]
        self._files: list[int] = []
        weakref.finalize(self, _close, self._files)
        rows: list[tuple[int, ...]] = []
        values: list[Values] = []
        for number, shard in enumerate(shards):
            self._files.append(os.open(self._paths[number], os.O_RDONLY))
            places, its_labels = self._locate(number)
            errors.require(
                tuple(place[2] for place in places) == shard.frames,
                f"shard {shard.name} must hold the segments that {manifest.DATASET_FILE} lists; "
                "make the dataset again with create_tfrecord.py",
                data_dir=dataset.data_dir,
            )
            rows += places
            values += its_labels
        self.segments = Segments(*np.array(rows, np.int64).reshape(-1, len(Segments._fields)).T)
        self.labels = labels.stack(dataset.labels, values)

    def read(
        self, segments: np.ndarray, starts: np.ndarray, n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return excerpts of segments as they are stored.

        Args:
          segments: int [k], indices within the split.
          starts: int [k], first frame of each excerpt within its segment.
          n_frames: Length of each, frames.

        Returns:
          frames, [k, n_frames, channels], of the stored type; the recording of each excerpt,
          int64 [k]; its first frame within the recording, int64 [k].

        Raises:
          InputError: If a shard has become shorter.
        """
        frame_bytes = self._channels * self._dtype.itemsize
        excerpts = np.empty((len(segments), n_frames * frame_bytes), np.uint8)
        shards = self.segments.shard[segments]
        offsets = self.segments.offset[segments] + starts * frame_bytes
        for excerpt, shard, offset in zip(excerpts, shards, offsets.tolist(), strict=True):
            if os.preadv(self._files[shard], [excerpt.data], offset) < excerpt.nbytes:
                raise errors.InputError(
                    "a shard must not change while it is read, but has become shorter; make "
                    f"the dataset again with create_tfrecord.py. Received: {self._paths[shard]!r}"
                )
        return (
            excerpts.view(self._dtype).reshape(len(segments), n_frames, self._channels),
            self.segments.recording[segments],
            self.segments.start_frame[segments] + starts,
        )

    def _locate(self, number: int) -> tuple[list[tuple[int, ...]], list[Values]]:
        """Return the places of a shard's segments, and their labels."""
        file = self._files[number]
        if os.fstat(file).st_size == 0:
            return [], []  # nothing to map
        shard = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
        origin = _address(np.frombuffer(shard, np.uint8))
        found = list(
            records.view_segments(shard, self._paths[number], self._channels, self._dtype.name)
        )
        return [
            (
                number,
                _address(segment.frames) - origin,
                len(segment.frames),
                segment.recording,
                segment.start_frame,
            )
            for segment in found
        ], [segment.labels for segment in found]


def _segment_frames(dataset: manifest.Dataset, split: str) -> np.ndarray:
    """Return the length of every segment of a split, int64 [segments]."""
    errors.require(
        split in dataset.splits, f"split must be one of {', '.join(dataset.splits)}", split=split
    )
    return np.array([n for shard in dataset.splits[split].shards for n in shard.frames], np.int64)


def _require_windows(
    n_windows: int, dataset: manifest.Dataset, split: str, window: WindowConfig
) -> None:
    """Raise InputError if a split has no window."""
    longest = _segment_frames(dataset, split).max(initial=0)
    if n_windows == 0:
        raise errors.InputError(
            f"a window of timesteps + shift = {window.frames} frames must fit into a segment of "
            f"the {split} split; use fewer --timesteps, or make the dataset again with a larger "
            "--segment_frames, --validation_fraction or --block_seconds. "
            f"Received: longest segment {longest} frames in {dataset.data_dir!r}"
        )


def _schedule(schedule: shuffle.Schedule, start_step: int) -> tf.data.Dataset:
    """Return the windows of the schedule's batches from a step on, one batch at a time."""

    def some_steps(step: Any) -> Any:
        return tf.numpy_function(
            lambda first: schedule.windows(int(first), _SCHEDULED_STEPS),
            [step],
            [tf.int64, tf.int64, tf.int64, tf.float32, tf.float32],
            stateful=False,
        )

    stop = tf.int64.max if schedule.n_steps is None else schedule.n_steps
    steps = tf.data.Dataset.range(start_step, stop, _SCHEDULED_STEPS)
    some = steps.map(some_steps, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    n_batches = min(max(0, stop - start_step) * len(schedule.replicas), tf.int64.max)
    return some.unbatch().take(n_batches)


def _reader(
    dataset: manifest.Dataset,
    index: Index,
    window: WindowConfig,
    n_rows: int,
    config: AugmentationConfig,
) -> Callable[..., Any]:
    """Return the function that reads a batch, converts, augments and normalises it."""
    scale, offset = dataset.normalisation.scale, dataset.normalisation.offset
    augment = augmentation.build(config, dataset.audio)
    shape = [n_rows]

    def read(rows: Any, segments: Any, starts: Any, weights: Any, uniforms: Any) -> dict[str, Any]:
        frames, recording, start_frame = tf.numpy_function(
            lambda segments, starts: index.read(segments, starts, window.frames),
            [segments, starts],
            [dataset.segment.dtype, tf.int64, tf.int64],
            stateful=False,
        )
        frames = tf.ensure_shape(frames, [*shape, window.frames, dataset.audio.channels])
        step = representations.quantisation_step(dataset.segment.dtype)
        values = tf.cast(frames, tf.float32) * step
        augmented = augment(values, tf.ensure_shape(uniforms, [*shape, 4]))
        weights = tf.ensure_shape(weights, shape)
        return {
            "frames": augmented * scale + offset,
            "weight": weights,
            "recording": tf.where(weights > 0, tf.ensure_shape(recording, shape), _PADDING),
            "start_frame": tf.ensure_shape(start_frame, shape),
            "row": tf.ensure_shape(rows, shape),
            **{
                name: tf.gather(values, tf.ensure_shape(segments, shape))
                for name, values in index.labels.items()
            },
        }

    return read


def _address(array: np.ndarray) -> int:
    """Return the address of an array's values in memory."""
    return int(array.__array_interface__["data"][0])


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)
