"""Free-running rollouts beside real music: the figures that tell them apart, and their bounds.

Likelihood says how well a model continues real frames; these say what becomes of it on its
own frames. Each was kept because it catches a known failure (a drone, noise, shuffled
frames, a linear model's mush, a loop, a fall into silence) that others let pass. Judge on 16
clips or more: a clip that falls silent among six moves a share by a sixth.

All frames are normalised log-mel; `mean` and `std`, the normalisation of the dataset, are
needed only for loudness. The bounds were found on one small solo-piano set: tentative.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.config.audio import AudioConfig
from lstm_gen.evaluation import dynamics, patches
from lstm_gen.platform import errors

_QUIET_PERCENTILE = 5
_RUNAWAY_MARGIN = 3.0  # least distance beyond a band's training range, deviations
_RUNAWAY_BANDS = 0.1  # a single band that training hardly saw move may jump in real music
_CLAMP = 30.0  # deviations; keeps a diverged rollout from overflowing what else is measured
_PIECE_SECONDS = 8.0
_LEAST_REPEAT_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured of a set of generated clips; a figure is NaN where data are too short.

    Attributes:
      variance_ratio: Variance of frames, generated over held-out, the median over mels.
      change_variance_ratio: The same of frame differences.
      modulation_db: Root mean square difference of modulation spectra, dB.
      local_frechet: Frechet distance of local texture, generated to train.
      local_frechet_held_out: The same, held-out to train: the floor.
      flux_distance: Wasserstein distance of spectral flux, in deviations of held-out flux.
      kurtosis_ratio: Kurtosis of frame differences, median over mels, over held-out's.
      quiet_share: Share of generated frames under held-out's 5th percentile of loudness.
      drift: Loudness of the last 5 s minus that of the first 5 s, mean over clips, nats.
      repetition: Best correlation of a patch with an earlier one, mean, generated.
      repetition_held_out: The same of held-out.
      memorisation: Median distance of a generated patch to its nearest training patch, over
        held-out's: 0 for copies. A silent clip also comes out low; read it only when
        `variance_ratio` and `quiet_share` pass.
      runaway_share: Share of generated frames with a value that is not finite, or with a tenth
        of the bands beyond their training range by half of it (and by 3 deviations at least).
      n_clips: Generated clips.
      clip_seconds: Length of one.
      held_out_seconds: Held-out material behind every figure except the next two.
      modulation_seconds: Held-out material in clips long enough for the modulation spectrum.
      n_repetition_pieces: Held-out pieces behind `repetition_held_out`.
    """

    variance_ratio: float
    change_variance_ratio: float
    modulation_db: float
    local_frechet: float
    local_frechet_held_out: float
    flux_distance: float
    kurtosis_ratio: float
    quiet_share: float
    drift: float
    repetition: float
    repetition_held_out: float
    memorisation: float
    runaway_share: float
    n_clips: int
    clip_seconds: float
    held_out_seconds: float
    modulation_seconds: float
    n_repetition_pieces: int

    @property
    def local_frechet_ratio(self) -> float:
        """Frechet distance of local texture to train, generated over held-out."""
        return _ratio(self.local_frechet, self.local_frechet_held_out)

    @property
    def repetition_difference(self) -> float:
        """Repetition, generated minus held-out."""
        return self.repetition - self.repetition_held_out


class Bound(NamedTuple):
    """The range in which a figure of `Report` passes, both ends included."""

    field: str
    low: float
    high: float
    description: str


class Verdict(NamedTuple):
    """A figure, its bounds (low, high), and whether it lies within; NaN does not."""

    name: str
    value: float
    bounds: tuple[float, float]
    passed: bool


_ANY = float("inf")

