"""Free-running songs of a predictive model beside real music: metrics, and the ranges that pass.

Likelihood measures predictions from real frames; these metrics measure rollouts, in which a model
continues its own output. Each was kept because it detects a known failure (a drone, noise,
shuffled frames, a linear model's texture, a loop, a decay into silence) that the others pass. Use
16 clips or more: among six clips a single silent one changes a fraction by a sixth.

All frames are normalised log-mel; `mean` and `std`, the normalisation of the dataset, are
needed only for loudness. The ranges were found on one small solo-piano set: tentative.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
import tqdm

from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.evaluation import (
    baselines,
    calibration,
    energy,
    inputs,
    metrics,
    sound,
    table,
)
from lstm_gen.evaluation.table import Criterion
from lstm_gen.generation import request
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

_QUIET_PERCENTILE = 5
_RUNAWAY_MARGIN = 3.0  # least distance beyond a band's training range, deviations
_RUNAWAY_BANDS = 0.1  # a single band that is nearly constant in training may jump in real music
_CLAMP = 30.0  # deviations; keeps a diverged rollout from overflowing the other metrics
_CHUNK_SECONDS = 8.0
_LEAST_REPEAT_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Metrics of a set of clips; NaN where the data are too short.

    Attributes:
      variance_ratio: Variance of frames, generated over held-out, the median over mels.
      change_variance_ratio: The same of frame differences.
      modulation_db: Root mean square difference of modulation spectra, dB.
      local_frechet: Fréchet distance of local texture, generated to train.
      local_frechet_held_out: The same, held-out to train: the floor.
      flux_distance: Wasserstein distance of spectral flux, in deviations of held-out flux.
      kurtosis_ratio: Kurtosis of frame differences, median over mels, over held-out's.
      quiet_fraction: Fraction of generated frames under held-out's 5th percentile of loudness.
      drift: Loudness of the last 5 s minus that of the first 5 s, mean over clips, nats.
      repetition: Best correlation of a patch with an earlier one, mean, generated.
      repetition_held_out: The same of held-out.
      memorisation: Median distance of a generated patch to its nearest training patch, over
        held-out's: 0 for copies. A silent clip also comes out low; read it only when
        `variance_ratio` and `quiet_fraction` pass.
      runaway_fraction: Fraction of generated frames with NaN or infinity, or with a tenth of the
        bands beyond their training range by half of it (and by 3 deviations at least).
      n_clips: Generated clips.
      clip_seconds: Length of one.
      held_out_seconds: Held-out material of every metric except the next two.
      modulation_seconds: Held-out material in clips long enough for the modulation spectrum.
      n_repetition_chunks: Held-out chunks of `repetition_held_out`.
    """

    variance_ratio: float
    change_variance_ratio: float
    modulation_db: float
    local_frechet: float
    local_frechet_held_out: float
    flux_distance: float
    kurtosis_ratio: float
    quiet_fraction: float
    drift: float
    repetition: float
    repetition_held_out: float
    memorisation: float
    runaway_fraction: float
    n_clips: int
    clip_seconds: float
    held_out_seconds: float
    modulation_seconds: float
    n_repetition_chunks: int

    @property
    def local_frechet_ratio(self) -> float:
        """Fréchet distance of local texture to train, generated over held-out."""
        return _ratio(self.local_frechet, self.local_frechet_held_out)

    @property
    def repetition_difference(self) -> float:
        """Repetition, generated minus held-out."""
        return self.repetition - self.repetition_held_out


ACCEPTANCE = (
    Criterion("variance_ratio", 0.6, 1.7, "variance of frames, over held-out"),
    Criterion("change_variance_ratio", 0.6, 1.7, "variance of frame differences, over held-out"),
    Criterion("modulation_db", 0, 3.5, "modulation spectrum, distance from held-out, dB"),
    Criterion("local_frechet_ratio", 0, 2, "local Fréchet distance to train, over held-out's"),
    Criterion("flux_distance", 0, 0.4, "spectral flux, W1 from held-out, deviations"),
    Criterion("kurtosis_ratio", 0.45, 2, "kurtosis of frame differences, over held-out"),
    Criterion("quiet_fraction", 0, 0.12, "quiet frames (held-out: 0.05)"),
    Criterion("drift", -1, 1, "loudness, last 5 s minus first 5 s, nats"),
    Criterion("repetition_difference", -0.1, 0.1, "repetition, minus held-out's"),
    Criterion(
        "memorisation", 0.8, math.inf, "distance to the nearest training patch, over held-out's"
    ),
    Criterion("runaway_fraction", 0, 0, "frames far outside the training range"),
)
"""The ranges of a small solo-instrument run. For likelihood see `baselines`."""

