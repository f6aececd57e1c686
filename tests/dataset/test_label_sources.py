import json
import pathlib

import pytest

from lstm_gen.config.dataset import LabelConfig
from lstm_gen.dataset.prepare import label_sources
from lstm_gen.platform import errors

NAMES = ["rock/a.wav", "rock/b.flac", "jazz/deep/c.wav", "d.wav"]


def read(
    folder: pathlib.Path | str = "", names: list[str] | None = None, **source: str
) -> label_sources.Table:
    return label_sources.read(LabelConfig(**source), str(folder), names or NAMES)


def read_csv(folder: pathlib.Path, text: str, **source: str) -> label_sources.Table:
    (folder / "labels.csv").write_bytes(text.encode())
    return read(folder, None, labels="csv", **source)


def test_the_first_folder_is_a_class() -> None:
    table = read(labels="folder")
    assert table.kinds == {"folder": "class"}
    assert [table.values[name]["folder"] for name in NAMES] == [
        ("rock",),
        ("rock",),
        ("jazz",),
        (),
    ]
    assert table.unused_rows == ()


def test_folders_that_are_numbers_are_classes_unless_declared() -> None:
    assert read(names=["7/a.wav"], labels="folder").values == {"7/a.wav": {"folder": ("7",)}}
    table = read(names=["7/a.wav"], labels="folder", label_names="folder:number")
    assert table.values == {"7/a.wav": {"folder": 7.0}}


def test_columns_of_a_table_have_inferred_kinds(tmp_path: pathlib.Path) -> None:
    text = "\ufefffile, pitch ,mood,key\r\nrock/a.wav,60, calm | slow ,C\r\nd,-1e2,calm,\r\n"
    table = read_csv(tmp_path, text)
    assert table.kinds == {"pitch": "number", "mood": "multi", "key": "class"}
    assert table.values["rock/a.wav"] == {
        "pitch": 60.0,
        "mood": ("calm", "slow"),
        "key": ("C",),
    }
    assert table.values["d.wav"] == {"pitch": -100.0, "mood": ("calm",), "key": ()}
    assert table.values["rock/b.flac"] == {"pitch": None, "mood": (), "key": ()}


def test_labels_can_be_chosen_and_their_kinds_declared(tmp_path: pathlib.Path) -> None:
    text = "file,pitch,a column,key\na,60,x|y,C|D\n"
    table = read_csv(tmp_path, text, label_names="pitch:class, key:class")
    assert table.values["rock/a.wav"] == {"pitch": ("60",), "key": ("C|D",)}


@pytest.mark.parametrize("number", ["1_000", "nan", "inf", "1e39", "x"])
def test_what_is_no_finite_number_is_a_class(number: str, tmp_path: pathlib.Path) -> None:
    table = read_csv(tmp_path, f"file,x\na,1\nb,{number}\n")
    assert table.kinds == {"x": "class"}
    with pytest.raises(errors.InputError, match=f"label x must be a number.*b.flac='{number}'"):
        read_csv(tmp_path, f"file,x\na,1\nb,{number}\n", label_names="x:number")


@pytest.mark.parametrize("key", ["rock/a.wav", "rock/a", "a.wav", "a"])
def test_rows_name_recordings_with_or_without_folder_and_suffix(
    key: str, tmp_path: pathlib.Path
) -> None:
    table = read_csv(tmp_path, f"file,x\n{key},y\nnobody,z\nnothing.wav,z\n")
    assert table.values["rock/a.wav"] == {"x": ("y",)}
    assert table.unused_rows == ("nobody", "nothing.wav")


def test_a_row_with_the_whole_name_is_of_no_other_recording(tmp_path: pathlib.Path) -> None:
    (tmp_path / "labels.csv").write_text("file,x\na.wav,y\n")
    table = read(tmp_path, ["a.wav", "deep/a.wav"], labels="csv")
    assert table.values == {"a.wav": {"x": ("y",)}, "deep/a.wav": {"x": ()}}


