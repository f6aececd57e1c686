"""Calibration: short rollouts of a trained model that choose how its songs are sampled; verdict.

Songs of each setting are compared with held-out music, and the setting with the least distance is
stored with the weights: loudness, onsets, flux, clarity, variance, patches, and a penalty for
copies. Nothing is made into sound. The verdict says in a few plain sentences how the songs of that
setting sound, and what to do next.

The clarity of a frame is the skewness over bands of its deviations from a smooth envelope: partials
stand above the gaps between them, whereas noise around an envelope, however rough, is symmetric.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage
import scipy.stats
import tensorflow as tf
import tqdm

from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import excerpts
from lstm_gen.evaluation import baselines, energy, inputs, metrics
from lstm_gen.generation import rollout
from lstm_gen.models import base
from lstm_gen.models.common import loudness, patches
from lstm_gen.runs import run as runs

SCORES = "calibration"
"""Name of the scores among the facts stored with the weights, beside `runs.SAMPLING` and
`rollout.LIMITS`."""

MEMORISATION = 0.8
"""Distance to the training music over held-out music's that docs/songs.md asks for."""

_TEMPERATURES = (0.9, 1.0, 1.1)
_NEIGHBOUR_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
_MARGIN = 0.03  # of the distance to the training music, whose estimate is of a few songs
_MOST_ONSETS = 1.4  # over real music's; a great weight makes songs jump between neighbours
_SONGS = 8
_SECONDS = 12.0
_PRIMER_SECONDS = 4.0
_LEAST_SECONDS = 15.0  # of held-out music to compare with; training music where there is less
_MOST_FRAMES = 100_000  # of training music: 40 minutes
_MOST_FITTED = 20_000  # of them, to fit VAR(3) to
_HISTORIES, _SAMPLES = 128, 2
_COMPONENTS = 32  # of frames, in which patches are compared
_PATCHES = 1000
_QUERIES = 128  # patches of 32 frames
_LEVELS = 6  # of loudness, for each of which real frames have a clarity
_CLAMP = 30.0  # deviations
_CAP = 3.0  # of each difference, so that none decides alone
_COPY_PENALTY = 4.0

_DB = 10 / math.log(10)  # of a nat of power
_LEVEL_NATS = 1.0
_MUSH, _BLURRED, _HARD = 0.5, 0.8, 1.5
_FADES, _SOFT = 0.6, 0.8
_SIGNIFICANT = 2.0  # standard errors
_STILL_IMPROVING, _OVERFITTED = 0.85, 0.6  # of the steps, at the best validation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """Songs beside real music; None where there is too little music to say.

    Attributes:
      distance: Mean of all differences, each 1 where it begins to be heard, with the penalty.
      quiet: 5th percentile of loudness, songs less real, nats.
      median: The same of the median.
      loud: The same of the 95th percentile.
      drift: Loudness of the last 5 s less that of the first 5 s, nats.
      onset_rate: Onsets a second.
      onset_rate_real: Those of real music.
      onset_strength: Rise at onsets, over real.
      flux: Distance of the distributions of flux, in deviations of real flux.
      clarity: Over that of real frames of equal loudness: less than 1 is mush.
      variance: Variance of frames, over real, the median over bands.
      patch: Distance of single patches to training patches, over that of held-out ones.
      energy: Energy score of patches, over that of training music.
      memorisation: Distance to the training music of patches of 32 frames, over held-out's.
      energy_gap: Energy score of predictions of held-out music, model less VAR(3).
      energy_error: Standard error of that gap.
    """

    distance: float
    quiet: float
    median: float
    loud: float
    drift: float
    onset_rate: float
    onset_rate_real: float
    onset_strength: float
    flux: float
    clarity: float
    variance: float
    energy: float
    patch: float | None = None
    memorisation: float | None = None
    energy_gap: float | None = None
    energy_error: float | None = None


class Training(NamedTuple):
    """Length and material of a training.

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


@dataclasses.dataclass(frozen=True)
class _Traits:
    """Measures of clips that are compared; arrays are over all their frames."""

    loudness: np.ndarray
    flux: np.ndarray
    rate: float
    strength: float
    clarity: np.ndarray
    variance: np.ndarray
    drift: float


