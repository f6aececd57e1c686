"""Inspection of a dataset: problems, a line each; summary of splits, labels and files; plots."""

import dataclasses
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_gen.audio import frequency_scales, normalisation, plots, representations
from lstm_gen.config import dataset as dataset_config
from lstm_gen.dataset.format import integrity, labels, manifest, records
from lstm_gen.platform import errors, storage

_TOLERANCE = 1e-4  # of a standard deviation: float32 rounding is far below it
_NAMES_SHOWN = 3
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
Span = tuple[int, int, str]  # first frame, frame after the last, split
Line = dict[str, Any]  # of the manifest


def find_problems(dataset: manifest.Dataset, deep: bool) -> Iterator[str]:
    """Yield a line for each problem of a dataset.

    Args:
      dataset: As `manifest.describe` returns it.
      deep: Whether to read every shard: checksums, records, values, statistics, and the
        distance between splits. Otherwise only names, sizes and counts are checked.
    """
    yield from integrity.compare_sizes(dataset.data_dir, dataset.files)
    readable = {file.name: file for file in dataset.files if _is_file(dataset, file)}
    lines = _load_lines(dataset) if manifest.MANIFEST_FILE in readable else []
    if lines:
        yield from _check_lines(dataset, lines)
    elif manifest.MANIFEST_FILE in readable:
        yield f"{manifest.MANIFEST_FILE} must hold a line of JSON per file, but does not"
    if not deep:
        return
    no_cache = integrity.HashCache()  # a disk may corrupt a file without changing its stamp
    yield from integrity.compare_contents(dataset.data_dir, list(readable.values()), no_cache)
    spans: dict[int, list[Span]] = defaultdict(list)
    statistics = normalisation.Statistics.zero(dataset.audio.channels)
    expected = {
        number: values for line in _usable(lines) for number, values in _labels_by_id(line).items()
    }
    for split in manifest.SPLITS:
        for shard in dataset.splits[split].shards:
            if shard.name in readable:
                yield from _check_records(dataset, split, shard, spans, statistics, expected)
    yield from _check_places(dataset, spans, lines)
    yield from _check_copies(spans, lines)
    yield from _check_normalisation(dataset, statistics)


