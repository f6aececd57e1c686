"""A run directory becomes songs: primer, rollout, inversion, files."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from absl import logging

from lstm_gen.audio import files, representations
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.dataset.input import excerpts
from lstm_gen.generation import (
    conditioning,
    export,
    melody,
    output,
    request,
    resynthesis,
    rollout,
)
from lstm_gen.models import base
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs


def make(
    run_dir: str,
    output_dir: str,
    songs: GenerationConfig,
    data_dir: str = "",
    devices: Sequence[str] = ("/cpu:0",),
    progress: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Make songs and write them; of several processes, each its own.

    Args:
      run_dir: A directory that training made.
      output_dir: Where the songs go: `song-000.wav`, its picture `.png` and settings `.json`.
      songs: What is asked for.
      data_dir: The dataset to take primers from; "" for the one trained on.
      devices: Where to roll out, as `distribute.devices` names them.
      progress: Called with the number of frames that a group of songs has got since the last
        call.

    Returns:
      The paths of the sound files.

    Raises:
      InputError: If the run has no trained weights, or the primer cannot be used.
    """
    run = runs.load(run_dir)
    request.require_apart(output_dir, run, songs)
    request.require_honoured(songs, run)
    if songs.portable:
        return [_make_portable(run_dir, output_dir, songs)]
    if songs.reconstruct or songs.interpolate:
        return resynthesis.make(run_dir, run, output_dir, songs, devices[0])
    if songs.melody:
        return [_play(run_dir, run, output_dir, songs, devices, progress)]
    primer = load_primer(run, songs, data_dir or run.data_dir)
    groups = rollout.deal(songs.n_songs, songs.songs_at_once)
    known = conditioning.of_songs(run, songs)
    frames = rollout.roll_out(
        run_dir,
        run,
        generation_request(songs, run),
        primer,
        groups,
        devices,
        songs.precision,
        progress,
    )
    paths = []
    for index, new in frames.items():
        whole = np.concatenate([primer[index], new]) if songs.include_primer else new
        song = run.normalisation.undo(whole)
        path = storage.join(output_dir, f"song-{index:03d}")
        paths.append(output.write_song(path, song, run.audio, songs))
        output.write_settings(path, run_dir, index, songs, song, known[index])
    return paths


def _play(
    run_dir: str,
    run: runs.Run,
    output_dir: str,
    songs: GenerationConfig,
    devices: Sequence[str],
    progress: Callable[[int], None],
) -> str:
    """Make a note of every pitch of a melody, and play it with them; return the sound's path."""
    errors.require(
        not conditioning.between(run, songs),
        "a melody has one player; give each label one value",
        label=",".join(songs.label),
    )
    notes = melody.read(songs.melody, songs.note_seconds)
    wanted = melody.pitches(notes, run, songs)
    seconds = melody.longest(notes)
    asked = dataclasses.replace(songs, n_songs=len(wanted), seconds=seconds, primer="")
    texts = [f"{songs.pitch_label}={pitch}" for pitch in wanted]
    errors.require(
        songs.pitch_label not in conditioning.given(run, songs),
        f"the melody says the pitch; leave out --label {songs.pitch_label}",
        label=",".join(songs.label),
    )
    window_seconds = run.window.timesteps / run.audio.frames_per_second
    if seconds > window_seconds and "between" in run.family.controls:  # made one by one
        logging.warning("notes longer than %.1f s are struck again and again", window_seconds)
    same = conditioning.of_songs(run, asked)[0]  # one player for all notes
    known = [
        {**same, **conditioning.given(run, dataclasses.replace(songs, label=(text,)))}
        for text in texts
    ]
    frames = rollout.roll_out(
        run_dir,
        run,
        generation_request(asked, run, known),
        np.zeros((len(wanted), 0, run.audio.channels), np.float32),
        [range(len(wanted))],  # by this process, whatever others there are: it is one song
        devices,
        songs.precision,
        progress,
    )
    made = {
        pitch: output.invert(run.normalisation.undo(frames[index]), run.audio, songs)
        for index, pitch in enumerate(wanted)
    }
    samples = melody.mix(notes, made, run.audio.sample_rate)
    heard, path = representations.extract(samples, run.audio), storage.join(output_dir, "melody")
    player = {name: value for name, value in same.items() if name != songs.pitch_label}
    output.write_settings(path, run_dir, 0, songs, heard, player)
    return output.write_sound(path, heard, samples, run.audio, songs)


def _make_portable(run_dir: str, output_dir: str, songs: GenerationConfig) -> str:
    """Make the one song by the graph that is exported; return its path."""
    n_iterations = INVERSION_ITERATIONS[songs.inversion_quality]
    run, generator = export.load(run_dir, songs.sigma_scale, n_iterations, songs.seconds)
    primer = files.read(songs.primer, run.audio.sample_rate)
    samples = generator.make(songs.seed, primer, songs.seconds, songs.temperature)
    path, frames = storage.join(output_dir, "song-000"), representations.extract(samples, run.audio)
    output.write_settings(path, run_dir, 0, songs, frames)
    return output.write_sound(path, frames, samples, run.audio, songs)


def load_primer(run: runs.Run, songs: GenerationConfig, data_dir: str) -> np.ndarray:
    """Return what each song starts from, normalised, float32 [n_songs, frames, channels]."""
    if "primer" not in run.family.controls:
        return np.zeros((songs.n_songs, 0, run.audio.channels), np.float32)
    if songs.primer:
        samples = files.read(songs.primer, run.audio.sample_rate)
        frames = run.normalisation.apply(representations.extract(samples, run.audio))
        return np.repeat(frames[np.newaxis], songs.n_songs, axis=0)
    dataset = manifest.load(data_dir)
    errors.require(
        dataset.fingerprint == run.fingerprint,
        "the dataset must be the one that the run was trained on; name where that is now with "
        "--data_dir, or continue a recording with --primer",
        data_dir=data_dir,
    )
    split = "validation" if dataset.splits["validation"].n_records else "train"
    n_frames = round(songs.primer_seconds * run.audio.frames_per_second)
    return excerpts.draw(dataset, split, songs.n_songs, n_frames, songs.seed)


def generation_request(
    songs: GenerationConfig,
    run: runs.Run,
    known: Sequence[Mapping[str, labels.Value]] | None = None,
) -> base.GenerationRequest:
    """Return what is asked of the model; `known` are the songs' labels, if not as asked for."""
    return base.GenerationRequest(
        n_songs=songs.n_songs,
        n_frames=max(1, round(songs.seconds * run.audio.frames_per_second)),
        seed=songs.seed,
        temperature=songs.temperature,
        sigma_scale=songs.sigma_scale,
        prior=songs.prior,
        labels=conditioning.encode_songs(run, songs)
        if known is None
        else conditioning.encode(run, known),
        share_noise=known is not None
        or bool(conditioning.between(run, songs)),  # a melody has one player
    )
