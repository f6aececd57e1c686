"""Labels (metadata) of recordings: classes, sets of values, numbers.

The value of a label is a tuple of texts (at most one if its kind is "class"), or for kind
"number" a float, or None if unknown. Records hold these values, so that a new class changes no
existing shard; the vocabulary in `dataset.json` encodes them as arrays for models. Needs no
TensorFlow.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.platform import errors

KINDS = ("class", "multi", "number")
PREFIX = "label/"
"""Prefix of a label's feature name, in records and in batches."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""Pattern of a label's name."""
UNLABELLED = -1
"""Class index of an unknown class."""

_SHOWN = 6  # values of a label in a summary
_LISTED = 40  # values in an error
_HIGHEST_NOTE = 127  # of MIDI

Value = tuple[str, ...] | float | None
Values = Mapping[str, Value]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """Vocabulary of one label over a dataset's recordings.

    Attributes:
      kind: One of `KINDS`.
      values: Every text that occurs, sorted; empty for numbers.
      minimum: Smallest number that occurs; None for texts, and if all are unknown.
      maximum: Largest number.
    """

    kind: str
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        errors.require(
            self.kind in KINDS, f"the kind of a label must be {' or '.join(KINDS)}", kind=self.kind
        )


Vocabulary = Mapping[str, Label]


def build(kinds: Mapping[str, str], recordings: Iterable[Values]) -> dict[str, Label]:
    """Return the vocabulary of recordings.

    Args:
      kinds: Name to kind, of every label.
      recordings: The labels of each usable recording.
    """
    found: dict[str, set[Any]] = {name: set() for name in kinds}
    for values in recordings:
        for name, value in values.items():
            found[name].update(value if isinstance(value, tuple) else {value} - {None})
    return {name: _describe(kind, found[name]) for name, kind in sorted(kinds.items())}


def encode(vocabulary: Vocabulary, values: Values) -> dict[str, np.ndarray]:
    """Return one recording's labels as arrays, by their names in a batch.

    Args:
      vocabulary: The dataset's.
      values: Some or all of the labels; missing ones are unknown.

    Returns:
      "label/NAME" to, by kind: class, int64 [], index into the sorted values, -1 if unknown;
      multi, float32 [n_values], 1 for those that apply; number, float32 [], NaN if unknown.

    Raises:
      InputError: If a text is not in the vocabulary.
    """
    return {
        f"{PREFIX}{name}": _encode(name, label, values.get(name))
        for name, label in vocabulary.items()
    }


def stack(vocabulary: Vocabulary, recordings: Iterable[Values]) -> dict[str, np.ndarray]:
    """Return the labels of several recordings as `encode` does, each array [recordings, ...]."""
    rows = [encode(vocabulary, values) for values in recordings]
    return {
        name: np.array([row[name] for row in rows], like.dtype).reshape(-1, *like.shape)
        for name, like in encode(vocabulary, {}).items()
    }


def to_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return a vocabulary as JSON values."""
    return {
        name: {"kind": label.kind, "minimum": label.minimum, "maximum": label.maximum}
        if label.kind == "number"
        else {"kind": label.kind, "values": list(label.values)}
        for name, label in vocabulary.items()
    }


def from_json(values: Mapping[str, Any]) -> dict[str, Label]:
    """Return the vocabulary that `to_json` wrote."""
    return {
        name: Label(**{**label, "values": tuple(label.get("values", ()))})
        for name, label in values.items()
    }


def parse(vocabulary: Vocabulary, name: str, text: str) -> Value:
    """Return the value of a label given as text, as in `pitch=60` or `mood=calm|slow`.

    Raises:
      InputError: If there is no such label or value, naming the existing ones.
    """
    errors.require(
        name in vocabulary,
        f"the labels of this dataset are: {', '.join(vocabulary) or 'none'}",
        label=f"{name}={text}",
    )
    label = vocabulary[name]
    if label.kind == "number":
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        errors.require(math.isfinite(number), f"label {name} must be a number", label=text)
        return number
    texts = tuple(text.split("|")) if label.kind == "multi" else (text,)
    errors.require(
        set(texts) <= set(label.values),
        f"label {name} must be one of {', '.join(label.values[:_LISTED])}"
        + (", ..." if len(label.values) > _LISTED else ""),
        label=f"{name}={text}",
    )
    return texts


def draw(vocabulary: Vocabulary, names: Iterable[str], seed: int, row: int) -> dict[str, Value]:
    """Draw a value of each label uniformly, determined by seed and song number alone."""
    drawn: dict[str, Value] = {}
    for place, name in enumerate(names):
        label, random = vocabulary[name], np.random.default_rng([seed, row, place])
        if label.kind == "number":
            low, high = label.minimum or 0.0, label.maximum or 0.0
            value = float(random.uniform(low, high))
            whole = low.is_integer() and high.is_integer()
            drawn[name] = float(round(value)) if whole else value
        else:
            values = label.values
            drawn[name] = (values[int(random.integers(len(values)))],) if values else ()
    return drawn


