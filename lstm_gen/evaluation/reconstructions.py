"""Reconstructions of held-out music by models with latents, beside linear codes of the same rate.

Variance explained is 1 less the squared error over that of the training split's mean spectrum:
0 for the mean spectrum, 1 for a perfect reconstruction. All held-out frames, normalised, have equal
weight; phase steps are weighted by the level of their bin, for in silent bins they are noise.

Two baselines:

  window means  the mean spectrum of each window: level and colour, no time, at no cost
  patch PCA     principal components of training patches, of as many values per second

`segments` is a sequence of float32 [frames, channels], normalised.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tqdm

from lstm_gen.audio import files, representations
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.evaluation import inputs, notes, table
from lstm_gen.generation import resynthesis
from lstm_gen.models import base
from lstm_gen.models.common import losses, patches
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs

Segments = Sequence[np.ndarray]
Labels = Mapping[str, np.ndarray]

_MOST_AT_ONCE = 32  # segments
_RATE_FRAMES = 960  # divisible by most strides
_WIDEST_PATCH = 1 << 13  # values; components of wider ones take minutes and gigabytes
_PITCH_SECONDS = 2.0  # of a note, that its pitch is estimated from
_COLUMNS = (
    "model",
    "step",
    "latents",
    "values/s",
    "variance explained",
    "by window means",
    "by patch PCA",
    "notes in tune",
    "exact length",
    "SNR, dB",
)
_NOTE = (
    "Variance explained: 1 less the squared error over that of the training split's mean spectrum, "
    "over held-out frames, normalised; phase steps are weighted by the level of their bin. Sounds: "
    "held-out recordings encoded, decoded and inverted; notes within 50 cents of their label by "
    "YIN, exact lengths, median waveform SNR."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """Rate of a latent code.

    Attributes:
      size: Values of a latent step.
      stride: Frames of a latent step; below 1 where a frame has several.
    """

    size: int
    stride: float

    def per_second(self, frames_per_second: float) -> float:
        """Return the values per second of sound."""
        return self.size / self.stride * frames_per_second

    @property
    def patch(self) -> tuple[int, int]:
        """Frames of a patch of whole frames, and its number of values at this rate."""
        frames = max(1, round(self.stride))
        return frames, round(self.size * frames / self.stride)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording that is held out whole: float32 samples, and its labels."""

    samples: np.ndarray
    values: labels.Values


def evaluate(given: inputs.Inputs) -> list[table.Table]:
    """Compare held-out music with its reconstructions, as frames and, of recordings, as sound.

    Returns:
      A table with a row per run; with recordings also one for inversion without a model, and one
      per run for PCA of patches.

    Raises:
      InputError: If a model has no latents, or recordings are given and none is held out whole.
    """
    rows: list[list[str]] = []
    for run in given.runs:
        model, dataset = given.load_latent_model(run), given.dataset(run)
        recordings = _read_recordings(given, dataset)
        if recordings and not rows:
            rows.append(["inverted without a model", *[""] * 6])
            rows[0] += _measure_sounds(lambda frames, _: frames, recordings, given, run)
        rows += _evaluate_run(given, run, model, dataset, recordings)
    return [table.Table(columns=_COLUMNS, rows=rows, notes=[_NOTE])]


def _evaluate_run(
    given: inputs.Inputs,
    run: runs.Run,
    model: LatentModel,
    dataset: manifest.Dataset,
    recordings: Sequence[Recording],
) -> list[list[str]]:
    """Return the rows of a run."""
    train = inputs.frames_of(dataset, "train")
    examples = inputs.segments(dataset, "validation")
    held_out = [one.frames for one in examples]
    conditions = labels.stack(run.conditioning, [one.values for one in examples])
    mean = np.concatenate(train).mean(axis=0)
    rate = measure_rate(model, {name: rows[:1] for name, rows in conditions.items()})
    code = patch_pca(train, rate)

    def explained(made: Segments) -> str:
        return f"{variance_explained(held_out, made, run.spec, mean):.4f}"

    by_pca = "too wide" if code is None else explained(list(map(code, held_out)))
    size = f"{rate.size} per {rate.stride:g} frames"
    per_second = f"{rate.per_second(run.audio.frames_per_second):,.0f}"
    step, _ = inputs.validation(run)

    def encode_and_decode(frames: np.ndarray, values: labels.Values) -> np.ndarray:
        return reconstruct(model, [frames], labels.stack(run.conditioning, [values]))[0]

    rows = [
        [
            *(run.directory, str(step or ""), size, per_second),
            explained(reconstruct(model, held_out, conditions)),
            explained(window_means(held_out, run.window.timesteps)),
            by_pca,
            *_measure_sounds(encode_and_decode, recordings, given, run),
        ]
    ]
    if code is not None and recordings and given.settings.pca_sounds:
        sounds = _measure_sounds(lambda frames, _: code(frames), recordings, given, run)
        rows.append([f"patch PCA {size}", "", size, per_second, by_pca, "", "", *sounds])
    return rows


