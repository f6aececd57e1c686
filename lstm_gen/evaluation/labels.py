"""A small classifier of sounds, to hear whether a model made what it was asked for.

It knows real examples only, and looks at what lies between a sound's first and last loud frame: so
many log powers over time and frequency, whatever the sound's length. Ridge regression on
Gaussian kernels of these tells the classes apart; hundreds of examples are enough, and nothing is
left to chance.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn import kernel_ridge

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

_STEPS = 12  # of time that a sound is brought to
_BANDS = 24
_QUIET_DB = 35.0  # below a sound's loudest frame: before the first louder one it has not begun
_RIDGE = 0.1
_DB_PER_NAT = 10 / np.log(10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier:
    """What was learnt of real sounds.

    Attributes:
      names: The classes.
      centre: What was taken from a description, [features].
      scale: What it was divided by, [features].
      regression: From scaled descriptions to a score for each class.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    regression: kernel_ridge.KernelRidge

    def name(self, descriptions: np.ndarray) -> list[str]:
        """Return the class of each description, [sounds, features]."""
        scores = self.regression.predict((descriptions - self.centre) / self.scale)
        return [self.names[index] for index in scores.argmax(axis=1)]


def teach(descriptions: np.ndarray, names: Sequence[str]) -> Classifier:
    """Learn classes from real sounds.

    Args:
      descriptions: What `describe` returns, [sounds, features].
      names: The class of each.

    Raises:
      InputError: If there are not two classes.
    """
    classes = tuple(sorted(set(names)))
    errors.require(
        len(classes) > 1, "there must be two classes or more to tell apart", classes=classes
    )
    centre = descriptions.mean(axis=0)
    scale = np.maximum(descriptions.std(axis=0), 0.1 * descriptions.std())
    targets = np.array([[float(name == one) for one in classes] for name in names]) - 0.5
    # A Gaussian as wide as two sounds are apart.
    regression = kernel_ridge.KernelRidge(alpha=_RIDGE, kernel="rbf", gamma=1 / len(scale))
    regression.fit((descriptions - centre) / scale, targets)
    return Classifier(names=classes, centre=centre, scale=scale, regression=regression)


def describe(
    clips: Sequence[np.ndarray], audio: AudioConfig, statistics: normalisation.Normalisation
) -> np.ndarray:
    """Return descriptions of sounds of any lengths, [sounds, features].

    Args:
      clips: Normalised frames, each float [frames, channels], their levels logarithmic.
      audio: How they were made.
      statistics: How they were normalised.

    Raises:
      InputError: If the frames hold no logarithms of power.
    """
    errors.require(
        audio.is_logarithmic,
        "sounds are told apart by logarithms of power; the dataset must be of log_mel, log_stft or "
        "complex_stft with instantaneous_frequency",
        representation=audio.representation,
    )
    return np.stack([_describe(statistics.undo(clip), audio) for clip in clips])


def _describe(frames: np.ndarray, audio: AudioConfig) -> np.ndarray:
    """Return a sound's levels over time and frequency, relative to their mean, then its length."""
    is_mel = audio.representation == "log_mel"
    bins = audio.n_mels if is_mel else audio.n_bins_resolved
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


def agreement(wanted: Sequence[str], heard: Sequence[str]) -> float:
    """Return the share of sounds that are heard as what they were to be."""
    return float(np.mean([one == other for one, other in zip(wanted, heard, strict=True)]))


def spread(descriptions: np.ndarray, names: Sequence[str]) -> float:
    """Return the root mean square distance of two sounds of one class; NaN if all are alone."""
    squares = []
    for name in set(names):
        own = descriptions[np.array([one == name for one in names])]
        if len(own) > 1:
            squares.append(2 * own.var(axis=0, ddof=1).sum())
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")
