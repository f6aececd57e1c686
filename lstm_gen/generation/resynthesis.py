"""Recordings through a model and back: reconstructed, disturbed, moved to another class, mixed."""

import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from lstm_gen.audio import files, representations
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels
from lstm_gen.generation import conditioning, latents, output, rollout
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs


class Sound(NamedTuple):
    """What came out.

    Attributes:
      frames: Of the representation, float32 [frames, channels].
      samples: float32 [samples].
      labels: What it was said to be.
    """

    frames: np.ndarray
    samples: np.ndarray
    labels: Mapping[str, labels.Value]


def make(
    run_dir: str,
    run: runs.Run,
    output_dir: str,
    songs: GenerationConfig,
    device: str,
) -> list[str]:
    """Reconstruct recordings, or go from one to another, and write what comes out.

    For `--reconstruct=a.wav`: a-original (as the model's audio settings have it), a-inverted
    (through its frames, without the model: what is lost here is not the model's fault) and
    a-reconstructed; with perturb a-perturbed-000 ... too, with transfer a-FROM-to-TO. For
    interpolate: song-000 (the first) to the last.

    Args:
      run_dir: The run.
      run: What it says of itself.
      output_dir: Where to write.
      songs: What is asked for.
      device: Where to compute.

    Returns:
      The paths of the sound files.

    Raises:
      InputError: If a recording cannot be read, or a label is missing.
    """
    conditioning.require_complete(run, songs)
    errors.require(
        bool(songs.interpolate) or not conditioning.between(run, songs),
        "a label from one value to another is for songs and for --interpolate; say what the "
        "recording is",
        label=",".join(songs.label),
    )
    model = rollout.place_model(run_dir, run, device, songs.precision)
    made: dict[str, Sound] = {}
    if songs.interpolate:
        made |= _interpolate(model, run, songs)
    for path in songs.reconstruct:
        made |= _reconstruct(model, run, songs, path)
    paths = []
    for index, (name, sound) in enumerate(made.items()):
        path = storage.join(output_dir, name)
        paths.append(output.write_sound(path, sound.frames, sound.samples, run.audio, songs))
        output.write_settings(path, run_dir, index, songs, sound.frames, sound.labels)
    return paths


def _reconstruct(
    model: LatentModel, run: runs.Run, songs: GenerationConfig, path: str
) -> dict[str, Sound]:
    """Return the name of each sound made of a recording, and the sound."""
    samples = files.read(path, run.audio.sample_rate)
    frames = representations.extract(samples, run.audio)
    known = conditioning.given(run, songs)
    inputs, own = run.normalisation.apply(frames)[np.newaxis], conditioning.encode(run, [known])
    made = {"reconstructed": latents.reconstruct(model, inputs, own)[0]}
    if songs.perturb:
        many, each = (
            np.repeat(inputs, songs.n_songs, 0),
            conditioning.encode(run, [known] * songs.n_songs),
        )
        moved = latents.perturb(model, many, each, songs.perturb, songs.seed)
        made |= {f"perturbed-{i:03d}": song for i, song in enumerate(moved)}
    all_known = dict.fromkeys(("original", "inverted", *made), known)
    if songs.transfer:
        name, ends = conditioning.parse_transfer(run, songs)
        title = re.sub(r"[^\w.+-]+", "_", "-to-".join(ends))
        first, last = (run.vocabulary[name].values.index(end) for end in ends)
        made[title] = latents.transfer(model, inputs, own, name, (first, last))[0]
        all_known[title] = {**known, **({name: ends[1:]} if name in known else {})}
    named = {"original": (frames, samples)}
    named["inverted"] = (frames, output.invert(frames, run.audio, songs))
    for name, normalised in made.items():
        back = run.normalisation.undo(normalised)
        named[name] = (back, output.invert(back, run.audio, songs))
    stem = pathlib.PurePosixPath(path).stem
    return {
        f"{stem}-{name}": Sound(back, _as_long(heard, samples.size), all_known[name])
        for name, (back, heard) in named.items()
    }


def _interpolate(model: LatentModel, run: runs.Run, songs: GenerationConfig) -> dict[str, Sound]:
    """Return the name of each song between two recordings, and the song."""
    sounds_in = [files.read(path, run.audio.sample_rate) for path in songs.interpolate]
    frames = [
        run.normalisation.apply(representations.extract(samples, run.audio))
        for samples in sounds_in
    ]
    # The longer one ends with the shorter.
    both = np.stack([one[: min(map(len, frames))] for one in frames])
    ends = conditioning.given(run, songs)
    ways = conditioning.between(run, songs)
    known = [ends | {name: values[end] for name, values in ways.items()} for end in (0, 1)]
    steps = latents.steps(songs.n_songs)
    way = latents.interpolate(
        model,
        both,
        conditioning.encode(run, known),
        steps,
        conditioning.encode_songs(run, songs, steps),
    )
    n_samples = min(samples.size for samples in sounds_in)
    each = zip(way, conditioning.of_songs(run, songs, steps), strict=True)
    made = {}
    for index, (normalised, values) in enumerate(each):
        own = run.normalisation.undo(normalised)
        heard = _as_long(output.invert(own, run.audio, songs), n_samples)
        made[f"song-{index:03d}"] = Sound(own, heard, values)
    return made


def _as_long(samples: np.ndarray, n_samples: int) -> np.ndarray:
    """Return a waveform cut, or filled up with silence, to a length."""
    errors.require(samples.ndim == 1, "samples must be of one channel", shape=samples.shape)
    return np.pad(samples[:n_samples], (0, max(0, n_samples - samples.size)))
