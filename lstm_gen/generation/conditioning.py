"""The labels that a model is told when it makes songs: those given, and draws for the others."""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_gen import models
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs


def given(run: runs.Run, songs: GenerationConfig) -> dict[str, labels.Value]:
    """Return the labels that were asked for.

    Raises:
      InputError: If the model is not told such a label, or there is no such value.
    """
    values = {}
    for text in songs.label:
        name, sign, value = text.partition("=")
        errors.require(sign == "=", "label must be NAME=VALUE, as in --label pitch=60", label=text)
        errors.require(
            name in run.condition,
            "label must be one that the model was trained to be told: "
            + (", ".join(run.condition) or "it was trained without --condition"),
            label=text,
        )
        errors.require(name not in values, f"label {name} is given twice; give it once", label=text)
        values[name] = _parse(run, name, (_ends(run, songs, name, value) or [value])[0])
    return values


def _parse(run: runs.Run, name: str, text: str) -> labels.Value:
    """Return the value of a label; of numbers only those that lie within what there is."""
    value, label = labels.parse(run.conditioning, name, text), run.conditioning[name]
    if isinstance(value, float) and label.minimum is not None and label.maximum is not None:
        errors.require(
            label.minimum <= value <= label.maximum,
            f"label {name} must lie within the dataset's, {label.minimum:g} to {label.maximum:g}",
            label=f"{name}={text}",
        )
    return value


def require_complete(run: runs.Run, songs: GenerationConfig) -> None:
    """Refuse to work on a recording of which the model is not told what it needs to be.

    Raises:
      InputError: Naming what is missing.
    """
    missing = sorted(set(run.condition) - set(given(run, songs)))
    errors.require(
        not missing,
        "the model is told labels; say what the recording is, as in "
        + " ".join(f"--label {name}=..." for name in missing),
        missing=",".join(missing),
    )


def of_songs(
    run: runs.Run, songs: GenerationConfig, shares: Sequence[float] = ()
) -> list[dict[str, labels.Value]]:
    """Return the labels of each song: those given, and for the others its own draw.

    On a way between two values a number is what it is at the song's place; a class is that of the
    nearer end. Songs on a way have all other labels in common.

    Args:
      run: Of the model.
      songs: What is asked for.
      shares: Where each song is on the way, 0 to 1; in equal steps from the first value if empty.
    """
    fixed, ways = given(run, songs), between(run, songs)
    found = []
    for song, share in enumerate(shares or _steps(songs)):
        values = labels.draw(run.vocabulary, run.condition, songs.seed, 0 if ways else song) | fixed
        for name, (first, last) in ways.items():
            if isinstance(first, float) and isinstance(last, float):
                values[name] = (1 - share) * first + share * last
            else:
                values[name] = last if share > 0.5 else first
        found.append(values)
    return found


def between(run: runs.Run, songs: GenerationConfig) -> dict[str, tuple[labels.Value, labels.Value]]:
    """Return the two ends of each label that songs are to go from one value to another of.

    Raises:
      InputError: If there is no such label or value, or the model knows nothing between values.
    """
    found = {}
    for text in songs.label:
        name, _, value = text.partition("=")
        ends = _ends(run, songs, name, value)
        if ends:
            first, last = (_parse(run, name, end) for end in ends)
            found[name] = first, last
    return found


def _steps(songs: GenerationConfig) -> list[float]:
    """Return where each song is on the way from the first value to the last, 0 to 1."""
    return [song / max(1, songs.n_songs - 1) for song in range(songs.n_songs)]


def encode_songs(
    run: runs.Run, songs: GenerationConfig, shares: Sequence[float] = ()
) -> dict[str, np.ndarray]:
    """Return the labels of songs as arrays; a value between classes as the fraction of each.

    For the arguments see `of_songs`.
    """
    encoded = encode(run, of_songs(run, songs, shares))
    for name, ends in between(run, songs).items():
        if run.conditioning[name].kind == "class":
            first, last = (encode(run, [{name: end}])[f"label/{name}"][0] for end in ends)
            whole = np.eye(len(run.conditioning[name].values), dtype=np.float32)
            parts = [
                (1 - share) * whole[first] + share * whole[last]
                for share in shares or _steps(songs)
            ]
            encoded[f"label/{name}"] = np.asarray(parts, np.float32)
    return encoded


def _ends(run: runs.Run, songs: GenerationConfig, name: str, text: str) -> list[str]:
    """Return both values of `FIRST|LAST`; none for a set, whose values are separated so too.

    Between two recordings any model that is told labels has them change on the way.
    """
    parts = text.split("|")
    if len(parts) != 2 or name not in run.conditioning or run.conditioning[name].kind == "multi":
        return []
    able = models.names_with(lambda one: "between" in one.controls)
    errors.require(
        "between" in run.family.controls or bool(songs.interpolate),
        f"a label from one value to another is for models {able}; give it one value",
        model=run.settings.family,
        label=f"{name}={text}",
    )
    return parts


def encode(run: runs.Run, values: Sequence[Mapping[str, labels.Value]]) -> dict[str, np.ndarray]:
    """Return labels as a batch has them, "label/NAME" to an array with a row for each."""
    return labels.stack(run.conditioning, values)


def parse_transfer(run: runs.Run, songs: GenerationConfig) -> tuple[str, tuple[str, str]]:
    """Return the label and the classes of `NAME:FROM:TO`.

    Raises:
      InputError: If the dataset has no such label or class, or the recording is said to be another.
    """
    parts = songs.transfer.split(":")
    classes = {one.name for one in run.spec.classes}
    errors.require(
        len(parts) == 3 and parts[0] in classes,
        "transfer must be NAME:FROM:TO, NAME a label that is one of several classes "
        f"({', '.join(sorted(classes)) or 'the dataset has none'})",
        transfer=songs.transfer,
    )
    name, first, last = parts
    for end in (first, last):
        labels.parse(run.vocabulary, name, end)
    errors.require(
        given(run, songs).get(name, (first,)) == (first,),
        f"the recording must be what it is moved from, --label {name}={first}",
        label=",".join(songs.label),
        transfer=songs.transfer,
    )
    return name, (first, last)