def test_a_row_of_several_recordings_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "labels.csv").write_text("file,x\na.wav,y\n")
    with pytest.raises(errors.InputError, match=r"match one recording.*deeper/a\.wav"):
        read(tmp_path, ["deep/a.wav", "deeper/a.wav"], labels="csv")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must begin with the line file,NAME"),
        ("name,x\na,1\n", "must begin with the line file,NAME"),
        ("file\na\n", "must begin with the line file,NAME"),
        ("file,x\na,1\na,2\n", "see line 3.*file='a'"),
        ("file,x\na,1,2\n", "see line 2"),
        ("file,x\na\n", "see line 2"),
        ("file,x\n,1\n", "see line 2"),
        ("file,x\nnobody,1\n", "must give at least one recording a label.*'nobody'"),
        ("file,x\na,\n", "must give at least one recording a label"),
        ("file,x y\na,1\n", "must begin with a letter.*name='x y'"),
        ("file,x/y\na,1\n", "must begin with a letter"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    text: str, expected: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(errors.InputError, match=expected):
        read_csv(tmp_path, text)


def test_a_table_that_is_missing_or_no_text_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.InputError, match="name it with --labels_file"):
        read(tmp_path, labels="csv")
    (tmp_path / "labels.csv").write_bytes(b"file,x\na,\xff\n")
    with pytest.raises(errors.InputError, match="must be UTF-8 text"):
        read(tmp_path, labels="csv")


@pytest.mark.parametrize("entry", ["pitch", "x:text", "x:", ":number"])
def test_label_names_that_do_not_fit_are_refused(entry: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        errors.InputError, match=f"must be among x, .*Received: label_names='{entry}'"
    ):
        read_csv(tmp_path, "file,x\na,1\n", label_names=entry)


def test_named_groups_are_labels() -> None:
    names = ["7_theo_0.wav", "note_altosax_060_100.wav", "8_theo_1.wav"]
    table = read(names=names, labels="pattern", labels_pattern=r"^(?P<digit>\d)_(?P<who>\w+?)_")
    assert table.kinds == {"digit": "number", "who": "class"}
    assert table.values["7_theo_0.wav"] == {"digit": 7.0, "who": ("theo",)}
    assert table.values["note_altosax_060_100.wav"] == {"digit": None, "who": ()}
    pattern = r"_(?P<pitch>\d{3})_(?P<take>x)?"
    table = read(names=names, labels="pattern", labels_pattern=pattern, label_names="pitch")
    assert table.values["note_altosax_060_100.wav"] == {"pitch": 60.0}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"(\d)_", "must have named groups"),
        (r"(?P<digit>\d", "must be a regular expression.*unterminated"),
        (r"(?P<digit>\d{9})", "must give at least one recording a label.*rock/a.wav"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(pattern: str, expected: str) -> None:
    with pytest.raises(errors.InputError, match=expected):
        read(labels="pattern", labels_pattern=pattern)


NOTE = {
    "note": 201034,
    "pitch": 106,
    "velocity": 75,
    "instrument": 417,
    "instrument_str": "guitar_acoustic_021",
    "instrument_family": 3,
    "instrument_family_str": "guitar",
    "instrument_source": 0,
    "instrument_source_str": "acoustic",
    "qualities": [0, 1, 0, 0, 0, 0, 0, 1, 0, 0],
    "qualities_str": ["percussive", "dark"],
    "sample_rate": 16000,
}


def test_nsynth_is_read_by_the_stem_of_its_files(tmp_path: pathlib.Path) -> None:
    notes = {"guitar_acoustic_021-106-075": NOTE, "guitar_acoustic_021-107-075": NOTE}
    (tmp_path / "examples.json").write_text(json.dumps(notes))
    name = "audio/guitar_acoustic_021-106-075.wav"
    table = read(tmp_path, [name, "audio/mine.wav"], labels="nsynth")
    assert table.values[name] == {
        "pitch": 106.0,
        "velocity": 75.0,
        "instrument_family": ("guitar",),
        "instrument_source": ("acoustic",),
        "qualities": ("dark", "percussive"),
    }
    assert table.values["audio/mine.wav"]["qualities"] == ()
    assert table.unused_rows == ("guitar_acoustic_021-107-075",)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"pitch": 1}}'])
def test_another_json_is_refused(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "examples.json").write_text(text)
    with pytest.raises(errors.InputError, match=r"must be NSynth's examples\.json"):
        read(tmp_path, labels="nsynth")
