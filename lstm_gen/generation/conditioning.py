"""Conditioning labels of songs: those of the request, and random draws for the others."""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_gen import models
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

Ends = tuple[labels.Value, labels.Value]


def given(run: runs.Run, config: GenerationConfig) -> dict[str, labels.Value]:
    """Return the labels of the request; of an interpolated one the first value.

    Raises:
      InputError: If the model is not conditioned on such a label, or there is no such value.
    """
    values = {}
    for text in config.label:
        name, sign, value = text.partition("=")
        errors.require(sign == "=", "label must be NAME=VALUE, as in --label pitch=60", label=text)
        errors.require(
            name in run.condition,
            "label must be one that the model was conditioned on in training: "
            + (", ".join(run.condition) or "it was trained without --condition"),
            label=text,
        )
        errors.require(name not in values, f"label {name} is given twice; give it once", label=text)
        values[name] = _parse(run, name, (_ends(run, config, name, value) or [value])[0])
    return values


def require_complete(run: runs.Run, config: GenerationConfig) -> None:
    """Refuse to encode a recording unless every conditioning label of it is given.

    Raises:
      InputError: Naming the missing labels.
    """
    missing = sorted(set(run.condition) - set(given(run, config)))
    errors.require(
        not missing,
        "the model is conditioned on labels; give those of the recording, as in "
        + " ".join(f"--label {name}=..." for name in missing),
        missing=",".join(missing),
    )


def between(run: runs.Run, config: GenerationConfig) -> dict[str, Ends]:
    """Return the first and the last value of each label that is interpolated over the songs.

    Raises:
      InputError: If there is no such label or value, or the model does not support interpolation.
    """
    found = {}
    for text in config.label:
        name, _, value = text.partition("=")
        ends = _ends(run, config, name, value)
        if ends:
            first, last = (_parse(run, name, end) for end in ends)
            found[name] = first, last
    return found


def fractions(n_songs: int, single: float = 0.0) -> list[float]:
    """Return equally spaced positions from 0 to 1, one for each song.

    Args:
      n_songs: Number of songs.
      single: Position of the song if there is only one.
    """
    return [song / (n_songs - 1) for song in range(n_songs)] if n_songs > 1 else [single]


def of_songs(
    run: runs.Run, config: GenerationConfig, positions: Sequence[float] = ()
) -> list[dict[str, labels.Value]]:
    """Return the labels of each song: those of the request, and random draws for the others.

    A number that is interpolated has its value at the song's position, a class that of the nearer
    end. Interpolated songs have all other labels in common.

    Args:
      run: Run of the model.
      config: The request.
      positions: Position of each song between the two values, 0 to 1; equally spaced if empty.
    """
    fixed, interpolated = given(run, config), between(run, config)
    found = []
    for song, position in enumerate(positions or fractions(config.n_songs)):
        draw = 0 if interpolated else song
        values = labels.draw(run.vocabulary, run.condition, config.seed, draw) | fixed
        for name, (first, last) in interpolated.items():
            if isinstance(first, float) and isinstance(last, float):
                values[name] = (1 - position) * first + position * last
            else:
                values[name] = last if position > 0.5 else first
        found.append(values)
    return found


def encode_songs(
    run: runs.Run, config: GenerationConfig, positions: Sequence[float] = ()
) -> dict[str, np.ndarray]:
    """Return the labels of songs as arrays, an interpolated class as a mixture of both classes.

    For the arguments see `of_songs`, for the arrays `models.base.GenerationRequest`.
    """
    encoded = encode(run, of_songs(run, config, positions))
    for name, ends in between(run, config).items():
        if run.conditioning[name].kind == "class":
            first, last = (encode(run, [{name: end}])[f"label/{name}"][0] for end in ends)
            one_hot = np.eye(len(run.conditioning[name].values), dtype=np.float32)
            mixtures = [
                (1 - position) * one_hot[first] + position * one_hot[last]
                for position in positions or fractions(config.n_songs)
            ]
            encoded[f"label/{name}"] = np.asarray(mixtures, np.float32)
    return encoded


def encode(run: runs.Run, values: Sequence[Mapping[str, labels.Value]]) -> dict[str, np.ndarray]:
    """Return labels as in a batch, "label/NAME" to an array with a row for each song."""
    return labels.stack(run.conditioning, values)


def parse_transfer(run: runs.Run, config: GenerationConfig) -> tuple[str, tuple[str, str]]:
    """Return the label and the two classes of `--transfer=NAME:FROM:TO`.

    Raises:
      InputError: If the dataset has no such label or class, or --label contradicts FROM.
    """
    parts = config.transfer.split(":")
    classes = {one.name for one in run.spec.classes}
    errors.require(
        len(parts) == 3 and parts[0] in classes,
        "transfer must be NAME:FROM:TO, NAME a label that is one of several classes "
        f"({', '.join(sorted(classes)) or 'the dataset has none'})",
        transfer=config.transfer,
    )
    name, first, last = parts
    for end in (first, last):
        labels.parse(run.vocabulary, name, end)
    errors.require(
        given(run, config).get(name, (first,)) == (first,),
        f"the label of the recording must be the class it is moved from, --label {name}={first}",
        label=",".join(config.label),
        transfer=config.transfer,
    )
    return name, (first, last)


def _parse(run: runs.Run, name: str, text: str) -> labels.Value:
    """Return the value of a label; a number must lie within the range of the dataset."""
    value, label = labels.parse(run.conditioning, name, text), run.conditioning[name]
    if isinstance(value, float) and label.minimum is not None and label.maximum is not None:
        errors.require(
            label.minimum <= value <= label.maximum,
            f"label {name} must lie within the dataset's, {label.minimum:g} to {label.maximum:g}",
            label=f"{name}={text}",
        )
    return value


def _ends(run: runs.Run, config: GenerationConfig, name: str, text: str) -> list[str]:
    """Return both values of `FIRST|LAST`, or []; a set's values are separated by | as well.

    Between two recordings every conditioned model can interpolate labels.
    """
    parts = text.split("|")
    if len(parts) != 2 or name not in run.conditioning or run.conditioning[name].kind == "multi":
        return []
    supporting = models.names_with(lambda one: "between" in one.controls)
    errors.require(
        "between" in run.family.controls or bool(config.interpolate),
        f"interpolation between two values of a label is for models {supporting}; give one value",
        model=run.settings.family,
        label=f"{name}={text}",
    )
    return parts
