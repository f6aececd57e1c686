"""Record format: one `tf.train.Example` per segment, framed as TFRecord.

Encoded and decoded here by hand, since importing TensorFlow takes seconds. An example holds

    frames       bytes, little-endian values [n_frames, channels] as stored, not normalised
    label/NAME   for each label: texts, a single "" for none; or a float, perhaps NaN
    recording    int64, of the recording: see `recording_id`
    start_frame  int64, first frame of the segment within its untrimmed recording

Source: tensorflow/core/example/{example,feature}.proto, tensorflow/core/lib/io/record_writer.h.
"""

import hashlib
import math
import pathlib
import struct
import types
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import google_crc32c
import numpy as np

from lstm_gen.dataset.format import labels
from lstm_gen.dataset.format.labels import Value, Values
from lstm_gen.platform import errors, storage

_CRC_MASK = 0xA282EAD8
_HEADER = struct.Struct("<QI")  # length, masked crc32c of the length
_FOOTER = struct.Struct("<I")  # masked crc32c of the data
_LENGTH_DELIMITED = 2
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of Feature
_ID_DIGITS = 15  # 60 bits: positive as int64, and unique among millions of recordings
_FLOAT = struct.Struct("<f")
_NO_LABELS: Values = types.MappingProxyType({})


class Segment(NamedTuple):
    """Consecutive frames of one recording.

    Attributes:
      frames: values [n_frames, channels] as stored, not normalised.
      recording: `recording_id` of the recording.
      start_frame: First frame within the untrimmed recording or copy.
      labels: Of the recording; numbers are float32 when read.
    """

    frames: np.ndarray
    recording: int
    start_frame: int
    labels: Values = _NO_LABELS


def recording_id(sha256: str, semitones: int = 0) -> int:
    """Return the number that identifies a recording, or a transposed copy of it, in records.

    It is the first 60 bits of a hash: of the recording's content, or of that hash as text followed
    by the semitones with their sign.
    """
    if semitones:
        sha256 = hashlib.sha256(f"{sha256}{semitones:+d}".encode()).hexdigest()
    return int(sha256[:_ID_DIGITS], 16)


def encode(segment: Segment) -> bytes:
    """Return a segment as a serialised `tf.train.Example`, features in alphabetical order."""
    frames = np.ascontiguousarray(segment.frames, _little_endian(segment.frames.dtype))
    return _field(
        1,
        _feature(b"frames", _BYTES_LIST, frames.tobytes())
        + b"".join(_label(name, segment.labels[name]) for name in sorted(segment.labels))
        + _feature(b"recording", _INT64_LIST, _varint(segment.recording))
        + _feature(b"start_frame", _INT64_LIST, _varint(segment.start_frame)),
    )


def decode(example: bytes | memoryview, channels: int, dtype: str) -> Segment:
    """Return the segment of a serialised example; the inverse of `encode`.

    Raises:
      ValueError: If the bytes are not such an example.
    """
    values: dict[str, tuple[int, list[memoryview]]] = {}
    (features,) = (payload for _, payload in _fields(memoryview(example)))
    for _, entry in _fields(features):
        key, feature = (payload for _, payload in _fields(entry))
        ((kind, value_list),) = _fields(feature)
        values[str(key, "utf-8")] = kind, [payload for _, payload in _fields(value_list)]
    frames, recording, start_frame = (
        values.pop(name)[1][0] for name in ("frames", "recording", "start_frame")
    )
    return Segment(
        frames=np.frombuffer(frames, _little_endian(np.dtype(dtype))).reshape(-1, channels),
        recording=_read_varint(recording, 0)[0],
        start_frame=_read_varint(start_frame, 0)[0],
        labels={
            name.removeprefix(labels.PREFIX): _read_label(kind, payloads)
            for name, (kind, payloads) in values.items()
        },
    )


