"""The judge's own measures, groups and clips; the transcriber is a stand-in."""

import math
import pathlib

import numpy as np
import processes
import pytest
import soundfile
import tiny

from lstm_gen.audio import representations
from lstm_gen.dataset.format import manifest, records
from lstm_gen.platform import errors
from lstm_gen.runs import run as runs
from tools.judge import __main__ as judge
from tools.judge import clips, measures

RATE = 22050
C_MAJOR = [60, 62, 64, 65, 67, 69, 71]


def _notes(*notes: tuple[float, float, float]) -> np.ndarray:
    return np.array(notes, np.float64).reshape(-1, 3)


def _steps(levels_db: list[float], seconds: float = 0.5) -> np.ndarray:
    """Return noise whose level changes in steps."""
    noise = np.random.default_rng(0).normal(size=(len(levels_db), round(seconds * RATE)))
    return (10 ** (np.array(levels_db)[:, np.newaxis] / 20) * noise).reshape(-1)


def test_a_scale_fits_its_key_in_every_transposition_and_register() -> None:
    lengths = np.array([3, 1, 2, 1, 2, 1, 1], float)
    fits = [measures.key_fit(np.array(C_MAJOR) + shift, lengths) for shift in (0, 1, 7, 24, -13)]
    assert fits[0] > 0.9
    assert fits == pytest.approx([fits[0]] * 5)


def test_a_key_profile_fits_perfectly_and_its_complement_does_not() -> None:
    profile = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
    assert measures.key_fit(np.arange(48, 60) + 5, profile) == pytest.approx(1)
    assert measures.key_fit(np.array([60, 61, 66, 67]), np.ones(4)) < 0.6
    assert measures.key_fit(np.array([60, 60]), np.array([1.0, 3.0])) < 0.8  # one class, no scale


def test_no_notes_and_equal_classes_have_no_key() -> None:
    assert math.isnan(measures.key_fit(np.zeros(0), np.zeros(0)))
    assert math.isnan(measures.key_fit(np.arange(12), np.ones(12)))


def test_the_rise_is_that_of_the_steps_in_level() -> None:
    samples = _steps([-60, -40, -60, -40])
    onsets = np.round(np.array([0.5, 1.5]) * RATE / 512).astype(int)
    assert measures.rise_db(samples, onsets) == pytest.approx(20, abs=0.7)
    assert math.isnan(measures.rise_db(samples, onsets[:0]))


def test_a_clip_is_described_by_sums_over_its_notes() -> None:
    posteriors = np.zeros((10, 88))
    posteriors[:, [3, 20, 50]] = (0.9, 0.6, 0.3)
    notes = _notes((0, 1, 60), (0, 1, 64), (0.5, 2.5, 67))
    heard = measures.describe(notes, posteriors, _steps([-20, -20, -26, -26], 1), RATE)
    assert heard.notes == pytest.approx(3 / 4)
    assert heard.polyphony == pytest.approx(4 / 4)
    assert heard.length == 1
    assert heard.confidence == pytest.approx(0.6)
    assert heard.drift_db == pytest.approx(-6, abs=0.2)
    assert heard.level_db == pytest.approx(10 * math.log10((1e-2 + 10**-2.6) / 2), abs=0.2)
    assert math.isnan(heard.f1)


def test_silence_is_described_without_a_warning() -> None:
    heard = measures.describe(_notes(), np.zeros((4, 88)), np.zeros(RATE), RATE)
    assert (heard.notes, heard.polyphony, heard.onsets) == (0, 0, 0)
    assert heard.level_db == pytest.approx(-100, abs=0.01)
    assert all(math.isnan(value) for value in (heard.length, heard.key_fit, heard.rise_db))


def test_a_mean_leaves_out_what_a_clip_does_not_have() -> None:
    silent = measures.describe(_notes(), np.zeros((4, 88)), np.zeros(RATE), RATE)
    found = measures.mean([silent, silent._replace(length=2.0, notes=4.0)])
    assert (found.length, found.notes) == (2, 2)
    assert math.isnan(found.f1)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for group in ("recordings", "songs"):
        (tmp_path / group).mkdir()
        for index in (1, 0):
            soundfile.write(tmp_path / group / f"{index}.wav", _steps([-30, -20]), RATE)
    return tmp_path


