"""Damage to the files of a dataset, of every kind that a disk or a hand may do."""

import itertools
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lstm_gen.dataset.format import manifest

HEADER, FOOTER = 12, 4  # bytes of a record before and after its data


class Place(NamedTuple):
    """Where damage is done.

    Attributes:
      folder: A copy of a dataset.
      shard: The shard to damage.
      others: Its other shards that hold something.
      foreign: A shard of the same name and length from a dataset of other recordings.
      random: Decides the rest.
    """

    folder: pathlib.Path
    shard: pathlib.Path
    others: list[pathlib.Path]
    foreign: bytes
    random: np.random.Generator


def cut_at_a_boundary(place: Place) -> None:
    content, edges = read(place.shard)
    place.shard.write_bytes(content[: place.random.choice(edges[1:-1])])


def cut_in_a_header(place: Place) -> None:
    content, edges = read(place.shard)
    cut = place.random.choice(edges[:-1]) + place.random.integers(1, HEADER)
    place.shard.write_bytes(content[:cut])


def cut_in_a_payload(place: Place) -> None:
    content, edges = read(place.shard)
    record = place.random.integers(len(edges) - 1)
    cut = place.random.integers(edges[record] + HEADER, edges[record + 1])
    place.shard.write_bytes(content[:cut])


def flip_a_bit(place: Place) -> None:
    content = bytearray(place.shard.read_bytes())
    content[place.random.integers(len(content))] ^= 1 << place.random.integers(8)
    place.shard.write_bytes(content)


def empty(place: Place) -> None:
    place.shard.write_bytes(b"")


def append(place: Place) -> None:
    content, edges = read(place.shard)
    place.shard.write_bytes(content + content[: edges[1]])


def drop_a_record(place: Place) -> None:
    parts = records(place.shard)
    del parts[place.random.integers(len(parts))]
    place.shard.write_bytes(b"".join(parts))


def double_a_record(place: Place) -> None:
    parts = records(place.shard)
    record = place.random.integers(len(parts))
    place.shard.write_bytes(b"".join([*parts[: record + 1], *parts[record:]]))


def double_a_record_in_place_of_another(place: Place) -> None:
    """The length stays where records are of one length."""
    parts = records(place.shard)
    first, second = place.random.choice(len(parts), 2, replace=False)
    parts[first] = parts[second]
    place.shard.write_bytes(b"".join(parts))


def swap_two_records(place: Place) -> None:
    parts = records(place.shard)
    first, second = place.random.choice(len(parts), 2, replace=False)
    parts[first], parts[second] = parts[second], parts[first]
    place.shard.write_bytes(b"".join(parts))


def swap_with_another(place: Place) -> None:
    other = place.others[place.random.integers(len(place.others))]
    mine, theirs = place.shard.read_bytes(), other.read_bytes()
    place.shard.write_bytes(theirs)
    other.write_bytes(mine)


def rename(place: Place) -> None:
    place.shard.rename(place.shard.with_suffix(".bak"))


def rename_another_over_it(place: Place) -> None:
    place.others[place.random.integers(len(place.others))].rename(place.shard)


def replace_by_a_foreign_one(place: Place) -> None:
    place.shard.write_bytes(place.foreign)


def replace_by_a_directory(place: Place) -> None:
    place.shard.unlink()
    place.shard.mkdir()


SHARD_DAMAGE: tuple[Callable[[Place], None], ...] = (
    cut_at_a_boundary,
    cut_in_a_header,
    cut_in_a_payload,
    flip_a_bit,
    empty,
    append,
    drop_a_record,
    double_a_record,
    double_a_record_in_place_of_another,
    swap_two_records,
    swap_with_another,
    rename,
    rename_another_over_it,
    replace_by_a_foreign_one,
    replace_by_a_directory,
)


def edit_the_manifest(folder: pathlib.Path) -> None:
    path = folder / manifest.MANIFEST_FILE
    path.write_text(path.read_text() + "{}\n")


def remove_the_manifest(folder: pathlib.Path) -> None:
    (folder / manifest.MANIFEST_FILE).unlink()


def edit_the_statistics(folder: pathlib.Path) -> None:
    path = folder / manifest.DATASET_FILE
    values = json.loads(path.read_text())
    values["normalisation"]["mean"][0] += 1e-3
    path.write_text(json.dumps(values))


def edit_the_fingerprint(folder: pathlib.Path) -> None:
    path = folder / manifest.DATASET_FILE
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"fingerprint": "0" * 64}))


def cut_the_description(folder: pathlib.Path) -> None:
    path = folder / manifest.DATASET_FILE
    path.write_text(path.read_text()[:-40])


TEXT_DAMAGE: dict[Callable[[pathlib.Path], None], str] = {
    edit_the_manifest: manifest.MANIFEST_FILE,
    remove_the_manifest: manifest.MANIFEST_FILE,
    edit_the_statistics: manifest.DATASET_FILE,
    edit_the_fingerprint: manifest.DATASET_FILE,
    cut_the_description: manifest.DATASET_FILE,
}


def read(shard: pathlib.Path) -> tuple[bytes, list[int]]:
    """Return the content of a shard, and where each record begins and the last one ends."""
    content, edges = shard.read_bytes(), [0]
    while edges[-1] < len(content):
        length = int.from_bytes(content[edges[-1] : edges[-1] + 8], "little")
        edges.append(edges[-1] + HEADER + length + FOOTER)
    return content, edges


def records(shard: pathlib.Path) -> list[bytes]:
    """Return the records of a shard, framing included."""
    content, edges = read(shard)
    return [content[a:b] for a, b in itertools.pairwise(edges)]


def damage(
    whole: manifest.Dataset, foreign: manifest.Dataset, folder: pathlib.Path, seed: int
) -> tuple[str, list[str]]:
    """Copy a dataset to `folder` and damage a shard of it.

    Args:
      whole: The dataset to copy.
      foreign: One of the same shard names and other frames.
      folder: Where to; must not exist.
      seed: Decides the kind of damage (each in turn), the shard and the place.

    Returns:
      The kind, and the names of which one must be in the complaint.
    """
    random = np.random.default_rng(seed)
    kind = SHARD_DAMAGE[seed % len(SHARD_DAMAGE)]
    shutil.copytree(whole.data_dir, folder)
    shards = [
        folder / shard.name
        for split in whole.splits.values()
        for shard in split.shards
        if shard.records >= 3
    ]
    chosen = shards[random.integers(len(shards))]
    others = [shard for shard in shards if shard != chosen]
    theirs = pathlib.Path(foreign.data_dir, chosen.name).read_bytes()
    before = {path.name: path.read_bytes() for path in shards}
    kind(Place(folder, chosen, others, theirs, random))
    after = {p.name: p.read_bytes() if p.is_file() else None for p in shards}
    changed = [name for name in before if before[name] != after[name]]
    assert chosen.name in changed, f"{kind.__name__} must change {chosen.name}"
    return kind.__name__, changed
