"""Checks of a dataset directory; a line per problem."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lstm_gen.audio import normalisation, representations
from lstm_gen.config import dataset as dataset_config
from lstm_gen.dataset.format import integrity, labels, manifest, records
from lstm_gen.platform import errors, storage

_TOLERANCE = 1e-4  # of a standard deviation: float32 rounding is far below it

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
