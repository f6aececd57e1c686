import pathlib

import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.dataset.format import records
from lstm_gen.platform import errors

SEGMENT = records.Segment(np.array([[1.0, -2.0], [0.5, 3.0]], np.float16), 300, 7)
# Lengths and tags as the protobuf and TFRecord specifications give them; it must never change.
GOLDEN = (
    "4500000000000000" "ebe668b0"
    "0a43"
    "0a16" "0a06" "6672616d6573" "120c" "0a0a" "0a08" "003c00c000380042"
    "0a13" "0a09" "7265636f7264696e67" "1206" "1a04" "0a02" "ac02"
    "0a14" "0a0b" "73746172745f6672616d65" "1205" "1a03" "0a01" "07"
    "c38a7167"
)  # fmt: skip


def random_segment(n_frames: int, dtype: str, seed: int = 0) -> records.Segment:
    frames = np.random.default_rng(seed).normal(-5, 3, (n_frames, 4)).astype(dtype)
    return records.Segment(frames, seed * 1000, n_frames * 123)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("n_frames", [2, 15, 1024])
def test_tensorflow_reads_what_we_write(n_frames: int, dtype: str) -> None:
    segment = random_segment(n_frames, dtype, seed=3)
    feature = tf.train.Example.FromString(records.encode(segment)).features.feature
    assert set(feature) == {"frames", "recording", "start_frame"}
    assert feature["frames"].bytes_list.value[0] == segment.frames.tobytes()
    assert feature["recording"].int64_list.value == [segment.recording]
    assert feature["start_frame"].int64_list.value == [segment.start_frame]


def test_the_bytes_are_those_of_protobuf_itself() -> None:
    segment = random_segment(20, "float16", seed=2)
    values = {
        "frames": tf.train.Feature(bytes_list=tf.train.BytesList(value=[segment.frames.tobytes()])),
        "recording": tf.train.Feature(int64_list=tf.train.Int64List(value=[segment.recording])),
        "start_frame": tf.train.Feature(int64_list=tf.train.Int64List(value=[segment.start_frame])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=values))
    assert records.encode(segment) == example.SerializeToString(deterministic=True)


def test_the_format_does_not_change() -> None:
    assert records.frame(records.encode(SEGMENT)).hex() == GOLDEN


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_decoding_returns_what_was_encoded(dtype: str) -> None:
    segment = random_segment(300, dtype, seed=5)
    decoded = records.decode(records.encode(segment), 4, dtype)
    np.testing.assert_array_equal(decoded.frames, segment.frames)
    assert decoded[1:] == segment[1:]


def test_tensorflow_parses_what_we_write() -> None:
    segment = random_segment(300, "float16", seed=5)
    example = tf.train.Example.FromString(records.encode(segment))
    found = example.features.feature
    assert sorted(found) == ["frames", "recording", "start_frame"]
    assert found["frames"].bytes_list.value == [segment.frames.tobytes()]
    assert (found["recording"].int64_list.value, found["start_frame"].int64_list.value) == (
        [segment.recording],
        [segment.start_frame],
    )


def write(path: pathlib.Path, segments: list[records.Segment]) -> bytes:
    content = b"".join(records.frame(records.encode(segment)) for segment in segments)
    path.write_bytes(content)
    return content


def test_tensorflow_reads_our_framing_and_we_read_its(tmp_path: pathlib.Path) -> None:
    segments = [random_segment(5 + n, "float16", seed=n) for n in range(4)]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write(ours, segments)
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for segment in segments:
            writer.write(records.encode(segment))
    assert ours.read_bytes() == theirs.read_bytes()
    read = list(tf.data.TFRecordDataset(str(ours)).as_numpy_iterator())
    assert read == [records.encode(segment) for segment in segments]
    for found, wanted in zip(
        records.read_segments(str(theirs), 4, "float16"), segments, strict=True
    ):
        np.testing.assert_array_equal(found.frames, wanted.frames)


def test_every_cut_and_every_flipped_byte_is_found(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shard"
    content = write(path, [random_segment(3, "float16", seed=n) for n in range(3)])
    for length in range(len(content)):
        if not is_at_record_edge(content, length):
            path.write_bytes(content[:length])
            with pytest.raises(errors.InputError, match=r"record \d is cut"):
                list(records.read_segments(str(path), 4, "float16"))
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(errors.InputError, match=r"record \d"):
            list(records.read_segments(str(path), 4, "float16"))


def is_at_record_edge(content: bytes, length: int) -> bool:
    edge = 0
    while edge < length:
        edge += 16 + int.from_bytes(content[edge : edge + 8], "little")
    return edge == length


def test_another_example_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "shard"
    path.write_bytes(records.frame(b"not an example"))
    with pytest.raises(errors.InputError, match=r"record 0 is not a segment.*shard"):
        list(records.read_segments(str(path), 4, "float16"))
