"""Train a model on a dataset.

  python train_model.py --data_dir=dataset --run_dir=run

writes into the run directory
  config.json     everything needed to rebuild the model and to invert its output to sound
  checkpoints/    states to resume from
  model/          the weights that generation uses
  logs/           for TensorBoard: scalars, spectrograms, audio players
  samples/        free rollouts made on the way, to look at and listen to

The same command line continues a run that was stopped, killed or not, and gives the same weights to
the bit. SIGTERM and Ctrl-C save and then stop, with exit status 128 + the signal's number: 143
and 130; a second one stops at once. Status 1 is an error that a restart would meet again.
"""

import dataclasses
import shlex
from typing import TYPE_CHECKING, NoReturn

from lstm_gen import models
from lstm_gen.cli import command, paths, settings
from lstm_gen.config import fields
from lstm_gen.config.training import (
    AugmentationConfig,
    DeviceConfig,
    MonitorConfig,
    TrainingConfig,
    WindowConfig,
)
from lstm_gen.platform import stderr_filter

if TYPE_CHECKING:
    from lstm_gen.dataset.format import manifest
    from lstm_gen.runs import run as runs


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(fields.Settings):
    """Model family and conditioning."""

    model: str = fields.setting(
        models.NAMES[0],
        "; ".join(f"{one.family}: {one.summary}" for one in models.CONFIGS) + ".",
        choices=models.NAMES,
    )
    condition: str = fields.setting(
        "",
        "Labels of the dataset that the model is conditioned on, separated by commas, as in "
        "--condition=pitch,instrument; in generation --label pitch=60 then sets them.",
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the conditioning labels, sorted."""
        return tuple(sorted({name.strip() for name in self.condition.split(",") if name.strip()}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartConfig(fields.Settings):
    """Start of the training."""

    fresh: bool = fields.setting(
        False,
        "Begin again: delete what an earlier training left in run_dir, listing it. Without it a "
        "run is resumed, and one that has lost its checkpoints is an error.",
    )
    baselines: bool = fields.setting(
        True,
        "Fit simple predictors, in seconds, and show the model's likelihood beside theirs.",
    )
    dry_run: bool = fields.setting(
        False,
        "Train for some seconds, keep nothing, and print an estimate: parameters, memory, steps "
        "per epoch, seconds per step on this machine, time to finish.",
    )


SETTINGS = (
    paths.RunConfig,
    paths.DatasetConfig,
    StartConfig,
    ModelConfig,
    *models.CONFIGS,
    WindowConfig,
    AugmentationConfig,
    TrainingConfig,
    MonitorConfig,
    DeviceConfig,
    paths.StorageConfig,
)


def main(line: settings.CommandLine) -> None:
    """Train, and print the result and the next commands."""
    chosen, start = line.build(ModelConfig), line.build(StartConfig)
    device = line.build(DeviceConfig)
    window, augment = line.build(WindowConfig), line.build(AugmentationConfig)
    training, monitor = line.build(TrainingConfig), line.build(MonitorConfig)
    family_settings = line.build(models.config_class(chosen.model))
    data_dir = line.build(paths.DatasetConfig).data_dir
    stderr_filter.start()
    from lstm_gen.dataset.format import manifest
    from lstm_gen.dataset.input import augmentation
    from lstm_gen.platform import devices
    from lstm_gen.runs import run as runs
    from lstm_gen.training import dry_run, loop, report

    run_dir, dataset, family = (
        output_run_dir(line),
        manifest.load(data_dir),
        models.by_name(chosen.model),
    )
    run = runs.Run(
        settings=family_settings,
        window=window if family.predicts else dataclasses.replace(window, shift=0),
        training=training,
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=runs.absolute(dataset.data_dir),
        fingerprint=dataset.fingerprint,
        augmentation=augment,
        vocabulary=dataset.labels,
        condition=chosen.labels,
    )
    strategy = devices.strategy(device.kind, device.cpu_devices)
    augmentation.require_fit(run.augmentation, run.audio)
    augmentation.require_pitch_kept(run.augmentation, run.condition, line.value("pitch_label"))
    if start.dry_run:
        print(report.describe_data(dataset, run.window, run.training))
        found = dry_run.measure(run, dataset, monitor.steps_per_call, strategy)
        print(dry_run.describe(found, run.training.steps))
        return
    with devices.chief_output_dir(strategy, run_dir) as own_dir:
        print(report.describe_data(dataset, run.window, run.training))
        for deleted in runs.clear(own_dir) if start.fresh else ():
            print(deleted)
        runs.open_or_create(own_dir, run)
        result = loop.train(own_dir, run, dataset, monitor, strategy, resume_dir=run_dir)
    if devices.is_chief(strategy):
        scores = _baseline_scores(dataset, run) if start.baselines and run.family.predicts else {}
        print(report.describe_result(result, run.training, scores, run.family.adversarial))
        print(
            f"listen    {command.program('generate')} {line.files(unless='model')}"
            f"--run_dir={shlex.quote(run_dir)} --output_dir=songs"
        )
        print(f"look      tensorboard --logdir={run_dir}")


def output_run_dir(line: settings.CommandLine) -> str:
    """Return where the run is written: the flag wins, then Vertex AI's variables, then default."""
    given = "" if line.is_given("run_dir") else paths.job_run_dir()
    return line.resolve(given or line.value("run_dir"), "output")


def _baseline_scores(dataset: "manifest.Dataset", run: "runs.Run") -> dict[str, float]:
    """Return the scores of simple predictors on the validation split, if there is one."""
    from lstm_gen.dataset.input import pipeline
    from lstm_gen.evaluation import baselines

    if not dataset.splits["validation"].n_records:
        return {}
    train, held_out = (
        (frames for frames, _, _ in pipeline.segments(dataset, split))
        for split in ("train", "validation")
    )
    return baselines.fit_and_score(train, held_out, shift=run.window.shift)


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
