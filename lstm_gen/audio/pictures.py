"""Spectrograms as PNG pictures: seconds across, Hz on the mel scale upwards, colour in dB."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstm_gen import config, storage
from lstm_gen.audio import features

_RANGE_DB = 80.0
_INCHES_WIDE = 10.0
_INCHES_PER_PANEL = 3.2
_MOST_COLUMNS = 4000
_TICKS_HZ = np.array([250, 500, 1000, 2000, 4000, 8000, 16000])


def spectrogram(path: str, log_mel: np.ndarray, audio: config.AudioConfig, title: str = "") -> None:
    """Draw one spectrogram.

    Args:
      path: Local or gs:// path of the PNG; written as a whole.
      log_mel: float [frames, n_mels], natural logarithm of power.
      audio: The analysis that made it.
      title: Printed above.
    """
    compare(path, [(title, log_mel)], audio)


def compare(path: str, panels: Sequence[tuple[str, np.ndarray]], audio: config.AudioConfig) -> None:
    """Draw spectrograms above one another on the same scales, such as predicted against true.

    Args:
      path: Local or gs:// path of the PNG; written as a whole.
      panels: Title and log-mel [frames, n_mels] of each; at least one.
      audio: The analysis that made them.

    Raises:
      InputError: If there is no panel.
    """
    storage.write_bytes(path, draw(panels, audio))


def draw(panels: Sequence[tuple[str, np.ndarray]], audio: config.AudioConfig) -> bytes:
    """Return the PNG that `compare` writes."""
    # Here and without pyplot: preparation workers never pay for it, and no global state is left.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    config.require(len(panels) > 0, "a picture needs at least one spectrogram", panels=len(panels))
    values_db = [_to_db(log_mel) for _, log_mel in panels]
    loudest_db = max(float(values.max(initial=-np.inf)) for values in values_db)
    loudest_db = loudest_db if np.isfinite(loudest_db) else 0.0
    longest = max(1, *(len(values) for values in values_db)) / audio.frames_per_second
    figure = Figure(
        figsize=(_INCHES_WIDE, _INCHES_PER_PANEL * len(panels)), dpi=100, layout="constrained"
    )
    canvas = FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    image: Any = None
    for axes, (title, _), values in zip(rows, panels, values_db, strict=True):
        image = _draw_panel(axes, values, audio, loudest_db)
        axes.set_title(title, loc="left", fontsize=10)
    rows[-1].set_xlim(0, longest)
    rows[-1].set_xlabel("time, seconds")
    figure.colorbar(image, ax=list(rows), label="power, dB", pad=0.01)
    content = io.BytesIO()
    canvas.print_png(content)
    return content.getvalue()


def _to_db(log_mel: np.ndarray) -> np.ndarray:
    """Return natural logarithms of power as decibels."""
    return np.asarray(log_mel, np.float32) * np.float32(10 / np.log(10))


def _draw_panel(
    axes: Any, values_db: np.ndarray, audio: config.AudioConfig, loudest_db: float
) -> Any:
    """Draw one spectrogram; the bands are evenly spaced because the mel scale is."""
    seconds = max(len(values_db), 1) / audio.frames_per_second
    image = axes.imshow(
        _thin(values_db).T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, seconds, -0.5, audio.n_mels - 0.5),
        cmap="magma",
        vmin=loudest_db - _RANGE_DB,
        vmax=loudest_db,
    )
    lowest, *_, highest = features.hz_to_mel(features.mel_band_edges(audio))
    positions = (features.hz_to_mel(_TICKS_HZ) - lowest) / (highest - lowest)
    positions = positions * (audio.n_mels + 1) - 1
    shown = (positions >= -0.5) & (positions <= audio.n_mels - 0.5)
    axes.set_yticks(positions[shown], [f"{hz}" for hz in _TICKS_HZ[shown]])
    axes.set_ylabel("frequency, Hz")
    return image


def _thin(values_db: np.ndarray) -> np.ndarray:
    """Keep the loudest of neighbouring frames where a picture could not show them all."""
    step = -(-len(values_db) // _MOST_COLUMNS)
    if step <= 1:
        return values_db
    starts = np.arange(0, len(values_db), step)
    return np.maximum.reduceat(values_db, starts, axis=0)
