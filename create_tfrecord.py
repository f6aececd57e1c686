"""Turn a folder of recordings into a TFRecord dataset of frames.

  python create_tfrecord.py --input_dir=recordings --data_dir=dataset

writes into the dataset directory
  train-00000-of-00016.tfrecord ...   frames, also for validation and test
  dataset.json                        analysis, normalisation, counts; what train_model.py reads
  manifest.jsonl                      one line per file found: what became of it, and why
  dataset_info.json, features.json    for tensorflow_datasets.builder_from_directory
"""

import shlex
import time

from flags import (
    audio_flags,
    command,
    data_dir_flags,
    dataset_flags,
    label_flags,
    storage_flags,
)
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.inspect import summary
from lstm_gen.dataset.prepare import plan, prepare


def main() -> None:
    """Prepare the dataset, show progress, and say what there is now and what to run next."""
    import tqdm  # workers import this module too, and show no progress

    job = plan.Job(
        input_dir=dataset_flags.input_dir(),
        data_dir=data_dir_flags.output_dir(),
        plots_dir=dataset_flags.plots_dir(),
        audio=audio_flags.config(),
        segment=dataset_flags.segment_config(),
        split=dataset_flags.split_config(),
        label_source=label_flags.config(),
    )
    start = time.perf_counter()
    with tqdm.tqdm(desc="preparing", unit="recording", dynamic_ncols=True, leave=False) as bar:
        hours = 0.0

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
            dataset_flags.workers(),
            dataset_flags.overwrite(),
            progress,
            dataset_flags.runner(),
            dataset_flags.runner_options(),
        )
    seconds = time.perf_counter() - start
    speed = hours * 3600 / seconds
    print(
        f"{dataset.data_dir}: "
        + (
            f"made in {seconds:.1f} seconds, {speed:.0f} x real time"
            if n_tasks
            else "nothing to do, it was made from these recordings with these settings"
        )
    )
    lines = manifest.load_lines(dataset.data_dir)
    print(summary.describe(dataset, lines))
    print(summary.check_bad_fraction(lines, dataset_flags.max_bad_fraction()))
    print(
        f"next      python train_model.py {command.flag_files()}"
        f"--data_dir={shlex.quote(dataset.data_dir)} --run_dir=run"
    )


def run() -> None:
    """Run the command (console script)."""
    command.run(main, dataset_flags, data_dir_flags, label_flags, audio_flags, storage_flags)


if __name__ == "__main__":
    run()