def describe(dataset: manifest.Dataset, lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the summary of a dataset.

    Args:
      dataset: Contents of `dataset.json`.
      lines: Of `manifest.jsonl`.
    """
    by_status: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in lines:
        by_status[line["verdict"]].append(line)
    read = by_status.pop("ok", [])
    hours = sum(line["seconds"] for line in read) / 3600
    rows = [f"read      {len(read)} recordings, {hours:.2f} hours of audio"]
    rows += _trimmed(dataset, read)
    rows += _padding(read)
    rows += _transposed(dataset, read)
    values = [labels.read_line(line) for line in read]
    rows += [f"label     {text}" for text in labels.describe(dataset.labels, values)]
    rows += _unused(dataset)
    rows += ["", *_split_table(dataset)]
    if not dataset.splits["validation"].n_records and dataset.split.validation_fraction > 0:
        rows.append("warning   the validation split is empty: no usable recording was held out")
    rows += _silent_bands(dataset)
    if by_status:
        rows += ["", *(_left_out(status, by_status[status]) for status in sorted(by_status))]
    return "\n".join(rows)


def check_bad_fraction(lines: Iterable[Mapping[str, Any]], max_bad_fraction: float) -> str:
    """Return one line with the number and fraction of bad recordings.

    Duplicates and files without an audio suffix count neither as good nor as bad.

    Args:
      lines: Of `manifest.jsonl`.
      max_bad_fraction: Largest fraction to accept, 0 to 1.

    Raises:
      InputError: If more are bad.
    """
    counts = Counter(line["verdict"] for line in lines)
    n_bad = sum(n for status, n in counts.items() if status not in manifest.NOT_BAD)
    fraction = n_bad / max(1, n_bad + counts["ok"])
    if fraction > max_bad_fraction:
        raise errors.InputError(
            f"too many recordings were left out, {n_bad} of {n_bad + counts['ok']} (the dataset "
            "holds the others, manifest.jsonl the reasons); repair them, or accept them with "
            f"--max_bad_fraction. Received: max_bad_fraction={max_bad_fraction}"
        )
    return (
        f"bad       {n_bad} of {n_bad + counts['ok']} recordings, {fraction:.1%} "
        f"(--max_bad_fraction={max_bad_fraction})"
    )


def draw(path: str, dataset: manifest.Dataset) -> None:
    """Draw a dataset.

    For every split with segments: a histogram of frame levels, mean and deviation of the power
    at each frequency, and spectrograms of a few segments.

    Args:
      path: Local or gs:// path of the PNG; written as a whole.
      dataset: With its fitted arrays, as `manifest.with_fitted` returns it.

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

    Args:
      dataset: With its fitted arrays.
      split: Name of the split, which has segments.

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


def name_recordings(dataset: manifest.Dataset) -> dict[int, str]:
    """Return the printable names of recordings; none if the manifest is damaged."""
    try:
        return manifest.recording_names(manifest.load_lines(dataset.data_dir))
    except (OSError, ValueError):
        return {}


def _is_file(dataset: manifest.Dataset, file: integrity.File) -> bool:
    """Whether a file exists and is a regular file."""
    path = storage.join(dataset.data_dir, file.name)
    return storage.exists(path) and storage.stamp(path).is_file


def _load_lines(dataset: manifest.Dataset) -> list[Line]:
    """Return the lines of the manifest; none if it is damaged."""
    try:
        lines = manifest.load_lines(dataset.data_dir)
    except (OSError, ValueError):
        return []
    return lines if all(isinstance(line, dict) and "name" in line for line in lines) else []


def _check_lines(dataset: manifest.Dataset, lines: list[Line]) -> Iterator[str]:
    """Compare `manifest.jsonl` with `dataset.json`."""
    segments = dict.fromkeys(manifest.SPLITS, 0)
    yield from _check_vocabulary(dataset, lines)
    for line in lines:
        counts = line.get("segments", {})
        if dataset.split.split == "recording" and len(counts) > 1:
            yield f"recording {line['name']} must be in one split, but is in {', '.join(counts)}"
        for split, count in counts.items():
            segments[split] += count
        segments["train"] += sum(copy["segments"] for copy in line.get("transposed", {}).values())
    for split, count in segments.items():
        if count != dataset.splits[split].n_records:
            yield (
                f"split {split} must have the {count} segments of {manifest.MANIFEST_FILE}, "
                f"but has {dataset.splits[split].n_records}"
            )


def _labels_by_id(line: Line) -> dict[int, labels.Values]:
    """Return the labels of a recording and of its transposed copies by their ids."""
    copies = line.get("transposed", {})
    numbers = [records.recording_id(line["sha256"], int(text)) for text in ("0", *copies)]
    return dict(zip(numbers, labels.of_copies(labels.read_line(line), copies), strict=True))


def _usable(lines: list[Line]) -> list[Line]:
    """Return the lines of recordings that are in the dataset."""
    return [line for line in lines if line.get("segments")]


def _check_vocabulary(dataset: manifest.Dataset, lines: list[Line]) -> Iterator[str]:
    """Check the vocabulary against the labels of the usable recordings."""
    kinds = {name: label.kind for name, label in dataset.labels.items()}
    usable = [values for line in _usable(lines) for values in _labels_by_id(line).values()]
    found = labels.build(kinds, usable)
    for name, label in found.items():
        if dataset.labels[name] != label:
            yield f"label {name} must be {label}, but {manifest.DATASET_FILE} has another"


def _check_records(
    dataset: manifest.Dataset,
    split: str,
    shard: manifest.Shard,
    spans: dict[int, list[Span]],
    statistics: normalisation.Statistics,
    expected: Mapping[int, labels.Values],
) -> Iterator[str]:
    """Read a shard: its records must be whole, finite, and of the number and lengths listed."""
    lengths: list[int] = []
    try:
        for segment in dataset.read_segments(shard):
            if not np.isfinite(segment.frames).all():
                yield f"shard {shard.name} must be finite, but record {len(lengths)} is not"
            elif split == "train":
                statistics.add(representations.dequantise(segment.frames))
            lengths.append(len(segment.frames))
            span = (segment.start_frame, segment.start_frame + lengths[-1], split)
            spans[segment.recording].append(span)
            wanted = expected.get(segment.recording, segment.labels)
            for difference in labels.find_differences(wanted, segment.labels):
                yield f"recording {segment.recording} must have {difference}"
    except errors.InputError as error:
        yield str(error)
        return
    if len(lengths) != shard.records:
        yield f"shard {shard.name} must have {shard.records} records, but has {len(lengths)}"
    elif tuple(lengths) != shard.frames:
        yield f"shard {shard.name} must have segments of the lengths listed, but has others"


def _check_places(
    dataset: manifest.Dataset, spans: dict[int, list[Span]], lines: list[Line]
) -> Iterator[str]:
    """Check the place of every frame.

    It must belong to a known recording and to one segment, and lie outside other splits' guards.
    """
    guard = round(dataset.split.guard_seconds * dataset.audio.frames_per_second)
    names = manifest.recording_names(lines)
    for number, found in sorted(spans.items()):
        recording = names.get(number, str(number))
        if lines and number not in names:
            yield f"recording {recording} must be one of {manifest.MANIFEST_FILE}, but is not"
        sides = sorted({split for _, _, split in found})
        if dataset.split.split == "recording" and len(sides) > 1:
            yield f"recording {recording} must be in one split, but is in {', '.join(sides)}"
            continue
        end, before = -guard, ""
        for start, stop, split in sorted(found):
            if start < end:
                yield f"recording {recording} must have each frame once, but has {start} twice"
            elif before not in ("", split) and start < end + guard:
                yield (
                    f"recording {recording} must have {guard} frames between splits, but has "
                    f"{start - end} between {before} and {split} at frame {start}"
                )
            end, before = max(end, stop), split


def _check_copies(spans: dict[int, list[Span]], lines: list[Line]) -> Iterator[str]:
    """Check that no transposed copy of a held-out passage is anywhere."""
    for line in _usable(lines):
        held_out = [
            (start, stop)
            for start, stop, split in spans.get(records.recording_id(line["sha256"]), [])
            if split != "train"
        ]
        for semitones in line.get("transposed", {}):
            speed = dataset_config.speed(int(semitones))
            for start, stop, split in spans.get(
                records.recording_id(line["sha256"], int(semitones)), []
            ):
                torn = any(start * speed < b and a < (stop - 1) * speed for a, b in held_out)
                if split != "train" or torn:
                    yield (
                        f"recording {manifest.printable(line['name'])} must have transposed copies "
                        f"of its training frames only, but {semitones} semitones has frame {start} "
                        f"of the {split} split"
                    )


def _check_normalisation(
    dataset: manifest.Dataset, statistics: normalisation.Statistics
) -> Iterator[str]:
    """Check the normalisation against the statistics of the training frames."""
    if statistics.count == 0:
        yield "split train must hold frames, but holds none"
        return
    found, listed = statistics.normalisation(dataset.audio), dataset.normalisation
    off = max(np.abs(found.mean - listed.mean) / found.std)
    off += max(np.abs(found.std - listed.std) / found.std)
    if not off <= _TOLERANCE:
        yield f"normalisation must be that of the training frames, but is off by {off:.2g}"


def _left_out(status: str, lines: list[Mapping[str, Any]]) -> str:
    """Return one line for the files left out for one reason."""
    names = ", ".join(manifest.printable(line["name"]) for line in lines[:_NAMES_SHOWN])
    more = ", ..." if len(lines) > _NAMES_SHOWN else ""
    return f"left out  {len(lines)} {status}: {names}{more}"


def _trimmed(dataset: manifest.Dataset, read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line about frames in no split."""
    found = sum(line["frames"] for line in read)
    kept = sum(sum(line["frames_kept"].values()) for line in read)
    seconds = (found - kept) / dataset.audio.frames_per_second
    return [f"trimmed   {seconds:.1f} seconds (lead-in, fade-out, silence, guards)"] if read else []


def _silent_bands(dataset: manifest.Dataset) -> list[str]:
    """Return the line about mel bands that no FFT bin reaches."""
    audio = dataset.audio
    n_empty = frequency_scales.empty_bands(audio) if audio.representation == "log_mel" else 0
    if not n_empty:
        return []
    return [
        f"warning   {n_empty} of {audio.n_mels} mel bands lie between two FFT bins and are always "
        "silent; choose fewer --n_mels, a higher --mel_break_hz or a longer --n_fft"
    ]


def _unused(dataset: manifest.Dataset) -> list[str]:
    """Return the line about label rows that match no recording."""
    total, first = dataset.unused_rows
    if not total:
        return []
    names = ", ".join(first) + (", ..." if total > len(first) else "")
    return [f"warning   {total} label rows match no recording: {names}"]


def _padding(read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line about padding and rests of recordings cut into examples."""
    padded = [line["seconds_padded"] for line in read if line["seconds_padded"]]
    left_over = sum(line["seconds_left_over"] for line in read)
    if not padded and not left_over:
        return []
    return [
        f"examples  {sum(padded):.1f} seconds of silence pad {len(padded)} recordings, "
        f"{left_over:.1f} seconds are left over"
    ]


def _transposed(dataset: manifest.Dataset, read: list[Mapping[str, Any]]) -> list[str]:
    """Return the line about transposed copies."""
    n_copies = len(dataset.transposition.copies)
    if not n_copies:
        return []
    minutes = 1 / (60 * dataset.audio.frames_per_second)
    once = sum(line["frames_kept"].get("train", 0) for line in read) * minutes
    copies = [copy for line in read for copy in line["transposed"].values()]
    total = once + sum(copy["frames_kept"] for copy in copies) * minutes
    trained = [line for line in read if "train" in line["segments"]]
    missing = sum(n_copies - len(line["transposed"]) for line in trained)
    beyond = f"; {missing} would leave the range of pitches" if missing else ""
    return [
        f"copies    {once:.1f} min of recordings train, {total:.1f} min with {n_copies + 1} "
        f"transpositions{beyond}"
    ]


def _split_table(dataset: manifest.Dataset) -> list[str]:
    """Return the table of the splits."""
    rows = [
        f"{'':10}{'recordings':>12}{'segments':>10}{'frames':>12}{'hours':>8}{'MB':>9}{'shards':>8}"
    ]
    for name in manifest.SPLITS:
        split = dataset.splits[name]
        if split.shards:
            rows.append(
                f"{name:10}{split.recordings:12,}{split.n_records:10,}{split.n_frames:12,}"
                f"{split.seconds / 3600:8.2f}{split.n_bytes / 1e6:9.1f}{len(split.shards):8}"
            )
    return rows


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