ACCEPTANCE = (
    Bound("variance_ratio", 0.6, 1.7, "variance of frames, over held-out"),
    Bound("change_variance_ratio", 0.6, 1.7, "variance of frame differences, over held-out"),
    Bound("modulation_db", 0.0, 3.5, "modulation spectrum, distance from held-out, dB"),
    Bound("local_frechet_ratio", 0.0, 2.0, "local Fréchet distance to train, over held-out's"),
    Bound("flux_distance", 0.0, 0.4, "spectral flux, W1 from held-out, deviations"),
    Bound("kurtosis_ratio", 0.45, 2.0, "kurtosis of frame differences, over held-out"),
    Bound("quiet_share", 0.0, 0.12, "quiet frames (held-out: 0.05)"),
    Bound("drift", -1.0, 1.0, "loudness, last 5 s minus first 5 s, nats"),
    Bound("repetition_difference", -0.1, 0.1, "repetition, minus held-out's"),
    Bound("memorisation", 0.8, _ANY, "distance to the nearest training patch, over held-out's"),
    Bound("runaway_share", 0.0, 0.0, "frames far outside the training range"),
)
"""The bounds of a small solo-instrument job. Likelihood is judged beside `baselines`."""


def measure(
    generated: np.ndarray,
    held_out: Sequence[np.ndarray],
    train: Sequence[np.ndarray],
    audio: AudioConfig,
    mean: np.ndarray,
    std: np.ndarray,
) -> Report:
    """Measure free rollouts against held-out and training music.

    Args:
      generated: Normalised log-mel, float [clips, frames, mels], primers not included.
      held_out: Real segments, each float [frames, mels], normalised.
      train: Training segments, the same.
      audio: Gives the frame rate.
      mean: Mean of each mel that normalisation took away, float [mels].
      std: Standard deviation of each mel that it divided by, float [mels].

    Raises:
      InputError: If there is nothing to measure, or less than two patches of held-out music.
    """
    _check(generated, held_out, train)
    rate = audio.frames_per_second
    clips = list(np.clip(np.nan_to_num(generated.astype(np.float64)), -_CLAMP, _CLAMP))
    real = [segment.astype(np.float64) for segment in held_out]
    frechet, frechet_real = patches.local_frechet([clips, real], train)
    return Report(
        local_frechet=frechet,
        local_frechet_held_out=frechet_real,
        memorisation=_ratio(
            patches.nearest_distance(clips, train), patches.nearest_distance(real, train)
        ),
        runaway_share=_runaway_share(generated, train),
        n_clips=len(clips),
        clip_seconds=len(clips[0]) / rate,
        held_out_seconds=sum(map(len, real)) / rate,
        **_spread(clips, real),
        **_loudness(clips, real, mean, std, rate),
        **_modulation(clips, real, rate),
        **_repetition(clips, real, rate),
    )


def verdicts(report: Report) -> list[Verdict]:
    """Return each figure of `ACCEPTANCE` beside its bounds."""
    judged = []
    for field, low, high, _ in ACCEPTANCE:
        value = getattr(report, field)
        judged.append(Verdict(field, value, (low, high), bool(low <= value <= high)))
    return judged


def table(columns: Mapping[str, Report]) -> str:
    """Return a Markdown table: a row per figure, a column per report; a failure is bold."""
    rows = [["figure", "accept", *columns], ["---", "---", *["---:"] * len(columns)]]
    judged = [verdicts(report) for report in columns.values()]
    for bound, row in zip(ACCEPTANCE, zip(*judged, strict=True), strict=True):
        cells = [f"{v.value:.2f}" if v.passed else f"**{v.value:.2f}**" for v in row]
        rows.append([bound.description, _range(bound.low, bound.high), *cells])
    rows.append(["generated clips", "≥ 16", *(str(r.n_clips) for r in columns.values())])
    lengths = (f"{report.clip_seconds:.0f}" for report in columns.values())
    rows.append(["seconds of each", "", *lengths])
    held_out = (
        f"{r.held_out_seconds:.0f} ({r.modulation_seconds:.0f}, {r.n_repetition_pieces} pieces)"
        for r in columns.values()
    )
    rows.append(["held-out seconds (in modulation, in repetition)", "", *held_out])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _check(
    generated: np.ndarray, held_out: Sequence[np.ndarray], train: Sequence[np.ndarray]
) -> None:
    """Refuse what cannot be measured."""
    least = 2 * patches.PATCH_FRAMES
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


