import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.config.dataset import LabelConfig
from lstm_gen.dataset.format import labels, records
from lstm_gen.platform import errors

KINDS = {"genre": "class", "mood": "multi", "pitch": "number"}
RECORDINGS: list[labels.Values] = [
    {"genre": ("rock",), "mood": ("calm", "slow"), "pitch": 60.0},
    {"genre": ("jazz",), "mood": (), "pitch": 60.5},
    {"genre": (), "mood": ("loud",), "pitch": None},
]
VOCABULARY = labels.build(KINDS, RECORDINGS)
SEGMENT = records.Segment(
    np.array([[1.0, -2.0], [0.5, 3.0]], np.float16),
    300,
    7,
    {"pitch": 60.0, "mood": ("calm", "slow"), "genre": ()},
)
# As the protobuf specification gives it; it must never change.
GOLDEN = (
    "0a8f01"
    "0a16" "0a06" "6672616d6573" "120c" "0a0a" "0a08" "003c00c000380042"
    "0a13" "0a0b" "6c6162656c2f67656e7265" "1204" "0a02" "0a00"
    "0a1c" "0a0a" "6c6162656c2f6d6f6f64" "120e" "0a0c" "0a0463616c6d" "0a04736c6f77"
    "0a17" "0a0b" "6c6162656c2f7069746368" "1208" "1206" "0a0400007042"
    "0a13" "0a09" "7265636f7264696e67" "1206" "1a04" "0a02" "ac02"
    "0a14" "0a0b" "73746172745f6672616d65" "1205" "1a03" "0a01" "07"
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": "json"}, "labels must be one of none, folder"),
        ({"labels": "pattern"}, "needs labels_pattern"),
        ({"labels_pattern": "(?P<a>.)"}, "needs labels_pattern"),
        ({"labels": "folder", "labels_file": "a.csv"}, "labels_file is for csv or nsynth"),
        ({"label_names": "pitch"}, "none has names"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        LabelConfig(**values)


def test_the_vocabulary_is_what_occurs_sorted() -> None:
    assert {
        "genre": labels.Label(kind="class", values=("jazz", "rock")),
        "mood": labels.Label(kind="multi", values=("calm", "loud", "slow")),
        "pitch": labels.Label(kind="number", minimum=60.0, maximum=60.5),
    } == VOCABULARY
    assert labels.build(KINDS, reversed(RECORDINGS)) == VOCABULARY
    assert labels.from_json(labels.to_json(VOCABULARY)) == VOCABULARY


def test_a_number_that_nothing_has_has_no_range() -> None:
    vocabulary = labels.build({"pitch": "number"}, [{"pitch": None}])
    assert vocabulary == {"pitch": labels.Label(kind="number")}
    assert list(labels.describe(vocabulary, [{"pitch": None}])) == [
        "pitch: number from none to none; 1 of 1 recordings have none"
    ]


def test_values_become_arrays() -> None:
    encoded = labels.encode(VOCABULARY, RECORDINGS[0])
    assert list(encoded) == ["label/genre", "label/mood", "label/pitch"]
    assert encoded["label/genre"] == 1
    np.testing.assert_array_equal(encoded["label/mood"], [1, 0, 1])
    assert encoded["label/pitch"] == 60
    assert [array.dtype for array in encoded.values()] == [np.int64, np.float32, np.float32]
    assert [array.shape for array in encoded.values()] == [(), (3,), ()]


@pytest.mark.parametrize("values", [{}, {"genre": (), "mood": (), "pitch": None}])
def test_what_is_not_known_becomes_arrays_too(values: labels.Values) -> None:
    encoded = labels.encode(VOCABULARY, values)
    assert encoded["label/genre"] == -1
    assert not encoded["label/mood"].any()
    assert np.isnan(encoded["label/pitch"])
    assert [array.dtype for array in encoded.values()] == [np.int64, np.float32, np.float32]


def test_a_text_of_another_dataset_is_refused() -> None:
    with pytest.raises(errors.InputError, match=r"label mood must have .*Received: .*'sad'"):
        labels.encode(VOCABULARY, {"mood": ("sad",)})


def test_the_format_of_labels_does_not_change() -> None:
    assert records.encode(SEGMENT).hex() == GOLDEN


def test_the_bytes_of_labels_are_those_of_protobuf_itself() -> None:
    def feature(**values: object) -> tf.train.Feature:
        ((kind, value),) = values.items()
        lists = {"bytes": tf.train.BytesList, "float": tf.train.FloatList}
        lists["int64"] = tf.train.Int64List
        return tf.train.Feature(**{f"{kind}_list": lists[kind](value=value)})

    values = {
        "frames": feature(bytes=[SEGMENT.frames.tobytes()]),
        "recording": feature(int64=[300]),
        "start_frame": feature(int64=[7]),
        "label/genre": feature(bytes=[b""]),
        "label/mood": feature(bytes=[b"calm", b"slow"]),
        "label/pitch": feature(float=[60.0]),
    }
    example = tf.train.Example(features=tf.train.Features(feature=values))
    assert records.encode(SEGMENT) == example.SerializeToString(deterministic=True)


@pytest.mark.parametrize("values", [*RECORDINGS, {}, {"name": ("Ærø 🎻",), "level": -1.5e-30}])
def test_records_hold_labels(values: labels.Values) -> None:
    segment = SEGMENT._replace(labels=values)
    decoded = records.decode(records.encode(segment), 2, "float16")
    assert decoded.labels.keys() == values.keys()
    assert not list(labels.find_differences(values, decoded.labels))
    np.testing.assert_array_equal(decoded.frames, segment.frames)
    assert decoded[1:3] == segment[1:3]


def test_a_number_is_kept_as_float32() -> None:
    decoded = records.decode(records.encode(SEGMENT._replace(labels={"x": 0.1})), 2, "float16")
    assert decoded.labels == {"x": float(np.float32(0.1))}
    assert not list(labels.find_differences({"x": 0.1}, decoded.labels))


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ({"a": ("x",)}, {"a": ("y",)}, "label a x, but has y"),
        ({"a": ("x",)}, {}, "label a x, but has none"),
        ({}, {"a": ()}, "label a none, but has none"),
        ({"a": 1.0}, {"a": 1.001}, "label a 1, but has 1.001"),
        ({"a": None}, {"a": 1.0}, "label a none, but has 1"),
    ],
)
def test_differences_are_named(wanted: labels.Values, found: labels.Values, expected: str) -> None:
    assert list(labels.find_differences(wanted, found)) == [expected]


