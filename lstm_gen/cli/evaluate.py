"""Measure trained models beside real music.

  lstm_gen evaluate --what=songs --run_dir=run --output=table.md
  lstm_gen evaluate --what=samples --run_dir=run --run_dir=other --prior=sequence,standard
  lstm_gen evaluate --what=notes --run_dir=run --input_dir=notes --pitch_label=pitch
  lstm_gen evaluate --what=labels --run_dir=run --label=digit --n_songs=200
  lstm_gen evaluate --what=reconstructions --run_dir=run --input_dir=recordings
  lstm_gen evaluate --what=waveforms --run_dir=run --seconds=2.7

prints tables in Markdown: metrics of songs, notes or reconstructions, beside those of held-out
music and, where there are some, the ranges that pass.
"""

import importlib
from collections.abc import Sequence
from typing import NoReturn

from lstm_gen.cli import command, paths
from lstm_gen.cli import settings as command_line
from lstm_gen.config.evaluation import EvaluationConfig
from lstm_gen.config.training import DeviceConfig
from lstm_gen.platform import stderr_filter, storage

SETTINGS = (EvaluationConfig, DeviceConfig, paths.StorageConfig)


def main(line: command_line.CommandLine) -> None:
    """Print the tables, and write them if a file is named."""
    settings, device = line.build(EvaluationConfig), line.build(DeviceConfig)
    stderr_filter.start()
    from lstm_gen.platform import devices

    text = evaluate(settings, devices.devices(device.kind, device.cpu_devices))
    print(text, end="")
    if settings.output:
        storage.write_text(settings.output, text)


def evaluate(settings: EvaluationConfig, devices: Sequence[str]) -> str:
    """Return the tables of an evaluation in Markdown.

    Args:
      settings: The settings; nothing is written to their output.
      devices: Devices for generation, as `platform.devices.devices` returns them.

    Raises:
      InputError: If a run, its dataset or the recordings cannot be evaluated so.
    """
    from lstm_gen.evaluation import inputs
    from lstm_gen.runs import run as runs

    evaluation = importlib.import_module(f"lstm_gen.evaluation.{settings.what}")
    found = [runs.load(run_dir) for run_dir in dict.fromkeys(settings.run_dir)]
    given = inputs.Inputs(runs=found, settings=settings, devices=devices)
    return "\n".join(one.markdown() for one in evaluation.evaluate(given))


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
