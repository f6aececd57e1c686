"""Songs drawn from a prior beside real music: as lively, as loud, and not all the same.

What a rollout gets wrong, `rollouts` says; these figures are of families that decode latents, in
whatever representation. They are taken of log-mel frames, normalised by the training split: those
of the model where it has such (or logarithms of power in other bins), and else of its sound.

A blurred decoder has still frames, a collapsed one makes one song for every latent, and both
may have the right average spectrum: so differences of frames and pairs of songs are looked at.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.audio import normalisation, representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.evaluation import patches
from lstm_gen.platform import errors

_WINDOW_SECONDS = 1.5
_FRAME_SECONDS = 0.046  # of the analysis of sound
_MAX_WINDOWS = 64
_TINY = 1e-30
_SMALLEST_NATS = 0.2

Clips = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
    """Clips as they are compared.

    Attributes:
      frames: Of each clip, float [frames, bins], log power; normalised if it is the model's.
      samples: Of each clip, float [samples], where the model makes samples; else nothing.
      level_db: Mean power of all, dB.
      frames_per_second: Of `frames`.
      samples_per_second: Of `samples`.
    """

    frames: Clips
    samples: Clips
    level_db: float
    frames_per_second: float
    samples_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured of clips, generated or real; relative figures are to the training split.

    Attributes:
      local_frechet: Frechet distance of local texture to train.
      variance: Variance of frames over all clips, relative.
      window_variance: The same inside windows of 1.5 s.
      change_variance: The same of differences of successive frames.
      correlation: Mean correlation of windows of 1.5 s of unlike clips: of samples where the model
        makes samples, else of frames. 1 if all are the same.
      level_db: Mean power, relative, dB.
      offset: Mean of the samples over their root mean square; NaN where there are none.
      memorisation: Median distance of a patch to the nearest one of the training split.
      n_clips: Clips.
      seconds: Their length together.
    """

    local_frechet: float
    variance: float
    window_variance: float
    change_variance: float
    correlation: float
    level_db: float
    offset: float
    memorisation: float
    n_clips: int
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound:
    """The range in which a figure passes.

    Attributes:
      field: Of `Report`; `passes` divides some by held-out's.
      low: Least value.
      high: Largest.
      description: For people.
    """

    field: str
    low: float
    high: float
    description: str


ACCEPTANCE = (
    Bound(
        field="local_frechet",
        low=0,
        high=1.5,
        description="local Fréchet distance to train, over held-out's",
    ),
    Bound(field="variance", low=0.6, high=1.3, description="variance of frames, over train's"),
    Bound(
        field="window_variance",
        low=0.5,
        high=1.3,
        description="variance inside 1.5 s, over train's",
    ),
    Bound(
        field="change_variance",
        low=0.4,
        high=1.7,
        description="variance of frame differences, over train's",
    ),
    Bound(
        field="correlation", low=-1, high=0.1, description="mean correlation of windows of songs"
    ),
    Bound(field="level_db", low=-3, high=3, description="level beside train's, dB"),
    Bound(field="offset", low=-0.05, high=0.05, description="mean of samples over their rms"),
    Bound(
        field="memorisation",
        low=0.8,
        high=math.inf,
        description="distance to the nearest training patch, over held-out's",
    ),
)
"""What is asked of prior samples. The last was found on rollouts (`rollouts`)."""


def hear(clips: Clips, audio: AudioConfig, statistics: normalisation.Normalisation) -> Heard:
    """Return clips as they are compared, not yet normalised where they had to be analysed.

    Args:
      clips: Normalised frames of a model or a dataset, each float [frames, channels].
      audio: How they were made.
      statistics: How they were normalised.
    """
    raw = [statistics.undo(clip).astype(np.float64) for clip in clips]
    if audio.is_logarithmic:
        bins = audio.n_mels if audio.representation == "log_mel" else audio.n_bins_resolved
        frames = [np.asarray(clip[:, :bins], np.float64) for clip in clips]
        power = np.concatenate([np.exp(clip[:, :bins]).sum(axis=1) for clip in raw])
        rate, samples = audio.frames_per_second, []
    else:
        samples = [representations.invert(clip, audio).astype(np.float64) for clip in raw]
        analysis = _analysis(audio.sample_rate)
        frames = [representations.extract(one, analysis).astype(np.float64) for one in samples]
        power = np.concatenate(samples) ** 2
        rate = analysis.frames_per_second
    return Heard(
        frames=frames,
        samples=samples,
        level_db=float(10 * np.log10(power.mean() + _TINY)),
        frames_per_second=rate,
        samples_per_second=audio.sample_rate,
    )


