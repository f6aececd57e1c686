"""Spectrogram pictures: they are written whole, and loud is where it should be."""

import io
import pathlib
import sys
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from lstm_gen.audio import plots, representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

AUDIO = AudioConfig(sample_rate=16000, n_fft=1024, hop_length=256, n_mels=80)


def tone(hz: Any) -> Any:
    time = np.arange(AUDIO.sample_rate) / AUDIO.sample_rate
    return representations.extract(np.sin(2 * np.pi * hz * time).astype("f4"), AUDIO)


def brightness(content: Any) -> Any:
    return matplotlib.image.imread(io.BytesIO(content), format="png")[..., :3].sum(axis=-1)


def test_a_picture_is_written_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "tone.png"
    plots.spectrogram(str(path), tone(440), AUDIO, title="440 Hz")
    assert [entry.name for entry in tmp_path.iterdir()] == ["tone.png"]
    image = brightness(path.read_bytes())
    assert image.shape == (320, 1000)


def test_high_tones_are_drawn_higher() -> None:
    rows = []
    for hz in (300, 3000):
        image = brightness(plots.draw([("", tone(hz))], AUDIO))[20:260, 300:600]
        rows.append(image.sum(axis=1).argmax())
    assert rows[1] < rows[0]


def test_panels_share_their_colours() -> None:
    loud = tone(440)
    alone = brightness(plots.draw([("", loud - 6)], AUDIO))
    beside = brightness(plots.draw([("true", loud), ("predicted", loud - 6)], AUDIO))
    assert beside.shape[0] == 2 * alone.shape[0]
    upper, lower = beside[20:280, 300:600].max(), beside[350:590, 300:600].max()
    assert lower < upper


@pytest.mark.parametrize("n_frames", [0, 1, 2, 9001])
def test_any_length_can_be_drawn(n_frames: Any) -> None:
    assert plots.draw([("", np.zeros((n_frames, 80)))], AUDIO).startswith(b"\x89PNG")


def test_a_picture_needs_a_panel(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.InputError, match="at least one spectrogram"):
        plots.compare(str(tmp_path / "none.png"), [], AUDIO)


def test_pyplot_is_left_alone() -> None:
    plots.draw([("", tone(440))], AUDIO)
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
