"""Trimming: quiet ends and long rests are left out."""

from typing import Any

import numpy as np

from lstm_gen.config.audio import AudioConfig
from lstm_gen.dataset.prepare import shards

DEFAULT = AudioConfig()


def loudness(*parts: Any) -> Any:
    """The power of frames of given lengths and levels, each (frames, dB)."""
    levels = np.concatenate([np.full(frames, level_db) for frames, level_db in parts])
    return 10 ** (levels / 10)


def test_quiet_ends_are_left_out() -> None:
    active = shards.active_frames(loudness((7, -10), (100, 30), (9, -5)), 30, DEFAULT)
    np.testing.assert_array_equal(np.flatnonzero(active), np.arange(7, 107))


def test_a_fade_is_cut_where_it_passes_the_threshold() -> None:
    fade = [(1, 30 - index) for index in range(60)]
    active = shards.active_frames(loudness((300, 30), *fade), 30.5, DEFAULT)
    assert active.sum() == 300 + 31


def test_only_long_rests_are_left_out() -> None:
    second = round(DEFAULT.frames_per_second)
    short = shards.active_frames(loudness((99, 20), (second, -20), (99, 20)), 30, DEFAULT)
    long = shards.active_frames(loudness((99, 20), (second + 1, -20), (99, 20)), 30, DEFAULT)
    assert short.all()
    assert long.sum() == 198
