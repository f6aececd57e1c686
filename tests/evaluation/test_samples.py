"""What the figures of prior samples catch: stills, noise, one song for all, another level."""

import dataclasses

import numpy as np
import pytest
import tiny

from lstm_gen.audio import normalisation
from lstm_gen.config.audio import AudioConfig
from lstm_gen.evaluation import samples
from lstm_gen.platform import errors

WAVES = AudioConfig(sample_rate=4000, representation="waveform", hop_length=64)


def plain(channels: int) -> normalisation.Normalisation:
    return normalisation.Normalisation(
        mean=np.zeros(channels, np.float32), std=np.ones(channels, np.float32)
    )


def make_music(seed: int, n_clips: int = 6, n_frames: int = 300) -> list[np.ndarray]:
    """Return clips that move, about normalised."""
    clips = [tiny.make_frames(n_frames, seed + index) + 3 for index in range(n_clips)]
    return [clip.astype(np.float32) for clip in clips]


def analyse(clips: list[np.ndarray]) -> samples.Analysis:
    return samples.analyse(clips, tiny.AUDIO, plain(8))


def make_tone(seed: int, level: float = 0.3, offset: float = 0.0) -> np.ndarray:
    """Return frames of samples, [frames, 64]: a tone that beats, of a pitch by the seed."""
    random = np.random.default_rng(seed)
    times = np.arange(64 * 200) / 4000
    hz = random.uniform(200, 900)
    wave = np.sin(2 * np.pi * hz * times + random.uniform(0, 6)) * np.sin(np.pi * 3 * times)
    noise = 0.05 * random.standard_normal(times.size)
    return (level * (wave + noise) + offset).reshape(-1, 64).astype(np.float32)


TRAIN, REAL = make_music(0), make_music(100)


def report(clips: list[np.ndarray]) -> samples.Report:
    return samples.measure(analyse(clips), analyse(TRAIN))


def failures(made: samples.Report, held_out: samples.Report) -> set[str]:
    """Return the metrics out of range, those that are NaN left out."""
    relative = made.relative_to(held_out)
    values = {one: getattr(relative, one.name) for one in samples.ACCEPTANCE}
    return {one.name for one, x in values.items() if not one.passes(x) and not np.isnan(x)}


def test_music_of_the_same_kind_passes() -> None:
    held_out = report(REAL)
    made = report(make_music(200))
    assert failures(made, held_out) == set()
    for name in ("variance", "window_variance", "change_variance"):
        assert getattr(made, name) == pytest.approx(1, abs=0.15)
    assert made.n_clips == 6
    assert made.seconds == pytest.approx(6 * 300 / tiny.AUDIO.frames_per_second)


def test_each_fault_shows_in_its_figure() -> None:
    held_out = report(REAL)
    music = make_music(200)
    stills = [np.repeat(clip[::100], 100, axis=0) for clip in music]
    noise = [np.random.default_rng(i).standard_normal((300, 8)) for i in range(6)]
    faults = {
        "change_variance": stills,
        "local_frechet": [one.astype(np.float32) for one in noise],
        "correlation": [music[0]] * 6,
        "level_db": [clip + 2 for clip in music],
        "memorisation": TRAIN,
        "variance": [0.3 * clip for clip in music],
    }
    for name, clips in faults.items():
        assert name in failures(report(clips), held_out), name
    assert report(faults["correlation"]).correlation > held_out.correlation + 0.1


def test_waveforms_are_analysed() -> None:
    train, real = [[make_tone(seed) for seed in range(first, first + 6)] for first in (0, 10)]
    known = samples.analyse(train, WAVES, plain(64))

    def measure(clips: list[np.ndarray]) -> samples.Report:
        return samples.measure(samples.analyse(clips, WAVES, plain(64)), known)

    held_out = measure(real)
    assert abs(held_out.correlation) < 0.1
    assert abs(held_out.offset) < 0.01
    assert abs(held_out.level_db) < 0.5
    assert measure([make_tone(3)] * 6).correlation > 0.4
    louder = measure([make_tone(seed, 0.6) for seed in range(10, 16)])
    assert louder.level_db - held_out.level_db == pytest.approx(6.02, abs=0.05)
    moved = measure([make_tone(seed, offset=0.3) for seed in range(10, 16)])
    assert moved.offset > 0.5


def test_active_latents_are_those_that_vary() -> None:
    means = np.random.default_rng(0).standard_normal((100, 5)) * [1, 0.5, 0.2, 0.05, 0]
    assert samples.count_active(means) == 3
    assert samples.count_active(means.reshape(10, 10, 5)) == 3


def test_the_table_says_what_failed() -> None:
    held_out = report(REAL)
    dull = dataclasses.replace(held_out, variance=0.1)
    text = samples.acceptance({"held-out": held_out, "run": dull}, held_out).markdown()
    assert "| figure | accept | held-out | run |" in text
    assert "| **0.10** |" in text
    assert "| ≤ 0.1 |" in text
    assert "rms" not in text  # no samples, no offset


def test_clips_must_be_long_enough() -> None:
    with pytest.raises(errors.InputError, match="use more --seconds"):
        report([TRAIN[0][:20]])
