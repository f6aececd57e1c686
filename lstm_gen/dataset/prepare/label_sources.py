"""Label sources: folders, a CSV, NSynth's JSON or the names of the recordings.

Every source gives texts, by recording and label. The kind of a label is declared by the user,
fixed by the source, or inferred: "number" if all texts are numbers; else "multi", several values
of a set, if any text has a "|"; else "class".
"""

import csv
import dataclasses
import io
import json
import math
import pathlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.config.dataset import LabelConfig
from lstm_gen.dataset.format import labels
from lstm_gen.platform import errors, storage

_BETWEEN_VALUES = "|"
_FILES = {"csv": "labels.csv", "nsynth": "examples.json"}
_FILE_COLUMN = "file"
_LARGEST = float(np.finfo(np.float32).max)
_NSYNTH_KINDS = {
    "pitch": "number",
    "velocity": "number",
    "instrument_family": "class",
    "instrument_source": "class",
    "qualities": "multi",
}

Texts = dict[str, dict[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """Labels of all recordings.

    Attributes:
      kinds: Label to kind.
      values: Recording to its labels; each recording has all of them, known or not.
      unused_rows: Keys of rows that match no recording.
    """

    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    values: Mapping[str, labels.Values] = dataclasses.field(default_factory=dict)
    unused_rows: tuple[str, ...] = ()


class _Found(NamedTuple):
    """Label to kind, "" to be inferred; the texts; keys of rows that match no recording."""

    kinds: dict[str, str]
    texts: Texts
    unused_rows: Sequence[str] = ()


def read(source: LabelConfig, input_dir: str, names: Sequence[str]) -> Table:
    """Return the labels of recordings.

    Args:
      source: The label source, not "none".
      input_dir: Folder of the recordings.
      names: Of the recordings, "/"-separated, relative to the folder.

    Raises:
      InputError: If the source cannot be read, is inconsistent, or labels no recording.
    """
    found = _READERS[source.labels](source, input_dir, names)
    kinds = _choose(source.label_names, found.kinds)
    texts = {name: found.texts.get(name, {}) for name in names}
    kinds = {
        label: kind or _infer({values.get(label, "") for values in texts.values()} - {""})
        for label, kind in kinds.items()
    }
    table = {
        name: {
            label: _parse(values.get(label, ""), kind, label, name) for label, kind in kinds.items()
        }
        for name, values in texts.items()
    }
    errors.require(
        any(value not in ((), None) for values in table.values() for value in values.values()),
        f"--labels={source.labels} must give at least one recording a label; see --help",
        recordings=list(names[:3]),
        rows=list(found.unused_rows[:3]),
    )
    return Table(kinds=kinds, values=table, unused_rows=tuple(found.unused_rows))


def _read_folders(_: LabelConfig, __: str, names: Sequence[str]) -> _Found:
    """Read the label "folder": the first folder of each name."""
    texts = {name: {"folder": name.split("/")[0]} for name in names if "/" in name}
    return _Found({"folder": "class"}, texts)


def _read_pattern(source: LabelConfig, _: str, names: Sequence[str]) -> _Found:
    """Read the named groups of a regular expression over the names."""
    try:
        pattern = re.compile(source.labels_pattern)
    except re.error as error:
        raise errors.InputError(
            f"--labels_pattern must be a regular expression ({error}). "
            f"Received: labels_pattern={source.labels_pattern!r}"
        ) from error
    errors.require(
        bool(pattern.groupindex),
        r"--labels_pattern must have named groups, as in '(?P<pitch>\d+)_(?P<player>\w+)'",
        labels_pattern=source.labels_pattern,
    )
    matches = {name: pattern.search(name) for name in names}
    texts = {name: match.groupdict("") for name, match in matches.items() if match}
    return _Found(dict.fromkeys(pattern.groupindex, ""), texts)


def _read_csv(source: LabelConfig, input_dir: str, names: Sequence[str]) -> _Found:
    """Read the columns of a CSV whose column "file" names the recordings."""
    path = _path(source, input_dir)
    reader = csv.DictReader(io.StringIO(_read_text(path).removeprefix("\ufeff"), newline=""))
    columns = [column.strip() for column in reader.fieldnames or ()]
    errors.require(
        _FILE_COLUMN in columns and len(columns) > 1,
        f"--labels_file must begin with the line {_FILE_COLUMN},NAME_OF_A_LABEL,...",
        labels_file=path,
        columns=columns,
    )
    reader.fieldnames = columns
    rows: Texts = {}
    for row in reader:
        key = (row[_FILE_COLUMN] or "").strip()
        errors.require(
            None not in row and None not in row.values() and key != "" and key not in rows,
            f"--labels_file must have one row per file with {len(columns)} values; see line "
            f"{reader.line_num}",
            labels_file=path,
            file=key,
        )
        rows[key] = {name: text.strip() for name, text in row.items() if name != _FILE_COLUMN}
    kinds = dict.fromkeys((name for name in columns if name != _FILE_COLUMN), "")
    return _Found(kinds, *_match(rows, names))


def _read_nsynth(source: LabelConfig, input_dir: str, names: Sequence[str]) -> _Found:
    """Read NSynth's notes, by the stem of each file.

    Source: https://magenta.tensorflow.org/datasets/nsynth (Engel et al., 2017).
    """
    path = _path(source, input_dir)
    try:
        notes = json.loads(_read_text(path))
        rows = {key: _read_note(note) for key, note in notes.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.InputError(
            "--labels_file must be NSynth's examples.json, with pitch, velocity, "
            f"instrument_family_str, instrument_source_str and qualities_str ({error!r}). "
            f"Received: labels_file={path!r}"
        ) from error
    return _Found(dict(_NSYNTH_KINDS), *_match(rows, names))


def _read_note(note: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a note."""
    return {
        "pitch": str(note["pitch"]),
        "velocity": str(note["velocity"]),
        "instrument_family": note["instrument_family_str"],
        "instrument_source": note["instrument_source_str"],
        "qualities": _BETWEEN_VALUES.join(note["qualities_str"]),
    }


_READERS: dict[str, Callable[[LabelConfig, str, Sequence[str]], _Found]] = {
    "folder": _read_folders,
    "csv": _read_csv,
    "nsynth": _read_nsynth,
    "pattern": _read_pattern,
}


def _path(source: LabelConfig, input_dir: str) -> str:
    """Return the path of a source's file, by default in the folder of the recordings."""
    path = source.labels_file or storage.join(input_dir, _FILES[source.labels])
    errors.require(
        storage.exists(path) and not storage.is_directory(path),
        f"--labels={source.labels} needs a file; name it with --labels_file",
        labels_file=path,
    )
    return path


def _read_text(path: str) -> str:
    try:
        return storage.read_text(path)
    except UnicodeDecodeError as error:
        raise errors.InputError(
            f"--labels_file must be UTF-8 text ({error.reason}). Received: labels_file={path!r}"
        ) from error


def _match(rows: Texts, names: Sequence[str]) -> tuple[Texts, list[str]]:
    """Match rows to recordings by name, with or without suffix, or by the last part of the name.

    Returns:
      Recording to texts, for recordings that have a row; the keys of rows without a recording.

    Raises:
      InputError: If a row's key is the last part of several names.
    """
    matched = {name: key for name in names if (key := _pick(rows, name))}
    exact = set(matched.values())
    by_key: dict[str, list[str]] = defaultdict(list)
    for name in names:
        last = name.rsplit("/", 1)[-1]
        if name not in matched and (key := _pick(rows, last)) and key not in exact:
            matched[name] = key
            by_key[key].append(name)
    for key, several in by_key.items():
        errors.require(
            len(several) == 1,
            "a row of --labels_file must match one recording; write the names with their folders",
            row=key,
            recordings=several[:3],
        )
    used = set(matched.values())
    return {name: rows[key] for name, key in matched.items()}, [k for k in rows if k not in used]


def _pick(rows: Texts, name: str) -> str:
    """Return the key of the row for a name, with its suffix or without; or ""."""
    without = str(pathlib.PurePosixPath(name).with_suffix(""))
    return name if name in rows else without if without in rows else ""


def _choose(label_names: str, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the selected labels, by default all, and their kinds, "" to be inferred."""
    chosen = {}
    for entry in filter(None, (part.strip() for part in label_names.split(","))):
        name, _, kind = entry.partition(":")
        errors.require(
            name in kinds and (kind in labels.KINDS or entry == name),
            f"--label_names must be among {', '.join(kinds)}, each alone or with :class, :multi "
            "or :number",
            label_names=entry,
        )
        chosen[name] = kind or kinds[name]
    chosen = chosen or dict(kinds)
    for name in chosen:
        errors.require(
            bool(labels.NAME.fullmatch(name)),
            "a label's name must begin with a letter and have only letters A-Z, a-z, digits and _; "
            "rename the column or group, or choose others with --label_names",
            name=name,
        )
    return chosen


def _infer(texts: Collection[str]) -> str:
    """Infer the kind of a label from its texts."""
    if texts and all(_is_number(text) for text in texts):
        return "number"
    return "multi" if any(_BETWEEN_VALUES in text for text in texts) else "class"


def _parse(text: str, kind: str, label: str, name: str) -> labels.Value:
    """Return the value of a text."""
    if kind == "number":
        errors.require(
            text == "" or _is_number(text), f"label {label} must be a number", **{name: text}
        )
        return float(text) if text else None
    text = text.encode("utf-8", "replace").decode()  # the name of a folder may not be UTF-8
    parts = text.split(_BETWEEN_VALUES) if kind == "multi" else [text]
    return tuple(sorted({part.strip() for part in parts} - {""}))


def _is_number(text: str) -> bool:
    """Whether a text is a finite float32; "1_000" and "nan" are not."""
    try:
        return "_" not in text and math.isfinite(float(text)) and abs(float(text)) <= _LARGEST
    except ValueError:
        return False
