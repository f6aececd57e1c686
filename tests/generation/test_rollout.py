"""Limits of songs on frames made to fail, and the redrawing of those that do."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from lstm_gen.config.audio import AudioConfig
from lstm_gen.generation import rollout
from lstm_gen.models import base
from lstm_gen.models.common import loudness

RATE = 20.0


def music(seconds: float, seed: int) -> np.ndarray:
    """Return frames of notes that are struck and decay, float64 [frames, 12]."""
    random = np.random.default_rng(seed)
    frames = np.full((round(seconds * RATE), 12), -9.0)
    for start in range(0, len(frames), 8):
        band = random.integers(12)
        frames[start:, band] = -2.0 + random.normal(0, 0.3) - 0.15 * np.arange(len(frames) - start)
    return np.maximum(frames, -9.0) + 0.05 * random.standard_normal(frames.shape)


@pytest.fixture(scope="module")
def found() -> loudness.Limits:
    return loudness.fit_limits([music(30, seed) for seed in range(6)], RATE)


def excesses(song: np.ndarray, within: loudness.Limits) -> set[str]:
    return set(loudness.excesses(song, within, RATE))


def test_other_music_of_the_kind_is_within(found: loudness.Limits) -> None:
    for seed in range(10, 20):
        assert excesses(music(15, seed), found) == set()


def test_each_failure_is_called_by_its_name(found: loudness.Limits) -> None:
    song = music(15, 30)
    silent, frozen, wild = (song.copy() for _ in range(3))
    silent[150:] = music(7.5, 31) - 6.0
    frozen[150:] = frozen[150]
    wild[150::2] += 3.0
    assert excesses(silent, found) == {"fell silent"}
    assert excesses(frozen, found) == {"froze"}
    assert excesses(song + 5.0, found) == {"grew too loud"}
    assert "ran wild" in excesses(wild, found)
    lost = np.where(np.arange(len(song))[:, np.newaxis] == 99, np.nan, song)
    assert loudness.excesses(lost, found, RATE) == {"ran wild": np.inf}


def test_a_short_gap_is_no_failure_and_a_longer_one_is_worse(found: loudness.Limits) -> None:
    song = music(15, 40)
    beyond = []
    for n_frames in (4, 140, 200):
        gap = song.copy()
        gap[60 : 60 + n_frames] = -11.0
        beyond.append(loudness.excesses(gap, found, RATE).get("fell silent", 0.0))
    assert beyond[0] == 0 < beyond[1] < beyond[2]


class _Run:
    """Stand-in of a run whose frames are not normalised."""

    audio = AudioConfig(sample_rate=2000, hop_length=100)

    class normalisation:  # noqa: N801
        @staticmethod
        def undo(frames: np.ndarray) -> np.ndarray:
            return frames


def redraw(
    first: list[np.ndarray], draws: list[list[np.ndarray]], within: loudness.Limits, song: int = 0
) -> tuple[list[rollout.Song], list[int]]:
    """Return the songs of a group after redrawing, and the seeds that were drawn with."""
    seeds: list[int] = []

    def draw(request: base.GenerationRequest) -> np.ndarray:
        seeds.append(request.seed)
        return np.stack(draws[len(seeds) - 1])

    request = base.GenerationRequest(
        n_songs=len(first), n_frames=len(first[0]), seed=5, first_song=song
    )
    run: Any = _Run()
    made = rollout._redraw_failed([rollout.Song(one) for one in first], request, draw, run, within)
    return made, seeds


def test_a_failed_song_is_drawn_again_and_the_others_stay(
    found: loudness.Limits, capsys: pytest.CaptureFixture[str]
) -> None:
    good, new, silent = music(15, 50), music(15, 51), music(15, 52) - 6.0
    made, seeds = redraw([good, silent], [[new, silent], [silent, new]], found, song=4)
    assert [song.attempt for song in made] == [0, 2]
    np.testing.assert_array_equal(made[0].frames, good)
    np.testing.assert_array_equal(made[1].frames, new)
    assert len({5, *seeds}) == 3
    assert capsys.readouterr().err == "song 5 fell silent: drawn again, 2 x\n"


def test_after_three_more_draws_the_best_is_kept(
    found: loudness.Limits, capsys: pytest.CaptureFixture[str]
) -> None:
    songs = [music(15, 60) - depth for depth in (8.0, 7.0, 6.0, 9.0)]
    made, seeds = redraw([songs[0]], [[song] for song in songs[1:]], found)
    assert len(seeds) == 3
    assert made[0].attempt == 2
    np.testing.assert_array_equal(made[0].frames, songs[2])
    assert "no draw was within the limits of real music" in capsys.readouterr().err


def test_a_song_becomes_the_same_whichever_other_songs_fail(found: loudness.Limits) -> None:
    silent, new, other = music(15, 70) - 6.0, music(15, 71), music(15, 72)
    alone, _ = redraw([silent], [[new]], found)
    beside, _ = redraw([silent, silent], [[new, silent], [other, silent], [other, other]], found)
    assert [song.attempt for song in beside] == [1, 3]
    np.testing.assert_array_equal(alone[0].frames, beside[0].frames)


def test_limits_are_stored_as_json_values(found: loudness.Limits) -> None:
    assert loudness.Limits(**dataclasses.asdict(found)) == found
