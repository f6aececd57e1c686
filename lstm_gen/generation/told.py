"""The labels that a model is told when it makes songs: those given, and draws for the others."""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_gen import config, models, runs
from lstm_gen.data import labels
from lstm_gen.generation import song_config


def given(run: runs.Run, songs: song_config.SongConfig) -> dict[str, labels.Value]:
    """Return the labels that were asked for.

    Raises:
      InputError: If the model is not told such a label, or there is no such value.
    """
    values = {}
    for text in songs.label:
        name, sign, value = text.partition("=")
        config.require(sign == "=", "label must be NAME=VALUE, as in --label pitch=60", label=text)
        config.require(
            name in run.condition,
            "label must be one that the model was trained to be told: "
            + (", ".join(run.condition) or "it was trained without --condition"),
            label=text,
        )
        ends = _ends(run, name, value)
        values[name] = labels.parse(run.told, name, ends[0] if ends else value)
    return values


def require_complete(run: runs.Run, songs: song_config.SongConfig) -> None:
    """Refuse to work on a recording of which the model is not told what it needs to be.

    Raises:
      InputError: Naming what is missing.
    """
    missing = sorted(set(run.condition) - set(given(run, songs)))
    config.require(
        not missing,
        "the model is told labels; say what the recording is, as in "
        + " ".join(f"--label {name}=..." for name in missing),
        missing=",".join(missing),
    )


def of_songs(run: runs.Run, songs: song_config.SongConfig) -> list[dict[str, labels.Value]]:
    """Return the labels of each song: those given, and for the others its own draw.

    On a way between two values a number is what it is at the song's place; a class is that of the
    nearer end. Songs on a way have all other labels in common.
    """
    fixed, ways = given(run, songs), between(run, songs)
    found = []
    for song, share in enumerate(shares(songs)):
        values = labels.draw(run.vocabulary, run.condition, songs.seed, 0 if ways else song) | fixed
        for name, (first, last) in ways.items():
            if isinstance(first, float) and isinstance(last, float):
                values[name] = (1 - share) * first + share * last
            else:
                values[name] = last if share > 0.5 else first
        found.append(values)
    return found


def between(
    run: runs.Run, songs: song_config.SongConfig
) -> dict[str, tuple[labels.Value, labels.Value]]:
    """Return the two ends of each label that songs are to go from one value to another of.

    Raises:
      InputError: If there is no such label or value, or the model knows nothing between values.
    """
    found = {}
    for text in songs.label:
        name, _, value = text.partition("=")
        ends = _ends(run, name, value)
        if ends:
            first, last = (labels.parse(run.told, name, end) for end in ends)
            found[name] = first, last
    return found


def shares(songs: song_config.SongConfig) -> list[float]:
    """Return where each song is on the way from the first value to the last, 0 to 1."""
    return [song / max(1, songs.n_songs - 1) for song in range(songs.n_songs)]


def encode_songs(run: runs.Run, songs: song_config.SongConfig) -> dict[str, np.ndarray]:
    """Return the labels of songs as `Controls` has them, those between classes as parts of each."""
    encoded = encode(run, of_songs(run, songs))
    for name, ends in between(run, songs).items():
        if run.told[name].kind == "class":
            first, last = (encode(run, [{name: end}])[f"label/{name}"][0] for end in ends)
            whole = np.eye(len(run.told[name].values), dtype=np.float32)
            parts = [(1 - share) * whole[first] + share * whole[last] for share in shares(songs)]
            encoded[f"label/{name}"] = np.asarray(parts, np.float32)
    return encoded


def _ends(run: runs.Run, name: str, text: str) -> list[str]:
    """Return both values of `FIRST|LAST`; none for a set, whose values are separated so too."""
    parts = text.split("|")
    if len(parts) != 2 or name not in run.told or run.told[name].kind == "multi":
        return []
    able = ", ".join(one.name for one in models.FAMILIES if "between" in one.controls)
    config.require(
        "between" in run.family.controls,
        f"a label from one value to another is for models {able}; give it one value",
        model=run.family.name,
        label=f"{name}={text}",
    )
    return parts


def encode(run: runs.Run, values: Sequence[Mapping[str, labels.Value]]) -> dict[str, np.ndarray]:
    """Return labels as a batch has them, "label/NAME" to an array with a row for each."""
    return labels.stack(run.told, values)


def parse_transfer(run: runs.Run, text: str) -> tuple[str, tuple[int, int]]:
    """Return the label and the classes' places of `NAME:FROM:TO`.

    Raises:
      InputError: If the dataset has no such label or class.
    """
    parts = text.split(":")
    classes = {one.name for one in run.signal.classes}
    config.require(
        len(parts) == 3 and parts[0] in classes,
        "transfer must be NAME:FROM:TO, NAME a label that is one of several classes "
        f"({', '.join(sorted(classes)) or 'the dataset has none'})",
        transfer=text,
    )
    name, *ends = parts
    for end in ends:
        labels.parse(run.vocabulary, name, end)
    first, last = (run.vocabulary[name].values.index(end) for end in ends)
    return name, (first, last)
