"""Calibration: distances of made-up failures, the search, and a tiny run from end to end."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import scipy.stats
import tiny

from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.config.training import AugmentationConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.evaluation import calibration
from lstm_gen.generation import request, rollout
from lstm_gen.models import base
from lstm_gen.models.common import loudness
from lstm_gen.models.lstm.config import LSTMConfig
from lstm_gen.runs import checkpoints
from lstm_gen.runs import run as runs

AUDIO = AudioConfig(sample_rate=4000, n_fft=256, hop_length=128, n_mels=48)
RATE = AUDIO.frames_per_second
CHANNELS = AUDIO.channels


def notes(seconds: float, seed: int) -> np.ndarray:
    """Return log frames of chords that are struck and decay, with partials, [frames, channels]."""
    random = np.random.default_rng(seed)
    n_frames = round(seconds * RATE)
    frames = np.full((n_frames, CHANNELS), -4.0)
    for start in range(0, n_frames, 12):
        level = random.normal(0, 0.5) - 0.08 * np.arange(n_frames - start)
        first = random.integers(3, 9)
        for partial in range(first, CHANNELS, random.integers(5, 8)):
            frames[start:, partial] = np.maximum(frames[start:, partial], level - 0.04 * partial)
    return (frames + 0.2 * random.standard_normal(frames.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def train() -> list[np.ndarray]:
    return [notes(12, seed) for seed in range(8)]


@pytest.fixture(scope="module")
def held_out() -> list[np.ndarray]:
    return [notes(12, seed) for seed in range(20, 24)]


@pytest.fixture(scope="module")
def music(train: list[np.ndarray], held_out: list[np.ndarray]) -> calibration.Music:
    return calibration.Music(train, held_out, base.FrameSpec(audio=AUDIO, timesteps=16, shift=1))


@pytest.fixture(scope="module")
def songs() -> list[np.ndarray]:
    """Return what a perfect model would make."""
    return [notes(12, seed) for seed in range(40, 48)]


def test_music_of_the_kind_is_near(music: calibration.Music, songs: list[np.ndarray]) -> None:
    scores = music.compare(songs)
    assert scores.distance < 0.35
    assert scores.memorisation == pytest.approx(1, abs=0.15)
    assert scores.clarity == pytest.approx(1, abs=0.1)
    assert scores.onset_rate == pytest.approx(scores.onset_rate_real, rel=0.2)
    assert scores.onset_rate_real == pytest.approx(RATE / 12, rel=0.3)


def mush(clip: np.ndarray) -> np.ndarray:
    """Return noise around the smooth envelope, as rough and as loud as the clip."""
    kernel = np.ones(9) / 9
    smooth = np.apply_along_axis(
        lambda x: np.convolve(np.pad(x, 4, "edge"), kernel, "valid"), 1, clip
    )
    noise = np.random.default_rng(0).standard_normal(clip.shape)
    return np.asarray(smooth + noise * (clip - smooth).std(axis=1, keepdims=True))


def test_each_failure_is_farther_and_shows_where_it_should(
    music: calibration.Music, songs: list[np.ndarray], train: list[np.ndarray]
) -> None:
    good = music.compare(songs)
    rough = music.compare([mush(clip) for clip in songs])
    assert abs(rough.clarity) < 0.5
    quiet = music.compare([clip - 2.0 for clip in songs])
    for name in ("quiet", "median", "loud"):
        assert getattr(quiet, name) - getattr(good, name) == pytest.approx(-2, abs=0.01)
    slope = 0.3 * np.linspace(-5, 5, len(songs[0]))[:, np.newaxis]
    falling = music.compare([clip - slope for clip in songs])
    assert falling.drift < -1
    still = music.compare([np.tile(clip[40], (len(clip), 1)) for clip in songs])
    assert still.onset_rate == 0
    copies = music.compare(train)
    assert copies.memorisation == pytest.approx(0, abs=0.02)
    for worse in (rough, quiet, falling, still, copies):
        assert worse.distance > good.distance + 0.1
    assert copies.distance > 3


def test_the_distance_is_a_mean_of_bounded_differences_and_a_penalty() -> None:
    same = calibration.Scores(
        distance=0, quiet=0, median=0, loud=0, drift=0, onset_rate=2, onset_rate_real=2,
        onset_strength=1, flux=0, clarity=1, variance=1, energy=1, patch=1, memorisation=0.9,
    )  # fmt: skip
    assert calibration.distance(same) == 0
    far = dataclasses.replace(same, drift=-100.0)
    assert calibration.distance(far) == pytest.approx(3 / 10)
    copied = dataclasses.replace(same, memorisation=0.55)
    assert calibration.distance(copied) == pytest.approx(4 * 0.25)
    twice = dataclasses.replace(same, onset_rate=4.0)
    half = dataclasses.replace(same, onset_rate=1.0)
    assert calibration.distance(twice) == pytest.approx(calibration.distance(half))


def test_songs_that_are_not_finite_are_far_and_no_error(
    music: calibration.Music, songs: list[np.ndarray]
) -> None:
    lost = [np.where(np.arange(len(clip))[:, np.newaxis] > 99, np.nan, clip) for clip in songs]
    scores = music.compare(lost)
    assert np.isfinite(scores.distance)
    assert scores.distance > 1


def test_clarity_is_a_skewness_that_partials_have_and_noise_has_not() -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((400, 300))
    assert abs(calibration.clarity(noise).mean()) < 0.05
    partials = noise + 6.0 * (np.arange(300) % 10 == 0)
    assert calibration.clarity(partials).mean() > 1.5
    flat = np.zeros((2, 300))
    np.testing.assert_array_equal(calibration.clarity(flat), [0, 0])
    wide = random.gamma(2.0, size=(1, 4000))
    # Around an envelope as wide as the frame the skewness is SciPy's.
    expected = scipy.stats.skew(wide - np.mean(wide), axis=1)
    np.testing.assert_allclose(calibration.clarity(wide), expected, rtol=0.1)


@pytest.mark.parametrize(("most_calm", "expected"), [(1.0, 0.3), (0.2, 0.15)])
def test_the_search_takes_the_greatest_weight_that_neither_copies_nor_strikes_too_often(
    most_calm: float, expected: float
) -> None:
    asked: list[base.Sampling] = []

    def evaluate(one: base.Sampling) -> calibration.Scores:
        asked.append(one)
        far = abs(one.temperature - 0.9) + abs(one.neighbour_weight - 0.15)
        near = 1.0 - 0.4 * one.neighbour_weight  # 0.8 at a weight of 0.5
        onsets = 1.5 if one.neighbour_weight > most_calm else 1.0
        return dataclasses.replace(EMPTY, distance=far, memorisation=near, onset_rate=onsets)

    weights = (0.0, 0.15, 0.3, 0.5)
    chosen, scores = calibration._search(evaluate, weights)
    assert chosen == base.Sampling(temperature=0.9, neighbour_weight=expected)
    assert scores.distance == pytest.approx(abs(expected - 0.15))
    assert len(asked) == len(set(asked)) <= 9


def test_where_all_weights_copy_the_least_distance_decides() -> None:
    def evaluate(one: base.Sampling) -> calibration.Scores:
        far = abs(one.temperature - 1.1) + abs(one.neighbour_weight - 0.15)
        return dataclasses.replace(EMPTY, distance=far, memorisation=0.5)

    chosen, _ = calibration._search(evaluate, (0.0, 0.15, 0.3))
    assert chosen == base.Sampling(temperature=1.1, neighbour_weight=0.15)
    chosen, _ = calibration._search(evaluate, (0.0,))
    assert chosen == base.Sampling(temperature=1.1)


EMPTY = calibration.Scores(
    distance=0, quiet=0, median=0, loud=0, drift=0, onset_rate=1, onset_rate_real=1,
    onset_strength=1, flux=0, clarity=1, variance=1, energy=1,
)  # fmt: skip


def make_run(dataset: manifest.Dataset, directory: str) -> runs.Run:
    """Write and return a run whose model was never trained."""
    run = runs.Run(
        settings=LSTMConfig(
            layers=1, units=8, patch_frames=2, patch_components=4, noise_size=4, head_blocks=1,
            stored_patches=32,
        ),
        window=WindowConfig(timesteps=8, shift=2),
        training=tiny.TRAINING,
        audio=dataset.audio,
        normalisation=dataset.normalisation,
        data_dir=dataset.data_dir,
        fingerprint=dataset.fingerprint,
        augmentation=AugmentationConfig(),
    )  # fmt: skip
    runs.open_or_create(directory, run)
    runs.save_model(directory, run.build_model(), 7, {"loss": 1.5})
    return runs.load(directory)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let songs of a calibration be few and short."""
    monkeypatch.setattr(calibration, "_SONGS", 3)
    monkeypatch.setattr(calibration, "_SECONDS", 3.0)


