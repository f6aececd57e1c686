"""The labels that a model is told when it makes songs: those given, and draws for the others."""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_gen import config, runs
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
        values[name] = labels.parse(run.told, name, value)
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
    """Return the labels of each song: those given, and for the others its own draw."""
    fixed = given(run, songs)
    return [
        labels.draw(run.vocabulary, run.condition, songs.seed, song) | fixed
        for song in range(songs.n_songs)
    ]


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
