"""Small recordings, and the settings that they are prepared with."""

import pathlib

import numpy as np
import pytest

from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import SegmentConfig, SplitConfig
from lstm_gen.dataset.prepare import plan

ROOT = pathlib.Path(__file__).parents[2]
RATE = 8000
AUDIO = AudioConfig(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=8)  # 62.5 per second
SEGMENT = SegmentConfig(segment_frames=100)


def tone(seconds: float, frequency_hz: float) -> np.ndarray:
    """Return a beating tone, float64 [samples]."""
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.4 * np.sin(2 * np.pi * frequency_hz * time) * (1 + 0.5 * np.sin(9 * time))


def make_job(input_dir: pathlib.Path, data_dir: pathlib.Path, **split: object) -> plan.Job:
    """Return a job with the settings of these tests."""
    return plan.Job(
        input_dir=str(input_dir),
        data_dir=str(data_dir),
        plots_dir="",
        audio=AUDIO,
        segment=SEGMENT,
        # Fields of several types by name: the class itself checks what it is given.
        split=SplitConfig(**split),  # type: ignore[arg-type]
    )


_DEADLY = """
import os, signal
from lstm_gen.audio import files
read_blocks = files.read_blocks
def die(path, *arguments, **named):
    if path.endswith({name!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_blocks(path, *arguments, **named)
files.read_blocks = die
"""


def make_deadly(name: str, site: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the recording of a name kill every process, started from now on, that opens it."""
    site.mkdir()
    (site / "sitecustomize.py").write_text(_DEADLY.format(name=name))
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
