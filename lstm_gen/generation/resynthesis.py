"""Resynthesis of recordings from their latents: reconstruct, perturb, interpolate, transfer."""

import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lstm_gen.audio import files, representations
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format.labels import Value
from lstm_gen.generation import conditioning, output, rollout
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

Labels = Mapping[str, np.ndarray]


def generate(
    run: runs.Run, config: GenerationConfig, device: str, show_progress: bool = False
) -> Iterator[output.Sound]:
    """Yield sounds made from the latents of recordings.

    For `--reconstruct=a.wav`: a-original (the recording at the run's sample rate), a-inverted
    (its frames inverted without the model: the loss of the inversion alone) and a-reconstructed;
    with perturb also a-perturbed-000 ..., with transfer a-FROM-to-TO. For interpolate: song-000
    (the first recording) to the last.

    Args:
      run: Run with trained weights.
      config: The request.
      device: Name of the device.
      show_progress: Whether to show progress bars on stderr.

    Raises:
      InputError: If a recording cannot be read, or a label is missing.
    """
    conditioning.require_complete(run, config)
    errors.require(
        bool(config.interpolate) or not conditioning.between(run, config),
        "a label from one value to another is for songs and for --interpolate; give the value of "
        "the recording",
        label=",".join(config.label),
    )
    model = rollout.place_model(run, device, config.precision)
    if config.interpolate:
        parts = _interpolations(model, run, config)
    else:
        parts = [
            part for path in config.reconstruct for part in _versions(model, run, config, path)
        ]
    for index, part in enumerate(output.show_inversion(parts, show_progress)):
        samples = part.samples
        if samples is None:
            samples = output.invert(part.frames, run.audio, config)
            samples = np.pad(samples[: part.n_samples], (0, max(0, part.n_samples - samples.size)))
        yield output.Sound(part.name, part.frames, samples, part.labels, index)


def reconstruct(model: LatentModel, frames: np.ndarray, labels: Labels) -> np.ndarray:
    """Return frames encoded and decoded, of the shape of `frames`.

    Args:
      model: The trained model.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
    """
    return model.decode(model.encode(frames, labels), frames.shape[1], labels)


def perturb(
    model: LatentModel, frames: np.ndarray, labels: Labels, scale: float, seed: int
) -> np.ndarray:
    """Return frames decoded from their latents with Gaussian noise, of the shape of `frames`.

    Args:
      model: The trained model.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      scale: Deviation of the noise, in deviations of each latent over the training split.
      seed: Seed of the noise; that of example i does not depend on the number of examples.
    """
    latents = model.encode(frames, labels)
    noise = [
        np.random.default_rng([seed, i]).standard_normal(z.shape) for i, z in enumerate(latents)
    ]
    std = np.float32(scale) * model.latent_std()
    return model.decode(latents + std * np.asarray(noise, np.float32), frames.shape[1], labels)


def interpolate(
    model: LatentModel,
    frames: np.ndarray,
    labels: Labels,
    positions: Sequence[float],
    labels_between: Labels,
) -> np.ndarray:
    """Return frames decoded from latents on the line between those of two recordings.

    Args:
      model: The trained model.
      frames: float32 [2, frames, channels], normalised, of the two recordings.
      labels: Their labels, "label/NAME" to an array of two rows.
      positions: Position of each sound between the recordings, 0 to 1.
      labels_between: "label/NAME" to an array with a row for each sound.

    Returns:
      float32 [sounds, frames, channels].
    """
    first, last = model.encode(frames, labels)
    latents = np.stack([(1 - position) * first + position * last for position in positions])
    return model.decode(latents.astype(np.float32), frames.shape[1], labels_between)


