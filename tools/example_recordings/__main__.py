"""Generator of example recordings: pieces for a small band, composed and synthesised from a seed.

    python -m tools.example_recordings --output_dir=recordings

The same seed always gives the same files: 44.1 kHz, 16 bits, stereo, FLAC.
"""

import dataclasses
import io
from typing import NoReturn

import numpy as np
import soundfile

from lstm_gen.cli import command, settings
from lstm_gen.config import fields
from lstm_gen.platform import storage


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingsConfig(fields.Settings):
    """Recordings."""

    output_dir: str = fields.setting("recordings", "Output folder; created if it does not exist.")
    minutes: float = fields.setting(
        4.0, "Total length of all recordings.", unit="min", at_least=0.05, at_most=600
    )
    n_recordings: int = fields.setting(6, "Number of recordings.", at_least=1)
    seed: int = fields.setting(0, "Random seed; each seed gives different pieces.", at_least=0)


SETTINGS = (RecordingsConfig,)


def main(line: settings.CommandLine) -> None:
    """Compose, synthesise and write each recording."""
    config = line.build(RecordingsConfig)
    seconds = 60 * config.minutes / config.n_recordings
    for index in range(config.n_recordings):
        path = storage.join(config.output_dir, f"piece-{index + 1:02d}.flac")
        storage.write_bytes(path, make_recording(config.seed, index, seconds))
        print(f"{path}: {seconds:.1f} s")


def make_recording(seed: int, index: int, seconds: float) -> bytes:
    """Return one recording as the content of a FLAC file."""
    from tools.example_recordings import band, score, strings  # imports Numba and SciPy

    random = np.random.default_rng([seed, index])
    samples = band.play(score.compose(random, seconds), seconds, random)
    file = io.BytesIO()
    soundfile.write(file, samples, strings.SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def run() -> NoReturn:
    """Run the command."""
    command.run(main, SETTINGS)


if __name__ == "__main__":
    run()