def _measure_sounds(
    function: Callable[[np.ndarray, labels.Values], np.ndarray],
    recordings: Sequence[Recording],
    given: inputs.Inputs,
    run: runs.Run,
) -> list[str]:
    """Return the cells of recordings that are analysed, sent through a function and inverted."""
    in_tune, exact, snrs = [], [], []
    for recording in tqdm.tqdm(recordings, desc="reconstructing", leave=False):
        frames = run.normalisation.apply(representations.extract(recording.samples, run.audio))
        made = run.normalisation.undo(function(frames, recording.values))
        # A hop of samples for every frame, of which the last begins at the very end or before it.
        samples, n_samples = representations.invert(made, run.audio), recording.samples.size
        surplus = samples.size - n_samples
        exact.append(len(made) == len(frames) and 0 <= surplus <= run.audio.hop_length)
        samples = np.pad(samples, (0, max(0, -surplus)))[:n_samples]
        snrs.append(snr_db(recording.samples, samples))
        pitch = recording.values.get(given.settings.pitch_label)
        if isinstance(pitch, float):
            cents = pitch_error_cents(samples, run.audio.sample_rate, pitch)
            in_tune.append(cents <= notes.IN_TUNE_CENTS)
    counts = [f"{sum(some)} of {len(some)}" if some else "" for some in (in_tune, exact)]
    return [*counts, f"{np.median(snrs):.1f}" if snrs else ""]


def _read_recordings(given: inputs.Inputs, dataset: manifest.Dataset) -> list[Recording]:
    """Return the recordings that are held out whole; none unless their folder is given."""
    folder = given.settings.input_dir
    if not folder:
        return []
    held_out = [
        line
        for line in manifest.load_lines(dataset.data_dir)
        if set(line.get("frames_kept", ())) == {"validation"}
    ]
    errors.require(
        bool(held_out), "the dataset must hold out whole recordings", data_dir=dataset.data_dir
    )
    return [
        Recording(
            samples=files.read(storage.join(folder, line["name"]), dataset.audio.sample_rate),
            values=labels.read_line(line),
        )
        for line in held_out
    ]


def reconstruct(model: LatentModel, segments: Segments, labels: Labels) -> list[np.ndarray]:
    """Return segments encoded and decoded.

    Args:
      model: A trained model.
      segments: Of any lengths.
      labels: Conditioning labels, "label/NAME" to an array with a row for each segment.
    """
    made: list[np.ndarray] = [np.zeros(0)] * len(segments)
    for indices in _equal_lengths(segments):
        frames = np.stack([segments[i] for i in indices])
        own = {name: rows[indices] for name, rows in labels.items()}
        for index, one in zip(indices, resynthesis.reconstruct(model, frames, own), strict=True):
            made[index] = one
    return made


def measure_rate(model: LatentModel, labels: Labels) -> Rate:
    """Return the rate of a model's latents; `labels` has one row."""
    silence = np.zeros((1, _RATE_FRAMES, model.spec.channels), np.float32)
    steps, size = model.encode(silence, labels).shape[1:]
    return Rate(size=size, stride=_RATE_FRAMES / steps)


def variance_explained(
    segments: Segments, made: Segments, spec: base.FrameSpec, mean: np.ndarray
) -> float:
    """Return 1 less the squared error over that of the mean spectrum.

    Args:
      segments: Held-out segments.
      made: Their reconstructions or predictions.
      spec: Frame spec of the segments.
      mean: float32 [channels], the mean spectrum of the training split.
    """
    error = total = 0.0
    for true, other in zip(segments, made, strict=True):
        weight = np.asarray(losses.phase_weight(true[np.newaxis], spec))[0]
        error += float(np.sum(weight * np.square(other - true), dtype=np.float64))
        total += float(np.sum(weight * np.square(mean - true), dtype=np.float64))
    return 1 - error / total


def window_means(segments: Segments, timesteps: int) -> list[np.ndarray]:
    """Return each segment with every window of `timesteps` frames replaced by its own mean."""
    return [
        np.concatenate(
            [
                np.broadcast_to(part.mean(axis=0), part.shape)
                for part in np.split(segment, range(timesteps, len(segment), timesteps))
            ]
        )
        for segment in segments
    ]


def patch_pca(train: Segments, rate: Rate) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return PCA of patches at a rate, fitted to the training split.

    Returns:
      A function from a segment to its reconstruction, or None if patches are too wide.
    """
    stride, size = rate.patch
    width = stride * train[0].shape[1]
    if width > _WIDEST_PATCH:
        return None
    found = patches.fit_components((patches.join(frames, stride) for frames in train), size)

    def code(segment: np.ndarray) -> np.ndarray:
        rows = patches.join(segment, stride) - found.mean
        back = rows @ found.vectors @ found.vectors.T + found.mean
        return np.asarray(back.reshape(-1, segment.shape[1])[: len(segment)])

    return code


def snr_db(true: np.ndarray, made: np.ndarray) -> float:
    """Return the signal-to-noise ratio of a reconstructed waveform, dB."""
    error = np.sum(np.square(true - made, dtype=np.float64))
    return float(10 * np.log10(np.sum(np.square(true, dtype=np.float64)) / max(error, 1e-30)))


def pitch_error_cents(samples: np.ndarray, sample_rate: int, pitch: float) -> float:
    """Return the absolute error of a note's pitch, cents; infinite for silence.

    Args:
      samples: float32 [n], of which the first two seconds are analysed.
      sample_rate: Hz.
      pitch: MIDI note number.
    """
    note = samples[: round(_PITCH_SECONDS * sample_rate)]
    return abs(notes.pitch_error_cents(note, sample_rate, pitch)) if np.any(note) else float("inf")


def _equal_lengths(segments: Segments) -> Iterator[list[int]]:
    """Yield the indices of segments of equal length, at most 32 at a time."""
    by_length: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        by_length.setdefault(len(segment), []).append(index)
    for indices in by_length.values():
        for start in range(0, len(indices), _MOST_AT_ONCE):
            yield indices[start : start + _MOST_AT_ONCE]
