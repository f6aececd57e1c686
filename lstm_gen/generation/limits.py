"""Limits of songs: loudness and flux that stretches of real music have, and failures beyond them.

A song that runs away is too loud or too restless for a while, one that dies too quiet, one that
freezes too still. Limits are found in real music when a model is calibrated, and stored with its
weights; songs beyond them are drawn again.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.special

from lstm_gen.config.audio import AudioConfig
from lstm_gen.runs import run as runs

FACT = "limits"
"""Name of the limits among the facts stored with the weights."""

_WINDOW_SECONDS = 4.0
_HOP_SECONDS = 0.5
_PERCENTILES = (1, 99)
_MARGIN_NATS = 0.7  # 3 dB
_MARGIN_FACTOR = 1.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Ranges of the means over any 4 s of a song.

    Attributes:
      quietest: Least loudness, the log of a frame's total power, nats.
      loudest: Largest loudness, nats.
      stillest: Least spectral flux, nats a frame.
      wildest: Largest spectral flux, nats a frame.
    """

    quietest: float
    loudest: float
    stillest: float
    wildest: float


def of_run(run: runs.Run) -> Limits | None:
    """Return the limits stored with the weights of a run; None if there are none."""
    found = run.facts().get(FACT)
    return Limits(**found) if found else None


def apply_to(audio: AudioConfig) -> bool:
    """Whether frames have a loudness and a flux: they are logarithms of power, without phases."""
    return audio.is_logarithmic and not audio.has_phase_steps


def fit(clips: Sequence[np.ndarray], frames_per_second: float) -> Limits:
    """Return the limits of real music, with margins of 3 dB and half of the flux.

    Args:
      clips: float [frames, channels], logarithms of power, not normalised.
      frames_per_second: Frame rate, Hz.
    """
    windows = [_windows(clip, frames_per_second) for clip in clips]
    levels, fluxes = (np.concatenate(parts) for parts in zip(*windows, strict=True))
    quietest, loudest = np.percentile(levels, _PERCENTILES)
    stillest, wildest = np.percentile(fluxes, _PERCENTILES)
    return Limits(
        quietest=round(float(quietest) - _MARGIN_NATS, 4),
        loudest=round(float(loudest) + _MARGIN_NATS, 4),
        stillest=round(float(stillest) / _MARGIN_FACTOR, 6),
        wildest=round(float(wildest) * _MARGIN_FACTOR, 6),
    )


def excesses(song: np.ndarray, limits: Limits, frames_per_second: float) -> dict[str, float]:
    """Return how far a song is beyond the limits, by the name of the failure; {} if it is within.

    Args:
      song: float [frames, channels], as for `fit`.
      limits: The limits.
      frames_per_second: Frame rate, Hz.

    Returns:
      "fell silent", "grew too loud", "froze" or "ran wild" to the mean excess over all stretches:
      of loudness in nats, of flux in its logarithm. Infinite for frames that are not finite.
    """
    if not np.isfinite(song).all():
        return {"ran wild": math.inf}
    levels, fluxes = _windows(song, frames_per_second)
    changes = np.log(np.maximum(fluxes, 1e-9))
    beyond = {
        "fell silent": limits.quietest - levels,
        "grew too loud": levels - limits.loudest,
        "froze": math.log(max(limits.stillest, 1e-9)) - changes,
        "ran wild": changes - math.log(max(limits.wildest, 1e-9)),
    }
    means = {name: float(np.maximum(values, 0).mean()) for name, values in beyond.items()}
    return {name: value for name, value in means.items() if value > 0}


def loudness(frames: np.ndarray) -> np.ndarray:
    """Return the log of the total power of frames of logarithms, nats, [frames]."""
    return np.asarray(scipy.special.logsumexp(frames, axis=-1))


def flux(frames: np.ndarray) -> np.ndarray:
    """Return the mean rise over channels from each frame to the next, nats, [frames - 1]."""
    return np.asarray(np.maximum(np.diff(frames, axis=0), 0).mean(axis=-1))


def _windows(frames: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loudness and flux of stretches of 4 s, or of the whole if it is shorter."""
    levels = loudness(frames.astype(np.float64))
    changes = flux(frames.astype(np.float64)) if len(frames) > 1 else np.zeros(1)
    length, hop = (max(1, round(seconds * rate)) for seconds in (_WINDOW_SECONDS, _HOP_SECONDS))
    return _means(levels, length, hop), _means(changes, length, hop)


def _means(values: np.ndarray, length: int, hop: int) -> np.ndarray:
    length = min(length, len(values))
    return np.lib.stride_tricks.sliding_window_view(values, length)[::hop].mean(axis=-1)
