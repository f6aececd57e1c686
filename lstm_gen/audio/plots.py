"""Spectrogram plots as PNG: seconds across, Hz upwards, colour in dB.

Rows are mel bands or FFT bins, as the representation has them.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_gen.audio import representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors, storage

_RANGE_DB = 80.0
_INCHES_WIDE = 10.0
_INCHES_PER_PANEL = 3.2
_MOST_COLUMNS = 4000
_LEAST_APART = 0.04  # of all rows, between two ticks
_TICKS_HZ = np.array([250, 500, 1000, 2000, 4000, 8000, 16000])


def spectrogram(path: str, frames: np.ndarray, audio: AudioConfig, title: str = "") -> None:
    """Draw one spectrogram.

    Args:
      path: Local or gs:// path of the PNG; written atomically.
      frames: [frames, channels] of a segment, as stored or float values of a model.
      audio: The analysis that made it.
      title: Printed above the plot.
    """
    compare(path, [(title, frames)], audio)


def compare(path: str, panels: Sequence[tuple[str, np.ndarray]], audio: AudioConfig) -> None:
    """Draw spectrograms above one another on the same scales, such as predicted against true.

    Args:
      path: Local or gs:// path of the PNG; written atomically.
      panels: Title and frames [frames, channels] of each; at least one.
      audio: The analysis that made them.

    Raises:
      InputError: If there is no panel.
    """
    storage.write_bytes(path, draw(panels, audio))


def draw(panels: Sequence[tuple[str, np.ndarray]], audio: AudioConfig) -> bytes:
    """Return the PNG that `compare` writes."""
    # A late import for fast preparation workers; no pyplot, so that no global state is left.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    errors.require(len(panels) > 0, "a plot needs at least one spectrogram", panels=len(panels))
    images = [representations.picture(frames, audio) for _, frames in panels]
    loudest_db = max(float(to_db(logs).max(initial=-np.inf)) for logs, _ in images)
    loudest_db = loudest_db if np.isfinite(loudest_db) else 0.0
    seconds = [max(len(frames), 1) / audio.frames_per_second for _, frames in panels]
    figure = Figure(
        figsize=(_INCHES_WIDE, _INCHES_PER_PANEL * len(panels)), dpi=100, layout="constrained"
    )
    canvas = FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    image: Any = None
    for index, axes in enumerate(rows):
        image = draw_panel(axes, *images[index], seconds[index], loudest_db)
        axes.set_title(panels[index][0], loc="left", fontsize=10, parse_math=False)
    rows[-1].set_xlim(0, max(seconds))
    rows[-1].set_xlabel("time, seconds")
    figure.colorbar(image, ax=list(rows), label="power, dB", pad=0.01)
    content = io.BytesIO()
    canvas.print_png(content)
    return content.getvalue()


def to_db(logs: np.ndarray) -> np.ndarray:
    """Return natural logarithms of power as decibels."""
    return np.asarray(logs, np.float32) * np.float32(10 / np.log(10))


def draw_panel(
    axes: Any, logs: np.ndarray, rows_hz: np.ndarray, seconds: float, loudest_db: float
) -> Any:
    """Draw one spectrogram, its rows evenly spaced; return the image, for a colour bar.

    Args:
      axes: matplotlib's.
      logs: ln(power) [columns, rows], as `representations.picture` returns them.
      rows_hz: Frequency of each row, Hz, rising.
      seconds: Length of the spectrogram.
      loudest_db: Level of the brightest colour.
    """
    image = axes.imshow(
        _thin(to_db(logs)).T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, seconds, -0.5, rows_hz.size - 0.5),
        cmap="magma",
        vmin=loudest_db - _RANGE_DB,
        vmax=loudest_db,
    )
    axes.set_yticks(*frequency_ticks(rows_hz))
    axes.set_ylabel("frequency, Hz")
    return image


def frequency_ticks(rows_hz: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return positions and labels of frequencies on evenly spaced rows, far enough apart."""
    shown = _TICKS_HZ[(rows_hz[0] <= _TICKS_HZ) & (rows_hz[-1] >= _TICKS_HZ)]
    places = np.interp(shown, rows_hz, np.arange(rows_hz.size))
    apart = np.diff(places, prepend=-np.inf) >= _LEAST_APART * rows_hz.size
    return places[apart], [f"{hz}" for hz in shown[apart]]


def _thin(values_db: np.ndarray) -> np.ndarray:
    """Return the maximum over neighbouring frames where a plot cannot show them all."""
    step = -(-len(values_db) // _MOST_COLUMNS)
    if step <= 1:
        return values_db
    starts = np.arange(0, len(values_db), step)
    return np.maximum.reduceat(values_db, starts, axis=0)
