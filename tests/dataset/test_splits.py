import hashlib
import pathlib

import material
import numpy as np
import pytest

from lstm_gen.config.dataset import SplitConfig
from lstm_gen.dataset.format import integrity
from lstm_gen.dataset.prepare import plan, shards, splits
from lstm_gen.platform import errors

FPS = 50.0


def hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(index).encode()).hexdigest() for index in range(count)]


@pytest.mark.parametrize(
    ("seconds", "mode"),
    [
        ([1.0], "blocks"),
        ([1.0, 1.0], "blocks"),
        ([4.0] * 3, "recording"),  # notes
        ([180.0] * 3, "blocks"),
        ([180.0] * 19, "blocks"),
        ([180.0] * 20, "recording"),
        ([4.0] * 9 + [30.0] * 10, "blocks"),
        ([4.0] * 10 + [30.0] * 9, "recording"),
        ([29.0] * 5, "recording"),
        ([], "blocks"),
    ],
)
def test_auto_is_blocks_for_few_recordings_that_are_long(seconds: list[float], mode: str) -> None:
    assert splits.resolve(SplitConfig(), seconds).split == mode
    assert splits.resolve(SplitConfig(block_seconds=0.5), seconds[:19]).split == "blocks"
    fixed = SplitConfig(split="recording")
    assert splits.resolve(fixed, seconds) is fixed


@pytest.mark.parametrize(
    ("suffix", "n_bytes", "mode"),
    [
        ("wav", 176_400 * 4, "recording"),
        ("wav", 176_400 * 31, "blocks"),
        ("flac", 88_200 * 29, "recording"),
        ("flac", 88_200 * 31, "blocks"),
        ("mp3", 12_000 * 29, "recording"),
        ("mp3", 12_000 * 31, "blocks"),
    ],
)
def test_a_plan_judges_lengths_by_sizes(
    suffix: str, n_bytes: int, mode: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "in").mkdir()
    for index in range(3):
        with (tmp_path / "in" / f"{index}.{suffix}").open("wb") as file:
            file.write(str(index).encode())
            file.truncate(n_bytes)
    job = material.make_job(tmp_path / "in", tmp_path / "out")
    assert plan.make(job, integrity.HashCache()).job.split.split == mode


def test_fractions_are_kept_by_many_recordings() -> None:
    split = SplitConfig(validation_fraction=0.2, test_fraction=0.1)
    found = splits.assign_by_content(hashes(4000), split)
    # Three standard deviations of a binomial count.
    assert abs(found.count("validation") / 4000 - 0.2) < 3 * (0.2 * 0.8 / 4000) ** 0.5
    assert abs(found.count("test") / 4000 - 0.1) < 3 * (0.1 * 0.9 / 4000) ** 0.5


def test_another_recording_moves_none() -> None:
    split = SplitConfig(validation_fraction=0.2)
    many = hashes(200)
    before = splits.assign_by_content(many[:150], split)
    assert splits.assign_by_content(many, split)[:150] == before


def test_the_order_does_not_matter() -> None:
    split = SplitConfig(validation_fraction=0.2)
    many = hashes(50)
    forwards = dict(zip(many, splits.assign_by_content(many, split), strict=True))
    backwards = dict(zip(many[::-1], splits.assign_by_content(many[::-1], split), strict=True))
    assert forwards == backwards


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5])
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("first", range(0, 40, 5))
def test_no_wanted_split_is_empty(first: int, count: int, fraction: float) -> None:
    some = hashes(60)[first : first + count]
    split = SplitConfig(validation_fraction=fraction, test_fraction=0.001)
    found = splits.assign_by_content(some, split)
    wanted = {"train", "validation"} if count == 2 else {"train", "validation", "test"}
    assert wanted <= set(found)


def test_one_recording_trains() -> None:
    assert splits.assign_by_content(hashes(1), SplitConfig()) == ["train"]


