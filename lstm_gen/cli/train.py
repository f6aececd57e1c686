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
from typing import TYPE_CHECKING, NamedTuple, NoReturn

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
    import tensorflow as tf

    from lstm_gen.dataset.format import manifest
    from lstm_gen.runs import run as runs
    from lstm_gen.training import loop


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
        "Begin again: delete and list the results of an earlier training in run_dir. Without it a "
        "run is resumed, and one that has lost its checkpoints is an error.",
    )
    baselines: bool = fields.setting(
        True,
        "Fit simple predictors, in seconds, and show the model's likelihood beside theirs.",
    )
    calibrate: bool = fields.setting(
        True,
        "When training ends, choose the sampling settings of songs by short rollouts beside "
        "held-out music, store them with the weights, and say how the songs are.",
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


class Job(NamedTuple):
    """Validated training.

    Attributes:
      run: The run.
      run_dir: Its directory.
      dataset: Its dataset.
      monitor: Intervals of validation, checkpoints and logging.
      strategy: Devices of the model.
    """

    run: "runs.Run"
    run_dir: str
    dataset: "manifest.Dataset"
    monitor: MonitorConfig
    strategy: "tf.distribute.Strategy"


def main(line: settings.CommandLine) -> None:
    """Train, and print the result and the next commands."""
    start, job = line.build(StartConfig), read_job(line)
    run, run_dir = job.run, job.run_dir
    from lstm_gen.platform import devices
    from lstm_gen.training import report

    if start.dry_run:
        print(report.describe_data(job.dataset, run.window, run.training))
        found = report.measure(run, job.dataset, job.monitor.steps_per_call, job.strategy)
        print(report.describe_measurement(found, run.training.steps))
        return
    result = train(job, start.fresh)
    is_chief = devices.is_chief(job.strategy)
    if is_chief:
        has_likelihood = "nats_per_dim" in result.validation
        scored = start.baselines and run.family.predicts and has_likelihood
        scores = _baseline_scores(job.dataset, run) if scored else {}
        print(report.describe_result(result, run.training, scores, run.family.adversarial))
    if start.calibrate:
        calibrate(job, result)
    if is_chief:
        print(
            f"listen    {command.program('generate')} {line.files(unless='model')}"
            f"--run_dir={shlex.quote(run_dir)} --output_dir=songs"
        )
        print(f"look      tensorboard --logdir={run_dir}")


def read_job(line: settings.CommandLine) -> Job:
    """Return the training of a command line; imports TensorFlow.

    Raises:
      InputError: If a setting is refused, or does not fit the dataset.
    """
    chosen, device = line.build(ModelConfig), line.build(DeviceConfig)
    window, augment = line.build(WindowConfig), line.build(AugmentationConfig)
    training, monitor = line.build(TrainingConfig), line.build(MonitorConfig)
    family_settings = line.build(models.config_class(chosen.model))
    data_dir = line.build(paths.DatasetConfig).data_dir
    stderr_filter.start()
    from lstm_gen.dataset.format import manifest
    from lstm_gen.dataset.input import augmentation
    from lstm_gen.platform import devices
    from lstm_gen.runs import run as runs

    run_dir, dataset = output_run_dir(line), manifest.load(data_dir)
    shift = models.by_name(chosen.model).target_shift(family_settings, window.shift)
    run = runs.Run(
        settings=family_settings,
        window=dataclasses.replace(window, shift=shift),
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
    return Job(run, run_dir, dataset, monitor, strategy)


def train(job: Job, fresh: bool) -> "loop.Result":
    """Train a run to its end, resuming if it was begun; print the description of its data.

    Raises:
      InputError: As `training.loop.train` does, or if the directory holds another run.
    """
    from lstm_gen.platform import devices
    from lstm_gen.runs import run as runs
    from lstm_gen.training import loop, report

    run, dataset = job.run, job.dataset
    run.weight_specs()  # settings that make no model are refused before anything is deleted
    with devices.chief_output_dir(job.strategy, job.run_dir) as own_dir:
        print(report.describe_data(dataset, run.window, run.training))
        for deleted in runs.clear(own_dir) if fresh else ():
            print(deleted)
        runs.open_or_create(own_dir, run)
        return loop.train(own_dir, run, dataset, job.monitor, job.strategy, resume_dir=job.run_dir)


def calibrate(job: Job, result: "loop.Result") -> None:
    """Calibrate the songs of a trained run, if that has not been done; print what was found.

    For families that continue a primer. The chief of a cluster does it, on its first device, and
    the other processes wait.

    Raises:
      InputError: If another process trains in the directory.
    """
    from lstm_gen.evaluation import calibration
    from lstm_gen.platform import devices

    run = dataclasses.replace(job.run, directory=job.run_dir)
    if calibration.applies_to(run):
        if devices.is_chief(job.strategy):
            _calibrate(job, run, result)
        devices.wait_for_all(job.strategy)


def _calibrate(job: Job, run: "runs.Run", result: "loop.Result") -> None:
    from lstm_gen.evaluation import calibration
    from lstm_gen.models import base
    from lstm_gen.runs import lease
    from lstm_gen.runs import run as runs

    facts = run.facts()
    if calibration.SCORES not in facts:
        with lease.hold(job.run_dir) as owner:
            device = job.strategy.extended.worker_devices[0]
            facts = calibration.calibrate(run, job.dataset, device)
            owner.confirm()
            runs.add_facts(job.run_dir, facts)
    if not facts:
        print("sampling  as learned; the music is too short to calibrate songs by")
        return
    scores = calibration.Scores(**facts[calibration.SCORES])
    sampling = base.Sampling(**facts[runs.SAMPLING])
    print(f"sampling  {calibration.describe_sampling(sampling, scores)}")
    trained = calibration.Training(
        steps=result.progress.step,
        best_step=result.progress.best_step,
        minutes=job.dataset.splits["train"].seconds / 60,
        is_transposed=bool(job.dataset.transposition.copies),
    )
    said = calibration.verdict(scores, trained)
    print("\n".join(f"{'' if index else 'verdict':10}{line}" for index, line in enumerate(said)))


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