def measure(clips: Heard, train: Heard) -> Report:
    """Measure clips beside the training split; see `Report`.

    Raises:
      InputError: If clips are shorter than a patch, which is 32 frames.
    """
    errors.require(
        min(map(len, clips.frames)) >= patches.PATCH_FRAMES,
        f"clips must have {patches.PATCH_FRAMES} frames or more; ask for more --seconds",
        shortest=min(map(len, clips.frames)),
    )
    own, known = _normalised(clips, train), _normalised(train, train)
    window = max(2, round(_WINDOW_SECONDS * clips.frames_per_second))
    return Report(
        local_frechet=patches.local_frechet([own], known)[0],
        variance=_over(own, known, lambda some: np.concatenate(some)),
        window_variance=_over(own, known, lambda some: _inside(some, window)),
        change_variance=_over(
            own, known, lambda some: np.concatenate([np.diff(clip, axis=0) for clip in some])
        ),
        correlation=_correlation(own, clips),
        level_db=clips.level_db - train.level_db,
        offset=_offset(clips.samples),
        memorisation=patches.nearest_distance(own, known),
        n_clips=len(own),
        seconds=sum(map(len, own)) / clips.frames_per_second,
    )


def count_active(means: np.ndarray, least: float = 0.01) -> int:
    """Return how many latents tell examples apart: those whose means vary by this much.

    Args:
      means: Latents' means, [..., size].
      least: Variance, where 1 is the prior's.

    Source: Burda, Grosse and Salakhutdinov 2015 (arXiv 1509.00519).
    """
    return int(np.sum(means.reshape(-1, means.shape[-1]).var(axis=0) > least))


def passes(bound: Bound, report: Report, held_out: Report) -> tuple[float, bool]:
    """Return a figure, of held-out's where it is relative to that, and whether it passes."""
    value = getattr(report, bound.field)
    if bound.field in ("local_frechet", "memorisation"):
        value /= max(getattr(held_out, bound.field), _TINY)
    return value, bool(bound.low <= value <= bound.high)


def table(columns: Mapping[str, Report], held_out: Report) -> str:
    """Return a Markdown table: a row per figure, a column per report; a failure is bold."""
    rows = [["figure", "accept", *columns], ["---", "---", *["---:"] * len(columns)]]
    for bound in ACCEPTANCE:
        found = [passes(bound, report, held_out) for report in columns.values()]
        if not all(math.isnan(value) for value, _ in found):
            cells = [f"{value:.2f}" if passed else f"**{value:.2f}**" for value, passed in found]
            rows.append([bound.description, _range(bound), *cells])
    rows.append(["clips", "", *(str(one.n_clips) for one in columns.values())])
    rows.append(["seconds together", "", *(f"{one.seconds:.0f}" for one in columns.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _analysis(sample_rate: int) -> AudioConfig:
    """Return how sound is looked at: frames of about 46 ms that overlap by half."""
    n_fft = 2 ** round(math.log2(_FRAME_SECONDS * sample_rate))
    return AudioConfig(
        sample_rate=sample_rate, n_fft=n_fft, hop_length=n_fft // 2, n_mels=min(80, n_fft // 4)
    )


def _normalised(clips: Heard, train: Heard) -> Clips:
    """Return frames less the training split's mean, over its deviation.

    Those of a model are normalised. As there, bins that hardly move are not blown up: those near
    the log floor would decide every figure.
    """
    if not clips.samples:
        return clips.frames
    rows = np.concatenate(train.frames)
    sd = np.maximum(rows.std(axis=0), _SMALLEST_NATS)
    return [(clip - rows.mean(axis=0)) / sd for clip in clips.frames]


def _over(own: Clips, known: Clips, part: Any) -> float:
    """Return the variance of a part of the clips over that of the training split's."""
    ours, theirs = (np.var(part(some), axis=0).mean() for some in (own, known))
    return float(ours / max(theirs, _TINY))


def _inside(clips: Clips, window: int) -> np.ndarray:
    """Return frames less their mean over a window of time."""
    cut = [piece - piece.mean(axis=0) for piece in patches.cut(clips, window)]
    return np.concatenate(cut or [clip - clip.mean(axis=0) for clip in clips])


def _correlation(frames: Clips, clips: Heard) -> float:
    """Return the mean correlation of windows of unlike clips; NaN for a single clip."""
    content, rate = frames, clips.frames_per_second
    if clips.samples:
        content, rate = clips.samples, clips.samples_per_second
    window = min(round(_WINDOW_SECONDS * rate), min(map(len, content)))
    found = [
        (index, piece.ravel())
        for index, clip in enumerate(content)
        for piece in patches.cut([clip], window)
    ]
    chosen = np.unique(np.linspace(0, len(found) - 1, _MAX_WINDOWS).round().astype(int))
    owners = np.array([found[i][0] for i in chosen])
    rows = np.stack([found[i][1] for i in chosen])
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    unlike = owners[:, np.newaxis] < owners
    return float(np.mean((rows @ rows.T)[unlike])) if unlike.any() else math.nan


def _offset(samples: Clips) -> float:
    """Return the mean of all samples over their root mean square; NaN if there are none."""
    if not samples:
        return math.nan
    whole = np.concatenate(samples)
    return float(whole.mean() / max(np.sqrt(np.mean(whole**2)), _TINY))


def _range(bound: Bound) -> str:
    """Return a range in words."""
    if bound.high == math.inf:
        return f"≥ {bound.low:g}"
    if bound.low in (0, -1):
        return f"≤ {bound.high:g}"
    return f"{bound.low:g} to {bound.high:g}"
