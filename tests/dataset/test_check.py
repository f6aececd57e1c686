import dataclasses
import hashlib
import pathlib

import numpy as np
import pytest

from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import manifest, records


def first_filled(dataset: manifest.Dataset, split: str) -> manifest.Shard:
    return next(shard for shard in dataset.splits[split].shards if shard.records)


def first_shard(dataset: manifest.Dataset) -> pathlib.Path:
    return pathlib.Path(dataset.path(first_filled(dataset, "train")))


def rewrite(dataset: manifest.Dataset, segments: list[records.Segment]) -> manifest.Dataset:
    """Put other segments into the first shard, and let dataset.json know its size and digest."""
    content = b"".join(records.frame(records.encode(segment)) for segment in segments)
    first_shard(dataset).write_bytes(content)
    train, first = dataset.splits["train"], first_filled(dataset, "train")
    sha256 = hashlib.sha256(content).hexdigest()
    shard = dataclasses.replace(first, bytes=len(content), sha256=sha256)
    shards = tuple(shard if other == first else other for other in train.shards)
    train = dataclasses.replace(train, shards=shards)
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": train})


def read_first(dataset: manifest.Dataset) -> list[records.Segment]:
    return list(records.read_segments(str(first_shard(dataset)), 8, "float16"))


def find(dataset: manifest.Dataset, deep: bool = True) -> str:
    return "\n".join(inspection.find_problems(dataset, deep))


@pytest.mark.parametrize("deep", [False, True])
def test_a_good_dataset_has_no_problem(dataset: manifest.Dataset, deep: bool) -> None:
    assert find(dataset, deep) == ""


@pytest.mark.parametrize("deep", [False, True])
def test_a_missing_shard_is_found(copy: manifest.Dataset, deep: bool) -> None:
    first_shard(copy).unlink()
    assert f"{first_shard(copy).name} must be there, but is missing" in find(copy, deep)


def test_a_short_shard_is_found(copy: manifest.Dataset) -> None:
    content = first_shard(copy).read_bytes()
    first_shard(copy).write_bytes(content[:-5])
    assert f"must have {len(content)} bytes, but has {len(content) - 5}" in find(copy, deep=False)
    assert "is cut" in find(copy)


def test_a_flipped_bit_is_found(copy: manifest.Dataset) -> None:
    content = bytearray(first_shard(copy).read_bytes())
    content[-100] ^= 1
    first_shard(copy).write_bytes(bytes(content))
    assert find(copy, deep=False) == ""
    found = find(copy)
    assert "must have the content it was written with, but has another" in found
    assert "has a wrong checksum" in found


def test_a_dropped_record_is_found(copy: manifest.Dataset) -> None:
    segments = read_first(copy)
    damaged = rewrite(copy, segments[:-1])
    assert f"must have {len(segments)} records, but has {len(segments) - 1}" in find(damaged)


def test_other_lengths_are_found(copy: manifest.Dataset) -> None:
    first, *others = read_first(copy)
    damaged = rewrite(copy, [first._replace(frames=first.frames[:-1]), *others])
    assert "must have segments of the lengths listed" in find(damaged)


def test_a_repeated_record_is_found(copy: manifest.Dataset) -> None:
    segments = read_first(copy)
    assert "must have each frame once" in find(rewrite(copy, [*segments, segments[0]]))


def test_values_that_are_not_finite_are_found(copy: manifest.Dataset) -> None:
    first, *others = read_first(copy)
    frames = first.frames.copy()
    frames[3, 2] = np.nan
    damaged = rewrite(copy, [first._replace(frames=frames), *others])
    assert "must be finite, but record 0 is not" in find(damaged)


def test_another_normalisation_is_found(copy: manifest.Dataset) -> None:
    other = dataclasses.replace(copy.normalisation, mean=copy.normalisation.mean + 0.01)
    damaged = dataclasses.replace(copy, normalisation=other)
    assert "normalisation must be that of the training frames" in find(damaged)


def add_held_out(dataset: manifest.Dataset, gap: int) -> manifest.Dataset:
    """Put frames into the training split that come `gap` frames after held-out ones."""
    shard = first_filled(dataset, "validation")
    *_, last = records.read_segments(dataset.path(shard), 8, "float16")
    later = last._replace(start_frame=last.start_frame + len(last.frames) + gap)
    return rewrite(dataset, [*read_first(dataset), later])


def test_a_recording_on_both_sides_is_found(copy: manifest.Dataset) -> None:
    assert "must be in one split, but is in train, validation" in find(add_held_out(copy, 5000))
    lines = manifest.load_lines(copy.data_dir)
    lines[0]["segments"] = {"train": 1, "validation": 1}
    manifest.save_lines(copy.data_dir, lines)
    found = find(copy, deep=False)
    assert "recording 0.wav must be in one split, but is in train, validation" in found
    assert "split train must have the" in found


@pytest.mark.parametrize(("gap", "found"), [(61, True), (62, False)])
def test_a_guard_that_is_too_narrow_is_found(copy: manifest.Dataset, gap: int, found: bool) -> None:
    split = dataclasses.replace(copy.split, split="blocks")
    damaged = dataclasses.replace(add_held_out(copy, gap), split=split)
    assert ("must have 62 frames between splits, but has 61" in find(damaged)) == found


def test_a_missing_manifest_is_found(copy: manifest.Dataset) -> None:
    pathlib.Path(copy.data_dir, "manifest.jsonl").unlink()
    assert "manifest.jsonl must be there, but is missing" in find(copy)
