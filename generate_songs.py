"""Make songs with a trained model.

  python generate_songs.py --run_dir=run --output_dir=songs

rolls the model forward from an excerpt of its dataset, or from your own recording with
--primer=FILE, and writes song-000.wav, ... with a spectrogram picture and the settings beside each.
"""

import time
from typing import NoReturn

import tqdm
from absl import flags, logging

from flags import (
    command,
    device_flags,
    generation_flags,
    pitch_flags,
    run_dir_flags,
    storage_flags,
)
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.generation import rollout
from lstm_gen.generation import songs as generation
from lstm_gen.runs import run as runs

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "songs", "Where the songs go.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "Dataset for the primers, if it is no longer where the run was trained on it."
)


def main() -> None:
    """Make the songs, and name them."""
    songs = generation_flags.config()
    run_dir = run_dir_flags.input_dir()
    data_dir = storage_flags.input_path(_DATA_DIR.value) if _DATA_DIR.value else ""
    output_dir = storage_flags.output_path(_OUTPUT_DIR.value)
    run = runs.load(run_dir)
    if songs.temperature < 1 and "sigma_scale" in run.family.controls:
        logging.warning("--temperature below 1 lets onsets vanish; --sigma_scale is safer to lower")
    devices = device_flags.devices()
    groups = rollout.deal(songs.n_songs, songs.songs_at_once)
    n_frames = generation.generation_request(songs, run).n_frames * len(groups)
    total = None if songs.melody else n_frames  # a melody's notes are as long as the longest
    start = time.perf_counter()
    # Delayed, so that an error before the first frame is the only line on stderr.
    with tqdm.tqdm(total=total, unit="frame", desc="rolling out", leave=False, delay=1e-3) as bar:
        paths = generation.make(run_dir, output_dir, songs, data_dir, devices, bar.update)
    seconds = time.perf_counter() - start
    for path in paths:
        print(path)
    print(f"{len(paths)} sounds in {seconds:.1f} s{_describe_rate(songs, len(paths), seconds)}")


def _describe_rate(songs: GenerationConfig, n_sounds: int, seconds: float) -> str:
    """Return in words how fast songs were made; recordings and melodies are of any length."""
    if songs.reconstruct or songs.interpolate or songs.melody:
        return ""
    rate = n_sounds * songs.seconds / seconds
    return f", {songs.seconds:g} s each, {rate:.0f} x real time with everything"


def run() -> NoReturn:
    """Run the command."""
    command.run(main, run_dir_flags, generation_flags, pitch_flags, device_flags, storage_flags)


if __name__ == "__main__":
    run()
