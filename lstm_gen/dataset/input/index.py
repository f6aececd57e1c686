"""Where every segment of a split lies in its shards, so that any window can be read at once.

Made when a program starts, by a walk over the heads of the records; the frames themselves are
not touched. Shards are read and not kept mapped: a file that a bad disk or a foreign hand
cuts short is an error with its name then, and not the end of the process by a signal.
"""

import mmap
import os
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.dataset.format.labels import Values
from lstm_gen.platform import errors


class Segments(NamedTuple):
    """What is known of each segment of a split, in the order of its shards; int64 [segments].

    Attributes:
      shard: Number of its shard within the split.
      offset: Where its frames begin in the shard, bytes.
      n_frames: Its length.
      recording: Whose it is, as the record says.
      start_frame: Its first frame within the recording.
    """

    shard: np.ndarray
    offset: np.ndarray
    n_frames: np.ndarray
    recording: np.ndarray
    start_frame: np.ndarray


class Index:
    """The segments of a split, and open files to read them from.

    A shard that is replaced later is read as it was: the dataset stays what was verified.

    Attributes:
      segments: What is where.
      labels: "label/NAME" to what `labels.encode` makes of each segment's, [segments, ...].
    """

    def __init__(self, dataset: manifest.Dataset, split: str) -> None:
        """Look at every record of a split.

        Args:
          dataset: On this machine.
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
            found, known = self._locate(number)
            errors.require(
                tuple(place[2] for place in found) == shard.frames,
                f"shard {shard.name} must hold the segments that {manifest.DATASET_FILE} lists; "
                "make the dataset again with create_tfrecord.py",
                data_dir=dataset.data_dir,
            )
            rows += found
            values += known
        self.segments = Segments(*np.array(rows, np.int64).reshape(-1, len(Segments._fields)).T)
        self.labels = labels.stack(dataset.labels, values)

    def read(
        self, segments: np.ndarray, starts: np.ndarray, n_frames: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return excerpts of segments as they are stored.

        Args:
          segments: int [k], counted through the split.
          starts: int [k], first frame of each excerpt within its segment.
          n_frames: Length of each, frames.

        Returns:
          frames, [k, n_frames, channels], of the type that is stored; whose each excerpt is,
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
                    "a shard must stay as it is while it is read, but has become shorter; make "
                    f"the dataset again with create_tfrecord.py. Received: {self._paths[shard]!r}"
                )
        return (
            excerpts.view(self._dtype).reshape(len(segments), n_frames, self._channels),
            self.segments.recording[segments],
            self.segments.start_frame[segments] + starts,
        )

    def _locate(self, number: int) -> tuple[list[tuple[int, ...]], list[Values]]:
        """Return the rows of a shard's segments, and their labels."""
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


def _address(array: np.ndarray) -> int:
    """Return where an array's values lie in memory."""
    return int(array.__array_interface__["data"][0])


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)
