"""Settings of an evaluation: runs, metrics and songs."""

import dataclasses

from lstm_gen.config import fields
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.platform import errors

EVALUATIONS = ("songs", "samples", "notes", "labels", "reconstructions", "waveforms")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig(fields.Settings):
    """Evaluation."""

    what: str = fields.setting(
        "songs",
        "Evaluation. songs: rollouts of models that predict, and their likelihood beside "
        "baselines. samples: songs drawn from priors. notes: notes of a conditional model beside "
        "recorded notes of the same labels. labels: songs classified by a classifier of real "
        "sounds. reconstructions: held-out music encoded and decoded. waveforms: reconstructions "
        "and songs of models of the waveform.",
        choices=EVALUATIONS,
    )
    run_dir: tuple[str, ...] = fields.setting(
        ("run",),
        "Run directory; repeat the flag to compare runs.",
        repeatable=True,
        path="input",
    )
    data_dir: str = fields.setting(
        "",
        "Dataset of the runs, if it has moved since they were trained.",
        path="input",
    )
    input_dir: str = fields.setting(
        "",
        "Recordings that the dataset was made from. notes compares notes with them; "
        "reconstructions also measures those held out as sound, and without them frames only.",
        path="input",
    )
    output: str = fields.setting(
        "", "Markdown file for the tables, which are always printed too.", path="output"
    )
    n_songs: int = fields.like(
        GenerationConfig,
        "n_songs",
        default=16,
        help="Songs of each run (and prior); metrics of fewer than 16 vary by chance.",
    )
    seconds: float = fields.like(GenerationConfig, "seconds")
    seed: int = fields.like(GenerationConfig, "seed")
    temperature: float | None = fields.like(GenerationConfig, "temperature")
    sigma_scale: float | None = fields.like(GenerationConfig, "sigma_scale")
    neighbour_weight: float | None = fields.like(GenerationConfig, "neighbour_weight")
    prior: tuple[str, ...] = fields.setting(
        (),
        "Priors to draw from, as --prior of generation; by default that of each run, and for "
        "waveforms all.",
    )
    label: str = fields.setting(
        "", "Label whose classes --what=labels generates, one the model is conditioned on."
    )
    n_notes: int = fields.setting(
        200, "Notes of --what=notes, half of trained pitches and half of held-out ones.", at_least=2
    )
    pitch_label: str = fields.like(GenerationConfig, "pitch_label")
    pca_sounds: bool = fields.setting(
        True, "Reconstruct recordings by PCA of patches too, in --what=reconstructions."
    )
    songs_at_once: int = fields.like(GenerationConfig, "songs_at_once")
    precision: str = fields.like(GenerationConfig, "precision")
    inversion_quality: str = fields.like(GenerationConfig, "inversion_quality")

    def check(self) -> None:
        """Raise InputError where an evaluation lacks a setting that it needs."""
        errors.require(
            self.what != "labels" or bool(self.label),
            "--what=labels generates the classes of a label; name it with --label",
            label=self.label,
        )
        errors.require(
            self.what != "notes" or bool(self.input_dir),
            "--what=notes compares notes with recordings; name their folder with --input_dir",
            input_dir=self.input_dir,
        )

    def single_prior(self) -> str:
        """Return the requested prior of an evaluation of one; "" for the default.

        Raises:
          InputError: If there are several.
        """
        errors.require(
            len(self.prior) < 2, f"--what={self.what} takes one prior", prior=",".join(self.prior)
        )
        return self.prior[0] if self.prior else ""

    def songs(self, prior: str = "", **changes: int) -> GenerationConfig:
        """Return the request for songs from a prior, with integer fields changed."""
        names = (
            *("n_songs", "songs_at_once", "seconds", "seed", "temperature", "sigma_scale"),
            *("neighbour_weight", "pitch_label", "precision", "inversion_quality"),
        )
        values = {name: getattr(self, name) for name in names} | changes
        return GenerationConfig(prior=prior, **values)