@pytest.mark.usefixtures("short")
def test_a_run_is_calibrated_the_same_twice_and_its_songs_use_it(tmp_path: pathlib.Path) -> None:
    segments = [tiny.make_frames(400, seed) for seed in range(4)]
    dataset = tiny.make_dataset(
        tmp_path / "dataset", train=segments, validation=[tiny.make_frames(700, 9)]
    )
    run = make_run(dataset, str(tmp_path / "run"))
    assert calibration.applies_to(run)
    before = checkpoints.newest(runs.model_dir(run.directory))
    facts = calibration.calibrate(run, dataset, "/cpu:0")
    assert facts == calibration.calibrate(run, dataset, "/cpu:0")
    assert facts == json.loads(json.dumps(facts))
    assert calibration.Scores(**facts[calibration.SCORES]).energy_error is not None

    runs.add_facts(run.directory, facts)
    after = checkpoints.newest(runs.model_dir(run.directory))
    assert before is not None
    assert after is not None
    assert after._replace(facts={}) == before._replace(facts={})
    assert after.facts == {"loss": 1.5} | facts
    chosen = base.Sampling(**facts[runs.SAMPLING])
    assert run.sampling() == request.sampling(GenerationConfig(), run) == chosen
    asked = GenerationConfig(temperature=0.5)
    assert request.sampling(asked, run) == dataclasses.replace(chosen, temperature=0.5)
    assert rollout.limits_of(run) == loudness.Limits(**facts[rollout.LIMITS])


@pytest.mark.usefixtures("short")
def test_without_held_out_music_training_music_is_compared_with(tmp_path: pathlib.Path) -> None:
    dataset = tiny.make_dataset(
        tmp_path / "dataset", train=[tiny.make_frames(700, 1)], validation=[]
    )
    facts = calibration.calibrate(make_run(dataset, str(tmp_path / "run")), dataset, "/cpu:0")
    scores = calibration.Scores(**facts[calibration.SCORES])
    assert scores.memorisation is scores.patch is scores.energy_gap is None
    short = tiny.make_dataset(tmp_path / "short")
    assert calibration.calibrate(make_run(short, str(tmp_path / "run2")), short, "/cpu:0") == {}
