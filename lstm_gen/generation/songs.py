"""Songs of a trained model: primer, rollout, inversion to sound, files."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_gen.audio import files, representations
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import manifest
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
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs

_CPU = ("/cpu:0",)


def make(
    run: runs.Run,
    output_dir: str,
    config: GenerationConfig,
    data_dir: str = "",
    devices: Sequence[str] = _CPU,
    show_progress: bool = False,
) -> list[str]:
    """Generate songs and write them; each process of a cluster writes its own.

    Args:
      run: Run with trained weights, as `runs.load` returns it.
      output_dir: Directory of the songs: `song-000.wav`, its picture `.png` and settings `.json`.
      config: The request.
      data_dir: Dataset of the primers; "" for the one of the training.
      devices: Names of devices, as `platform.devices.devices` returns them.
      show_progress: Whether to show progress bars on stderr.

    Returns:
      The paths of the sound files.

    Raises:
      InputError: If the run has no trained weights, the model does not support the request, or the
        primer or the output directory cannot be used.
    """
    request.require_separate_output(output_dir, run, config)
    sounds = generate(run, config, data_dir, devices, show_progress)
    return [output.write(output_dir, sound, run, config) for sound in sounds]


def generate(
    run: runs.Run,
    config: GenerationConfig,
    data_dir: str = "",
    devices: Sequence[str] = _CPU,
    show_progress: bool = False,
) -> Iterator[output.Sound]:
    """Return an iterator over the sounds of a request; for arguments and errors see `make`."""
    request.require_supported(config, run)
    if config.portable:
        return iter([_portable(run, config)])
    if config.reconstruct or config.interpolate:
        return resynthesis.generate(run, config, devices[0], show_progress)
    if config.melody:
        return iter([melody.play(run, config, devices, show_progress)])
    return _songs(run, config, data_dir or run.data_dir, devices, show_progress)


def load_primer(run: runs.Run, config: GenerationConfig, data_dir: str) -> np.ndarray:
    """Return the frames that each song continues, normalised, float32 [n_songs, frames, channels].

    Raises:
      InputError: If the recording or the dataset cannot be used.
    """
    if "primer" not in run.family.controls:
        return np.zeros((config.n_songs, 0, run.audio.channels), np.float32)
    if config.primer:
        samples = files.read(config.primer, run.audio.sample_rate)
        frames = run.normalisation.apply(representations.extract(samples, run.audio))
        return np.repeat(frames[np.newaxis], config.n_songs, axis=0)
    dataset = manifest.load(data_dir)
    errors.require(
        dataset.fingerprint == run.fingerprint,
        "the dataset must be the one that the run was trained on; give its new place with "
        "--data_dir, or continue a recording with --primer",
        data_dir=data_dir,
    )
    split = "validation" if dataset.splits["validation"].n_records else "train"
    n_frames = round(config.primer_seconds * run.audio.frames_per_second)
    return excerpts.draw(dataset, split, config.n_songs, n_frames, config.seed)


def _songs(
    run: runs.Run,
    config: GenerationConfig,
    data_dir: str,
    devices: Sequence[str],
    show_progress: bool,
) -> Iterator[output.Sound]:
    primer = load_primer(run, config, data_dir)
    song_labels = conditioning.of_songs(run, config)
    songs = rollout.roll_out(
        run,
        request.for_model(config, run),
        primer,
        rollout.assign_groups(config.n_songs, config.songs_at_once),
        devices,
        config.precision,
        show_progress,
    )
    for index, (new, attempt) in output.show_inversion(songs.items(), show_progress):
        whole = np.concatenate([primer[index], new]) if config.include_primer else new
        frames = run.normalisation.undo(whole)
        samples = output.invert(frames, run.audio, config)
        yield output.Sound(f"song-{index:03d}", frames, samples, song_labels[index], index, attempt)


def _portable(run: runs.Run, config: GenerationConfig) -> output.Sound:
    """Return the one song of the graph that is exported."""
    n_iterations = INVERSION_ITERATIONS[config.inversion_quality]
    at_calibrated = dataclasses.replace(config, temperature=None)
    generator = export.load(run, at_calibrated, n_iterations, config.seconds)
    primer = files.read(config.primer, run.audio.sample_rate)
    factor = (
        1.0 if config.temperature is None else config.temperature / generator.sampling.temperature
    )
    samples = generator.generate_song(config.seed, primer, config.seconds, factor)
    return output.Sound("song-000", representations.extract(samples, run.audio), samples, {})
