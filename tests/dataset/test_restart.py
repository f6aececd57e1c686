"""A preparation that is taken away, at any point, and run again."""

import concurrent.futures
import dataclasses
import fcntl
import multiprocessing
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import material
import preparations
import pytest
import soundfile

from lstm_gen.dataset.format import integrity, manifest
from lstm_gen.dataset.prepare import plan, prepare, workers
from lstm_gen.platform import errors, failpoints, storage

# Where a point is passed once only, or the parent of the workers gets there first.
SECOND_TIMES = (
    "shard.opened",
    "shard.filled",
    "shard.published",
    "file.renamed",
    "receipt.written",
)


@pytest.mark.parametrize("point", failpoints.POINTS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.faults
def test_killed_at_every_commit_step(
    point: str,
    count: int,
    recordings: pathlib.Path,
    dataset: manifest.Dataset,
    tmp_path: pathlib.Path,
) -> None:
    if count == 2 and point not in SECOND_TIMES:
        pytest.skip("this point is passed once")
    kill_at(f"{point}:{count}", recordings, dataset, tmp_path)


@pytest.mark.parametrize("point", ["shard.synced:1", "receipt.written:1", "manifest.written:1"])
def test_killed_at_some_commit_steps(
    point: str, recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    kill_at(point, recordings, dataset, tmp_path)


def kill_at(
    point: str, recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    """Kill a preparation at a point, run it again, and compare with one that was not killed."""
    data_dir, mark = tmp_path / "out", tmp_path / "fired"
    process = preparations.start(recordings, data_dir, LSTM_GEN_FAILPOINT=f"{point}:{mark}")
    process.communicate(timeout=120)
    assert mark.exists()
    assert process.returncode == -signal.SIGKILL
    before = preparations.shards_done(data_dir)
    preparations.finish(preparations.start(recordings, data_dir))
    assert preparations.tree(data_dir) == preparations.tree(pathlib.Path(dataset.data_dir))
    after = preparations.shards_done(data_dir)
    assert {name: after[name] for name in before} == before  # nothing finished was done again


@pytest.mark.faults
def test_killed_sixty_times_at_random(
    recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    chance = random.Random(20261121)
    began = time.monotonic()
    preparations.finish(preparations.start(recordings, tmp_path / "timed"))
    duration = time.monotonic() - began
    data_dir, kills, at_work, made = tmp_path / "0", 0, 0, 0
    while kills < 60:
        before, began = preparations.shards_done(data_dir), time.monotonic()
        process = preparations.start(recordings, data_dir)
        try:
            process.communicate(timeout=chance.uniform(0.3, 1.0) * duration)
            duration = min(duration, time.monotonic() - began)  # the machine may be less busy now
        except subprocess.TimeoutExpired:
            at_work += (data_dir / ".state").exists()
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
        after = preparations.shards_done(data_dir)
        assert {name: after[name] for name in before} == before
        if (data_dir / manifest.DATASET_FILE).exists():
            assert preparations.tree(data_dir) == preparations.tree(pathlib.Path(dataset.data_dir))
            made += 1
            data_dir = tmp_path / str(made)
    preparations.finish(preparations.start(recordings, data_dir))
    assert preparations.tree(data_dir) == preparations.tree(pathlib.Path(dataset.data_dir))
    assert at_work >= 30  # the others came before it had begun


def test_every_failpoint_in_the_code_is_tried() -> None:
    sources = [path.read_text() for path in (preparations.ROOT / "lstm_gen").rglob("*.py")]
    found = [name for text in sources for name in re.findall(r"\.reach\(\"(.+?)\"\)", text)]
    assert set(found) == {*failpoints.POINTS, *failpoints.TRAINING_POINTS}


def many(folder: pathlib.Path, count: int) -> None:
    """Write short recordings, all different."""
    folder.mkdir()
    for index in range(count):
        soundfile.write(folder / f"{index}.wav", material.tone(0.5, 200 + index), material.RATE)


def test_a_changed_recording_redoes_its_shards_only(tmp_path: pathlib.Path) -> None:
    source, data_dir = tmp_path / "in", tmp_path / "out"
    many(source, 120)
    job = material.make_job(source, data_dir, validation_fraction=0.2)
    first, n_tasks = prepare.prepare(job)
    assert n_tasks == sum(len(split.shards) for split in first.splits.values()) > 20
    before = preparations.tree(data_dir)
    soundfile.write(source / "7.wav", material.tone(0.5, 999), material.RATE)
    _, n_tasks = prepare.prepare(job)
    assert n_tasks <= 2
    changed = {
        name for name, digest in preparations.tree(data_dir).items() if before.get(name) != digest
    }
    assert sum(name.endswith(".tfrecord") for name in changed) == n_tasks
    for path in (source / "7.wav", source / "8.wav"):
        path.unlink()
    soundfile.write(source / "new.wav", material.tone(0.5, 1999), material.RATE)
    _, n_tasks = prepare.prepare(job)
    assert n_tasks <= 3
    fresh = dataclasses.replace(job, data_dir=str(tmp_path / "fresh"))
    made, _ = prepare.prepare(fresh)
    assert preparations.tree(data_dir) == preparations.tree(tmp_path / "fresh")
    assert made.fingerprint != first.fingerprint


def test_a_complete_dataset_hashes_and_decodes_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path / "in", 5)
    job = material.make_job(tmp_path / "in", tmp_path / "out", validation_fraction=0.2)
    monkeypatch.setattr(integrity, "_YOUNG_SECONDS", 0.0)  # lest the test wait for files to age
    prepare.prepare(job)
    prepare.prepare(job)  # reads the shards once more, when they are no longer new
    monkeypatch.setattr(storage, "sha256", lambda path: pytest.fail(path))
    assert prepare.prepare(job)[1] == 0


def test_without_its_state_a_dataset_is_made_again_and_the_same(
    recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    job = material.make_job(recordings, tmp_path, validation_fraction=0.3)
    prepare.prepare(job)
    for path in (tmp_path / ".state" / "tasks").glob("*"):
        path.write_text("{")
    assert prepare.prepare(job)[1] > 1
    assert preparations.tree(tmp_path) == preparations.tree(pathlib.Path(dataset.data_dir))


@pytest.mark.parametrize(
    "text",
    ["[1]", "5", "null", "\0", '{"NAME": 1}', '{"NAME": ["TOKEN"]}', '{"NAME": ["TOKEN", "z"]}'],
)
def test_damaged_digests_are_forgotten(text: str, tmp_path: pathlib.Path) -> None:
    many(tmp_path / "in", 1)
    name, memory = tmp_path / "in" / "0.wav", tmp_path / "digests.json"
    text = text.replace("NAME", str(name)).replace("TOKEN", storage.stamp(str(name)).token)
    memory.write_text(text)
    (found,) = integrity.HashCache(str(memory)).find(str(tmp_path / "in"), ["0.wav"])
    assert found.sha256 == storage.sha256(str(name))


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_damaged_dataset_can_be_replaced(text: str, tmp_path: pathlib.Path) -> None:
    many(tmp_path / "in", 4)
    job = material.make_job(tmp_path / "in", tmp_path / "out")
    prepare.prepare(job)
    (tmp_path / "out" / manifest.DATASET_FILE).write_text(text)
    with pytest.raises(errors.InputError, match=r"json that is damaged.*--overwrite"):
        prepare.prepare(job)
    prepare.prepare(job, overwrite=True)
    manifest.load(job.data_dir)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_shard_is_mended(
    damage: str, recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    job = material.make_job(recordings, tmp_path, validation_fraction=0.3)
    prepare.prepare(job)
    shard = max(tmp_path.glob("*.tfrecord"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(content if damage == "flipped" else content[:-100])
    assert prepare.prepare(job)[1] == 1
    assert preparations.tree(tmp_path) == preparations.tree(pathlib.Path(dataset.data_dir))


def test_two_preparations_do_not_mix(recordings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / ".state").mkdir()
    with (tmp_path / ".state" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(errors.InputError, match=r"another create_tfrecord\.py is writing here"):
            prepare.prepare(material.make_job(recordings, tmp_path))
    assert not list(tmp_path.glob("*.*record*"))


def test_a_recording_that_kills_its_worker_costs_itself(
    recordings: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material.make_deadly("4.wav", tmp_path / "site", monkeypatch)
    data_dir = tmp_path / "out"
    made, _ = prepare.prepare(material.make_job(recordings, data_dir, validation_fraction=0.3), 2)
    lines = {line["name"]: line for line in manifest.load_lines(str(data_dir))}
    assert lines["4.wav"]["verdict"] == "crashed"
    assert sum(line["verdict"] == "ok" for line in lines.values()) == 4
    assert sum(split.recordings for split in made.splits.values()) == 4
    assert not list(data_dir.glob("*.tmp-*"))


def test_the_main_module_is_back_however_many_threads_start_workers() -> None:
    main = sys.modules["__main__"]

    def start(seconds: float) -> bool:
        with workers._hidden_main_module():
            time.sleep(seconds)  # each ends in the midst of another's
            return sys.modules["__main__"] is main

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(start, (0.01, 0.02, 0.03, 0.04)))
    assert sys.modules["__main__"] is main


def test_a_worker_killed_once_costs_nothing(
    recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    killed: list[int] = []

    def kill_one(outcome: plan.Outcome | None, _: int) -> None:
        if outcome and outcome.status == "ok" and not killed:
            child = multiprocessing.active_children()[0]
            killed.append(child.pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    job = material.make_job(recordings, tmp_path, validation_fraction=0.3)
    prepare.prepare(job, 2, progress=kill_one)
    assert killed
    assert preparations.tree(tmp_path) == preparations.tree(pathlib.Path(dataset.data_dir))
