"""Generator of example recordings: short guitar pieces, composed and synthesised from a seed.

    python -m tools.example_recordings --output_dir=recordings

The same seed always gives the same files: 44.1 kHz, 16 bits, stereo, FLAC.
"""

import io
import sys
from typing import NoReturn

import numpy as np
import soundfile
from absl import flags

from flags import command
from lstm_gen.platform import storage
from tools.example_recordings import score, strings

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "recordings", "Output folder; created if it does not exist."
)
_MINUTES = flags.DEFINE_float(
    "minutes", 4.0, "Total length of all recordings, minutes.", lower_bound=0.05, upper_bound=600
)
_N_RECORDINGS = flags.DEFINE_integer("n_recordings", 6, "Number of recordings.", lower_bound=1)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Random seed; each seed gives different pieces.", lower_bound=0
)


def main() -> None:
    """Compose, synthesise and write each recording."""
    seconds = 60 * _MINUTES.value / _N_RECORDINGS.value
    for index in range(_N_RECORDINGS.value):
        path = storage.join(_OUTPUT_DIR.value, f"piece-{index + 1:02d}.flac")
        storage.write_bytes(path, make_recording(_SEED.value, index, seconds))
        print(f"{path}: {seconds:.1f} s")


def make_recording(seed: int, index: int, seconds: float) -> bytes:
    """Return one recording as the content of a FLAC file."""
    random = np.random.default_rng([seed, index])
    samples = strings.play(score.compose(random, seconds), seconds, random)
    file = io.BytesIO()
    soundfile.write(file, samples, strings.SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def run() -> NoReturn:
    """Run the command."""
    command.run(main, sys.modules[__name__])


if __name__ == "__main__":
    run()
