"""Transposed copies of what trains: in tune, on their side of the split, the same bytes again."""

import dataclasses
import json
import pathlib
import signal
from collections.abc import Sequence

import material
import numpy as np
import preparations
import pytest
import soundfile

from lstm_gen.audio import files
from lstm_gen.cli import prepare as command
from lstm_gen.cli import settings
from lstm_gen.config import dataset as dataset_config
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.dataset import LabelConfig, SegmentConfig, SplitConfig, TranspositionConfig
from lstm_gen.dataset import inspection
from lstm_gen.dataset.format import labels, manifest, records
from lstm_gen.dataset.prepare import plan, prepare, splits, workers
from lstm_gen.platform import errors

SEMITONES = TranspositionConfig(augment_semitones="-3,0,2")
SECONDS = 60.0


def read(dataset: manifest.Dataset, split: str) -> list[records.Segment]:
    return [
        segment
        for shard in dataset.splits[split].shards
        for segment in dataset.read_segments(shard)
    ]


def ids(dataset: manifest.Dataset, semitones: int) -> set[int]:
    """Return the ids of the copies of a dataset's recordings."""
    lines = manifest.load_lines(dataset.data_dir)
    return {records.recording_id(x["sha256"], semitones) for x in lines if x.get("segments")}


def frequency_hz(sound: np.ndarray, sample_rate: int) -> float:
    """Return the frequency of a tone: the peak of its spectrum, interpolated."""
    n_fft = 1 << 20
    magnitude = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n_fft))
    return float(magnitude.argmax() * sample_rate / n_fft)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("semitones", [-12, -3, -1, 2, 7, 12])
def test_a_tone_is_transposed_and_as_much_shorter(
    rate: int, semitones: int, tmp_path: pathlib.Path
) -> None:
    time = np.arange(2 * rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), rate)
    speed = dataset_config.speed(semitones)
    sound = np.concatenate(list(files.read_blocks(str(tmp_path / "a.wav"), 22050, speed=speed)))
    assert len(sound) == pytest.approx(2 * 22050 / speed, abs=2)
    cents = 1200 * np.log2(frequency_hz(sound, 22050) / 440)
    assert cents == pytest.approx(100 * semitones, abs=0.5)
    inside = sound[2000:-2000]
    assert np.sqrt(2 * np.mean(inside**2)) == pytest.approx(0.5, rel=1e-2)


