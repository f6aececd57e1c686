"""Recordings through a model and back: reconstructed, disturbed, moved to another class, mixed."""

import pathlib
import re

import numpy as np

from lstm_gen import config, runs, storage
from lstm_gen.audio import files, representations
from lstm_gen.generation import latents, rollout, song_config, sounds, told


def make(
    run_dir: str,
    run: runs.Run,
    output_dir: str,
    songs: song_config.SongConfig,
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
    told.require_complete(run, songs)
    config.require(
        bool(songs.interpolate) or not told.between(run, songs),
        "a label from one value to another is for songs and for --interpolate; say what the "
        "recording is",
        label=",".join(songs.label),
    )
    model = rollout.place_model(run_dir, run, device, songs.precision)
    trained = latents.Trained(run.family, model, run.signal)
    made: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if songs.interpolate:
        made |= _interpolate(trained, run, songs)
    for path in songs.reconstruct:
        made |= _reconstruct(trained, run, songs, path)
    paths = []
    for index, (name, (frames, samples)) in enumerate(made.items()):
        path = storage.join(output_dir, name)
        paths.append(sounds.write_sound(path, frames, samples, run.audio, songs))
        sounds.write_settings(path, run_dir, index, songs, frames)
    return paths


def _reconstruct(
    trained: latents.Trained, run: runs.Run, songs: song_config.SongConfig, path: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the name of each sound made of a recording, its frames and its samples."""
    samples = files.read(path, run.audio.sample_rate)
    frames = representations.extract(samples, run.audio)
    inputs, labels = run.normalisation.apply(frames)[np.newaxis], _labels(run, songs, 1)
    made = {"reconstructed": latents.reconstruct(trained, inputs, labels)}
    if songs.perturb:
        many, each = np.repeat(inputs, songs.n_songs, axis=0), _labels(run, songs, songs.n_songs)
        moved = latents.perturb(trained, many, each, songs.perturb, songs.seed)
        made |= {f"perturbed-{i:03d}": song[np.newaxis] for i, song in enumerate(moved)}
    if songs.transfer:
        name, classes = told.parse_transfer(run, songs.transfer)
        values = [run.vocabulary[name].values[index] for index in classes]
        title = re.sub(r"[^\w.+-]+", "_", "-to-".join(values))
        made[title] = latents.transfer(trained, inputs, labels, name, classes)
    named = {"original": (frames, samples)}
    named["inverted"] = (frames, sounds.invert(frames, run.audio, songs))
    for name, normalised in made.items():
        own = run.normalisation.undo(normalised[0])
        named[name] = (own, sounds.invert(own, run.audio, songs))
    stem = pathlib.PurePosixPath(path).stem
    return {
        f"{stem}-{name}": (own, _as_long(sound, samples.size))
        for name, (own, sound) in named.items()
    }


def _interpolate(
    trained: latents.Trained, run: runs.Run, songs: song_config.SongConfig
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the name of each song between two recordings, its frames and its samples."""
    sounds_in = [files.read(path, run.audio.sample_rate) for path in songs.interpolate]
    frames = [
        run.normalisation.apply(representations.extract(samples, run.audio))
        for samples in sounds_in
    ]
    # The longer one ends with the shorter.
    both = np.stack([one[: min(map(len, frames))] for one in frames])
    ends = told.given(run, songs)
    ways = told.between(run, songs)
    known = [ends | {name: values[end] for name, values in ways.items()} for end in (0, 1)]
    way = latents.interpolate(trained, both, told.encode(run, known), songs.n_songs)
    n_samples = min(samples.size for samples in sounds_in)
    made = {}
    for index, normalised in enumerate(way):
        own = run.normalisation.undo(normalised)
        made[f"song-{index:03d}"] = own, _as_long(sounds.invert(own, run.audio, songs), n_samples)
    return made


def _labels(run: runs.Run, songs: song_config.SongConfig, n_examples: int) -> latents.Labels:
    """Return the labels asked for, the same for all examples."""
    return told.encode(run, [told.given(run, songs)] * n_examples)


def _as_long(samples: np.ndarray, n_samples: int) -> np.ndarray:
    """Return a waveform cut, or filled up with silence, to a length."""
    config.require(samples.ndim == 1, "samples must be of one channel", shape=samples.shape)
    return np.pad(samples[:n_samples], (0, max(0, n_samples - samples.size)))