def _spread(clips: dynamics.Clips, real: dynamics.Clips) -> dict[str, Any]:
    """Compare how much frames and their differences vary."""
    changes, real_changes = dynamics.changes(clips), dynamics.changes(real)
    flux, real_flux = dynamics.flux(changes), dynamics.flux(real_changes)
    return {
        "variance_ratio": dynamics.variance_ratio(np.concatenate(clips), np.concatenate(real)),
        "change_variance_ratio": dynamics.variance_ratio(changes, real_changes),
        "flux_distance": _ratio(dynamics.wasserstein(flux, real_flux), float(np.std(real_flux))),
        "kurtosis_ratio": _ratio(dynamics.kurtosis(changes), dynamics.kurtosis(real_changes)),
    }


def _loudness(
    clips: dynamics.Clips, real: dynamics.Clips, mean: np.ndarray, std: np.ndarray, rate: float
) -> dict[str, Any]:
    """Look for clips that fall silent or swell."""
    heard = [dynamics.loudness(clip, mean, std) for clip in clips]
    heard_real = np.concatenate([dynamics.loudness(segment, mean, std) for segment in real])
    quiet = np.percentile(heard_real, _QUIET_PERCENTILE)
    return {
        "quiet_share": float(np.mean(np.concatenate(heard) < quiet)),
        "drift": dynamics.drift(heard, rate),
    }


def _modulation(clips: dynamics.Clips, real: dynamics.Clips, rate: float) -> dict[str, Any]:
    """Compare modulation spectra over windows that both sides can fill."""
    window = _common_frames(clips, real, round(dynamics.MODULATION_SECONDS * rate))
    levels, real_levels = (
        dynamics.modulation_spectrum_db(side, window, rate) for side in (clips, real)
    )
    used = sum(len(segment) for segment in real if len(segment) >= window)
    return {
        "modulation_db": float(np.sqrt(np.mean((levels - real_levels) ** 2))),
        "modulation_seconds": used / rate,
    }


def _repetition(clips: dynamics.Clips, real: dynamics.Clips, rate: float) -> dict[str, Any]:
    """Compare repetition over pieces of one length."""
    piece = _common_frames(clips, real, round(_PIECE_SECONDS * rate))
    least = max(patches.PATCH_FRAMES, round(_LEAST_REPEAT_SECONDS * rate))
    return {
        "repetition": patches.repetition(clips, piece, least),
        "repetition_held_out": patches.repetition(real, piece, least),
        "n_repetition_pieces": sum(1 for _ in patches.cut(real, piece)),
    }


def _common_frames(clips: dynamics.Clips, real: dynamics.Clips, wanted: int) -> int:
    """Return a length, at most `wanted`, that all clips and half of the real frames fill."""
    lengths = np.sort([len(segment) for segment in real])[::-1]
    half = int(np.searchsorted(np.cumsum(lengths), np.sum(lengths) / 2))
    return int(min(wanted, lengths[half], min(map(len, clips))))


def _runaway_share(generated: np.ndarray, train: Sequence[np.ndarray]) -> float:
    """Return the share of frames far outside the training range, or not finite."""
    low = np.min([segment.min(axis=0) for segment in train], axis=0)
    high = np.max([segment.max(axis=0) for segment in train], axis=0)
    margin = np.maximum((high - low) / 2, _RUNAWAY_MARGIN)
    outside = (generated < low - margin) | (generated > high + margin)
    runaway = np.mean(outside, axis=2) >= _RUNAWAY_BANDS
    return float(np.mean(runaway | ~np.all(np.isfinite(generated), axis=2)))


def _ratio(value: float, reference: float) -> float:
    """Return value / reference; NaN where the reference does not move at all."""
    return value / reference if reference > 0 else float("nan")


def _range(low: float, high: float) -> str:
    """Return a range in words."""
    if low == high:
        return f"{low:g}"
    if high == _ANY:
        return f"≥ {low:g}"
    return f"≤ {high:g}" if low == 0 else f"{low:g} to {high:g}"
