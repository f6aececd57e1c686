"""Songs drawn from a prior beside real music: metrics, and the ranges that pass.

For families with latents, of any representation; `songs` has those of rollouts. Metrics are of
log-mel frames, normalised by the training split: the model's own frames where they are log power
(in other bins too), else an analysis of its waveforms.

A blurred decoder makes static frames, a collapsed one the same song for every latent, and both may
have the right mean spectrum: hence metrics of frame differences and of pairs of songs.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lstm_gen.audio import normalisation, representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import energy, inputs, metrics, sound, table
from lstm_gen.evaluation.metrics import TINY
from lstm_gen.evaluation.table import Criterion
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

_WINDOW_SECONDS = 1.5
_FRAME_SECONDS = 0.046  # of the analysis of waveforms
_MAX_WINDOWS = 64
_LEAST_STD_NATS = 0.2

Clips = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """Frames and level of clips.

    Attributes:
      frames: Of each clip, float [frames, bins], log power; normalised if they are the model's.
      samples: Of each clip, float [samples], of models that make samples; else empty.
      level_db: Mean power of all clips, dB.
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
    """Metrics of clips, generated or real; ratios are to the training split.

    Attributes:
      local_frechet: Fréchet distance of local texture to train.
      variance: Variance of frames over all clips, ratio.
      window_variance: The same inside windows of 1.5 s.
      change_variance: The same of differences of successive frames.
      correlation: Mean correlation of windows of 1.5 s of different clips: of samples where the
        model makes samples, else of frames. 1 if all are the same.
      level_db: Mean power over train's, dB.
      offset: Mean of the samples over their root mean square; NaN without samples.
      memorisation: Median distance of a patch to the nearest one of the training split.
      n_clips: Clips.
      seconds: Their total length.
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

    def relative_to(self, held_out: "Report") -> "Report":
        """Return the report with both distances divided by those of held-out music."""
        return dataclasses.replace(
            self,
            local_frechet=self.local_frechet / max(held_out.local_frechet, TINY),
            memorisation=self.memorisation / max(held_out.memorisation, TINY),
        )


ACCEPTANCE = (
    Criterion("local_frechet", 0, 1.5, "local Fréchet distance to train, over held-out's"),
    Criterion("variance", 0.6, 1.3, "variance of frames, over train's"),
    Criterion("window_variance", 0.5, 1.3, "variance inside 1.5 s, over train's"),
    Criterion("change_variance", 0.4, 1.7, "variance of frame differences, over train's"),
    Criterion("correlation", -math.inf, 0.1, "mean correlation of windows of songs"),
    Criterion("level_db", -3, 3, "level beside train's, dB"),
    Criterion("offset", -0.05, 0.05, "mean of samples over their rms"),
    Criterion(
        "memorisation", 0.8, math.inf, "distance to the nearest training patch, over held-out's"
    ),
)
"""The ranges of songs drawn from a prior, of reports relative to held-out music."""


def evaluate(given: inputs.Inputs) -> list[table.Table]:
    """Compare songs drawn from priors with real music.

    Returns:
      Energy scores, `acceptance` of real music and of each run and prior, and the same of sound.

    Raises:
      InputError: If the runs have different datasets, or songs are too short.
    """
    dataset = given.dataset()
    statistics = given.runs[0].normalisation
    train = analyse(inputs.frames_of(dataset, "train"), dataset.audio, statistics)

    def report(clips: np.ndarray) -> Report:
        return measure(analyse(list(clips), dataset.audio, statistics), train)

    clips, owners = given.clips(dataset)
    reports = {title: report(some) for title, some in clips.items()}
    notes = [
        *(_describe_weights(given, run, dataset) for run in given.runs),
        "Bold: out of range.",
    ]
    found = acceptance(reports, reports[inputs.HELD_OUT])
    held_out = inputs.frames_of(dataset, "validation")
    return [
        energy.songs({title: list(some) for title, some in clips.items()}, held_out),
        dataclasses.replace(found, notes=notes),
        *sound.compare_clips(given, dataset, clips, owners),
    ]


def _describe_weights(given: inputs.Inputs, run: runs.Run, dataset: manifest.Dataset) -> str:
    """Return validation metrics of a run's weights and its number of active latents, in words."""
    step, scores = inputs.validation(run)
    facts = [f"{name} {value:.3f}" for name, value in scores.items()]
    if issubclass(run.family, LatentModel):
        model = given.load_latent_model(run)
        latents = np.concatenate(
            [
                model.encode(one.frames[np.newaxis], labels.stack(run.conditioning, [one.values]))[
                    0
                ]
                for one in inputs.segments(dataset, "validation")
            ]
        )
        facts.append(f"{count_active(latents)} of {latents.shape[-1]} latents active")
    else:
        facts.append("no latents")
    return f"{run.directory}, step {step}, on held-out windows: {', '.join(facts)}"


def analyse(clips: Clips, audio: AudioConfig, statistics: normalisation.Normalisation) -> Analysis:
    """Return the frames that metrics are of; those of waveforms are not normalised yet.

    Args:
      clips: Normalised frames of a model or a dataset, each float [frames, channels].
      audio: Their analysis settings.
      statistics: Their normalisation.
    """
    raw = [statistics.undo(clip).astype(np.float64) for clip in clips]
    if audio.is_logarithmic:
        bins = audio.n_bands
        frames = [np.asarray(clip[:, :bins], np.float64) for clip in clips]
        power = np.concatenate([np.exp(clip[:, :bins]).sum(axis=1) for clip in raw])
        rate, samples = audio.frames_per_second, []
    else:
        samples = [representations.invert(clip, audio).astype(np.float64) for clip in raw]
        analysis = _analysis(audio.sample_rate)
        frames = [representations.extract(one, analysis).astype(np.float64) for one in samples]
        power = np.concatenate(samples) ** 2
        rate = analysis.frames_per_second
    return Analysis(
        frames=frames,
        samples=samples,
        level_db=float(10 * np.log10(power.mean() + TINY)),
        frames_per_second=rate,
        samples_per_second=audio.sample_rate,
    )


