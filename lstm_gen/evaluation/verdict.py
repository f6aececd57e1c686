"""Verdict on a trained model in a few plain sentences: how its songs sound, and what to do next."""

import math
from typing import NamedTuple

from lstm_gen.evaluation import calibration
from lstm_gen.models import base

_DB = 10 / math.log(10)  # of a nat of power
_LEVEL_NATS = 1.0
_MUSH, _BLURRED, _HARD = 0.5, 0.8, 1.5
_FADES, _SOFT = 0.6, 0.8
_SIGNIFICANT = 2.0  # standard errors
_STILL_IMPROVING, _OVERFITTED = 0.85, 0.6  # of the steps, at the best validation


class Training(NamedTuple):
    """What a training was.

    Attributes:
      steps: Optimizer steps done.
      best_step: Step of the best validation; 0 without any.
      minutes: Training music, minutes.
      is_transposed: Whether it has transposed copies.
    """

    steps: int
    best_step: int
    minutes: float
    is_transposed: bool


def describe_sampling(sampling: base.Sampling, scores: calibration.Scores) -> str:
    """Return the settings that were chosen and what they give, in a line."""
    parts = [
        _loudness(scores),
        f"onsets {scores.onset_rate:.1f}/s (real {scores.onset_rate_real:.1f})",
        f"clarity {scores.clarity:.2f} of real",
    ]
    if scores.memorisation is not None:
        parts.append(f"distance to the training music {scores.memorisation:.2f} of held-out's")
    return (
        f"temperature {sampling.temperature:g}, neighbour_weight {sampling.neighbour_weight:g}: "
        + ", ".join(parts)
    )


def lines(scores: calibration.Scores, training: Training) -> list[str]:
    """Return the verdict, 3 to 6 sentences, the last of them the next thing to do."""
    said = [_predictions(scores), _notes(scores), _strikes(scores), _level(scores), _copies(scores)]
    return [line for line in [*said, _next(scores, training)] if line]


def _predictions(scores: calibration.Scores) -> str:
    gap, error = scores.energy_gap, scores.energy_error
    if gap is None or error is None:
        return ""
    figures = f"energy score {gap:+.4f}, standard error {error:.4f}"
    if abs(gap) < _SIGNIFICANT * error:
        return f"predicts held-out music no better and no worse than a linear predictor, {figures}"
    verb = "beats" if gap < 0 else "does not beat"
    return f"{verb} a linear predictor, VAR(3), on held-out music: {figures}"


def _notes(scores: calibration.Scores) -> str:
    value = scores.clarity
    if value < _MUSH:
        return f"mush: the gaps between partials are filled, clarity {value:.2f} of real music's"
    if value < _BLURRED:
        return f"blurred notes: clarity {value:.2f} of real music's"
    if value > _HARD:
        return f"notes barer than real ones, clarity {value:.2f} of real music's"
    return f"clear notes, clarity {value:.2f} of real music's"


def _strikes(scores: calibration.Scores) -> str:
    value, rate = scores.onset_strength, scores.onset_rate / max(scores.onset_rate_real, 1e-9)
    how = "strikes" if value >= _SOFT else "strikes softly" if value >= _FADES else "fades"
    often = "too often" if rate > 1.5 else "too seldom" if rate < 1 / 1.5 else "as often as it"
    return (
        f"{how}: onsets rise {value:.2f} times as high as in real music, {often} "
        f"({scores.onset_rate:.1f}/s beside {scores.onset_rate_real:.1f})"
    )


def _level(scores: calibration.Scores) -> str:
    if abs(scores.drift) > _LEVEL_NATS:
        way = "grows louder" if scores.drift > 0 else "grows quieter"
        return f"does not keep its level: {way} by {abs(scores.drift) * _DB:.1f} dB in 12 s"
    return f"keeps its level; {_loudness(scores)}"


def _loudness(scores: calibration.Scores) -> str:
    worst = max((scores.quiet, scores.median, scores.loud), key=abs)
    if abs(worst) <= _LEVEL_NATS:
        return "loudness as in real music"
    name = {scores.quiet: "quiet passages", scores.loud: "loud passages"}.get(worst, "loudness")
    return f"{name} {abs(worst) * _DB:.1f} dB {'above' if worst > 0 else 'below'} real music's"


def _copies(scores: calibration.Scores) -> str:
    value = scores.memorisation
    if value is None:
        return "no held-out music to judge copies by"
    near = "keeps its distance from" if value >= calibration.MEMORISATION else "stays close to"
    return f"{near} the training music: {value:.2f} of held-out music's distance"


def _next(scores: calibration.Scores, training: Training) -> str:
    """Return the advice."""
    more = "record more music"
    if not training.is_transposed:
        more += ", or prepare it with --augment_semitones=-3,-2,-1,0,1,2,3"
    part = training.best_step / max(training.steps, 1)
    copies = scores.memorisation is not None and scores.memorisation < calibration.MEMORISATION
    if part >= _STILL_IMPROVING:
        return f"next: train on, --steps={2 * training.steps}; the last validation was the best"
    if 0 < part < _OVERFITTED or copies:
        why = "it stays close to what it learnt" if copies else f"best at step {training.best_step}"
        return f"next: {more}; {why}, and {training.minutes:.0f} min are little"
    poor = scores.clarity < _BLURRED or scores.onset_strength < _FADES
    loses = scores.energy_gap is not None and scores.energy_gap >= 0
    if poor or loses:
        return f"next: a larger preset (--preset=music), or {more}"
    return "next: listen; for longer forms, --preset=music"
