"""Inputs of an evaluation: trained runs, their dataset, and songs that they generate."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstm_gen.audio import representations
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.dataset.format import labels, manifest
from lstm_gen.dataset.input import excerpts
from lstm_gen.generation import conditioning, request, rollout
from lstm_gen.generation import songs as generation
from lstm_gen.models.latents.latent_model import LatentModel
from lstm_gen.platform import errors
from lstm_gen.runs.run import Run

HELD_OUT, TRAINING = "held-out music", "training music"
"""Headings of real clips. Where training music is out of a range, a figure says nothing; but a copy
of itself has to fail a row of copies."""

_LARGEST_DEVIATION = 8.0  # of a logarithm in frames that are made sound
_EXCERPT_FRACTION = 0.9  # of a segment, so that excerpts come from most segments


class Example(NamedTuple):
    """A segment of a dataset.

    Attributes:
      frames: float32 [frames, channels], normalised.
      values: Its labels.
    """

    frames: np.ndarray
    values: labels.Values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """Trained runs, and the settings of their evaluation.

    Attributes:
      runs: The runs.
      settings: The settings.
      devices: Devices for generation, as `platform.devices.devices` returns them.
    """

    runs: Sequence[Run]
    settings: EvaluationConfig
    devices: Sequence[str]

    def dataset(self, *chosen: Run) -> manifest.Dataset:
        """Return the dataset of some runs, by default of all.

        Raises:
          InputError: If they have different datasets, theirs is not found, or it has no validation
            split.
        """
        first, *others = chosen or self.runs
        errors.require(
            all(run.fingerprint == first.fingerprint for run in others),
            "every --run_dir must be of the same dataset; evaluate the others by themselves",
            run_dir=",".join(run.directory for run in (first, *others)),
        )
        dataset = manifest.load(self.settings.data_dir or first.data_dir)
        errors.require(
            dataset.fingerprint == first.fingerprint,
            "the dataset must be the one that the runs were trained on; name it with --data_dir",
            data_dir=dataset.data_dir,
            run_dir=first.directory,
        )
        errors.require(
            dataset.splits["validation"].n_records > 0,
            "the dataset must hold out a validation split; make it again with a larger "
            "--validation_fraction",
            data_dir=dataset.data_dir,
        )
        return dataset

    def sounds(self, dataset: manifest.Dataset, clips: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Return the waveforms of clips, each normalised frames [frames, channels]."""
        n_iterations = INVERSION_ITERATIONS[self.settings.inversion_quality]
        # A rollout that has run away is a knock, not an error; only logarithms have no outliers.
        most = _LARGEST_DEVIATION if dataset.audio.is_logarithmic else np.inf
        return [
            representations.invert(
                dataset.normalisation.undo(np.clip(np.nan_to_num(clip), -most, most)),
                dataset.audio,
                n_iterations,
            )
            for clip in clips
        ]

    def primers(self, run: Run) -> np.ndarray:
        """Return the frames that the songs of a run continue, [n_songs, frames, channels]."""
        return generation.load_primer(
            run, self.settings.songs(), self.settings.data_dir or run.data_dir
        )

    def excerpts(self, dataset: manifest.Dataset, split: str, least: int = 1) -> np.ndarray:
        """Return excerpts of real music, as many and as long as songs.

        They are shorter where held-out segments are, and have `least` frames or more.

        Returns:
          float32 [n_songs, frames, channels], normalised.
        """
        lengths = [n for shard in dataset.splits["validation"].shards for n in shard.frames]
        wanted = round(self.settings.seconds * dataset.audio.frames_per_second)
        n_frames = max(least, min(wanted, int(_EXCERPT_FRACTION * np.median(lengths))))
        settings = self.settings
        return excerpts.draw(dataset, split, settings.n_songs, n_frames, settings.seed)

    def clips(
        self, dataset: manifest.Dataset, least: int = 1
    ) -> tuple[dict[str, np.ndarray], dict[str, Run]]:
        """Return real music and the songs of every run and prior, each group by its heading.

        Args:
          dataset: Of the runs.
          least: Least frames of an excerpt of real music.

        Returns:
          `HELD_OUT`, `TRAINING`, then each group of songs, to normalised frames, float32
          [n_songs, frames, channels]; and each group of songs to its run.
        """
        found = {
            HELD_OUT: self.excerpts(dataset, "validation", least),
            TRAINING: self.excerpts(dataset, "train", least),
        }
        owners: dict[str, Run] = {}
        for run in self.runs:
            made = dict(self.songs(run, self.priors()))
            found |= made
            owners |= dict.fromkeys(made, run)
        return found, owners

    def priors(self) -> Sequence[str]:
        """Return the requested priors; "" is the default prior of a run."""
        return self.settings.prior or ("",)

    def songs(self, run: Run, priors: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the songs of a run from each prior, as `generate` returns them, with a title."""
        for prior in priors:
            title = f"{run.directory}, {prior}" if prior else run.directory
            yield title, self.generate(run, self.settings.songs(prior))

    def generate(
        self,
        run: Run,
        config: GenerationConfig,
        song_labels: Sequence[labels.Values] | None = None,
        n_frames: int = 0,
    ) -> np.ndarray:
        """Generate songs of a run.

        Args:
          run: The run.
          config: The request.
          song_labels: Labels of each song; None draws them.
          n_frames: Frames of each song; 0 takes those of the request.

        Returns:
          Normalised frames, float32 [n_songs, n_frames, channels].

        Raises:
          InputError: If the run has no trained weights, or the model does not support the request.
        """
        request.require_supported(config, run)
        wanted = request.for_model(config, run)
        if song_labels is not None:
            wanted = dataclasses.replace(wanted, labels=conditioning.encode(run, song_labels))
        if n_frames:
            wanted = dataclasses.replace(wanted, n_frames=n_frames)
        songs = rollout.roll_out(
            run,
            wanted,
            generation.load_primer(run, config, self.settings.data_dir or run.data_dir),
            rollout.assign_groups(config.n_songs, config.songs_at_once),
            self.devices,
            config.precision,
            show_progress=True,
        )
        return np.stack([song.frames for song in songs.values()])

    def load_model(self, run: Run) -> Any:
        """Return the trained model of a run, on the first device.

        Raises:
          InputError: If the run has no trained weights.
        """
        return rollout.place_model(run, self.devices[0], "float32")

    def load_latent_model(self, run: Run) -> LatentModel:
        """Return the trained model of a run with latents, on the first device.

        Raises:
          InputError: If its family has no latents, or the run has no trained weights.
        """
        errors.require(
            issubclass(run.family, LatentModel),
            "run_dir must be of a model with latents",
            run_dir=run.directory,
            model=run.settings.family,
        )
        model: LatentModel = self.load_model(run)
        return model


def segments(
    dataset: manifest.Dataset, split: str, most_frames: int | None = None
) -> list[Example]:
    """Return the segments of a split in the order of its shards.

    Args:
      dataset: To read.
      split: "train", "validation" or "test".
      most_frames: About how many frames to return, of every so many segments; None for all.
    """
    lengths = [n for shard in dataset.splits[split].shards for n in shard.frames]
    every = -(-sum(lengths) // most_frames) if most_frames and lengths else 1
    found, number = [], 0
    for shard in dataset.splits[split].shards:
        if number % every == 0 or number % every + shard.records > every:
            found += [
                Example(dataset.normalise(segment.frames), segment.labels)
                for index, segment in enumerate(dataset.read_segments(shard), number)
                if index % every == 0
            ]
        number += shard.records
    return found


def frames_of(dataset: manifest.Dataset, split: str) -> list[np.ndarray]:
    """Return the frames of the segments of a split."""
    return [segment.frames for segment in segments(dataset, split)]


def validation(run: Run) -> tuple[int, dict[str, float]]:
    """Return the step of a run's weights and their metrics on held-out windows; 0 without any."""
    weights = run.weights()
    if weights is None:
        return 0, {}
    return weights.step, {k: v for k, v in weights.facts.items() if type(v) is float}
