"""Plots of a dataset in one figure: levels, spectrum, and spectrograms of a few segments."""

import dataclasses
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.audio import normalisation, plots, representations
from lstm_gen.dataset.format import manifest, records
from lstm_gen.platform import errors, storage

_MOST_SEGMENTS = 2000  # of a split, evenly spaced, which is plenty for its curves
_EXAMPLES = 3
_INCHES_WIDE = 16.0
_INCHES_PER_ROW = 3.6
_MOST_LETTERS = 44  # of a recording's name


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """Statistics of a sample of a split's segments.

    Attributes:
      levels_db: Rounded level to number of frames.
      rows_db: Statistics of the power in each row of their spectrograms, dB.
      rows_hz: Frequency of each row, Hz.
      examples: A few segments.
    """

    levels_db: Counter[int]
    rows_db: normalisation.Statistics
    rows_hz: np.ndarray
    examples: list[records.Segment]


Views = Mapping[str, View]  # by split


def draw(path: str, dataset: manifest.Dataset) -> None:
    """Draw a dataset.

    For every split with segments: a histogram of frame levels, mean and deviation of the power
    at each frequency, and spectrograms of a few segments.

    Args:
      path: Local or gs:// path of the PNG; written as a whole.
      dataset: As `manifest.describe` returns it.

    Raises:
      InputError: If there is no segment, or a shard cannot be read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    views = {
        name: sample(dataset, name) for name in manifest.SPLITS if dataset.splits[name].n_records
    }
    errors.require(bool(views), "there must be a segment to draw", data_dir=dataset.data_dir)
    n_rows = 1 + len(views)
    size = (_INCHES_WIDE, _INCHES_PER_ROW * n_rows)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    curves, *rows = np.asarray(figure.subfigures(n_rows, 1))
    left, right = curves.subplots(1, 2)
    _draw_levels(left, views)
    _draw_frequencies(right, views)
    _draw_examples(rows, dataset, views)
    content = io.BytesIO()
    canvas.print_png(content)
    storage.write_bytes(path, content.getvalue())


def sample(dataset: manifest.Dataset, split: str) -> View:
    """Return the statistics of a sample of a split's segments.

    Raises:
      InputError: If a shard cannot be read.
    """
    audio, n_records = dataset.audio, dataset.splits[split].n_records
    _, rows_hz = representations.picture(np.zeros((1, audio.channels), np.float32), audio)
    view = View(
        levels_db=Counter(),
        rows_db=normalisation.Statistics.zero(rows_hz.size),
        rows_hz=rows_hz,
        examples=[],
    )
    measured, shown = _spread(n_records, _MOST_SEGMENTS), _spread(n_records, _EXAMPLES)
    for index, segment in enumerate(_read(dataset, split)):
        if index in measured:
            logs, _ = representations.picture(segment.frames, audio)
            rows_db = plots.to_db(logs)
            view.rows_db.add(rows_db)
            levels_db = 10 * np.log10(np.sum(10 ** (rows_db / 10), axis=1))
            view.levels_db.update(np.rint(levels_db).astype(int).tolist())
        if index in shown:
            view.examples.append(segment)
    return view


def _spread(n: int, most: int) -> set[int]:
    """Return up to `most` of `n` indices, evenly spaced, the first and the last among them."""
    return set(np.linspace(0, n - 1, min(n, most)).astype(int).tolist())


def _read(dataset: manifest.Dataset, split: str) -> Iterator[records.Segment]:
    """Yield every segment of a split."""
    for shard in dataset.splits[split].shards:
        yield from dataset.read_segments(shard)


def _draw_levels(axes: Any, views: Views) -> None:
    """Draw the histogram of frame levels."""
    for name, view in views.items():
        levels = range(min(view.levels_db), max(view.levels_db) + 1)
        fraction = np.array([view.levels_db[level] for level in levels]) / view.levels_db.total()
        edges = np.arange(levels.start, levels.stop + 1) - 0.5
        axes.stairs(fraction, edges, fill=True, alpha=0.4, label=name)
    axes.set_title("level of a frame", loc="left", fontsize=10)
    axes.set_xlabel("power, dB")
    axes.set_ylabel("fraction of frames per dB")
    axes.legend()


def _draw_frequencies(axes: Any, views: Views) -> None:
    """Draw mean and deviation of the power at each frequency."""
    for name, view in views.items():
        mean, deviation = view.rows_db.mean, view.rows_db.deviation
        rows = np.arange(mean.size)
        axes.plot(rows, mean, label=name)
        axes.fill_between(rows, mean - deviation, mean + deviation, alpha=0.25)
    axes.set_xticks(*plots.frequency_ticks(view.rows_hz))
    axes.set_xlim(0, mean.size - 1)
    axes.set_title("each frequency: mean and deviation", loc="left", fontsize=10)
    axes.set_xlabel("frequency, Hz")
    axes.set_ylabel("power, dB")
    axes.legend()


def _draw_examples(rows: Sequence[Any], dataset: manifest.Dataset, views: Views) -> None:
    """Draw spectrograms of segments, a row of them for each split, all in the same colours."""
    audio, names = dataset.audio, name_recordings(dataset)
    loudest_db = max(float(view.rows_db.high.max()) for view in views.values())
    for figure, (split, view) in zip(rows, views.items(), strict=True):
        panels = figure.subplots(1, _EXAMPLES)
        for axes in panels[len(view.examples) :]:
            axes.set_axis_off()
        for axes, segment in zip(panels, view.examples, strict=False):
            picture = representations.picture(segment.frames, audio)
            seconds = len(segment.frames) / audio.frames_per_second
            image = plots.draw_panel(axes, *picture, seconds, loudest_db)
            name = names.get(segment.recording, f"recording {segment.recording}")
            start_seconds = segment.start_frame / audio.frames_per_second
            title = f"{split}: {name[-_MOST_LETTERS:]}, from {start_seconds:.1f} s"
            axes.set_title(title, loc="left", fontsize=10, parse_math=False)
            axes.set_xlabel("time, seconds")
        figure.colorbar(image, ax=list(panels), label="power, dB", pad=0.01)


def name_recordings(dataset: manifest.Dataset) -> dict[int, str]:
    """Return the printable names of recordings; none if the manifest is damaged."""
    try:
        return manifest.recording_names(manifest.load_lines(dataset.data_dir))
    except (OSError, ValueError):
        return {}
