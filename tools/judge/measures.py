"""Measures of transcribed notes, and of the sound that they were heard in.

Notes are float [n, 3]: start and end in seconds, and MIDI pitch. Signals are float [samples], full
scale 1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import librosa
import numpy as np

# Probe-tone ratings of the pitch classes above a tonic. Source: Krumhansl and Kessler 1982.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_SOUNDING = 3  # posteriors of a frame that count as its notes
_RMS_FRAME, _RMS_HOP = 1024, 512
_RISE_FRAMES = 3  # to either side of an onset: 70 ms at 22.05 kHz
_QUIET = 1e-5


class Heard(NamedTuple):
    """What was heard in a clip.

    Attributes:
      notes: Notes a second.
      polyphony: Notes that sound at once, mean over time.
      length: Median length of a note, seconds; NaN without notes.
      confidence: Mean of each frame's three largest note posteriors, 0 to 1.
      key_fit: Correlation of pitch classes with the best key, at most 1; NaN without notes.
      onsets: Onsets of the sound a second.
      rise_db: Median rise of level at onsets, dB; NaN without onsets.
      level_db: Root mean square, dB of full scale.
      drift_db: Level of the last quarter minus that of the first, dB.
      f1: F1 of notes beside those of the clip that this is a copy of; NaN for no copy.
    """

    notes: float
    polyphony: float
    length: float
    confidence: float
    key_fit: float
    onsets: float
    rise_db: float
    level_db: float
    drift_db: float
    f1: float


def describe(
    notes: np.ndarray, posteriors: np.ndarray, samples: np.ndarray, rate: int, f1: float = math.nan
) -> Heard:
    """Describe a clip.

    Args:
      notes: Transcribed notes.
      posteriors: Of each pitch in each frame, [frames, pitches].
      samples: The clip.
      rate: Samples per second.
      f1: Agreement with the original of a copy.
    """
    seconds, quarter = len(samples) / rate, max(1, len(samples) // 4)
    lengths = notes[:, 1] - notes[:, 0]
    onsets = librosa.onset.onset_detect(y=samples, sr=rate, hop_length=_RMS_HOP)
    return Heard(
        notes=len(notes) / seconds,
        polyphony=float(lengths.sum() / seconds),
        length=float(np.median(lengths)) if len(notes) else math.nan,
        confidence=float(np.sort(posteriors, axis=1)[:, -_SOUNDING:].mean()),
        key_fit=key_fit(notes[:, 2], lengths),
        onsets=len(onsets) / seconds,
        rise_db=rise_db(samples, onsets),
        level_db=level_db(samples),
        drift_db=level_db(samples[-quarter:]) - level_db(samples[:quarter]),
        f1=f1,
    )


def key_fit(pitches: np.ndarray, weights: np.ndarray) -> float:
    """Return the correlation of a distribution of pitch classes with the best of 24 keys.

    Args:
      pitches: MIDI note numbers, [n].
      weights: Of each note, as its length, [n].

    Returns:
      At most 1; NaN if there is no note, or all classes are equally frequent.

    Source: the key-finding algorithm of Krumhansl and Schmuckler (Krumhansl 1990).
    """
    classes = np.bincount(pitches.astype(int) % 12, weights=weights, minlength=12)
    if np.ptp(classes) == 0:
        return math.nan
    keys = [np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)]
    return float(max(np.corrcoef(key, classes)[0, 1] for key in keys))


def rise_db(samples: np.ndarray, onsets: np.ndarray) -> float:
    """Return the median rise of level at onsets, dB; NaN without onsets.

    Args:
      samples: The signal.
      onsets: Frames of 512 samples at which onsets were found, [n].
    """
    rms = librosa.feature.rms(y=samples, frame_length=_RMS_FRAME, hop_length=_RMS_HOP)[0]
    level = 20 * np.log10(rms + _QUIET)
    rises = [
        level[onset : onset + _RISE_FRAMES + 1].max()
        - level[max(0, onset - _RISE_FRAMES) : onset + 1].min()
        for onset in onsets
    ]
    return float(np.median(rises)) if rises else math.nan


def level_db(samples: np.ndarray) -> float:
    """Return the root mean square of a signal, dB of full scale; -100 for silence."""
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64))) + _QUIET))


def mean(clips: Sequence[Heard]) -> Heard:
    """Return the mean of each measure over the clips that have it; NaN where none has."""
    columns = np.array(clips, np.float64).T
    known = [column[~np.isnan(column)] for column in columns]
    return Heard(*(float(column.mean()) if column.size else math.nan for column in known))
