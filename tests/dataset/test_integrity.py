"""What is damaged is named before the first step, and nothing else is."""

import os
import pathlib
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import mutants
import processes
import pytest
import tiny

from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import integrity, manifest
from lstm_gen.platform import errors, storage

ROOT = pathlib.Path(__file__).parents[2]
N_MUTANTS = 510  # each kind in turn


def make(folder: pathlib.Path, seed: int) -> manifest.Dataset:
    """Return a dataset of two shards of one size, of records of one length."""
    train = [tiny.make_frames(30, seed + index) for index in range(5)]
    validation = [tiny.make_frames(30, seed + index) for index in range(5, 10)]
    return tiny.make_dataset(folder, train, validation)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return make(tmp_path_factory.mktemp("whole") / "dataset", 0)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return make(tmp_path_factory.mktemp("foreign") / "dataset", 100)


def complaint(folder: pathlib.Path) -> str:
    """Return what loading says, or nothing."""
    try:
        manifest.load(str(folder))
    except errors.InputError as error:
        return str(error)
    return ""


def test_damage_is_named_by_loading_and_by_the_check(
    whole: manifest.Dataset, foreign: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(N_MUTANTS):
        copy = tmp_path / str(seed)
        kind, names = mutants.damage(whole, foreign, copy, seed)
        said = complaint(copy)
        assert any(name in said for name in names), f"{kind}, seed {seed}: {said}"
        assert "make it again with create_tfrecord.py" in said
        found = list(inspection.find_problems(manifest.describe(str(copy)), deep=True))
        assert any(name in line for name in names for line in found), f"{kind}, seed {seed}"
        seen[kind] += 1
        shutil.rmtree(copy)
    assert len(seen) == len(mutants.SHARD_DAMAGE)
    assert seen.total() == N_MUTANTS


@pytest.mark.parametrize("damage", mutants.TEXT_DAMAGE)
def test_damage_to_the_descriptions_is_named(
    whole: manifest.Dataset, tmp_path: pathlib.Path, damage: Callable[[pathlib.Path], None]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.data_dir, copy)
    assert complaint(copy) == ""
    damage(copy)
    assert mutants.TEXT_DAMAGE[damage] in complaint(copy)


def test_what_never_ends_is_not_read(whole: manifest.Dataset, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.data_dir, copy)
    shard = copy / whole.splits["train"].shards[0].name
    shard.unlink()
    os.mkfifo(shard)
    assert f"{shard.name} must be a regular file" in complaint(copy)
    found = list(inspection.find_problems(manifest.describe(str(copy)), deep=True))
    assert found[0] == f"{shard.name} must be a regular file, but is not"


def test_two_shards_in_the_place_of_each_other_are_both_explained(
    whole: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.data_dir, copy)
    first, second = (copy / whole.splits[name].shards[0].name for name in ("train", "validation"))
    files = [whole.splits[name].shards[0] for name in ("train", "validation")]
    first.rename(copy / "aside")
    second.rename(first)
    (copy / "aside").rename(second)
    found = list(integrity.compare_contents(str(copy), files, integrity.HashCache()))
    assert found == [
        f"{first.name} must have the content it was written with, but has that of {second.name}",
        f"{second.name} must have the content it was written with, but has that of {first.name}",
    ]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files that are hashed from now on, at a time when no file is young."""
    names: list[str] = []
    sha256, now = storage.sha256, time.time()

    def spy(path: str) -> str:
        names.append(pathlib.Path(path).name)
        return sha256(path)

    monkeypatch.setattr(storage, "sha256", spy)
    monkeypatch.setattr(time, "time", lambda: now + 60)
    return names


def test_what_has_not_changed_is_hashed_once(
    whole: manifest.Dataset, tmp_path: pathlib.Path, hashed: list[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.data_dir, copy)
    everything = sorted(file.name for file in whole.files)
    assert complaint(copy) == ""
    assert sorted(hashed) == everything
    assert complaint(copy) == ""
    assert sorted(hashed) == everything
    shard = copy / whole.splits["train"].shards[0].name
    times = shard.stat().st_atime_ns, shard.stat().st_mtime_ns
    tiny.flip_byte(shard)
    os.utime(shard, ns=times)  # as if nothing had happened
    assert f"{shard.name} must have the content" in complaint(copy)
    assert sorted(hashed) == sorted([*everything, shard.name])


def test_a_directory_that_cannot_be_written_is_verified_every_time(
    whole: manifest.Dataset, tmp_path: pathlib.Path, hashed: list[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(whole.data_dir, copy)
    (copy / integrity.STATE_DIR).touch()  # in the way, for root as for anybody
    assert complaint(copy) == complaint(copy) == ""
    assert len(hashed) == 2 * len(whole.files)


def train(folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run the training command on a dataset."""
    arguments = (f"--data_dir={folder}", "--run_dir=run")
    return processes.run_python(ROOT / "train_model.py", *arguments, cwd=folder.parent)


def check_training_refuses(
    whole: manifest.Dataset, foreign: manifest.Dataset, folder: pathlib.Path, seed: int
) -> None:
    _, names = mutants.damage(whole, foreign, folder / "dataset", seed)
    result = train(folder / "dataset")
    assert result.returncode == 1
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert re.fullmatch(rf"error: ({'|'.join(names)}) must .*Received: data_dir=.*", last)
    assert not (folder / "run").exists()


def test_training_does_not_begin(
    whole: manifest.Dataset, foreign: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    seed = mutants.SHARD_DAMAGE.index(mutants.swap_two_records)
    check_training_refuses(whole, foreign, tmp_path, seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(len(mutants.SHARD_DAMAGE)))
def test_training_does_not_begin_whatever_the_damage(
    whole: manifest.Dataset, foreign: manifest.Dataset, tmp_path: pathlib.Path, seed: int
) -> None:
    check_training_refuses(whole, foreign, tmp_path, seed)