_NOTE = (
    "Bold: outside the range that passes. Where training music itself is outside, the row says "
    "nothing of these data and is marked. Training music is a copy of itself, which the distance "
    "to the nearest training patch has to show."
)


def evaluate(given: inputs.Inputs) -> list[table.Table]:
    """Compare free-running songs with real music.

    Returns:
      Likelihoods of held-out music beside baselines, for models that have one of frames, a table
      for each shift; energy scores; `acceptance` of real music and of each run; the same of their
      sound.

    Raises:
      InputError: If the runs have different datasets, or one that is not of normalised log-mel.
    """
    dataset = given.dataset()
    _require_log_mel(dataset)
    examples = inputs.segments(dataset, "validation")
    train, held_out = inputs.frames_of(dataset, "train"), [one.frames for one in examples]
    clips, owners = given.clips(dataset, least=2 * metrics.PATCH_FRAMES)
    var = baselines.fit_var(train)
    reports = {
        title: measure(
            frames,
            held_out,
            train,
            dataset.audio,
            dataset.normalisation.mean,
            dataset.normalisation.std,
        )
        for title, frames in tqdm.tqdm(clips.items(), desc="measuring", leave=False)
    }
    return [
        *_likelihoods(given.runs, train, held_out),
        *_predictions(given, var, examples),
        _songs_energy(given, clips, var, held_out),
        dataclasses.replace(acceptance(reports), notes=[_NOTE, *_calibrated(given)]),
        *sound.compare_clips(given, dataset, clips, owners),
    ]


def _predictions(
    given: inputs.Inputs, var: baselines.VAR, held_out: Sequence[inputs.Example]
) -> list[table.Table]:
    """Return the table of energy scores of the runs whose models predict, if any does."""
    chosen = [run for run in given.runs if run.family.predicts]
    models = {run.directory: given.load_model(run) for run in chosen}
    return [energy.predictions(chosen, models, var, held_out)] if chosen else []


def _songs_energy(
    given: inputs.Inputs,
    clips: Mapping[str, np.ndarray],
    var: baselines.VAR,
    held_out: Sequence[np.ndarray],
) -> table.Table:
    """Return the table of energy scores of songs, with songs of VAR(3) beside them."""
    n_frames = round(given.settings.seconds * given.runs[0].audio.frames_per_second)
    linear = var.sample(
        clips[inputs.HELD_OUT][:, : baselines.LAGS],
        n_frames,
        np.random.default_rng(given.settings.seed),
    )
    groups = {**clips, "songs of VAR(3)": np.clip(linear, -_CLAMP, _CLAMP)}
    return energy.songs({title: list(some) for title, some in groups.items()}, held_out)


def _calibrated(given: inputs.Inputs) -> Iterator[str]:
    """Yield a note on the sampling settings of each run whose songs are made as calibrated."""
    for run in given.runs:
        facts = run.facts()
        sampling = request.sampling(given.settings.songs(), run)
        if calibration.SCORES in facts and sampling == run.sampling():
            scores = calibration.Scores(**facts[calibration.SCORES])
            described = calibration.describe_sampling(sampling, scores)
            yield f"{run.directory}, calibrated: {described}."


def _require_log_mel(dataset: manifest.Dataset) -> None:
    errors.require(
        (dataset.audio.representation, dataset.audio.normalisation) == ("log_mel", "standard"),
        "metrics of songs are in deviations of mel bands; the dataset must be of representation "
        "log_mel and normalisation standard",
        representation=dataset.audio.representation,
        normalisation=dataset.audio.normalisation,
    )


