"""Impostors against made-up music: real passes, each impostor fails on the rows that name it."""

from collections.abc import Callable

import numpy as np
import pytest

from lstm_gen.config.audio import AudioConfig
from lstm_gen.evaluation import songs
from lstm_gen.platform import errors

_AUDIO = AudioConfig()
_RATE = _AUDIO.frames_per_second
_MELS = 24
_MEAN, _STD = np.full(_MELS, -4.0), np.full(_MELS, 2.0)


def _music(n_frames: int, seed: int) -> np.ndarray:
    """Struck notes that die away, at three a second, in normalised log-mel."""
    rng = np.random.default_rng(seed)
    bands = np.arange(_MELS)
    strike = rng.random((n_frames, 8)) < 0.4 / _RATE
    level = np.full(8, -9.0)
    frames = np.empty((n_frames, _MELS))
    spectra = np.stack([-0.5 * np.abs(bands - 3 * key) - 0.1 * bands for key in range(8)])
    for t in range(n_frames):
        level = np.where(strike[t], rng.normal(0.0, 0.7, 8), level - 2.5 / _RATE)
        frames[t] = np.logaddexp.reduce(level[:, np.newaxis] + spectra, axis=0)
    frames = np.logaddexp(frames, -8.0) + rng.normal(0, 0.05, frames.shape)
    return (frames - _MEAN) / _STD


@pytest.fixture(scope="module")
def train() -> list[np.ndarray]:
    return [_music(900, seed) for seed in range(12)]


@pytest.fixture(scope="module")
def held_out() -> list[np.ndarray]:
    return [_music(430, 100 + seed) for seed in range(12)]


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return np.stack([_music(860, 200 + seed) for seed in range(16)])


def _measure(
    clips: np.ndarray, held_out: list[np.ndarray], train: list[np.ndarray]
) -> songs.Report:
    return songs.measure(clips, held_out, train, _AUDIO, _MEAN, _STD)


def _failed(report: songs.Report) -> set[str]:
    return {one.name for one in songs.ACCEPTANCE if not one.passes(getattr(report, one.name))}


