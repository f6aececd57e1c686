"""Judge whether a model makes what it is asked for, by a classifier of real sounds.

  python -m tools.evaluate_labels --run_dir=run --label=digit [--n_songs=200] [--prior=gmm]

teaches a small classifier the classes of a label on the training split, tests it on the held-out
split, and asks it what songs are that the model was told to make, as many of each class. Songs are
as long as a training window.
"""

import dataclasses
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from flags import (
    asked_flags,
    command,
    device_flags,
    evaluation_flags,
    judged_flags,
    samples_flags,
    storage_flags,
)
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import labelled
from lstm_gen.evaluation import labels as classes
from lstm_gen.generation import conditioning, request
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs
from tools import judging


def main() -> None:
    """Print the table, and write it if asked to."""
    name, rows = asked_flags.label(), []
    for run_dir in judged_flags.run_dirs():
        run = runs.load(run_dir)
        errors.require(
            name in run.condition,
            "label must be one that the model was trained to be told: "
            + (", ".join(run.condition) or "it was trained without --condition"),
            label=name,
            run_dir=run_dir,
        )
        rows.append(_judge(run_dir, run, name))
    judging.tell("\n\n".join(rows))


def _judge(run_dir: str, run: runs.Run, name: str) -> str:
    """Return the table of a run."""
    dataset = judging.load_dataset({run_dir: run})
    known, names = _real(dataset, run, "train", name)
    held_out, wanted = _real(dataset, run, "validation", name)
    classifier = classes.fit(known, names)
    lines = [
        f"| {run_dir}, {name} | agrees | of | two of a class apart |",
        "| --- | ---: | ---: | ---: |",
        _row("held-out sounds", wanted, classifier.predict(held_out), held_out),
    ]
    details = []
    for prior in samples_flags.priors():
        clips, asked = _make(run, name, classifier.classes, prior, dataset.data_dir)
        made = classes.extract_features(clips, run.audio, run.normalisation)
        heard = classifier.predict(made)
        title = f"songs, {prior}" if prior else "songs"
        lines.append(_row(title, asked, heard, made))
        shares = (
            f"{one} {classes.accuracy([one] * asked.count(one), _where(heard, asked, one)):.0%}"
            for one in classifier.classes
        )
        details.append(f"{title}, by class: {', '.join(shares)}")
    return "\n".join([*lines, "", *details])


def _real(
    dataset: manifest.Dataset, run: runs.Run, split: str, name: str
) -> tuple[np.ndarray, list[str]]:
    """Return descriptions of a split's sounds of which the class is known, and that class."""
    found = [
        one for one in labelled.segments(dataset, split) if one.values.get(name) not in (None, ())
    ]
    errors.require(
        bool(found), f"the {split} split must hold sounds of which the label is known", label=name
    )
    described = classes.extract_features(
        [one.frames for one in found], run.audio, run.normalisation
    )
    return described, [_text(one.values[name]) for one in found]


def _make(
    run: runs.Run, name: str, names: Sequence[str], prior: str, data_dir: str
) -> tuple[list[np.ndarray], list[str]]:
    """Return the frames of songs, and the class that each was asked to be."""
    songs = evaluation_flags.config(prior)
    asked = [names[song % len(names)] for song in range(songs.n_songs)]
    values = [
        drawn | {name: labels.parse(run.conditioning, name, one)}
        for drawn, one in zip(conditioning.of_songs(run, songs), asked, strict=True)
    ]
    model_request = dataclasses.replace(
        request.for_model(songs, run),
        n_frames=run.window.timesteps,
        labels=conditioning.encode(run, values),
    )
    return list(judging.make_songs(run, songs, data_dir, model_request)), asked


def _row(name: str, wanted: list[str], heard: list[str], described: np.ndarray) -> str:
    apart = classes.spread(described, wanted)
    return f"| {name} | {classes.accuracy(wanted, heard):.1%} | {len(wanted)} | {apart:.1f} |"


def _where(heard: list[str], asked: list[str], name: str) -> list[str]:
    """Return what was heard where a class was asked for."""
    return [one for one, wanted in zip(heard, asked, strict=True) if wanted == name]


def _text(value: labels.Value) -> str:
    """Return a label's value as users write it."""
    return "+".join(value) if isinstance(value, tuple) else f"{value:g}"


def run() -> NoReturn:
    """Run the command."""
    command.run(
        main,
        asked_flags,
        judged_flags,
        evaluation_flags,
        samples_flags,
        device_flags,
        storage_flags,
    )


if __name__ == "__main__":
    run()