def _likelihoods(
    compared: Sequence[runs.Run], train: Sequence[np.ndarray], held_out: Sequence[np.ndarray]
) -> list[table.Table]:
    """Return the tables of held-out likelihoods of frames, of the runs that have one.

    Likelihoods compare only between models that predict equally far ahead: a table for each shift.
    """
    found: dict[int, dict[str, float]] = {}
    for run in compared:
        step, validated = inputs.validation(run)
        if run.window.shift and "nats_per_dim" in validated:
            scores = found.setdefault(run.window.shift, {})
            scores[f"{run.directory}, step {step}"] = validated["nats_per_dim"]
    return [
        _beside(scores, baselines.fit_and_score(train, held_out, shift=shift))
        for shift, scores in found.items()
    ]


def _beside(own: Mapping[str, float], baseline_scores: Mapping[str, float]) -> table.Table:
    """Return the table of likelihoods beside those of baselines, worst first."""
    scores, best = {**baseline_scores, **own}, min(baseline_scores.values())
    rows = [
        [title, f"{score:.3f}", f"{score - best:+.3f}"]
        for title, score in sorted(scores.items(), key=lambda item: -item[1])
    ]
    head = ["held-out music", "nats per frame and dimension", "beside the best baseline"]
    return table.Table(columns=head, rows=rows)


def measure(
    generated: np.ndarray,
    held_out: Sequence[np.ndarray],
    train: Sequence[np.ndarray],
    audio: AudioConfig,
    mean: np.ndarray,
    std: np.ndarray,
) -> Report:
    """Compare songs with held-out and training music.

    Args:
      generated: Normalised log-mel, float [clips, frames, mels], primers not included.
      held_out: Real segments, each float [frames, mels], normalised.
      train: Training segments, the same.
      audio: Gives the frame rate.
      mean: The normalisation's mean of each mel, float [mels].
      std: Its standard deviation, float [mels].

    Raises:
      InputError: If there are no clips, or they or a split are shorter than two patches.
    """
    _check(generated, held_out, train)
    rate = audio.frames_per_second
    clips = list(np.clip(np.nan_to_num(generated.astype(np.float64)), -_CLAMP, _CLAMP))
    real = [segment.astype(np.float64) for segment in held_out]
    frechet, frechet_real = metrics.local_frechet([clips, real], train)
    return Report(
        local_frechet=frechet,
        local_frechet_held_out=frechet_real,
        memorisation=_ratio(
            metrics.nearest_distance(clips, train), metrics.nearest_distance(real, train)
        ),
        runaway_fraction=_runaway_fraction(generated, train),
        n_clips=len(clips),
        clip_seconds=len(clips[0]) / rate,
        held_out_seconds=sum(map(len, real)) / rate,
        **_spread(clips, real),
        **_loudness(clips, real, mean, std, rate),
        **_modulation(clips, real, rate),
        **_repetition(clips, real, rate),
    )


def acceptance(reports: Mapping[str, Report]) -> table.Table:
    """Return the table of `ACCEPTANCE`, a column per report, and of the amount of material.

    A figure that training music fails, if it is among the reports, is marked as unusable.
    """
    real = reports.get(inputs.TRAINING)
    unusable = table.failed(ACCEPTANCE, real) - {"memorisation"} if real else set()
    found, columns = table.acceptance(ACCEPTANCE, reports, unusable), reports.values()
    rows = [
        ["generated clips", "≥ 16", *(str(one.n_clips) for one in columns)],
        ["seconds of each", "", *(f"{one.clip_seconds:.0f}" for one in columns)],
        [
            "held-out seconds (in modulation, in repetition)",
            "",
            *(
                f"{one.held_out_seconds:.0f} ({one.modulation_seconds:.0f}, "
                f"{one.n_repetition_chunks} chunks)"
                for one in columns
            ),
        ],
    ]
    return dataclasses.replace(found, rows=[*found.rows, *rows])


