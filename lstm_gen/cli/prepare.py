"""Turn a folder of recordings into a TFRecord dataset of frames.

  python create_tfrecord.py --input_dir=recordings --data_dir=dataset

writes into the dataset directory
  train-00000-of-00016.tfrecord ...   frames, also for validation and test
  dataset.json                        analysis, normalisation, counts; read by training
  manifest.jsonl                      one line per file found: its status, and the reason
  dataset_info.json, features.json    for tensorflow_datasets.builder_from_directory
"""

import dataclasses
import shlex
import time
from typing import TYPE_CHECKING, NoReturn

from lstm_gen.cli import command, paths, settings
from lstm_gen.config import fields
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig, TranspositionConfig

if TYPE_CHECKING:
    from lstm_gen.dataset.format import manifest
    from lstm_gen.dataset.prepare import plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationConfig(fields.Settings):
    """Preparation: recordings, workers, checks."""

    input_dir: str = fields.setting(
        "recordings",
        "Folder of recordings. Every WAV, FLAC, Ogg, MP3, AIFF, Opus ... at any depth is read, and "
        "M4A and the like where ffmpeg is installed. Nothing in it is changed.",
        path="input",
    )
    data_dir: str = fields.like(paths.DatasetConfig, "data_dir", path="output")
    workers: int = fields.setting(
        0,
        "Worker processes, up to 1 GB of memory each. The dataset is the same, byte for byte, "
        "with any number of them.",
        at_least=0,
        zero="one per core",
    )
    runner: str = fields.setting(
        "local",
        "local for worker processes on this machine, or a runner of Apache Beam, such as "
        "DirectRunner or DataflowRunner (pip install 'lstm_gen[beam]'). The dataset is the same, "
        "byte for byte; all of Beam's workers must reach input_dir and data_dir.",
    )
    runner_option: tuple[str, ...] = fields.setting(
        (),
        "Flag for Beam's runner: --runner_option=--project=mine "
        "--runner_option=--region=europe-west4 --runner_option=--setup_file=./setup.py",
        repeatable=True,
    )
    plots_dir: str = fields.setting(
        "",
        "Directory for a spectrogram PNG of each recording that is read; none by default.",
        path="output",
    )
    overwrite: bool = fields.setting(
        False,
        "Replace a dataset in data_dir that was made with other settings. New, changed and removed "
        "recordings need no flag: only their shards are written again.",
    )
    max_bad_fraction: float = fields.setting(
        0.5,
        "Exit with status 1 if more than this fraction of the recordings was left out (broken, "
        "truncated, silent ...). The dataset of the others is written all the same. 0 accepts "
        "none, 1 any number.",
        at_least=0,
        at_most=1,
    )


SETTINGS = (
    PreparationConfig,
    LabelConfig,
    AudioConfig,
    SegmentConfig,
    SplitConfig,
    TranspositionConfig,
    paths.StorageConfig,
)


def main(line: settings.CommandLine) -> None:
    """Prepare the dataset with a progress bar, and print its description and the next command."""
    dataset = prepare(line)
    from lstm_gen.dataset import inspection
    from lstm_gen.dataset.format import manifest

    lines = manifest.load_lines(dataset.data_dir)
    print(inspection.describe(dataset, lines))
    print(inspection.check_bad_fraction(lines, line.build(PreparationConfig).max_bad_fraction))
    print(
        f"next      {command.program('train')} {line.files()}"
        f"--data_dir={shlex.quote(dataset.data_dir)} --run_dir=run"
    )


def prepare(line: settings.CommandLine) -> "manifest.Dataset":
    """Return the prepared dataset; show progress, and print the time that it took.

    Raises:
      InputError: If the settings or the recordings cannot be used.
    """
    options, audio = line.build(PreparationConfig), line.build(AudioConfig)
    segment, split = line.build(SegmentConfig), line.build(SplitConfig)
    labels = line.build(LabelConfig)
    from lstm_gen.dataset.prepare import plan

    job = plan.Job(
        input_dir=options.input_dir,
        data_dir=options.data_dir,
        plots_dir=options.plots_dir,
        audio=audio,
        segment=segment,
        split=split,
        transposition=line.build(TranspositionConfig),
        label_source=labels,
    )
    return _prepare(job, options)


def _prepare(job: "plan.Job", options: PreparationConfig) -> "manifest.Dataset":
    import tqdm

    from lstm_gen.dataset.format import manifest
    from lstm_gen.dataset.prepare import plan, prepare

    start, hours = time.perf_counter(), 0.0
    with tqdm.tqdm(desc="preparing", unit=" recordings", dynamic_ncols=True, leave=False) as bar:

        def progress(outcome: plan.Outcome | None, n_recordings: int) -> None:
            nonlocal hours
            bar.total = n_recordings
            if outcome is None:
                return
            hours += outcome.seconds / 3600
            if outcome.status not in (plan.OK, "duplicate"):
                name = manifest.printable(outcome.name)
                bar.write(f"left out: {name}: {outcome.status}, {outcome.detail}", file=bar.fp)
            speed = hours * 3600 / (time.perf_counter() - start)
            bar.set_postfix_str(f"{hours:.2f} h of audio, {speed:.0f} x real time")
            bar.update()

        dataset, n_tasks = prepare.prepare(
            job,
            options.workers,
            options.overwrite,
            progress,
            options.runner,
            options.runner_option,
        )
    seconds = time.perf_counter() - start
    made = f"made in {seconds:.1f} seconds, {hours * 3600 / seconds:.0f} x real time"
    unchanged = "nothing to do, it was made from these recordings with these settings"
    print(f"{dataset.data_dir}: {made if n_tasks else unchanged}")
    return dataset


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