def transpose(values: Values, semitones: int) -> Values | None:
    """Return the labels of a recording that is transposed.

    A pitch, which is a label named "pitch" or "..._pitch", moves by the semitones; the others and
    unknown values stay.

    Returns:
      The labels, or None if a pitch would leave 0 to 127: that copy is not made.

    Raises:
      InputError: If a pitch is no MIDI note number.
    """
    moved = dict(values)
    for name, value in values.items():
        if name != "pitch" and not name.endswith("_pitch"):
            continue
        notes = [value] if isinstance(value, float) else value or ()
        pitches = [_read_note(name, note) + semitones for note in notes]
        if not all(0 <= pitch <= _HIGHEST_NOTE for pitch in pitches):
            return None
        if isinstance(value, float):
            moved[name] = pitches[0]
        elif value:
            # Numbers in names are often filled up with zeros: 060.
            texts = zip(value, pitches, strict=True)
            moved[name] = tuple(f"{round(pitch):0{len(text)}d}" for text, pitch in texts)
    return moved


def of_copies(values: Values, semitones: Iterable[int | str]) -> list[Values]:
    """Return the labels of a recording and of the transposed copies that are made of it."""
    moved = (transpose(values, int(number)) for number in semitones)
    return [values, *(one for one in moved if one is not None)]


def read_line(line: Mapping[str, Any]) -> dict[str, Value]:
    """Return a recording's labels from its line of `manifest.jsonl`."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in line["labels"].items()
    }


def find_differences(wanted: Values, found: Values) -> Iterator[str]:
    """Yield a phrase for each label whose value in a record differs from the manifest.

    Args:
      wanted: From the manifest.
      found: From a record; numbers there are float32.
    """
    for name in sorted({*wanted, *found}):
        value, other = wanted.get(name), found.get(name)
        rounded = float(np.float32(value)) if isinstance(value, float) else value
        if rounded != other or (name in wanted) != (name in found):
            yield f"label {name} {_show(value)}, but has {_show(other)}"


def describe(vocabulary: Vocabulary, recordings: Sequence[Values]) -> Iterator[str]:
    """Yield a line of text for each label.

    Args:
      vocabulary: The dataset's.
      recordings: The labels of the usable recordings.
    """
    for name, label in vocabulary.items():
        values = [recording[name] for recording in recordings]
        absent = sum(value in (None, ()) for value in values)
        lacking = f"; {absent} of {len(values)} recordings have none" if absent else ""
        if label.kind == "number":
            yield f"{name}: number from {_show(label.minimum)} to {_show(label.maximum)}{lacking}"
            continue
        counts = Counter(text for value in values if isinstance(value, tuple) for text in value)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{text} ({count})" for text, count in ranked[:_SHOWN])
        more = ", ..." if len(ranked) > _SHOWN else ""
        yield f"{name}: {label.kind}, {len(label.values)} values: {shown}{more}{lacking}"


def _describe(kind: str, found: set[Any]) -> Label:
    """Return the label of a kind with these texts or numbers."""
    if kind == "number":
        return Label(kind=kind, minimum=min(found, default=None), maximum=max(found, default=None))
    return Label(kind=kind, values=tuple(sorted(found)))


def _encode(name: str, label: Label, value: Value) -> np.ndarray:
    """Return the array of one label's value."""
    if label.kind == "number":
        return np.array(math.nan if value is None else value, np.float32)
    texts = value if isinstance(value, tuple) else ()
    unknown = sorted(set(texts) - set(label.values))
    errors.require(not unknown, f"label {name} must have values of the vocabulary", values=unknown)
    if label.kind == "multi":
        return np.array([text in texts for text in label.values], np.float32)
    return np.array(label.values.index(texts[0]) if texts else UNLABELLED, np.int64)


def _read_note(name: str, note: float | str) -> float:
    """Return a pitch as a number."""
    number = note if isinstance(note, float) else float(note) if note.isdecimal() else math.nan
    errors.require(
        0 <= number <= _HIGHEST_NOTE,
        f"label {name} must be a MIDI note number from 0 to {_HIGHEST_NOTE} to be transposed; "
        "leave it out with --label_names, or leave out --augment_semitones",
        **{name: note},
    )
    return number


def _show(value: Value) -> str:
    """Return a value as text."""
    if isinstance(value, tuple):
        return "|".join(value) or "none"
    return "none" if value is None else f"{value:g}"