@pytest.fixture(scope="module")
def copied(
    recordings: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[plan.Job, manifest.Dataset]:
    """Return the job and the dataset of `recordings` and their copies; not to be changed."""
    data_dir = tmp_path_factory.mktemp("copied") / "dataset"
    job = material.make_job(recordings, data_dir, validation_fraction=0.3, split="recording")
    job = dataclasses.replace(job, transposition=SEMITONES)
    return job, prepare.prepare(job, n_workers=2)[0]


def test_what_trains_is_copied_and_nothing_else(
    copied: tuple[plan.Job, manifest.Dataset], dataset: manifest.Dataset
) -> None:
    _, made = copied
    plain = {(s.recording, s.start_frame): s for s in read(dataset, "train")}
    found = read(made, "train")
    same = {(s.recording, s.start_frame): s for s in found if s.recording in ids(made, 0)}
    assert plain.keys() == same.keys()
    for place, segment in plain.items():
        np.testing.assert_array_equal(segment.frames, same[place].frames)
    trained = {s.recording for s in same.values()}
    others = {s.recording for s in found} - trained
    assert len(others) == 2 * len(trained)
    assert others <= ids(made, -3) | ids(made, 2)
    assert {s.recording for s in read(made, "validation")} <= ids(made, 0)
    n_plain = dataset.splits["train"].n_frames
    stretch = 1 + 2 ** (3 / 12) + 2 ** (-2 / 12)
    assert made.splits["train"].n_frames == pytest.approx(stretch * n_plain, rel=0.02)
    assert made.splits["train"].recordings == dataset.splits["train"].recordings


def test_normalisation_is_that_of_all_copies(copied: tuple[plan.Job, manifest.Dataset]) -> None:
    frames = np.concatenate([s.frames for s in read(copied[1], "train")]).astype(np.float64)
    np.testing.assert_allclose(copied[1].normalisation.mean, frames.mean(axis=0), rtol=1e-6)


def test_the_copies_are_counted(copied: tuple[plan.Job, manifest.Dataset]) -> None:
    _, made = copied
    lines = [x for x in manifest.load_lines(made.data_dir) if x.get("segments")]
    segments = read(made, "train")
    for line in lines:
        assert set(line["transposed"]) == ({"-3", "+2"} if "train" in line["segments"] else set())
        for semitones, counts in line["transposed"].items():
            number = records.recording_id(line["sha256"], int(semitones))
            own = [s for s in segments if s.recording == number]
            assert counts["segments"] == len(own)
            assert counts["frames_kept"] == sum(len(s.frames) for s in own) <= counts["frames"]
            speed = dataset_config.speed(int(semitones))
            assert counts["frames"] == pytest.approx(line["frames"] / speed, abs=2)
    minutes = made.splits["train"].seconds / 60
    text = inspection.describe(made, manifest.load_lines(made.data_dir))
    assert f"{minutes:.1f} min with 3 transpositions\n" in text
    assert list(inspection.find_problems(made, deep=True)) == []
    loaded = manifest.load(made.data_dir)
    np.testing.assert_equal(dataclasses.asdict(loaded), dataclasses.asdict(made))
    names = set(manifest.recording_names(lines).values())
    assert "4.wav (-3 semitones)" in names or "4.wav" not in {
        x["name"] for x in lines if "train" in x["segments"]
    }


def test_only_copies_that_leave_the_range_are_missing(
    copied: tuple[plan.Job, manifest.Dataset],
) -> None:
    """A recording of which nothing trains has empty copies, and they make up for no other."""
    _, made = copied
    lines = [x for x in manifest.load_lines(made.data_dir) if x.get("segments")]
    trained = next(x for x in lines if "train" in x["segments"])
    nothing = {"frames": 5, "frames_kept": 0, "segments": 0}
    held_out = {
        **next(x for x in lines if "train" not in x["segments"]),
        "transposed": {"-3": nothing, "+2": nothing},
    }
    one_missing = {**trained, "transposed": {"+2": trained["transposed"]["+2"]}}
    assert "would leave" not in inspection.describe(made, [trained, held_out])
    assert "; 1 would leave the range" in inspection.describe(made, [one_missing, held_out])


def test_a_dataset_without_copies_says_nothing_of_them(dataset: manifest.Dataset) -> None:
    assert "transposition" not in manifest.read_values(dataset.data_dir)
    assert not any("transposed" in line for line in manifest.load_lines(dataset.data_dir))
    assert "copies" not in inspection.describe(dataset, manifest.load_lines(dataset.data_dir))


def test_neither_workers_nor_a_restart_change_a_byte(
    copied: tuple[plan.Job, manifest.Dataset], tmp_path: pathlib.Path
) -> None:
    job, made = copied
    job = dataclasses.replace(job, data_dir=str(tmp_path / "again"))
    prepare.prepare(job, n_workers=1)
    wanted = preparations.tree(pathlib.Path(made.data_dir))
    assert preparations.tree(tmp_path / "again") == wanted
    assert prepare.prepare(job)[1] == 0
    next(pathlib.Path(job.data_dir).glob("train*")).unlink()
    assert prepare.prepare(job)[1] == 1
    assert preparations.tree(tmp_path / "again") == wanted


def test_killed_after_a_shard_with_copies(
    recordings: pathlib.Path, copied: tuple[plan.Job, manifest.Dataset], tmp_path: pathlib.Path
) -> None:
    flag, mark = f"--augment_semitones={SEMITONES.augment_semitones}", tmp_path / "fired"
    process = preparations.start(
        recordings, tmp_path / "out", flag, LSTM_GEN_FAILPOINT=f"shard.filled:2:{mark}"
    )
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert mark.exists()
    told = preparations.finish(preparations.start(recordings, tmp_path / "out", flag))
    assert "min with 3 transpositions" in told
    made = pathlib.Path(copied[1].data_dir)
    assert preparations.tree(tmp_path / "out") == preparations.tree(made)


def test_other_semitones_need_overwrite(copied: tuple[plan.Job, manifest.Dataset]) -> None:
    job, _ = copied
    for other in ("0", "-3,0"):
        changed = dataclasses.replace(
            job, transposition=TranspositionConfig(augment_semitones=other)
        )
        with pytest.raises(errors.InputError, match=r"augment_semitones='-3,0,2' instead of"):
            prepare.prepare(changed)


def ramp_job(folder: pathlib.Path, **segment: object) -> plan.Job:
    """Return a job of one minute whose samples say where they are, from 0 to 0.9."""
    (folder / "in").mkdir()
    ramp = np.linspace(0, 0.9, round(SECONDS * material.RATE), endpoint=False)
    soundfile.write(folder / "in" / "a.wav", ramp, material.RATE, subtype="FLOAT")
    return plan.Job(
        input_dir=str(folder / "in"),
        data_dir=str(folder / "out"),
        plots_dir="",
        audio=AudioConfig(sample_rate=material.RATE, hop_length=80, representation="waveform"),
        # Fields of several types by name: the class itself checks what it is given.
        segment=SegmentConfig(dtype="float32", trim_db=0.0, **segment),  # type: ignore[arg-type]
        split=SplitConfig(
            split="blocks", validation_fraction=0.2, block_seconds=3.0, guard_seconds=0.5
        ),
        transposition=TranspositionConfig(augment_semitones="-12,-1,0,5"),
    )


@pytest.mark.parametrize("segment", [{}, {"example_seconds": 0.37}])
def test_no_copy_has_a_held_out_passage(segment: dict[str, object], tmp_path: pathlib.Path) -> None:
    made, _ = prepare.prepare(ramp_job(tmp_path, **segment))

    def seconds(found: Sequence[records.Segment]) -> np.ndarray:
        values = np.concatenate([s.frames.reshape(-1) for s in found])
        return np.asarray(values / 0.9 * SECONDS)

    held_out = np.sort(seconds(read(made, "validation")))
    assert len(held_out)
    for semitones in (-12, -1, 5):
        (number,) = ids(made, semitones)
        copy = [s for s in read(made, "train") if s.recording == number]
        where = seconds([s for s in copy if s.start_frame > 100])  # not the filter's start
        after = np.searchsorted(held_out, where).clip(1, len(held_out) - 1)
        nearest = np.minimum(abs(where - held_out[after - 1]), abs(where - held_out[after]))
        assert nearest.min() > 0.5 - 0.02
        plain = sum(len(s.frames) for s in read(made, "train") if s.recording in ids(made, 0))
        speed = dataset_config.speed(semitones)
        kept = sum(len(s.frames) for s in copy)
        assert kept == pytest.approx(plain / speed, rel=0.25 if segment else 0.02)
    assert list(inspection.find_problems(made, deep=True)) == []


def test_a_copy_that_leaks_is_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def all_train(_: np.ndarray, __: np.ndarray, copy: np.ndarray, **___: float) -> np.ndarray:
        return np.zeros(len(copy), np.int8)

    monkeypatch.setattr(workers, "run", preparations.work_here)
    monkeypatch.setattr(splits, "assign_copy", all_train)
    made, _ = prepare.prepare(ramp_job(tmp_path))
    problems = list(inspection.find_problems(made, deep=True))
    assert problems
    assert all("copies of its training frames only, but " in problem for problem in problems)


def test_trimmed_frames_are_on_the_side_of_the_kept_ones_before() -> None:
    active = np.array([0, 1, 1, 0, 1, 0], bool)
    np.testing.assert_array_equal(
        splits.fill(active, np.array([0, -1, 1], np.int8)), [0, 0, -1, -1, 1, 1]
    )


def test_a_frame_of_a_copy_trains_where_all_around_it_does() -> None:
    sides = np.array([0, 0, 0, 0, -1, 1, -1, 0, 0, 0], np.int8)
    centres = 10 * np.arange(10)
    where = np.array([0.0, 25.0, 30.1, 35.0, 50.0, 69.0, 70.9, 90.0, 500.0])
    found = splits.assign_copy(sides, centres, where, margin=10.0)
    np.testing.assert_array_equal(found, [0, 0, -1, -1, -1, -1, 0, 0, 0])


def labelled_job(folder: pathlib.Path, names: Sequence[str], label_names: str) -> plan.Job:
    (folder / "in").mkdir()
    for index, name in enumerate(names):
        tone = material.tone(0.5, 200 + 50 * index)
        soundfile.write(folder / "in" / f"{name}.wav", tone, material.RATE)
    return dataclasses.replace(
        material.make_job(folder / "in", folder / "out", split="recording"),
        transposition=SEMITONES,
        label_source=LabelConfig(
            labels="pattern",
            labels_pattern=r"(?P<player>[a-z]+)_(?P<pitch>\w+)_(?P<velocity>\d+)",
            label_names=label_names,
        ),
    )


@pytest.mark.parametrize("kind", ["class", "number"])
def test_pitches_follow_and_other_labels_stay(kind: str, tmp_path: pathlib.Path) -> None:
    names = ["sax_060_75", "sax_061_75", "oboe_126_30", "oboe_001_30", "oboe_090_30"]
    job = labelled_job(tmp_path, names, f"player,pitch:{kind},velocity:number")
    made, _ = prepare.prepare(job)
    lines = {x["name"]: x for x in manifest.load_lines(made.data_dir)}
    segments = read(made, "train")
    for name, line in lines.items():
        player, pitch, velocity = name.removesuffix(".wav").split("_")
        if "train" not in line["segments"]:
            continue
        wanted = {n for n in (-3, 2) if 0 <= int(pitch) + n <= 127}
        assert {int(n) for n in line["transposed"]} == wanted
        for semitones in (0, *wanted):
            number = records.recording_id(line["sha256"], semitones)
            note = int(pitch) + semitones
            value = (f"{note:03d}",) if kind == "class" else float(note)
            (found,) = {tuple(s.labels.items()) for s in segments if s.recording == number}
            assert dict(found) == {
                "player": (player,),
                "pitch": value,
                "velocity": float(velocity),
            }
    if kind == "class":
        stored = {s.labels["pitch"] for split in manifest.SPLITS for s in read(made, split)}
        assert {(text,) for text in made.labels["pitch"].values} == stored
    assert list(inspection.find_problems(made, deep=True)) == []


@pytest.mark.parametrize("note", ["C4", "²"])
def test_a_pitch_that_is_no_note_is_one_line(note: str, tmp_path: pathlib.Path) -> None:
    job = labelled_job(tmp_path, ["sax_60_1", f"sax_{note}_2"], "")
    with pytest.raises(
        errors.InputError, match=rf"label pitch must be a MIDI note.*Received: pitch='{note}'"
    ):
        prepare.prepare(job)


def test_only_pitches_move() -> None:
    values: labels.Values = {"pitch": (), "midi_pitch": 60.0, "pitches": 5.0, "mood": ("1",)}
    assert labels.transpose(values, -3) == {**values, "midi_pitch": 57.0}
    assert labels.transpose({"pitch": ("60", "7")}, 4) == {"pitch": ("64", "11")}
    assert labels.transpose({"midi_pitch": 126.0}, 2) is None
    assert labels.transpose({"pitch": None}, 2) == {"pitch": None}


def test_semitones_are_given_as_a_flag() -> None:
    line = settings.CommandLine(command.SETTINGS)
    line.parse(["create_tfrecord.py", "--augment_semitones=-3,-1,0,+2"])
    assert line.build(TranspositionConfig).copies == (-3, -1, 2)


def test_a_recording_whose_slowest_copy_is_too_long_is_left_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(workers, "run", preparations.work_here)
    monkeypatch.setattr(files, "MOST_SECONDS", 9.0)
    (tmp_path / "in").mkdir()
    for seconds in (7.5, 7.6):
        sound = material.tone(seconds, 300)
        soundfile.write(tmp_path / "in" / f"{seconds}.wav", sound, material.RATE)
    job = dataclasses.replace(
        material.make_job(tmp_path / "in", tmp_path / "out", split="blocks"),
        transposition=SEMITONES,
    )
    prepare.prepare(job)
    lines = {x["name"]: x for x in manifest.load_lines(job.data_dir)}
    assert lines["7.5.wav"]["verdict"] == "ok"
    assert lines["7.6.wav"]["verdict"] == "too_long"
    assert json.loads(json.dumps(lines["7.6.wav"]["transposed"])) == {}
