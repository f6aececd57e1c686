import contextlib
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
import signal
import threading
import time
from collections import Counter

import material
import numpy as np
import pytest
import soundfile

from lstm_gen.audio import files, frequency_scales, normalisation, representations
from lstm_gen.config import fields
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import integrity, manifest, records
from lstm_gen.dataset.prepare import discover, plan, prepare, workers
from lstm_gen.platform import errors


def tree(folder: pathlib.Path | str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(folder).iterdir())
        if path.name != integrity.STATE_DIR
    }


def make_plan(job: plan.Job) -> plan.Plan:
    known = integrity.HashCache(f"{job.data_dir}-digests.json")
    return plan.make(job, known)


def read(dataset: manifest.Dataset, split: str) -> list[records.Segment]:
    return [
        segment
        for shard in dataset.splits[split].shards
        for segment in dataset.read_segments(shard)
    ]


def test_workers_do_not_change_a_byte(
    recordings: pathlib.Path, dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    job = material.make_job(recordings, tmp_path / "one", validation_fraction=0.3)
    alone, _ = prepare.prepare(job, n_workers=1)
    assert alone.fingerprint == dataset.fingerprint
    assert tree(tmp_path / "one") == tree(dataset.data_dir)


def test_what_is_loaded_is_what_was_made(dataset: manifest.Dataset) -> None:
    loaded = manifest.load(dataset.data_dir)
    assert loaded.labels == {}
    np.testing.assert_equal(dataclasses.asdict(loaded), dataclasses.asdict(dataset))


def test_frames_are_the_analysis_of_the_recordings(
    recordings: pathlib.Path, dataset: manifest.Dataset
) -> None:
    lines = manifest.load_lines(dataset.data_dir)
    segment = read(dataset, "train")[-1]
    names = {records.recording_id(x["sha256"]): x["name"] for x in lines if x["verdict"] == "ok"}
    path = str(recordings / names[segment.recording])
    whole = representations.extract(files.read(path, material.RATE), material.AUDIO)
    stop = segment.start_frame + len(segment.frames)
    # float16 has a spacing of 2^-7 at 8 to 16, where log-mel values are largest.
    np.testing.assert_allclose(segment.frames, whole[segment.start_frame : stop], atol=2**-8)


def test_normalisation_is_that_of_the_training_frames(dataset: manifest.Dataset) -> None:
    frames = np.concatenate([s.frames for s in read(dataset, "train")]).astype(np.float64)
    np.testing.assert_allclose(dataset.normalisation.mean, frames.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        dataset.normalisation.std, np.maximum(frames.std(axis=0), 0.2), rtol=1e-6
    )
    seen = dataset.normalise(frames.astype(np.float16))
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
    normal = dataset.normalisation
    np.testing.assert_allclose(normal.undo(seen), frames, atol=1e-5)


def test_a_band_that_never_changes_is_harmless() -> None:
    statistics = normalisation.Statistics.zero(2)
    statistics.add(np.array([[-11.5, 1], [-11.5, 3]], np.float16))
    normal = statistics.normalisation(material.AUDIO)
    np.testing.assert_array_equal(normal.mean, [-11.5, 2])
    np.testing.assert_allclose(normal.std, [0.2, 1])


def test_no_recording_is_on_both_sides(dataset: manifest.Dataset) -> None:
    train, validation = ({s.recording for s in read(dataset, n)} for n in ("train", "validation"))
    assert train
    assert validation
    assert not train & validation


def test_counts_add_up(dataset: manifest.Dataset) -> None:
    lines = manifest.load_lines(dataset.data_dir)
    assert [line["name"] for line in lines] == [
        *("0.wav", "2.wav", "4.wav", "deep/er/1.flac", "deep/er/3.flac", "twice.wav", "notes.txt")
    ]
    statuses = {line["name"]: line["verdict"] for line in lines if line["verdict"] != "ok"}
    assert statuses == {"twice.wav": "duplicate", "notes.txt": "not_audio"}
    for name, split in dataset.splits.items():
        found = read(dataset, name)
        assert [len(s.frames) for s in found] == [n for s in split.shards for n in s.frames]
        assert (
            len(found) == split.n_records == sum(x.get("segments", {}).get(name, 0) for x in lines)
        )
        assert split.recordings == len({s.recording for s in found})
        assert split.seconds == pytest.approx(split.n_frames * 128 / material.RATE)
    assert lines[1]["seconds"] == pytest.approx(14)


def test_blocks_of_a_single_recording_keep_their_guard(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    soundfile.write(source / "only.wav", material.tone(60, 300), material.RATE)
    job = material.make_job(source, tmp_path / "out", block_seconds=3, validation_fraction=0.2)
    dataset, _ = prepare.prepare(job)
    assert dataset.split.split == "blocks"
    spans = sorted(
        (s.start_frame, s.start_frame + len(s.frames), name)
        for name in ("train", "validation")
        for s in read(dataset, name)
    )
    sides = Counter(name for _, _, name in spans)
    assert sides["train"] > 3
    assert sides["validation"] == 2 * 4  # four blocks of 187 frames, two segments each
    for (_, stop, before), (start, _, after) in itertools.pairwise(spans):
        assert start - stop == (0 if before == after else round(62.5))


def test_the_plan_depends_on_names_contents_and_settings_only(
    recordings: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    job = material.make_job(recordings, tmp_path)
    first = make_plan(job)
    again = make_plan(dataclasses.replace(job, input_dir=f"{recordings}/"))
    assert again.job.split == first.job.split
    assert dataclasses.replace(again, job=first.job) == first
    other = dataclasses.replace(job, audio=dataclasses.replace(job.audio, n_mels=9))
    assert make_plan(other).digest != first.digest


def test_shards_spread_the_work() -> None:
    found = plan.distribute(make_recordings(400), record_bytes=1e6)
    assert len(found) == 16
    assert max(map(len, found)) <= 50  # twice the mean
    assert sum(map(len, found)) == 400


def test_shards_stay_small() -> None:
    assert len(plan.distribute(make_recordings(100), record_bytes=5000 << 20)) == 64


def make_recordings(count: int) -> list[discover.Recording]:
    hashes = (hashlib.sha256(str(index).encode()).hexdigest() for index in range(count))
    return [discover.Recording(name=f"{sha}.wav", n_bytes=9, sha256=sha) for sha in hashes]


@pytest.mark.parametrize("count", [2, 5, 9, 17, 33, 1001])
def test_a_recording_more_or_less_moves_no_other(count: int) -> None:
    recordings = make_recordings(count)
    before = [set(shard) for shard in plan.distribute(recordings[1:], record_bytes=1e6)]
    after = [set(shard) for shard in plan.distribute(recordings, record_bytes=1e6)]
    changed = [b ^ a for b, a in zip(before, after, strict=True) if b != a]
    assert changed == [{recordings[0]}]


def test_a_second_run_does_nothing(
    recordings: pathlib.Path, dataset: manifest.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(workers, "run", fail)
    before = tree(dataset.data_dir)
    job = material.make_job(recordings, pathlib.Path(dataset.data_dir), validation_fraction=0.3)
    again, n_tasks = prepare.prepare(job)
    assert n_tasks == 0
    assert again.fingerprint == dataset.fingerprint
    assert tree(dataset.data_dir) == before


def test_another_dataset_is_replaced_only_on_request(tmp_path: pathlib.Path) -> None:
    source, data_dir = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    soundfile.write(source / "a.wav", material.tone(10, 300), material.RATE)
    job = material.make_job(source, data_dir, validation_fraction=0.2)
    prepare.prepare(job)
    soundfile.write(source / "b.wav", material.tone(10, 500), material.RATE)
    other = dataclasses.replace(job, audio=dataclasses.replace(job.audio, n_mels=9))
    before = tree(data_dir)
    with pytest.raises(errors.InputError, match=r"n_mels=8 instead of 9.*--overwrite"):
        prepare.prepare(other)
    assert tree(data_dir) == before
    made, n_tasks = prepare.prepare(other, overwrite=True)
    assert n_tasks == len(made.splits["train"].shards) <= 2
    assert made.splits["train"].recordings == 2
    assert set(tree(data_dir)) == {
        *manifest.FILES,
        *(shard.name for split in made.splits.values() for shard in split.shards),
    }


def test_a_dataset_of_an_earlier_version_has_slaneys_bands(tmp_path: pathlib.Path) -> None:
    source, data_dir = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    soundfile.write(source / "a.wav", material.tone(10, 300), material.RATE)
    job = material.make_job(source, data_dir, validation_fraction=0.2)
    slaney = dataclasses.replace(job, audio=dataclasses.replace(job.audio, mel_break_hz=1000.0))
    prepare.prepare(slaney)
    values = manifest.read_values(str(data_dir))
    del values["audio"]["mel_break_hz"], values["audio"]["n_atoms"]
    values["checksum"] = manifest.checksum(values)
    (data_dir / manifest.DATASET_FILE).write_text(json.dumps(values))
    assert fields.to_dict(manifest.load(str(data_dir)).audio) == fields.to_dict(slaney.audio)
    with pytest.raises(errors.InputError, match=r"mel_break_hz=1000.0 instead of 500.0"):
        prepare.prepare(job)
    assert prepare.prepare(slaney)[0].audio.mel_break_hz == 1000


def test_leftovers_of_a_killed_run_are_replaced_and_foreign_files_are_not(
    recordings: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    job = material.make_job(recordings, tmp_path, validation_fraction=0.3)
    (tmp_path / "diary.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(errors.InputError, match=r"and nothing else.*diary\.txt"):
            prepare.prepare(job, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]
    (tmp_path / "diary.txt").unlink()
    (tmp_path / "train-00000-of-00077.tfrecord").write_text("old")
    (tmp_path / "train-00003-of-00004.tfrecord.tmp-123").write_text("torn")
    prepare.prepare(job, 1)
    assert not list(tmp_path.glob("*00077*")) + list(tmp_path.glob("*tmp*"))


@pytest.mark.parametrize(("source", "made"), [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_outputs_are_never_ingested(tmp_path: pathlib.Path, source: str, made: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(errors.InputError, match="must not be inside one another"):
        prepare.prepare(material.make_job(tmp_path / source, tmp_path / made))


def bad_files(folder: pathlib.Path) -> dict[str, str]:
    """Write a bad recording of each kind; return the status that each should get."""
    good = material.tone(6, 250)
    soundfile.write(folder / "none.wav", np.zeros(0), material.RATE)
    soundfile.write(folder / "one.wav", np.ones(1), material.RATE)
    soundfile.write(folder / "silence.wav", np.zeros(20_000), material.RATE)
    soundfile.write(folder / "nan.wav", np.where(good > 0.5, np.nan, good), material.RATE, "FLOAT")
    soundfile.write(folder / "whole.flac", good, material.RATE)
    (folder / "cut.flac").write_bytes((folder / "whole.flac").read_bytes()[:9000])
    (folder / "whole.flac").unlink()
    (folder / "renamed.wav").write_text("this is not audio")
    (folder / "zero.mp3").write_bytes(b"")
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    os.mkfifo(folder / "pipe.wav")  # is not a file, and must not be waited for
    return {
        "none.wav": "empty",
        "one.wav": "too_short",
        "silence.wav": "silent",
        "nan.wav": "not_finite",
        "cut.flac": "unreadable",
        "renamed.wav": "unreadable",
        "zero.mp3": "empty",
        "gone.wav": "missing",
        "pipe.wav": "not_a_file",
    }


def test_bad_recordings_cost_only_themselves(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for index in range(3):
        soundfile.write(source / f"good{index}.wav", material.tone(9 + index, 400), material.RATE)
    job = material.make_job(source, tmp_path / "good")
    good, _ = prepare.prepare(job)
    wanted = bad_files(source)
    mixed, _ = prepare.prepare(dataclasses.replace(job, data_dir=str(tmp_path / "mixed")))
    lines = manifest.load_lines(mixed.data_dir)
    assert {line["name"]: line["verdict"] for line in lines if line["verdict"] != "ok"} == wanted
    assert all(
        "\n" not in line["detail"] and line["detail"] for line in lines if line["name"] in wanted
    )
    assert sum(s.n_frames for s in mixed.splits.values()) == sum(
        s.n_frames for s in good.splits.values()
    )


def test_an_empty_train_split_is_named(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    soundfile.write(source / "held_out.wav", material.tone(3, 300), material.RATE)
    soundfile.write(source / "silent.wav", np.zeros(3 * material.RATE), material.RATE)
    named = {"split": "pattern", "validation_pattern": "held"}
    job = material.make_job(source, tmp_path / "out", **named)
    with pytest.raises(errors.InputError, match=r"train split must not be empty.*1 in validation"):
        prepare.prepare(job)
    assert not list((tmp_path / "out").iterdir())


def test_nothing_usable_is_an_error_and_leaves_no_shards(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    soundfile.write(source / "silence.wav", np.zeros(20_000), material.RATE)
    with pytest.raises(errors.InputError, match=r"1 silent in input_dir="):
        prepare.prepare(material.make_job(source, tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [(None, "must be a folder"), ((), "with no files"), (("a.txt",), "with 1 .txt")],
)
def test_a_folder_without_recordings_is_refused(
    tmp_path: pathlib.Path, names: tuple[str, ...] | None, message: str
) -> None:
    if names is not None:
        (tmp_path / "in").mkdir()
    for name in names or ():
        (tmp_path / "in" / name).touch()
    with pytest.raises(errors.InputError, match=message):
        prepare.prepare(material.make_job(tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_worker_that_dies_is_an_error_and_not_a_hang(
    recordings: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def kill_workers() -> None:
        while not stop.is_set():
            for child in multiprocessing.active_children():
                with contextlib.suppress(ProcessLookupError):  # it may just have ended
                    os.kill(child.pid or 0, signal.SIGKILL)
            time.sleep(0.01)

    stop = threading.Event()
    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        with pytest.raises(errors.InputError, match="worker processes keep dying"):
            prepare.prepare(material.make_job(recordings, tmp_path / "out"), 2)
    finally:
        stop.set()
        killer.join()
    assert not multiprocessing.active_children()
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_an_error_of_the_disk_ends_the_run(
    recordings: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    data_dir = tmp_path / "out"
    job = material.make_job(recordings, data_dir)
    planned = make_plan(job)
    with pytest.raises(OSError, match="No such file"):
        workers.run(job, planned.tasks, 2, lambda _: None)


def test_pictures_are_drawn_on_request(recordings: pathlib.Path, tmp_path: pathlib.Path) -> None:
    job = material.make_job(recordings, tmp_path / "out", validation_fraction=0.3)
    prepare.prepare(dataclasses.replace(job, plots_dir=str(tmp_path / "plots")))
    found = sorted(
        str(p.relative_to(tmp_path / "plots")) for p in (tmp_path / "plots").rglob("*.png")
    )
    assert found == [
        "0.wav.png",
        "2.wav.png",
        "4.wav.png",
        "deep/er/1.flac.png",
        "deep/er/3.flac.png",
    ]


def test_another_schema_version_is_refused(
    dataset: manifest.Dataset, tmp_path: pathlib.Path
) -> None:
    text = pathlib.Path(dataset.data_dir, "dataset.json").read_text()
    (tmp_path / "dataset.json").write_text(text.replace('"schema": 3', '"schema": 99'))
    with pytest.raises(errors.InputError, match=r"schema version 3.*schema=99"):
        manifest.load(str(tmp_path))
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(errors.InputError, match=r"train-\d+-of-\d+\.tfrecord must be there"):
        manifest.load(str(tmp_path))
    (tmp_path / "dataset.json").write_text(text[:300])
    with pytest.raises(errors.InputError, match="must be JSON"):
        manifest.load(str(tmp_path))
    with pytest.raises(errors.InputError, match="must hold a finished dataset"):
        manifest.load(str(tmp_path / "none"))


def test_mel_bands_that_no_bin_reaches_are_a_warning(dataset: manifest.Dataset) -> None:
    lines = manifest.load_lines(dataset.data_dir)
    assert "mel bands" not in inspection.describe(dataset, lines)
    narrow = dataclasses.replace(dataset.audio, n_mels=100)
    n_empty = frequency_scales.empty_bands(narrow)
    text = inspection.describe(dataclasses.replace(dataset, audio=narrow), lines)
    assert f"warning   {n_empty} of 100 mel bands lie between two FFT bins" in text
