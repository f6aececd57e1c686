"""What can be wrong with a dataset directory, found by looking; a line per problem."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from lstm_gen import errors, storage
from lstm_gen.data import digests, jobs, manifest, records, splits

_TOLERANCE = 1e-4  # of mean and std, in standard deviations: float32 rounding is far below it

Span = tuple[int, int, str]  # first frame, frame after the last, split


def find_problems(dataset: manifest.Dataset, deep: bool) -> Iterator[str]:
    """Yield a line for each problem of a dataset.

    Args:
      dataset: As `manifest.describe` returns it.
      deep: Whether to read every shard: checksums, records, values, statistics, and the
        distance between splits. Otherwise only what costs nothing is looked at.
    """
    yield from manifest.find_bad_shards(dataset)
    yield from _check_lines(dataset)
    if not deep:
        return
    spans: dict[int, list[Span]] = defaultdict(list)
    moments = jobs.Moments.zero(dataset.audio.n_mels)
    for split in splits.SPLITS:
        for shard in dataset.splits[split].shards:
            if storage.exists(dataset.path(shard)):
                yield from _check_digest(dataset, shard)
                yield from _check_records(dataset, split, shard, spans, moments)
    yield from _check_distances(dataset, spans)
    yield from _check_moments(dataset, moments)


def _check_lines(dataset: manifest.Dataset) -> Iterator[str]:
    """Compare the manifest with the dataset."""
    if not storage.exists(storage.join(dataset.data_dir, manifest.MANIFEST_FILE)):
        yield f"{manifest.MANIFEST_FILE} must be there, but is missing"
        return
    segments = dict.fromkeys(splits.SPLITS, 0)
    for line in manifest.load_lines(dataset.data_dir):
        pieces = line.get("segments", {})
        if dataset.split.split == "recording" and len(pieces) > 1:
            yield f"recording {line['name']} must be in one split, but is in {', '.join(pieces)}"
        for split, count in pieces.items():
            segments[split] += count
    for split, count in segments.items():
        if count != dataset.splits[split].n_records:
            yield (
                f"split {split} must have the {count} segments of {manifest.MANIFEST_FILE}, "
                f"but has {dataset.splits[split].n_records}"
            )


def _check_digest(dataset: manifest.Dataset, shard: manifest.Shard) -> Iterator[str]:
    """Compare a shard's content with the digest that it was written with."""
    if digests.hash_file(dataset.path(shard)) != shard.sha256:
        yield f"shard {shard.name} must have the sha256 of {manifest.DATASET_FILE}, but differs"


def _check_records(
    dataset: manifest.Dataset,
    split: str,
    shard: manifest.Shard,
    spans: dict[int, list[Span]],
    moments: jobs.Moments,
) -> Iterator[str]:
    """Read a shard: its records must be whole, as many and as long as was said, and finite."""
    lengths: list[int] = []
    try:
        for segment in records.read_segments(
            dataset.path(shard), dataset.audio.n_mels, dataset.segment.dtype
        ):
            if not np.isfinite(segment.frames).all():
                yield f"shard {shard.name} must be finite, but record {len(lengths)} is not"
            elif split == "train":
                moments.add(segment.frames)
            lengths.append(len(segment.frames))
            span = (segment.start_frame, segment.start_frame + lengths[-1], split)
            spans[segment.recording].append(span)
    except errors.InputError as error:
        yield str(error)
        return
    if len(lengths) != shard.records:
        yield f"shard {shard.name} must have {shard.records} records, but has {len(lengths)}"
    elif tuple(lengths) != shard.frames:
        yield f"shard {shard.name} must have segments of the lengths listed, but has others"


def _check_distances(dataset: manifest.Dataset, spans: dict[int, list[Span]]) -> Iterator[str]:
    """No frame may be in two segments, nor within the guard of another split's."""
    guard = round(dataset.split.guard_seconds * dataset.audio.frames_per_second)
    for recording, found in sorted(spans.items()):
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


def _check_moments(dataset: manifest.Dataset, moments: jobs.Moments) -> Iterator[str]:
    """The normalisation must be that of the training frames."""
    if moments.count == 0:
        yield "split train must hold frames, but holds none"
        return
    mean, std = moments.normalisation()
    off = max(np.abs(mean - dataset.mean) / std) + max(np.abs(std - dataset.std) / std)
    if not off <= _TOLERANCE:
        yield f"mean and std must be those of the training frames, but are off by {off:.2g} sd"
