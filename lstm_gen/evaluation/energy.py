"""Energy scores of models on held-out music: of predictions, and of songs.

A proper score that needs samples alone, so every family, every head and the linear VAR(3) compare
by it; a likelihood only compares densities of one kind. Scored are patches of four frames,
normalised.

  predictions  the frames that follow held-out histories, sampled, beside those that did follow
  songs        patches of free-running songs, or of samples of a prior, beside patches held out

Source: Gneiting and Raftery 2007, the energy score.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lstm_gen.dataset.format import labels
from lstm_gen.evaluation import baselines, inputs, metrics, table
from lstm_gen.models import base
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

PATCH_FRAMES = 4
"""Frames of a scored patch."""

HISTORIES = 256
"""Scored histories of an evaluation."""

_SAMPLES = 4
_AT_ONCE = 256
MOST_PATCHES = 1500
"""Of songs, and of held-out music, in an evaluation: their distances take a second."""

VAR_NAME = "VAR(3), full covariance"

Sampler = Callable[[np.ndarray, int], np.ndarray]
"""From histories, float32 [rows, frames, channels], and a number of samples to sampled patches,
[samples, rows, PATCH_FRAMES, channels]."""


@dataclasses.dataclass(frozen=True)
class Histories:
    """Held-out histories, evenly spread, and what followed them.

    Attributes:
      frames: float32 [rows, frames, channels], normalised.
      following: float32 [rows, PATCH_FRAMES, channels].
      values: Labels of each.
    """

    frames: np.ndarray
    following: np.ndarray
    values: Sequence[labels.Values]


def predictions(
    chosen: Sequence[runs.Run],
    models: Mapping[str, base.AudioModel],
    var: baselines.VAR,
    held_out: Sequence[inputs.Example],
) -> table.Table:
    """Return the energy scores of predictions, worst first.

    Args:
      chosen: Runs of models that predict.
      models: Their models, by run directory.
      var: VAR(3), fitted to their training segments.
      held_out: Held-out segments.

    Raises:
      InputError: If no held-out segment holds a history and a patch.
    """
    histories = draw_histories(held_out, max(run.window.timesteps for run in chosen))
    scores = {VAR_NAME: score(sample_var(var), histories)}
    for run in chosen:
        scores[run.directory] = score(
            sample_model(run, models[run.directory], histories), histories
        )
    linear = scores[VAR_NAME]
    rows = []
    for name, found in sorted(scores.items(), key=lambda item: -item[1].mean()):
        gap = found - linear
        error = gap.std() / np.sqrt(len(gap))
        cells = ["", ""] if name == VAR_NAME else [f"{gap.mean():+.4f}", f"{error:.4f}"]
        rows.append([name, f"{found.mean():.4f}", *cells])
    return table.Table(
        columns=["held-out predictions", "energy score", "beside VAR(3)", "standard error"],
        rows=rows,
    )


def draw_histories(
    held_out: Sequence[inputs.Example], n_frames: int, most: int = HISTORIES
) -> Histories:
    """Return `most` histories of `n_frames`, or of as many as half of the longest segment has.

    Raises:
      InputError: If no segment holds a history and a patch.
    """
    longest = max((len(one.frames) for one in held_out), default=0)
    n_frames = max(baselines.LAGS, min(n_frames, longest // 2))
    whole = n_frames + PATCH_FRAMES
    errors.require(
        longest >= whole, f"held-out segments must have {whole} frames or more", longest=longest
    )
    edges = np.cumsum([0] + [max(0, len(one.frames) - whole + 1) for one in held_out])
    places = np.linspace(0, edges[-1] - 1, min(most, edges[-1])).round().astype(int)
    owners = np.searchsorted(edges, places, side="right") - 1
    starts = places - edges[owners]
    windows = np.stack(
        [held_out[i].frames[start : start + whole] for i, start in zip(owners, starts, strict=True)]
    )
    return Histories(
        windows[:, :n_frames], windows[:, n_frames:], [held_out[i].values for i in owners]
    )


def score(sampler: Sampler, histories: Histories, n_samples: int = _SAMPLES) -> np.ndarray:
    """Return the energy score of each history's samples, float64 [rows]."""
    sampled = np.nan_to_num(sampler(histories.frames, n_samples))
    rows = len(histories.frames)
    return metrics.energy_score(
        sampled.reshape(n_samples, rows, -1), histories.following.reshape(rows, -1)
    )


def sample_var(var: baselines.VAR, seed: int = 0) -> Sampler:
    """Return the sampler of a VAR."""

    def sample(history: np.ndarray, n_samples: int) -> np.ndarray:
        repeated = np.broadcast_to(history, (n_samples, *history.shape))
        return var.sample(repeated, PATCH_FRAMES, np.random.default_rng(seed))

    return sample


def sample_model(run: runs.Run, model: base.AudioModel, histories: Histories) -> Sampler:
    """Return the sampler of a model that predicts: short rollouts from histories, as learned."""
    conditions = labels.stack(run.conditioning, histories.values)

    def sample(history: np.ndarray, n_samples: int) -> np.ndarray:
        rows = np.tile(np.arange(len(history)), n_samples)
        parts = []
        for first in range(0, len(rows), _AT_ONCE):
            own = rows[first : first + _AT_ONCE]
            request = base.GenerationRequest(
                n_songs=len(own),
                n_frames=PATCH_FRAMES,
                first_song=first,
                labels={name: values[own] for name, values in conditions.items()},
            )
            parts.append(model.generate(request, history[own], lambda _: None))
        return np.concatenate(parts).reshape(n_samples, *history.shape[:1], PATCH_FRAMES, -1)

    return sample


def songs(
    groups: Mapping[str, Sequence[np.ndarray]], held_out: Sequence[np.ndarray]
) -> table.Table:
    """Return the energy scores of songs, each song float [frames, channels], beside held-out music.

    Args:
      groups: Songs or real clips, by their headings.
      held_out: Held-out segments.
    """
    observed, _ = patches(held_out)
    scores = {
        name: metrics.marginal_energy_score(*patches(some), observed)
        for name, some in groups.items()
    }
    return table.Table(
        columns=["patches beside held-out ones", "energy score"],
        rows=[[name, f"{value:.4f}"] for name, value in scores.items()],
    )


def patches(clips: Sequence[np.ndarray], most: int = MOST_PATCHES) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spread patches, float32 [patches, values], and the clip of each.

    Args:
      clips: float [frames, channels] each.
      most: Patches to return, where there are so many.
    """
    owners = np.repeat(np.arange(len(clips)), [len(clip) // PATCH_FRAMES for clip in clips])
    rows = np.concatenate(
        [
            clip[: len(clip) // PATCH_FRAMES * PATCH_FRAMES].reshape(
                -1, PATCH_FRAMES * clip.shape[1]
            )
            for clip in clips
        ]
    )
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return np.nan_to_num(rows[chosen].astype(np.float32)), owners[chosen]