class Music:
    """Real music that songs are compared with.

    Args:
      train: Training segments, float32 [frames, channels], normalised.
      held_out: The same, held out; empty where there is too little.
      spec: Frame rate and normalisation.
    """

    def __init__(
        self, train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], spec: base.FrameSpec
    ) -> None:
        self._spec, self._rate = spec, spec.audio.frames_per_second
        self._train, self._held_out = train, held_out
        self.real = held_out or train
        flux = np.concatenate([loudness.flux(self._natural(clip)) for clip in self.real])
        self._threshold = max(float(np.std(flux)), 1e-6)
        self._traits = self._measure(self.real)
        self._patches = _flat_patches(self.real)
        sample = _spread(train, sum(map(len, self.real)))
        self._energy = self._energy_of(sample)
        self._clarity = _by_loudness(self._traits.loudness, self._traits.clarity)

    def compare(self, songs: Sequence[np.ndarray]) -> Scores:
        """Return the scores of songs, each float [frames, channels], normalised."""
        clips = [np.clip(np.nan_to_num(song), -_CLAMP, _CLAMP) for song in songs]
        found, real = self._measure(clips), self._traits
        percentiles = np.percentile(found.loudness, (5, 50, 95))
        quiet, median, loud = percentiles - np.percentile(real.loudness, (5, 50, 95))
        expected = np.interp(found.loudness, *self._clarity).mean()
        apart = scipy.stats.wasserstein_distance(found.flux, real.flux)
        values: dict[str, Any] = {
            "quiet": quiet,
            "median": median,
            "loud": loud,
            "drift": found.drift,
            "onset_rate": found.rate,
            "onset_rate_real": real.rate,
            "onset_strength": _ratio(found.strength, real.strength),
            "flux": _ratio(apart, float(real.flux.std())),
            "clarity": _ratio(float(found.clarity.mean()), float(expected)),
            "variance": _ratio(float(np.median(found.variance)), float(np.median(real.variance))),
            "energy": _ratio(self._energy_of(clips), self._energy),
        }
        if self._held_out:
            near, far = self._real_distances
            values["patch"] = _ratio(self._patch_distance(clips), near)
            values["memorisation"] = _ratio(self._distance(clips), far)
        rounded = {name: round(float(value), 4) for name, value in values.items()}
        scores = Scores(distance=0.0, **rounded)
        return dataclasses.replace(scores, distance=round(distance(scores), 4))

    def _measure(self, clips: Sequence[np.ndarray]) -> _Traits:
        natural = [self._natural(clip) for clip in clips]
        levels = [loudness.measure(clip) for clip in natural]
        fluxes = [loudness.flux(clip) for clip in natural]
        rises = [_onsets(flux, self._threshold) for flux in fluxes]
        heights = np.concatenate(rises)
        return _Traits(
            loudness=np.concatenate(levels),
            flux=np.concatenate(fluxes),
            rate=len(heights) * self._rate / max(1, sum(map(len, fluxes))),
            strength=float(heights.mean()) if len(heights) else 0.0,
            clarity=np.concatenate([clarity(clip) for clip in natural]),
            variance=np.concatenate(natural).var(axis=0),
            drift=metrics.drift(levels, self._rate),
        )

    def _natural(self, clip: np.ndarray) -> np.ndarray:
        """Return logarithms of power, float64."""
        return clip.astype(np.float64) * self._spec.std + self._spec.mean

    def _energy_of(self, clips: Sequence[np.ndarray]) -> float:
        drawn, owners = energy.patches(clips, _PATCHES // 2)
        return metrics.marginal_energy_score(drawn, owners, self._patches)

    @functools.cached_property
    def _components(self) -> np.ndarray:
        return patches.fit_components(self._train, min(_COMPONENTS, self._spec.channels)).vectors

    @functools.cached_property
    def _train_codes(self) -> list[np.ndarray]:
        return [clip @ self._components for clip in self._train]

    @functools.cached_property
    def _real_distances(self) -> tuple[float, float]:
        return self._patch_distance(self.real), self._distance(self.real)

    def _patch_distance(self, clips: Sequence[np.ndarray]) -> float:
        """Return the distance of patches to the nearest training patch, the median."""
        stored, _ = energy.patches(self._train_codes, 25 * _PATCHES)
        rows, _ = energy.patches([clip @ self._components for clip in clips], _PATCHES)
        squares = (stored**2).sum(axis=1) - 2 * rows @ stored.T
        nearest = squares.min(axis=1) + (rows**2).sum(axis=1)
        return float(np.median(np.sqrt(np.maximum(nearest, 0))))

    def _distance(self, clips: Sequence[np.ndarray]) -> float:
        """Return `metrics.nearest_distance` to the training music, in principal components."""
        return metrics.nearest_distance(
            [clip @ self._components for clip in clips], self._train_codes, _QUERIES
        )


def distance(scores: Scores) -> float:
    """Return the distance of songs from real music: the mean of their differences, and a penalty.

    A difference is 1 where it begins to be heard, and at most 3.
    """
    levels = [min(abs(x), _CAP) for x in (scores.quiet, scores.median, scores.loud)]
    ratios = [
        (_ratio(scores.onset_rate, scores.onset_rate_real), 1.5),
        (scores.onset_strength, 1.5),
        (scores.variance, 1.7),
        *([(max(1.0, scores.patch), 1.35)] if scores.patch is not None else []),
    ]
    differences: list[float] = [
        sum(levels) / len(levels),
        abs(scores.drift),
        scores.flux / 0.4,
        max(0.0, scores.energy - 1) / 0.1,
        *[max(0.0, 1 - scores.clarity) / 0.25] * 2,  # what a listener calls mush counts twice
        *[abs(math.log(max(ratio, 1e-3))) / math.log(unit) for ratio, unit in ratios],
    ]
    penalty = 0.0
    if scores.memorisation is not None:
        penalty = _COPY_PENALTY * max(0.0, MEMORISATION - scores.memorisation)
    return float(np.mean([min(one, _CAP) for one in differences])) + penalty


def clarity(frames: np.ndarray) -> np.ndarray:
    """Return the skewness over bands of each frame's deviations from its envelope, [frames].

    Args:
      frames: float [frames, channels], logarithms of power. The envelope is a mean over a fifteenth
        of the channels.
    """
    width = max(3, frames.shape[1] // 15)
    envelope = scipy.ndimage.uniform_filter1d(frames, width, axis=1, mode="nearest")
    deviations = frames - envelope
    deviations = deviations - deviations.mean(axis=1, keepdims=True)
    variances = (deviations**2).mean(axis=1)
    return np.asarray((deviations**3).mean(axis=1) / np.maximum(variances, 1e-6) ** 1.5)


def calibrate(run: runs.Run, dataset: manifest.Dataset, device: str) -> dict[str, Any]:
    """Return the facts to store with the weights of a run: settings, scores and limits.

    Args:
      run: Run with trained weights, of a family that `applies_to`.
      dataset: Its dataset.
      device: Name of the device to generate on.

    Returns:
      `runs.SAMPLING`, `SCORES` and `rollout.LIMITS` to their JSON values; {} if the music is too
      short to compare with.
    """
    held_out = inputs.segments(dataset, "validation", _MOST_FRAMES)
    train = [one.frames for one in inputs.segments(dataset, "train", _MOST_FRAMES)]
    rate, least = run.audio.frames_per_second, 2 * metrics.PATCH_FRAMES
    long = [one for one in held_out if len(one.frames) >= least]
    train = [frames for frames in train if len(frames) >= least]
    if not train:
        return {}
    if sum(len(one.frames) for one in long) < _LEAST_SECONDS * rate:
        long = []
    music = Music(train, [one.frames for one in long], run.spec)
    model = rollout.place_model(run, device, "float32")
    n_frames = max(least, round(_SECONDS * rate))
    primers = _primers(run, dataset)

    def evaluate(sampling: base.Sampling) -> Scores:
        request = base.GenerationRequest(
            n_songs=_SONGS,
            n_frames=n_frames,
            seed=run.training.seed,
            sampling=sampling,
            labels={f"label/{name}": primers.labels[f"label/{name}"] for name in run.condition},
        )
        return music.compare(list(model.generate(request, primers.frames, lambda _: None)))

    with tf.device(device):
        sampling, scores = _search(evaluate, _weights(run))
        if long:
            gap, error = _prediction_gap(run, model, train, long)
            scores = dataclasses.replace(scores, energy_gap=gap, energy_error=error)
    natural = [run.normalisation.undo(clip) for clip in (*train, *(one.frames for one in long))]
    return {
        runs.SAMPLING: dataclasses.asdict(sampling),
        SCORES: dataclasses.asdict(scores),
        rollout.LIMITS: dataclasses.asdict(loudness.fit_limits(natural, rate)),
    }


def applies_to(run: runs.Run) -> bool:
    """Whether the songs of a run can be calibrated: continuations in frames of logarithms."""
    return {"primer", "temperature"} <= run.family.controls and loudness.has_loudness(run.audio)


def describe_sampling(sampling: base.Sampling, scores: Scores) -> str:
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


def verdict(scores: Scores, training: Training) -> list[str]:
    """Return the verdict, 3 to 6 sentences, the last of them the next thing to do."""
    said = [_predictions(scores), _notes(scores), _strikes(scores), _level(scores), _copies(scores)]
    return [line for line in [*said, _next(scores, training)] if line]


def _weights(run: runs.Run) -> Sequence[float]:
    """Return the neighbour weights to try, of which only 0 has an effect without a store."""
    has_store = "neighbour_weight" in run.family.controls and run.settings.stored_patches
    return _NEIGHBOUR_WEIGHTS if has_store else (0.0,)


def _search(
    evaluate: Callable[[base.Sampling], Scores], weights: Sequence[float]
) -> tuple[base.Sampling, Scores]:
    """Return the greatest weight that does not copy, at the temperature of the least distance.

    A transcriber of notes hears songs the more clearly the greater the weight; measures of frames
    do not show it (docs/results.md). So the weight is as great as the distance to the training
    music allows, and only where none does the differences decide.
    """
    found: dict[base.Sampling, Scores] = {}
    with tqdm.tqdm(desc="calibrating", unit=" settings", leave=False) as bar:

        def best(candidates: Iterable[tuple[float, float]]) -> base.Sampling:
            tried = []
            for temperature, weight in candidates:
                one = base.Sampling(temperature=temperature, neighbour_weight=weight)
                tried.append(one)
                if one not in found:
                    found[one] = evaluate(one)
                    bar.update()
            return min(tried, key=lambda one: found[one].distance)

        def greatest_weight(temperature: float, least: float) -> float:
            first = best((temperature, weight) for weight in weights if weight >= least)
            allowed = [
                one.neighbour_weight
                for one, scores in found.items()
                if one.temperature == temperature and _is_allowed(scores)
            ]
            return max(allowed, default=first.neighbour_weight)

        weight = greatest_weight(1.0, 0.0)
        chosen = best((temperature, weight) for temperature in _TEMPERATURES)
        if chosen.temperature != 1.0 and _is_allowed(found[chosen]):
            weight = greatest_weight(chosen.temperature, weight)
            chosen = base.Sampling(temperature=chosen.temperature, neighbour_weight=weight)
    return chosen, found[chosen]


def _is_allowed(scores: Scores) -> bool:
    """Whether songs keep their distance from the training music, and strike no more than music."""
    copies = scores.memorisation is not None and scores.memorisation < MEMORISATION + _MARGIN
    return not copies and _ratio(scores.onset_rate, scores.onset_rate_real) <= _MOST_ONSETS


def _primers(run: runs.Run, dataset: manifest.Dataset) -> excerpts.Excerpts:
    split = "validation" if dataset.splits["validation"].n_records else "train"
    n_frames = max(1, round(_PRIMER_SECONDS * run.audio.frames_per_second))
    return excerpts.draw_excerpts(dataset, split, _SONGS, n_frames, run.training.seed)


def _prediction_gap(
    run: runs.Run,
    model: base.AudioModel,
    train: Sequence[np.ndarray],
    held_out: Sequence[inputs.Example],
) -> tuple[float, float]:
    """Return the energy score of predictions, model less VAR(3), and its standard error."""
    histories = energy.draw_histories(held_out, run.window.timesteps, _HISTORIES)
    var = baselines.fit_var(_spread(train, _MOST_FITTED))
    gap = energy.score(energy.sample_model(run, model, histories), histories, _SAMPLES)
    gap = gap - energy.score(energy.sample_var(var), histories, _SAMPLES)
    return round(float(gap.mean()), 5), round(float(gap.std() / math.sqrt(len(gap))), 5)


def _spread(clips: Sequence[np.ndarray], most_frames: int) -> list[np.ndarray]:
    """Return evenly spaced clips of about `most_frames` frames in all."""
    return list(clips[:: max(1, -(-sum(map(len, clips)) // max(1, most_frames)))])


def _flat_patches(clips: Sequence[np.ndarray]) -> np.ndarray:
    return energy.patches(clips, _PATCHES // 2)[0]


def _onsets(flux: np.ndarray, threshold: float) -> np.ndarray:
    """Return the rises, above the median of a third of a second, of the peaks of flux."""
    local = scipy.ndimage.median_filter(flux, 15, mode="nearest")
    highest = scipy.ndimage.maximum_filter1d(flux, 5, mode="nearest")
    rises = flux - local
    return rises[(flux == highest) & (rises > threshold)]


def _by_loudness(levels: np.ndarray, values: np.ndarray) -> tuple[list[float], list[float]]:
    """Return the mean loudness and the mean value of frames in order of loudness, by sixths."""
    parts = np.array_split(np.argsort(levels, kind="stable"), _LEVELS)
    return [float(levels[part].mean()) for part in parts], [
        float(values[part].mean()) for part in parts
    ]


def _ratio(value: float, reference: float) -> float:
    return value / reference if abs(reference) > metrics.TINY else 1.0


def _predictions(scores: Scores) -> str:
    gap, error = scores.energy_gap, scores.energy_error
    if gap is None or error is None:
        return ""
    figures = f"energy score {gap:+.4f}, standard error {error:.4f}"
    if abs(gap) < _SIGNIFICANT * error:
        return f"predicts held-out music no better and no worse than a linear predictor, {figures}"
    verb = "beats" if gap < 0 else "does not beat"
    return f"{verb} a linear predictor, VAR(3), on held-out music: {figures}"


def _notes(scores: Scores) -> str:
    value = scores.clarity
    if value < _MUSH:
        return f"mush: the gaps between partials are filled, clarity {value:.2f} of real music's"
    if value < _BLURRED:
        return f"blurred notes: clarity {value:.2f} of real music's"
    if value > _HARD:
        return f"notes barer than real ones, clarity {value:.2f} of real music's"
    return f"clear notes, clarity {value:.2f} of real music's"


def _strikes(scores: Scores) -> str:
    value, rate, real = scores.onset_strength, scores.onset_rate, scores.onset_rate_real
    how = "strikes" if value >= _SOFT else "strikes softly" if value >= _FADES else "fades"
    often = "too often" if rate > 1.5 * real else "as often as it"
    if rate < real / 1.5:
        often = "too seldom"
    return (
        f"{how}: onsets rise {value:.2f} times as high as in real music, {often} "
        f"({rate:.1f}/s beside {real:.1f})"
    )


def _level(scores: Scores) -> str:
    if abs(scores.drift) > _LEVEL_NATS:
        way = "grows louder" if scores.drift > 0 else "grows quieter"
        return (
            f"does not keep its level: {way} by {abs(scores.drift) * _DB:.1f} dB in {_SECONDS:g} s"
        )
    return f"keeps its level; {_loudness(scores)}"


def _loudness(scores: Scores) -> str:
    levels = {
        "quiet passages": scores.quiet,
        "loudness": scores.median,
        "loud passages": scores.loud,
    }
    name, worst = max(levels.items(), key=lambda item: abs(item[1]))
    if abs(worst) <= _LEVEL_NATS:
        return "loudness as in real music"
    return f"{name} {abs(worst) * _DB:.1f} dB {'above' if worst > 0 else 'below'} real music's"


def _copies(scores: Scores) -> str:
    value = scores.memorisation
    if value is None:
        return "no held-out music to judge copies by"
    near = "keeps its distance from" if value >= MEMORISATION else "stays close to"
    return f"{near} the training music: {value:.2f} of held-out music's distance"


def _next(scores: Scores, training: Training) -> str:
    """Return the advice."""
    more = "record more music"
    if not training.is_transposed:
        more += ", or prepare it with --augment_semitones=-3,-2,-1,0,1,2,3"
    part = training.best_step / max(training.steps, 1)
    copies = scores.memorisation is not None and scores.memorisation < MEMORISATION
    if part >= _STILL_IMPROVING:
        return (
            f"next: train on, --steps={2 * training.steps}; validation was best at step "
            f"{training.best_step}, near the end"
        )
    if 0 < part < _OVERFITTED or copies:
        why = "it stays close to what it learnt" if copies else f"best at step {training.best_step}"
        return f"next: {more}; {why}, and {training.minutes:.0f} min are little"
    poor = scores.clarity < _BLURRED or scores.onset_strength < _FADES
    loses = scores.energy_gap is not None and scores.energy_gap >= 0
    if poor or loses:
        return f"next: a larger preset (--preset=long), or {more}"
    return "next: listen; for longer forms, --preset=long"
