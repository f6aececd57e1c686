"""Make songs with a trained model.

  python generate_songs.py --run_dir=run --output_dir=songs

continues an excerpt of the dataset, or your own recording with --primer=FILE, frame by frame, and
writes song-000.wav, ... each with a picture of its spectrogram and its settings.
"""

import dataclasses
import time
from typing import NamedTuple, NoReturn

from lstm_gen.cli import command, paths, settings
from lstm_gen.config import fields, generation
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import DeviceConfig
from lstm_gen.platform import stderr_filter


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputConfig(fields.Settings):
    """Output, and the dataset of the primers."""

    output_dir: str = fields.setting("songs", "Directory of the songs.", path="output")
    data_dir: str = fields.setting(
        "",
        "Dataset of the primers, if it has moved since the training.",
        path="input",
    )


SETTINGS = (paths.RunConfig, OutputConfig, GenerationConfig, DeviceConfig, paths.StorageConfig)


class Request(NamedTuple):
    """Validated request for songs.

    Attributes:
      config: Songs.
      data_dir: Dataset of the primers; "" for that of the training.
      devices: Names of the devices to generate on.
    """

    config: GenerationConfig
    data_dir: str
    devices: list[str]


def main(line: settings.CommandLine) -> None:
    """Make the songs, and print their names."""
    run_dir, output_dir = line.build(paths.RunConfig).run_dir, line.build(OutputConfig).output_dir
    request = read_request(line)
    from lstm_gen.generation import songs
    from lstm_gen.runs import run as runs

    config, run = request.config, runs.load(run_dir)
    start = time.perf_counter()
    written = songs.make(
        run, output_dir, config, request.data_dir, request.devices, show_progress=True
    )
    seconds = time.perf_counter() - start
    for path in written:
        print(path)
    print(_describe_result(config, len(written), seconds))


def read_request(line: settings.CommandLine) -> Request:
    """Return the request of a command line; imports TensorFlow, to find the devices.

    Raises:
      InputError: If a setting is refused.
    """
    config, device = line.build(GenerationConfig), line.build(DeviceConfig)
    if generation.is_midi(config.melody):
        config = dataclasses.replace(config, melody=line.resolve(config.melody, "input"))
    data_dir = line.build(OutputConfig).data_dir
    stderr_filter.start()
    from lstm_gen.platform import devices

    return Request(config, data_dir, devices.devices(device.kind, device.cpu_devices))


def _describe_result(config: GenerationConfig, n_songs: int, seconds: float) -> str:
    """Return the number of songs, the time and, if all have the requested length, the speed."""
    if config.reconstruct or config.interpolate or config.melody:
        return f"{n_songs} {'sound' if n_songs == 1 else 'sounds'} in {seconds:.1f} s"
    rate = n_songs * config.seconds / seconds
    return (
        f"{n_songs} {'song' if n_songs == 1 else 'songs'} in {seconds:.1f} s, {config.seconds:g} s "
        f"each, {rate:.1f} x real time with loading the model and inversion"
    )


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
