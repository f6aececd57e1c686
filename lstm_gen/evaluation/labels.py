"""Label classifier: kernel ridge regression on sounds, to verify the labels of generated ones.

It is fitted to real sounds only. A sound is described by log power over time and frequency between
its first and last loud frame, resampled to the same number of steps whatever its length. Hundreds
of examples are enough, and fitting is deterministic.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn import kernel_ridge

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import inputs, table
from lstm_gen.generation import conditioning
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

_STEPS = 12  # of time, after resampling
_BANDS = 24
_QUIET_DB = 35.0  # below the loudest frame; quieter frames at both ends are cut off
_RIDGE = 0.1
_DB_PER_NAT = 10 / np.log(10)


def evaluate(given: inputs.Inputs) -> list[table.Table]:
    """Classify songs generated with each class of a label, by a classifier of real sounds.

    Songs are as long as a training window.

    Returns:
      A table per run: accuracy on held-out sounds and on the songs of each prior.

    Raises:
      InputError: If a model is not conditioned on the label.
    """
    name, tables = given.settings.label, []
    for run in given.runs:
        errors.require(
            name in run.condition,
            "label must be one that the model is conditioned on: "
            + (", ".join(run.condition) or "it was trained without --condition"),
            label=name,
            run_dir=run.directory,
        )
        tables.append(_evaluate_run(given, run, name))
    return tables


def _evaluate_run(given: inputs.Inputs, run: runs.Run, name: str) -> table.Table:
    """Return the table of a run."""
    dataset = given.dataset(run)
    classifier = fit(*_read_sounds(dataset, run, "train", name))
    held_out, names = _read_sounds(dataset, run, "validation", name)
    rows, notes = [_row("held-out sounds", names, classifier.predict(held_out), held_out)], []
    for prior in given.priors():
        songs = given.settings.songs(prior)
        requested = [classifier.classes[i % len(classifier.classes)] for i in range(songs.n_songs)]
        values = [
            drawn | {name: labels.parse(run.conditioning, name, one)}
            for drawn, one in zip(conditioning.of_songs(run, songs), requested, strict=True)
        ]
        clips = given.generate(run, songs, values, run.window.timesteps)
        features = extract_features(list(clips), run.audio, run.normalisation)
        predicted = classifier.predict(features)
        title = f"songs, {prior}" if prior else "songs"
        rows.append(_row(title, requested, predicted, features))
        of_class = []
        for one in classifier.classes:
            own = [
                found for found, wanted in zip(predicted, requested, strict=True) if wanted == one
            ]
            if own:
                of_class.append(f"{one} {accuracy([one] * len(own), own):.0%}")
        notes.append(f"{title}, by class: {', '.join(of_class)}")
    columns = [f"{run.directory}, {name}", "accuracy", "sounds", "distance within a class"]
    return table.Table(columns=columns, rows=rows, notes=notes)


def _read_sounds(
    dataset: manifest.Dataset, run: runs.Run, split: str, name: str
) -> tuple[np.ndarray, list[str]]:
    """Return features and classes of the sounds of a split whose class is known."""
    found = [
        one for one in inputs.segments(dataset, split) if one.values.get(name) not in (None, ())
    ]
    errors.require(
        bool(found),
        f"the {split} split must hold sounds with a known value of the label",
        label=name,
    )
    frames = [one.frames for one in found]
    features = extract_features(frames, run.audio, run.normalisation)
    return features, [_text(one.values[name]) for one in found]


def _row(title: str, names: list[str], predicted: list[str], features: np.ndarray) -> list[str]:
    """Return a row of the table."""
    distance = spread(features, names)
    return [title, f"{accuracy(names, predicted):.1%}", str(len(names)), f"{distance:.1f}"]


def _text(value: labels.Value) -> str:
    """Return the value of a label as users write it."""
    return "+".join(value) if isinstance(value, tuple) else f"{value:g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fitted classifier.

    Attributes:
      classes: The classes, sorted.
      centre: Mean of the features, [features].
      scale: Standard deviation of the features, with a lower limit, [features].
      regression: From scaled features to a score for each class.
    """

    classes: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    regression: kernel_ridge.KernelRidge

    def predict(self, features: np.ndarray) -> list[str]:
        """Return the class of each sound, of features [sounds, features]."""
        scores = self.regression.predict((features - self.centre) / self.scale)
        return [self.classes[index] for index in scores.argmax(axis=1)]


def fit(features: np.ndarray, names: Sequence[str]) -> Classifier:
    """Fit a classifier to real sounds.

    Args:
      features: Of `extract_features`, [sounds, features].
      names: The class of each sound.

    Raises:
      InputError: If there is only one class.
    """
    classes = tuple(sorted(set(names)))
    errors.require(len(classes) > 1, "a classifier needs two classes or more", classes=classes)
    centre = features.mean(axis=0)
    scale = np.maximum(features.std(axis=0), 0.1 * features.std())
    targets = np.array([[float(name == one) for one in classes] for name in names]) - 0.5
    # A Gaussian kernel as wide as the distance of two sounds.
    regression = kernel_ridge.KernelRidge(alpha=_RIDGE, kernel="rbf", gamma=1 / len(scale))
    regression.fit((features - centre) / scale, targets)
    return Classifier(classes=classes, centre=centre, scale=scale, regression=regression)


def extract_features(
    clips: Sequence[np.ndarray], audio: AudioConfig, statistics: normalisation.Normalisation
) -> np.ndarray:
    """Return the features of sounds of any length, [sounds, features].

    Args:
      clips: Normalised frames, each float [frames, channels], of logarithmic power.
      audio: Their analysis settings.
      statistics: Their normalisation.

    Raises:
      InputError: If the frames are not logarithms of power.
    """
    errors.require(
        audio.is_logarithmic,
        "the classifier reads logarithms of power; the dataset must be of log_mel, log_stft or "
        "complex_stft with instantaneous_frequency",
        representation=audio.representation,
    )
    return np.stack([_features(statistics.undo(clip), audio) for clip in clips])


def _features(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return log power over time and frequency, relative to its mean, then the log length."""
    is_mel = audio.representation == "log_mel"
    bins = audio.n_bands
    levels = frames[:, :bins].astype(np.float64)
    power = np.log(np.exp(levels).sum(axis=1))
    loud = np.flatnonzero(power > power.max() - _QUIET_DB / _DB_PER_NAT)
    levels = levels[loud[0] : loud[-1] + 1]
    edges = np.linspace(0, bins, _BANDS + 1) if is_mel else np.geomspace(1, bins, _BANDS + 1)
    starts = np.unique(edges[:-1].astype(int))
    bands = np.add.reduceat(levels, starts, axis=1) / np.diff([*starts, bins])
    places = np.linspace(0, len(bands) - 1, _STEPS)
    grid = np.stack([np.interp(places, np.arange(len(bands)), band) for band in bands.T])
    return np.append((grid - grid.mean()).ravel(), 2 * np.log(len(bands)))


def accuracy(names: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the fraction of sounds with the right predicted class."""
    return float(np.mean([one == other for one, other in zip(names, predicted, strict=True)]))


def spread(features: np.ndarray, names: Sequence[str]) -> float:
    """Return the root mean square distance of two sounds of a class; NaN without such a pair."""
    squares = []
    for name in set(names):
        own = features[np.array([one == name for one in names])]
        if len(own) > 1:
            squares.append(2 * own.var(axis=0, ddof=1).sum())
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")