def test_groups_are_found_and_sorted(folder: pathlib.Path) -> None:
    groups = judge.find([f"real={folder}/recordings/*.wav", f"songs={folder}/songs/0.wav"])
    assert groups == {
        "real": [f"{folder}/recordings/0.wav", f"{folder}/recordings/1.wav"],
        "songs": [f"{folder}/songs/0.wav"],
    }


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ([], "must name a group"),
        (["songs/*.wav"], r"NAME=PATTERN.*clips='songs/\*.wav'"),
        (["a=nowhere/*.wav"], "must match sound files"),
        (["a={}/songs/*.wav", "a={}/recordings/*.wav"], "a name of its own"),
    ],
)
def test_bad_groups_are_refused(folder: pathlib.Path, patterns: list[str], message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        judge.find([pattern.format(folder) for pattern in patterns])


def test_copies_are_compared_with_the_first_group_by_name(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []

    def note_f1(reference: np.ndarray, estimate: np.ndarray) -> float:
        pairs.append((reference[0, 2], estimate[0, 2]))
        return 0.5

    def transcribe(path: str) -> judge.Transcription:
        pitch = 60 + 10 * ("songs" in path) + int(pathlib.Path(path).stem)
        return _notes((0, 1, pitch)), np.full((3, 88), 0.25)

    monkeypatch.setattr(judge, "note_f1", note_f1)
    groups = judge.find([f"real={folder}/recordings/*.wav", f"copies={folder}/songs/*.wav"])
    rows = judge.judge(groups, transcribe).rows
    assert pairs == [(60, 70), (61, 71)]
    assert [row[0] for row in rows] == ["real", "copies"]
    assert [row[-1] for row in rows] == ["", "0.50"]
    assert [row[5] for row in rows] == ["0.25", "0.25"]


def test_clips_are_consecutive_long_enough_and_know_where_they_began() -> None:
    segments = [
        records.Segment(np.arange(n)[:, np.newaxis], recording, 100)
        for recording, n in enumerate((25, 4, 9))
    ]
    found = clips.cut(segments, 5, 10, 16)
    assert [(one.recording, one.start_frame, len(one.frames)) for one in found] == [
        (0, 100, 10),
        (0, 110, 10),
        (0, 120, 5),
        (2, 100, 9),
    ]
    assert all(one.frames[0, 0] == one.start_frame - 100 for one in found)
    assert [one.start_frame for one in clips.cut(segments, 5, 10, 2)] == [100, 100]
    assert clips.cut(segments[1:2], 5, 10, 2) == []


@pytest.mark.slow
def test_held_out_clips_are_the_same_passage_of_the_recording_and_of_its_frames(
    tmp_path: pathlib.Path,
) -> None:
    rate, seconds = 8000, 130
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate * seconds)
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "noise.wav", noise, rate)
    prepared = processes.run_python(
        *(
            "create_tfrecord.py",
            f"--input_dir={tmp_path / 'in'}",
            f"--data_dir={tmp_path / 'data'}",
        ),
        *("--sample_rate=8000", "--n_fft=1024", "--hop_length=256", "--n_mels=80"),
        *("--split=blocks", "--validation_fraction=0.3", "--trim_db=0"),
    )
    assert prepared.returncode == 0, prepared.stderr
    dataset = manifest.load(str(tmp_path / "data"))
    runs.open_or_create(str(tmp_path / "run"), tiny.make_run(dataset))
    done = processes.run_python(
        *("-m", "tools.judge.clips", f"--run_dir={tmp_path / 'run'}", "--seconds=6"),
        *(f"--input_dir={tmp_path / 'in'}", f"--output_dir={tmp_path / 'out'}"),
    )
    assert done.returncode == 0, done.stderr
    names = [path.name for path in sorted((tmp_path / "out" / "frames").iterdir())]
    (shard,) = dataset.splits["validation"].shards
    least, most = (round(length * dataset.audio.frames_per_second) for length in (5, 6))
    held_out = clips.cut(list(dataset.read_segments(shard)), least, most, 16)
    assert len(names) == len(held_out) > 1
    for name, clip in zip(names, held_out, strict=True):
        recorded, copy = (
            soundfile.read(tmp_path / "out" / kind / name, dtype="float32")[0]
            for kind in ("recordings", "frames")
        )
        assert len(recorded) == len(copy) == 256 * len(clip.frames)
        # No two frames of noise are alike; at its edges a clip lacks what was around it.
        power, stored = (
            np.exp(frames[3:-3].astype(np.float64))
            for frames in (representations.extract(recorded, dataset.audio)[:-1], clip.frames)
        )
        np.testing.assert_allclose(power, stored, atol=0.02 * stored.max())
