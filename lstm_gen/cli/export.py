"""Write a trained generator as a SavedModel for serving.

  lstm_gen export --run_dir=run --output_dir=exported/1

It has one signature, serving_default. Inputs: seed (int), primer (samples at the run's rate, which
the song continues; may be empty), seconds and temperature. Output: waveform. Everything between is
in the graph: TensorFlow Serving, or tf.saved_model.load, needs nothing of this program. Its output
is that of generate_songs.py --portable, sample for sample.
"""

import dataclasses
from typing import NoReturn

from lstm_gen.cli import command, paths, settings
from lstm_gen.config import fields
from lstm_gen.config.audio import INVERSION_ITERATIONS
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.platform import stderr_filter


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(fields.Settings):
    """Export, and the settings fixed in it."""

    output_dir: str = fields.setting(
        "exported/1",
        "Directory of the SavedModel, empty or not there. TensorFlow Serving expects a number, the "
        "version, at the end.",
        path="output",
    )
    sigma_scale: float | None = fields.like(GenerationConfig, "sigma_scale")
    neighbour_weight: float | None = fields.like(GenerationConfig, "neighbour_weight")
    inversion_quality: str = fields.like(GenerationConfig, "inversion_quality")
    max_seconds: float = fields.setting(
        300.0,
        "Longest song of a request; a longer one is an error. It bounds a server's memory.",
        unit="s",
        above=0,
    )


SETTINGS = (paths.RunConfig, ExportConfig, paths.StorageConfig)


def main(line: settings.CommandLine) -> None:
    """Write the SavedModel, and print its signature and the command that shows it."""
    options, run_dir = line.build(ExportConfig), line.build(paths.RunConfig).run_dir
    stderr_filter.start()
    from lstm_gen.generation import export

    output_dir = options.output_dir
    n_iterations = INVERSION_ITERATIONS[options.inversion_quality]
    config = GenerationConfig(
        sigma_scale=options.sigma_scale, neighbour_weight=options.neighbour_weight
    )
    export.write(run_dir, output_dir, config, n_iterations, options.max_seconds)
    print(f"{output_dir}: signature serving_default (seed, primer, seconds, temperature)")
    print(f"look      saved_model_cli show --all --dir={output_dir}")


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
