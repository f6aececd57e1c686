"""Train a model on a dataset.

  python train_model.py --data_dir=dataset --run_dir=run

writes into the run directory
  config.json     everything needed to rebuild the model and to take its output back to sound
  checkpoints/    states to resume from: the same command line goes on where a run stopped
  model/          the weights that generate_songs.py uses
  logs/           for TensorBoard: scalars, spectrograms, audio players
  samples/        free rollouts made on the way, to look at and listen to

The same command line goes on where a run stopped, killed or not, and gives the same weights to
the bit. SIGTERM and Ctrl-C save and then stop, with exit status 128 + the signal's number: 143
and 130; a second one stops at once. Status 1 is an error that a restart would meet again.
"""

import shlex
from typing import NoReturn

from absl import flags

from flags import (
    augmentation_flags,
    command,
    data_dir_flags,
    device_flags,
    latent_flags,
    model_flags,
    pitch_flags,
    run_dir_flags,
    storage_flags,
    training_flags,
    window_flags,
)
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import augmentation, pipeline
from lstm_gen.evaluation import baselines
from lstm_gen.platform import devices
from lstm_gen.runs import run as runs
from lstm_gen.training import dry_run, loop, report

_BASELINES = flags.DEFINE_boolean(
    "baselines",
    True,
    "Fit simple predictors first, in seconds, and show the model's likelihood beside theirs.",
)
_DRY_RUN = flags.DEFINE_boolean(
    "dry_run",
    False,
    "Train for some seconds, keep nothing, and say what the whole would take: parameters, memory, "
    "steps of an epoch, seconds of a step on this machine, time to finish.",
)


def main() -> None:
    """Train, and say what was reached and what to run next."""
    dataset = manifest.load(data_dir_flags.input_dir())
    run_dir = run_dir_flags.output_dir()
    run = runs.Run(
        settings=model_flags.config(),
        window=window_flags.config(predicts=model_flags.family().predicts),
        training=training_flags.config(),
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=runs.absolute(dataset.data_dir),
        fingerprint=dataset.fingerprint,
        augmentation=augmentation_flags.config(),
        vocabulary=dataset.labels,
        condition=model_flags.condition(),
    )
    settings = training_flags.monitor_config()
    strategy = device_flags.strategy()
    augmentation.require_fit(run.augmentation, run.audio)
    augmentation.require_pitch_kept(run.augmentation, run.condition, pitch_flags.pitch_label())
    if _DRY_RUN.value:
        print(report.describe_data(dataset, run.window, run.training))
        found = dry_run.measure(run, dataset, settings.steps_per_call, strategy)
        print(dry_run.describe(found, run.training.steps))
        return
    with devices.chief_output_dir(strategy, run_dir) as own_dir:
        print(report.describe_data(dataset, run.window, run.training))
        for line in runs.clear(own_dir) if training_flags.fresh() else ():
            print(line)
        runs.open_or_create(own_dir, run)
        result = loop.train(own_dir, run, dataset, settings, strategy, resume_dir=run_dir)
    if devices.is_chief(strategy):
        scores = _baseline_scores(dataset, run) if _BASELINES.value and run.family.predicts else {}
        print(report.describe_result(result, run.training, scores, run.family.adversarial))
        print(
            f"listen    python generate_songs.py {command.flag_files(unless='model')}"
            f"--run_dir={shlex.quote(run_dir)} --output_dir=songs"
        )
        print(f"look      tensorboard --logdir={run_dir}")


def _baseline_scores(dataset: manifest.Dataset, run: runs.Run) -> dict[str, float]:
    """Return what simple predictors reach on the validation split, if there is one."""
    if not dataset.splits["validation"].n_records:
        return {}
    train, held_out = (
        (frames for frames, _, _ in pipeline.segments(dataset, split))
        for split in ("train", "validation")
    )
    return baselines.fit_and_score(train, held_out, shift=run.window.shift)


def run() -> NoReturn:
    """Run the command."""
    command.run(
        main,
        run_dir_flags,
        data_dir_flags,
        model_flags,
        *model_flags.MODULES.values(),
        latent_flags,
        pitch_flags,
        window_flags,
        augmentation_flags,
        training_flags,
        device_flags,
        storage_flags,
    )


if __name__ == "__main__":
    run()