def frame(data: bytes) -> bytes:
    """Return one TFRecord record: length, its checksum, the data, its checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _FOOTER.pack(_checksum(length)), data, _FOOTER.pack(_checksum(data))))


def read_segments(path: str, channels: int, dtype: str) -> Iterator[Segment]:
    """Yield the segments of a shard in order, every checksum verified.

    Raises:
      InputError: For a record that is cut, corrupt or not a segment, naming it.
    """
    with storage.local_copy(path) as local, pathlib.Path(local).open("rb") as file:
        for index, data in enumerate(_read_records(file, path)):
            try:
                yield decode(data, channels, dtype)
            except (struct.error, ValueError, KeyError, IndexError) as error:
                raise _damaged(path, index, "is not a segment of this dataset") from error


def view_segments(shard: memoryview, path: str, channels: int, dtype: str) -> Iterator[Segment]:
    """Yield the segments of a shard in memory; frames are views, and checksums are not verified.

    Raises:
      InputError: For a record that is cut or not a segment, naming it.
    """
    position = index = 0
    while position < len(shard):
        try:
            length, _ = _HEADER.unpack_from(shard, position)
            start = position + _HEADER.size
            yield decode(shard[start : start + length], channels, dtype)
        except (struct.error, ValueError, KeyError, IndexError) as error:
            raise _damaged(path, index, "is not a segment of this dataset") from error
        position, index = start + length + _FOOTER.size, index + 1


def _read_records(file: BinaryIO, path: str) -> Iterator[bytes]:
    """Yield the data of each record of an open TFRecord file."""
    index = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise _damaged(path, index, "is cut")
        length, checksum = _HEADER.unpack(header)
        if checksum != _checksum(header[:8]):
            raise _damaged(path, index, "has a wrong length checksum")
        data, footer = file.read(length), file.read(_FOOTER.size)
        if len(data) < length or len(footer) < _FOOTER.size:
            raise _damaged(path, index, "is cut")
        if _FOOTER.unpack(footer)[0] != _checksum(data):
            raise _damaged(path, index, "has a wrong checksum")
        yield data
        index += 1


def _damaged(path: str, index: int, problem: str) -> errors.InputError:
    """Return the error for an unusable record."""
    return errors.InputError(
        f"every record of a shard must be whole, but record {index} {problem}; "
        f"make the dataset again. Received: {path!r}"
    )


def _checksum(data: bytes) -> int:
    """Return TFRecord's masked crc32c."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF


def _little_endian(dtype: np.dtype) -> np.dtype:
    """Return the little-endian form of a type."""
    return dtype.newbyteorder("<")


def _label(name: str, value: Value) -> bytes:
    """Return the feature of a label; an unknown value is an empty text or NaN, never missing."""
    key = f"{labels.PREFIX}{name}".encode()
    if isinstance(value, tuple):
        return _feature(key, _BYTES_LIST, *(text.encode() for text in value or ("",)))
    return _feature(key, _FLOAT_LIST, _FLOAT.pack(math.nan if value is None else value))


def _read_label(kind: int, payloads: list[memoryview]) -> Value:
    """Return the value of a label's feature; the inverse of `_label`."""
    if kind == _BYTES_LIST:
        return tuple(str(text, "utf-8") for text in payloads if text)
    (number,) = _FLOAT.unpack(payloads[0])
    return None if math.isnan(number) else number


def _feature(name: bytes, kind: int, *values: bytes) -> bytes:
    """Return one entry of the map from names to features."""
    value_list = b"".join(_field(1, value) for value in values)
    return _field(1, _field(1, name) + _field(2, _field(kind, value_list)))


def _field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return b"".join((_varint(number << 3 | _LENGTH_DELIMITED), _varint(len(payload)), payload))


def _varint(value: int) -> bytes:
    """Return a non-negative integer as a base-128 varint."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and payload of each field of a message of length-delimited fields."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        length, position = _read_varint(message, position)
        if tag & 7 != _LENGTH_DELIMITED or position + length > len(message):
            raise ValueError(f"not a length-delimited field: tag {tag}, length {length}")
        yield tag >> 3, message[position : position + length]
        position += length


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a varint and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