def measure(clips: Analysis, train: Analysis) -> Report:
    """Compare clips with the training split.

    Raises:
      InputError: If clips are shorter than a patch, which is 32 frames.
    """
    errors.require(
        min(map(len, clips.frames)) >= metrics.PATCH_FRAMES,
        f"clips must have {metrics.PATCH_FRAMES} frames or more; use more --seconds",
        shortest=min(map(len, clips.frames)),
    )
    own, reference = _normalised(clips, train), _normalised(train, train)
    window = max(2, round(_WINDOW_SECONDS * clips.frames_per_second))
    return Report(
        local_frechet=metrics.local_frechet([own], reference)[0],
        variance=_variance_ratio(own, reference, np.concatenate),
        window_variance=_variance_ratio(own, reference, lambda some: _inside(some, window)),
        change_variance=_variance_ratio(own, reference, metrics.differences),
        correlation=_correlation(own, clips),
        level_db=clips.level_db - train.level_db,
        offset=_offset(clips.samples),
        memorisation=metrics.nearest_distance(own, reference),
        n_clips=len(own),
        seconds=sum(map(len, own)) / clips.frames_per_second,
    )


def count_active(means: np.ndarray, least: float = 0.01) -> int:
    """Return the number of active latents, whose posterior means vary over examples.

    Args:
      means: Posterior means, [..., size].
      least: Variance of an active latent, where 1 is the prior's.

    Source: Burda, Grosse and Salakhutdinov 2015 (arXiv 1509.00519).
    """
    return int(np.sum(means.reshape(-1, means.shape[-1]).var(axis=0) > least))


def acceptance(reports: Mapping[str, Report], held_out: Report) -> table.Table:
    """Return the table of `ACCEPTANCE` less rows that are NaN everywhere, a column per report."""
    relative = {name: report.relative_to(held_out) for name, report in reports.items()}
    criteria = [
        one
        for one in ACCEPTANCE
        if not all(math.isnan(getattr(report, one.name)) for report in relative.values())
    ]
    real = relative.get(inputs.TRAINING)
    unusable = table.failed(criteria, real) - {"memorisation"} if real else set()
    found = table.acceptance(criteria, relative, unusable)
    rows = [
        ["clips", "", *(str(one.n_clips) for one in reports.values())],
        ["seconds together", "", *(f"{one.seconds:.0f}" for one in reports.values())],
    ]
    return dataclasses.replace(found, rows=[*found.rows, *rows])


def _analysis(sample_rate: int) -> AudioConfig:
    """Return the analysis settings of waveforms: frames of about 46 ms that overlap by half."""
    n_fft = 2 ** round(math.log2(_FRAME_SECONDS * sample_rate))
    return AudioConfig(
        sample_rate=sample_rate, n_fft=n_fft, hop_length=n_fft // 2, n_mels=min(80, n_fft // 4)
    )


def _normalised(clips: Analysis, train: Analysis) -> Clips:
    """Return frames normalised by the training split; those of a model are so already.

    The deviation has a lower limit, or nearly constant bins at the log floor would dominate every
    metric.
    """
    if not clips.samples:
        return clips.frames
    rows = np.concatenate(train.frames)
    std = np.maximum(rows.std(axis=0), _LEAST_STD_NATS)
    return [(clip - rows.mean(axis=0)) / std for clip in clips.frames]


def _variance_ratio(own: Clips, train: Clips, part: Callable[[Clips], np.ndarray]) -> float:
    """Return the variance of `part` of the clips over that of the training split."""
    variance, reference = (np.var(part(some), axis=0).mean() for some in (own, train))
    return float(variance / max(reference, TINY))


def _inside(clips: Clips, window: int) -> np.ndarray:
    """Return frames less their mean over a window of time."""
    centred = [chunk - chunk.mean(axis=0) for chunk in metrics.chunks(clips, window)]
    return np.concatenate(centred or [clip - clip.mean(axis=0) for clip in clips])


def _correlation(frames: Clips, clips: Analysis) -> float:
    """Return the mean correlation of windows of different clips; NaN for a single clip."""
    content, rate = frames, clips.frames_per_second
    if clips.samples:
        content, rate = clips.samples, clips.samples_per_second
    window = min(round(_WINDOW_SECONDS * rate), min(map(len, content)))
    found = [
        (index, chunk.ravel())
        for index, clip in enumerate(content)
        for chunk in metrics.chunks([clip], window)
    ]
    chosen = np.unique(np.linspace(0, len(found) - 1, _MAX_WINDOWS).round().astype(int))
    owners = np.array([found[i][0] for i in chosen])
    rows = np.stack([found[i][1] for i in chosen])
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY)
    different = owners[:, np.newaxis] < owners
    return float(np.mean((rows @ rows.T)[different])) if different.any() else math.nan


def _offset(samples: Clips) -> float:
    """Return the mean of all samples over their root mean square; NaN if there are none."""
    if not samples:
        return math.nan
    whole = np.concatenate(samples)
    return float(whole.mean() / max(np.sqrt(np.mean(whole**2)), TINY))
