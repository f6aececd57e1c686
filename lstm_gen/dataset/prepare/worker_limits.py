"""How much a worker may take: what keeps one recording from costing the machine its memory."""

import contextlib

import numpy as np

from lstm_gen.audio import files
from lstm_gen.config.audio import AudioConfig

# With the libraries that a worker maps, 1.5 GB resident. A worker at rest has 0.1 GB of data (0.3
# with TensorFlow, for a bucket), and at most three arrays as large as a recording's frames.
_MOST_DATA_BYTES = 5 << 28
_MOST_FRAME_BYTES = 320 << 20


def limit_process() -> None:
    """Bound this process's memory, so that a decoder run wild gets an error and no core dump.

    A limit on data (heap and private mappings) rather than on address space, which libraries
    reserve freely. Where the system has no such limit, nothing happens.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        for what, most in ((resource.RLIMIT_DATA, _MOST_DATA_BYTES), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(what)
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, hard))


def longest_seconds(audio: AudioConfig, dtype: str) -> float:
    """Return the length of the longest recording whose frames fit a worker's memory, seconds."""
    frame_bytes = np.dtype(dtype).itemsize * audio.channels
    return min(files.MOST_SECONDS, _MOST_FRAME_BYTES / (audio.frames_per_second * frame_bytes))