def test_blocks_are_held_out_in_the_middle_of_each_period() -> None:
    split = SplitConfig(split="blocks")  # 10 s of every 100 s, 1 s of guard
    labels = splits.assign_blocks(20_000, FPS, split)  # 400 s
    held_out = np.flatnonzero(labels == 1).reshape(4, -1)
    assert held_out.shape == (4, 500)
    np.testing.assert_array_equal(held_out[:, 0], 2250 + 5000 * np.arange(4))
    assert np.count_nonzero(labels == -1) == 4 * 2 * 50


def test_a_short_recording_is_one_period() -> None:
    labels = splits.assign_blocks(1500, FPS, SplitConfig(split="blocks"))  # 30 s
    held_out = np.flatnonzero(labels == 1)
    assert len(held_out) == 500
    assert held_out.mean() == pytest.approx(749.5)
    tiny = splits.assign_blocks(300, FPS, SplitConfig(split="blocks"))
    assert np.count_nonzero(tiny == 1) == 100  # a third, not ten seconds
    assert not len(splits.assign_blocks(0, FPS, SplitConfig(split="blocks")))


def test_nothing_is_held_out_when_nothing_is_wanted() -> None:
    split = SplitConfig(split="blocks", validation_fraction=0.0)
    assert (splits.assign_blocks(1000, FPS, split) == 0).all()


@pytest.mark.parametrize("n_frames", [90, 500, 3000, 12_345, 60_000])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.0), (0.0, 0.1), (0.1, 0.05), (0.4, 0.4)])
@pytest.mark.parametrize("guard_seconds", [0.0, 1.0, 7.0])
def test_no_frame_is_within_the_guard_of_another_split(
    n_frames: int, validation: float, test: float, guard_seconds: float
) -> None:
    split = SplitConfig(
        split="blocks",
        validation_fraction=validation,
        test_fraction=test,
        guard_seconds=guard_seconds,
    )
    labels = splits.assign_blocks(n_frames, FPS, split)
    guard = round(guard_seconds * FPS)
    for distance in range(1, guard + 1):
        first, second = labels[:-distance], labels[distance:]
        assert not ((first != second) & (first >= 0) & (second >= 0)).any(), distance


@pytest.mark.parametrize("n_frames", [1, 2, 99, 100, 101, 250, 1000, 1001])
def test_a_run_is_cut_into_near_equal_pieces(n_frames: int) -> None:
    lengths = np.diff(shards.cut_run(n_frames, 100))
    assert lengths.sum() == n_frames
    assert len(lengths) == -(-n_frames // 100)
    assert lengths.max() <= 100
    assert lengths.max() - lengths.min() <= 1


def test_segments_keep_to_runs_and_splits() -> None:
    active = np.zeros(400, bool)
    active[10:200] = active[250:251] = active[300:400] = True
    labels = np.zeros(291, np.int8)
    labels[90:130] = -1
    labels[130:150] = 1
    pieces, too_short = shards.place_runs(active, labels, 64)
    assert pieces == [
        ("train", 10, 55),
        ("train", 55, 100),
        ("validation", 140, 160),
        ("train", 160, 200),
        ("train", 300, 350),
        ("train", 350, 400),
    ]
    assert too_short == 1  # frame 250


def test_nothing_kept_gives_nothing() -> None:
    nothing = shards.place_runs(np.zeros(9, bool), np.zeros(0, np.int8), 1024)
    assert nothing == ([], 0)


NAMED = SplitConfig(split="pattern", validation_pattern=r"_\d*[05]_")


def test_a_pattern_holds_out_by_name() -> None:
    names = ["piano_060_75.flac", "piano_061_75.flac", "low/sax_045_1.flac", "sax_046_5.flac"]
    assert splits.assign_by_name(names, NAMED) == ["validation", "train", "validation", "train"]
    assert splits.assign_by_name([], NAMED) == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "must be a regular expression"), ("x", "matched=0"), ("_", "matched=2, recordings=2")],
)
def test_a_pattern_that_leaves_a_side_empty_is_refused(pattern: str, message: str) -> None:
    split = SplitConfig(split="pattern", validation_pattern=pattern)
    with pytest.raises(errors.InputError, match=message):
        splits.assign_by_name(["a_1", "a_2"], split)