def _drone(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return real.mean(axis=1, keepdims=True) + rng.normal(0, 0.02, real.shape)


def _coloured(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pooled = real.reshape(-1, _MELS)
    factor = np.linalg.cholesky(np.cov(pooled.T))
    return pooled.mean(axis=0) + rng.normal(size=real.shape) @ factor.T


def _shuffle(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    blocks = real[:, :856].reshape(len(real), 107, 8, _MELS)
    return np.stack([clip[rng.permutation(107)].reshape(856, _MELS) for clip in blocks])


def _autoregress(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Run a linear model of three frames, fitted on the clips, freely."""
    known = np.concatenate([real[:, 2:-1], real[:, 1:-2], real[:, :-3]], axis=2)
    known = np.concatenate([known, np.ones((*known.shape[:2], 1))], axis=2).reshape(-1, 73)
    target = real[:, 3:].reshape(-1, _MELS)
    weights = np.linalg.lstsq(known, target, rcond=None)[0]
    factor = np.linalg.cholesky(np.cov((target - known @ weights).T))
    frames = list(real[:, :3].swapaxes(0, 1))
    for _ in range(860):
        row = np.concatenate([*frames[:-4:-1], np.ones((len(real), 1))], axis=1)
        frames.append(row @ weights + rng.normal(size=(len(real), _MELS)) @ factor.T)
    return np.stack(frames[3:], axis=1)


def _loop(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    del rng
    return np.tile(real[:, :86], (1, 10, 1))


def _fall(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    del rng
    silence = (-8.0 - _MEAN) / _STD
    away = np.clip(np.linspace(-0.5, 1.5, real.shape[1]), 0, 1)[:, np.newaxis]
    return (1 - away) * real + away * silence


def _diverge(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    del rng
    clips = real.copy()
    clips[0, 500:] *= np.exp(np.arange(360))[:, np.newaxis]
    clips[1, 600:] = np.nan
    return clips


@pytest.mark.parametrize("seed", [200, 300])
def test_real_music_passes(seed: int, held_out: list[np.ndarray], train: list[np.ndarray]) -> None:
    clips = np.stack([_music(860, seed + index) for index in range(16)])
    assert _failed(_measure(clips, held_out, train)) == set()


@pytest.mark.parametrize(
    ("impostor", "rows"),
    [
        (
            _drone,
            "variance_ratio change_variance_ratio modulation_db local_frechet_ratio kurtosis_ratio",
        ),
        (
            _coloured,
            "change_variance_ratio modulation_db local_frechet_ratio flux_distance kurtosis_ratio",
        ),
        (_shuffle, "change_variance_ratio modulation_db local_frechet_ratio"),
        (_autoregress, "kurtosis_ratio flux_distance"),
        (_loop, "repetition_difference"),
        (_fall, "quiet_fraction drift"),
        (_diverge, "runaway_fraction"),
    ],
)
def test_an_impostor_fails_its_rows(
    impostor: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    rows: str,
    real: np.ndarray,
    held_out: list[np.ndarray],
    train: list[np.ndarray],
) -> None:
    clips = impostor(real, np.random.default_rng(5))
    assert _failed(_measure(clips, held_out, train)) >= set(rows.split())


def test_copies_of_the_training_music_fail_memorisation_alone(
    held_out: list[np.ndarray], train: list[np.ndarray]
) -> None:
    report = _measure(np.stack(train)[:, :860], held_out, train)
    assert _failed(report) == {"memorisation"}
    assert report.memorisation == pytest.approx(0, abs=0.01)


def test_held_out_music_beside_itself_is_the_reference(
    held_out: list[np.ndarray], train: list[np.ndarray]
) -> None:
    report = _measure(np.stack(held_out), held_out, train)
    for name in ("variance_ratio", "change_variance_ratio", "kurtosis_ratio", "memorisation"):
        assert getattr(report, name) == pytest.approx(1, abs=1e-9), name
    for name in ("modulation_db", "flux_distance", "repetition_difference", "runaway_fraction"):
        assert getattr(report, name) == pytest.approx(0, abs=1e-9), name
    assert report.local_frechet_ratio == pytest.approx(1, abs=1e-9)
    assert report.quiet_fraction == pytest.approx(0.05, abs=0.001)
    assert report.n_clips == 12
    assert report.held_out_seconds == pytest.approx(12 * 430 / _RATE)
    assert report.modulation_seconds == report.held_out_seconds
    assert report.n_repetition_chunks == 12


def test_little_held_out_music_leaves_figures_unknown_and_never_crashes(
    real: np.ndarray, train: list[np.ndarray]
) -> None:
    report = _measure(real[:2, :70], [_music(70, 1)], train)
    assert np.isnan(report.repetition)
    assert "repetition_difference" in _failed(report)
    assert np.isfinite(report.modulation_db)
    assert "nan" in songs.acceptance({"tiny": report}).markdown()


def test_a_silent_held_out_split_leaves_ratios_unknown(
    real: np.ndarray, train: list[np.ndarray]
) -> None:
    report = _measure(real[:2], [np.zeros((430, _MELS))], train)
    assert {"variance_ratio", "kurtosis_ratio", "flux_distance"} <= _failed(report)


def test_every_criterion_names_a_metric_and_the_table_has_them_all(
    real: np.ndarray, held_out: list[np.ndarray], train: list[np.ndarray]
) -> None:
    good = _measure(real, held_out, train)
    bad = _measure(_drone(real, np.random.default_rng(0)), held_out, train)
    lines = songs.acceptance({"good": good, "bad": bad}).markdown().splitlines()
    assert [line.count("|") for line in lines] == [5] * (2 + len(songs.ACCEPTANCE) + 3)
    assert lines[0] == "| figure | accept | good | bad |"
    for criterion, line in zip(songs.ACCEPTANCE, lines[2:], strict=False):
        cells = [cell.strip() for cell in line.split("|")][1:-1]
        assert cells[0] == criterion.explanation
        assert ("**" in cells[3]) == (criterion.name in _failed(bad))
        assert "**" not in cells[2]


@pytest.mark.parametrize(
    ("generated", "n_held_out", "n_train", "message"),
    [
        (np.zeros((2, 10, _MELS)), 430, 430, r"frames.*shape=\(2, 10, 24\)"),
        (np.zeros((100, _MELS)), 430, 430, r"clips, frames, mels"),
        (np.zeros((2, 100, _MELS)), 63, 430, "held-out split.*64 frames.*longest=63"),
        (np.zeros((2, 100, _MELS)), 430, 10, "training split.*longest=10"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    generated: np.ndarray, n_held_out: int, n_train: int, message: str
) -> None:
    with pytest.raises(errors.InputError, match=message):
        _measure(generated, [np.zeros((n_held_out, _MELS))], [np.zeros((n_train, _MELS))])
