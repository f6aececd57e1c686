"""Make songs with a trained model.

  python generate_songs.py --run_dir=run --output_dir=songs

continues an excerpt of the dataset, or your own recording with --primer=FILE, frame by frame, and
writes song-000.wav, ... each with a picture of its spectrogram and its settings.
"""

import dataclasses
import time
from typing import NoReturn

from absl import logging

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


def main(line: settings.CommandLine) -> None:
    """Make the songs, and print their names."""
    songs, output = line.build(GenerationConfig), line.build(OutputConfig)
    device, run_dir = line.build(DeviceConfig), line.build(paths.RunConfig).run_dir
    if generation.is_midi(songs.melody):
        songs = dataclasses.replace(songs, melody=line.resolve(songs.melody, "input"))
    stderr_filter.start()
    import tqdm

    from lstm_gen.generation import rollout
    from lstm_gen.generation import songs as songs_made
    from lstm_gen.platform import devices
    from lstm_gen.runs import run as runs

    names = devices.devices(device.kind, device.cpu_devices)
    run = runs.load(run_dir)
    if songs.temperature < 1 and "sigma_scale" in run.family.controls:
        logging.warning("--temperature below 1 lets onsets vanish; --sigma_scale is safer to lower")
    groups = rollout.deal(songs.n_songs, songs.songs_at_once)
    n_frames = songs_made.generation_request(songs, run).n_frames * len(groups)
    total = None if songs.melody else n_frames  # a melody's notes are as long as the longest
    start = time.perf_counter()
    # Delayed, so that an error before the first frame is the only line on stderr.
    with tqdm.tqdm(total=total, unit="frame", desc="rolling out", leave=False, delay=1e-3) as bar:
        made = songs_made.make(
            run_dir, output.output_dir, songs, output.data_dir, names, bar.update
        )
    seconds = time.perf_counter() - start
    for path in made:
        print(path)
    print(f"{len(made)} sounds in {seconds:.1f} s{_describe_rate(songs, len(made), seconds)}")


def _describe_rate(songs: GenerationConfig, n_sounds: int, seconds: float) -> str:
    """Return in words how fast songs were made; recordings and melodies are of any length."""
    if songs.reconstruct or songs.interpolate or songs.melody:
        return ""
    rate = n_sounds * songs.seconds / seconds
    return f", {songs.seconds:g} s each, {rate:.0f} x real time with everything"


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)