def test_labels_are_described_with_their_commonest_values() -> None:
    recordings: list[labels.Values] = [
        {"key": (text,), "pitch": float(index)} for index, text in enumerate("abcdefghcdd")
    ]
    vocabulary = labels.build({"key": "class", "pitch": "number"}, recordings)
    assert list(labels.describe(vocabulary, [*recordings, {"key": (), "pitch": None}])) == [
        "key: class, 8 values: d (3), c (2), a (1), b (1), e (1), f (1), ...; "
        "1 of 12 recordings have none",
        "pitch: number from 0 to 10; 1 of 12 recordings have none",
    ]


def test_nan_is_no_number_in_python() -> None:
    with_nan = SEGMENT._replace(labels={"pitch": math.nan})
    assert records.decode(records.encode(with_nan), 2, "float16").labels == {"pitch": None}


SPOKEN = {
    "digit": labels.Label(kind="class", values=("0", "1", "2")),
    "mood": labels.Label(kind="multi", values=("calm", "slow")),
    "pitch": labels.Label(kind="number", minimum=21.0, maximum=108.0),
    "level": labels.Label(kind="number", minimum=0.25, maximum=0.75),
}


def test_what_somebody_types_becomes_a_value() -> None:
    assert labels.parse(SPOKEN, "digit", "2") == ("2",)
    assert labels.parse(SPOKEN, "mood", "calm|slow") == ("calm", "slow")
    assert labels.parse(SPOKEN, "pitch", "60") == 60.0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("key", "c", "labels of this dataset are: digit, mood, pitch, level.*'key=c'"),
        ("digit", "7", "label digit must be one of 0, 1, 2.*'digit=7'"),
        ("mood", "calm|loud", "label mood must be one of calm, slow"),
        ("pitch", "high", "label pitch must be a number.*'high'"),
        ("pitch", "nan", "label pitch must be a number"),
    ],
)
def test_what_is_no_value_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        labels.parse(SPOKEN, name, text)


def test_drawn_labels_are_a_function_of_seed_and_song() -> None:
    drawn: list[dict[str, Any]] = [labels.draw(SPOKEN, SPOKEN, 3, song) for song in range(200)]
    assert drawn[7] == labels.draw(SPOKEN, SPOKEN, 3, 7)
    assert {song["digit"] for song in drawn} == {("0",), ("1",), ("2",)}
    pitches = {song["pitch"] for song in drawn}
    assert len(pitches) > 40
    assert all(21 <= pitch <= 108 and pitch == round(pitch) for pitch in pitches)
    assert all(0.25 <= song["level"] <= 0.75 for song in drawn)
    labels.stack(SPOKEN, drawn)  # every draw is a value of the vocabulary


def test_a_label_without_any_value_is_drawn_as_none() -> None:
    empty = {"mood": labels.Label(kind="class", values=())}
    assert labels.draw(empty, empty, 0, 0) == {"mood": ()}