def _check(
    generated: np.ndarray, held_out: Sequence[np.ndarray], train: Sequence[np.ndarray]
) -> None:
    """Raise the one-line error for clips or splits that are too short."""
    least = 2 * metrics.PATCH_FRAMES
    errors.require(
        generated.ndim == 3 and generated.shape[0] >= 1 and generated.shape[1] >= least,
        f"generated must be [clips, frames, mels] with {least} frames or more",
        shape=generated.shape,
    )
    for name, segments in (("held-out", held_out), ("training", train)):
        longest = max(map(len, segments), default=0)
        errors.require(
            longest >= least,
            f"the {name} split must have a segment of {least} frames or more",
            longest=longest,
        )


def _spread(clips: metrics.Clips, real: metrics.Clips) -> dict[str, Any]:
    """Compare the variation of frames and of their differences."""
    changes, real_changes = metrics.differences(clips), metrics.differences(real)
    flux, real_flux = metrics.flux(changes), metrics.flux(real_changes)
    return {
        "variance_ratio": metrics.variance_ratio(np.concatenate(clips), np.concatenate(real)),
        "change_variance_ratio": metrics.variance_ratio(changes, real_changes),
        "flux_distance": _ratio(
            scipy.stats.wasserstein_distance(flux, real_flux), float(np.std(real_flux))
        ),
        "kurtosis_ratio": _ratio(metrics.kurtosis(changes), metrics.kurtosis(real_changes)),
    }


def _loudness(
    clips: metrics.Clips, real: metrics.Clips, mean: np.ndarray, std: np.ndarray, rate: float
) -> dict[str, Any]:
    """Measure clips that become silent or louder."""
    loudness = [metrics.loudness(clip, mean, std) for clip in clips]
    real_loudness = np.concatenate([metrics.loudness(segment, mean, std) for segment in real])
    quiet = np.percentile(real_loudness, _QUIET_PERCENTILE)
    return {
        "quiet_fraction": float(np.mean(np.concatenate(loudness) < quiet)),
        "drift": metrics.drift(loudness, rate),
    }


def _modulation(clips: metrics.Clips, real: metrics.Clips, rate: float) -> dict[str, Any]:
    """Compare modulation spectra over windows no longer than the clips of both sides."""
    window = _common_frames(clips, real, round(metrics.MODULATION_SECONDS * rate))
    levels, real_levels = (
        metrics.modulation_spectrum_db(side, window, rate) for side in (clips, real)
    )
    used = sum(len(segment) for segment in real if len(segment) >= window)
    return {
        "modulation_db": float(np.sqrt(np.mean((levels - real_levels) ** 2))),
        "modulation_seconds": used / rate,
    }


def _repetition(clips: metrics.Clips, real: metrics.Clips, rate: float) -> dict[str, Any]:
    """Compare repetition over chunks of one length."""
    chunk = _common_frames(clips, real, round(_CHUNK_SECONDS * rate))
    least = max(metrics.PATCH_FRAMES, round(_LEAST_REPEAT_SECONDS * rate))
    return {
        "repetition": metrics.repetition(clips, chunk, least),
        "repetition_held_out": metrics.repetition(real, chunk, least),
        "n_repetition_chunks": sum(1 for _ in metrics.chunks(real, chunk)),
    }


def _common_frames(clips: metrics.Clips, real: metrics.Clips, wanted: int) -> int:
    """Return a chunk length, at most `wanted`, that fits all clips and half of the real frames."""
    lengths = np.sort([len(segment) for segment in real])[::-1]
    half = int(np.searchsorted(np.cumsum(lengths), np.sum(lengths) / 2))
    return int(min(wanted, lengths[half], min(map(len, clips))))


def _runaway_fraction(generated: np.ndarray, train: Sequence[np.ndarray]) -> float:
    """Return the fraction of frames far outside the training range, or with NaN or infinity."""
    low = np.min([segment.min(axis=0) for segment in train], axis=0)
    high = np.max([segment.max(axis=0) for segment in train], axis=0)
    margin = np.maximum((high - low) / 2, _RUNAWAY_MARGIN)
    outside = (generated < low - margin) | (generated > high + margin)
    runaway = np.mean(outside, axis=2) >= _RUNAWAY_BANDS
    return float(np.mean(runaway | ~np.all(np.isfinite(generated), axis=2)))


def _ratio(value: float, reference: float) -> float:
    """Return value / reference; NaN for a constant reference."""
    return value / reference if reference > 0 else float("nan")