def transfer(
    model: LatentModel,
    frames: np.ndarray,
    labels: Labels,
    name: str,
    classes: tuple[int, int],
) -> np.ndarray:
    """Return frames moved from one class to another by the difference of their mean latents.

    A model conditioned on that label encodes with the first class and decodes with the second.

    Args:
      model: The trained model.
      frames: float32 [examples, frames, channels], normalised.
      labels: "label/NAME" to an array with a row for each example.
      name: Name of one of the frame spec's `classes`.
      classes: Index of the class of the frames, and of the class that they are moved to.

    Source: latent arithmetic as in Radford et al. 2015 (arXiv 1511.06434).
    """
    means = model.class_means()[name]
    latents = model.encode(frames, labels) + (means[classes[1]] - means[classes[0]])
    decoded = dict(labels)
    if f"label/{name}" in decoded:
        decoded[f"label/{name}"] = np.full_like(decoded[f"label/{name}"], classes[1])
    return model.decode(latents.astype(np.float32), frames.shape[1], decoded)


class _Part(NamedTuple):
    """Frames, inverted to `n_samples` samples unless `samples` are given."""

    name: str
    frames: np.ndarray
    n_samples: int
    labels: Mapping[str, Value]
    samples: np.ndarray | None = None


def _versions(
    model: LatentModel, run: runs.Run, config: GenerationConfig, path: str
) -> Iterator[_Part]:
    """Yield a recording, its frames inverted, its reconstruction and the requested variants."""
    samples = files.read(path, run.audio.sample_rate)
    frames = representations.extract(samples, run.audio)
    given = conditioning.given(run, config)
    encoded = conditioning.encode(run, [given])
    inputs = run.normalisation.apply(frames)[np.newaxis]
    stem = pathlib.PurePosixPath(path).stem

    def part(name: str, normalised: np.ndarray, values: Mapping[str, Value] = given) -> _Part:
        return _Part(f"{stem}-{name}", run.normalisation.undo(normalised), samples.size, values)

    yield _Part(f"{stem}-original", frames, samples.size, given, samples)
    yield _Part(f"{stem}-inverted", frames, samples.size, given)
    yield part("reconstructed", reconstruct(model, inputs, encoded)[0])
    if config.perturb:
        copies = np.repeat(inputs, config.n_songs, 0)
        repeated = conditioning.encode(run, [given] * config.n_songs)
        perturbed = perturb(model, copies, repeated, config.perturb, config.seed)
        yield from (part(f"perturbed-{i:03d}", song) for i, song in enumerate(perturbed))
    if config.transfer:
        name, ends = conditioning.parse_transfer(run, config)
        title = re.sub(r"[^\w.+-]+", "_", "-to-".join(ends))
        first, last = (run.vocabulary[name].values.index(end) for end in ends)
        moved = transfer(model, inputs, encoded, name, (first, last))[0]
        yield part(title, moved, {**given, **({name: ends[1:]} if name in given else {})})


def _interpolations(model: LatentModel, run: runs.Run, config: GenerationConfig) -> list[_Part]:
    """Return songs between two recordings."""
    recordings = [files.read(path, run.audio.sample_rate) for path in config.interpolate]
    frames = [
        run.normalisation.apply(representations.extract(samples, run.audio))
        for samples in recordings
    ]
    # The longer one is cut to the length of the shorter.
    both = np.stack([one[: min(map(len, frames))] for one in frames])
    given, interpolated = conditioning.given(run, config), conditioning.between(run, config)
    ends = [given | {name: pair[end] for name, pair in interpolated.items()} for end in (0, 1)]
    positions = conditioning.fractions(config.n_songs, single=0.5)
    songs = interpolate(
        model,
        both,
        conditioning.encode(run, ends),
        positions,
        conditioning.encode_songs(run, config, positions),
    )
    n_samples = min(samples.size for samples in recordings)
    return [
        _Part(f"song-{index:03d}", run.normalisation.undo(song), n_samples, values)
        for index, (song, values) in enumerate(
            zip(songs, conditioning.of_songs(run, config, positions), strict=True)
        )
    ]
