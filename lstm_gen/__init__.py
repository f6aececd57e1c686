"""Recordings to a dataset, to a trained audio model, to new songs.

    import lstm_gen

    lstm_gen.prepare("recordings", "dataset", preset="tiny")
    lstm_gen.train("dataset", "run", preset="tiny", steps=400)

    run = lstm_gen.load_run("run")
    for song in run.generate(n_songs=2, seconds=10.0, seed=1):
        print(song.samples.shape, song.sample_rate, song.labels)

Settings are keyword arguments with the names of the commands' flags (`lstm_gen train --help`), with
the same defaults, ranges and presets. The import is fast: TensorFlow is imported by `train`,
`load_run` and `Run.generate`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from lstm_gen.cli import settings as _settings
    from lstm_gen.config import fields as _fields
    from lstm_gen.dataset.format.manifest import Dataset
    from lstm_gen.runs import run as _runs

__version__ = "0.1.0"

# Flags that only the commands have.
_OF_FILES = ("run_dir", "output_dir", "format", "subtype")
_OF_REPORTS = ("dry_run", "baselines", "max_bad_fraction")


@dataclasses.dataclass(frozen=True)
class Song:
    """Generated song, or another sound of a model.

    Attributes:
      name: "song-000" and so on; for a recording's reconstruction, the name of its file.
      samples: float32 [samples]; full scale is 1.
      sample_rate: Samples per second, Hz.
      labels: Conditioning labels by name; empty if the model has none.
    """

    name: str
    samples: "np.ndarray"
    sample_rate: int
    labels: Mapping[str, Any]

    def write(self, path: str) -> None:
        """Write a 16-bit sound file; a song above full scale is scaled down to it.

        Args:
          path: File, local or gs://, ending in .wav, .flac, .ogg or .mp3.
        """
        from lstm_gen.audio import files

        files.write(path, self.samples, self.sample_rate)


class Run:
    """Trained model in a run directory; made by `train` and `load_run`.

    Attributes:
      config: Settings of the training and of the dataset's analysis.
    """

    def __init__(self, config: "_runs.Run") -> None:
        self.config = config

    @property
    def directory(self) -> str:
        """The run directory."""
        return self.config.directory

    def __repr__(self) -> str:
        return f"lstm_gen.load_run({self.directory!r})"

    def generate(self, *, preset: str = "", **settings: Any) -> "list[Song]":
        """Generate songs, or reconstruct, interpolate and transfer recordings.

        Equal settings and seeds give the songs of the command `lstm_gen generate`.

        Args:
          preset: Name of a preset, for the settings that are not given.
          **settings: Flags of `lstm_gen generate`, such as n_songs=2, seconds=5.0, seed=1,
            temperature=0.9, label=["pitch=60"], primer="guitar.wav".

        Returns:
          The songs, in order.

        Raises:
          lstm_gen.platform.errors.InputError: If a setting is unknown, out of range or not
            supported by the model, or if the run has no trained weights.

        Example:
          >>> songs = run.generate(n_songs=2, seconds=5, seed=1)
          >>> songs[0].samples.shape, songs[0].sample_rate
          ((110080,), 22050)
        """
        from lstm_gen.cli import generate
        from lstm_gen.generation import songs

        line = _line(generate.SETTINGS, preset, settings, _OF_FILES)
        request = generate.read_request(line)
        rate = self.config.audio.sample_rate
        return [
            Song(sound.name, sound.samples, rate, sound.labels)
            for sound in songs.generate(
                self.config, request.config, request.data_dir, request.devices
            )
        ]


def prepare(input_dir: str, data_dir: str, *, preset: str = "", **settings: Any) -> "Dataset":
    """Prepare a dataset from a folder of recordings.

    A complete dataset of the same recordings and settings is left as it is. Progress is printed.

    Args:
      input_dir: Folder of recordings, at any depth; nothing in it is changed.
      data_dir: Directory of the dataset.
      preset: Name of a preset, whose values hold for the settings that are not given.
      **settings: Flags of `lstm_gen prepare`: sample_rate, n_mels, representation and so on.

    Returns:
      The dataset: its splits, analysis and statistics.

    Raises:
      lstm_gen.platform.errors.InputError: If a setting is unknown or out of range, or no recording
        is usable.

    Example:
      >>> dataset = lstm_gen.prepare("recordings", "dataset", preset="tiny", workers=2)
      >>> dataset.splits["train"].n_frames, dataset.audio.channels
      (8273, 80)
    """
    from lstm_gen.cli import prepare as command

    values = {"input_dir": input_dir, "data_dir": data_dir, **settings}
    return command.prepare(_line(command.SETTINGS, preset, values, _OF_REPORTS))


def train(data_dir: str, run_dir: str, *, preset: str = "", **settings: Any) -> Run:
    """Train a model on a dataset, or resume the training in `run_dir`. Progress is printed.

    Args:
      data_dir: Directory of the dataset.
      run_dir: Run directory, for weights, checkpoints, logs and samples.
      preset: Name of a preset, whose values hold for the settings that are not given.
      **settings: Flags of `lstm_gen train`: model, steps, batch_size, learning_rate and so on.

    Returns:
      The trained run.

    Raises:
      lstm_gen.platform.errors.InputError: If a setting is unknown or out of range, the model does
        not fit the dataset, or the run directory holds another run.

    Example:
      >>> run = lstm_gen.train("dataset", "run", preset="tiny", steps=200)
      >>> run.config.training.steps
      200
    """
    from lstm_gen.cli import train as command

    values = {"data_dir": data_dir, "run_dir": run_dir, **settings}
    line = _line(command.SETTINGS, preset, values, _OF_REPORTS)
    job, start = command.read_job(line), line.build(command.StartConfig)
    result = command.train(job, start.fresh)
    if start.calibrate:
        command.calibrate(job, result)
    return load_run(job.run_dir)


def load_run(run_dir: str) -> Run:
    """Load the run in a directory; weights are read when songs are generated.

    Args:
      run_dir: Run directory, local or gs://.

    Raises:
      lstm_gen.platform.errors.InputError: If the directory holds no run.

    Example:
      >>> lstm_gen.load_run("run").config.settings.family
      'lstm'
    """
    from lstm_gen.runs import run

    return Run(run.load(run_dir))


def _line(
    kinds: "Sequence[type[_fields.Settings]]",
    preset: str,
    values: Mapping[str, Any],
    excluded: Sequence[str],
) -> "_settings.CommandLine":
    """Return the command line of Python values."""
    from lstm_gen.cli import command, settings

    line = settings.CommandLine(kinds, command.known_flags)
    line.set(values, preset, excluded)
    return line
