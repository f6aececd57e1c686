import numpy as np
import pytest
import scipy.signal

from lstm_gen.evaluation import waveforms
from lstm_gen.platform import errors

RATE = 4000


def noise(seconds: float, seed: int, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def swell(seed: int) -> np.ndarray:
    """Return noise of 4 s that grows by 30 dB."""
    return noise(4, seed) * 10 ** np.linspace(-1.5, 0, 4 * RATE)


def test_what_comes_back_as_it_was_is_perfect() -> None:
    found = waveforms.measure_reconstruction([swell(1)], [swell(2)], lambda signal: signal, 1000)
    assert found.snr_db > 80
    assert found.distance_db == 0
    assert found.mean_distance_db > 5
    assert found.level_slope == pytest.approx(1)
    assert found.level_db == 0
    assert found.gain_db == pytest.approx(dict.fromkeys(waveforms.GAINS, 0.0), abs=1e-6)


def test_noise_a_tenth_as_strong_is_20_db() -> None:
    clean, added = swell(1), swell(2)

    def through(signal: np.ndarray) -> np.ndarray:
        return signal + added / 10

    found = waveforms.measure_reconstruction([clean], [clean], through, 1000)
    assert found.snr_db == pytest.approx(20, abs=0.3)
    assert found.window_snr_db == pytest.approx(20, abs=0.5)
    assert found.level_slope == pytest.approx(1, abs=0.01)


def test_a_level_that_is_not_kept_shows() -> None:
    signal = swell(1)

    def compress(signal: np.ndarray) -> np.ndarray:
        """Return half the level, in dB, of every thousand samples."""
        parts = signal.reshape(-1, 1000)
        level = np.sqrt(np.square(parts).mean(axis=1, keepdims=True))
        return (parts / np.sqrt(level)).reshape(-1)

    found = waveforms.measure_reconstruction([signal], [signal], compress, 1000)
    assert found.level_slope == pytest.approx(0.5, abs=0.01)
    assert found.gain_db[0.25] == pytest.approx(6.02, abs=0.01)
    assert found.gain_db[2.0] == pytest.approx(-3.01, abs=0.01)
    quiet = waveforms.measure_reconstruction([signal], [signal], lambda one: one / 2, 1000)
    assert quiet.level_db == pytest.approx(-6.02, abs=0.01)
    assert quiet.level_slope == pytest.approx(1, abs=0.01)


def test_windows_of_one_level_have_no_slope() -> None:
    signal = np.tile([0.5, -0.5], 2000)
    found = waveforms.measure_reconstruction([signal], [signal], lambda one: one / 2, 1000)
    assert np.isnan(found.level_slope)


def test_spectra_are_those_of_scipy() -> None:
    signal = noise(1, 1)
    _, _, expected = scipy.signal.stft(
        signal, window="hann", nperseg=256, noverlap=192, boundary=None, padded=False
    )
    power = np.square(np.abs(expected.T) * 128)  # SciPy divides by the window's sum
    np.testing.assert_allclose(waveforms.log_spectra(signal), 10 * np.log10(power + 1e-6))


def test_distance_is_of_decibels() -> None:
    signal = noise(1, 1)
    found = waveforms.measure_reconstruction([signal], [signal], lambda one: 10 * one, 1000)
    assert found.distance_db == pytest.approx(20, abs=0.05)


def test_draws_that_are_alike_show() -> None:
    same = waveforms.measure_draws([noise(1, 1)] * 3)
    assert same.correlation == pytest.approx(1)
    different = waveforms.measure_draws([noise(1, seed) for seed in range(4)])
    assert different.correlation < 0.03
    long = noise(2, 1)
    moved = waveforms.measure_draws([long[:RATE], long[100 : RATE + 100]])
    assert moved.correlation < 0.05
    assert moved.lagged_correlation > 0.9
    opposite = waveforms.measure_draws([noise(1, 1), -noise(1, 1)])
    assert opposite.correlation == pytest.approx(1)


def test_offset_level_and_flatness_are_known_for_known_signals() -> None:
    time = np.arange(RATE) / RATE
    tones = [0.2 * np.sin(2 * np.pi * hz * time) + 0.1 for hz in (300, 500)]
    found = waveforms.measure_draws(tones)
    rms = np.sqrt(0.02 + 0.01)
    assert found.offset == pytest.approx(0.1 / rms, rel=1e-3)
    assert found.level_db == pytest.approx(20 * np.log10(rms), abs=0.01)
    assert found.level_spread_db == pytest.approx(0, abs=0.01)
    assert found.flatness < 0.01
    white = waveforms.measure_draws([noise(1, 1), noise(1, 2, level=0.2)])
    assert white.flatness == pytest.approx(np.exp(-np.euler_gamma), abs=0.05)
    assert white.level_spread_db == pytest.approx(3.01, abs=0.3)


def test_what_is_too_short_to_judge_is_refused() -> None:
    with pytest.raises(errors.InputError, match="two windows"):
        waveforms.measure_reconstruction([noise(1, 1)], [noise(1, 2)], lambda one: one, 3000)
    with pytest.raises(errors.InputError, match="256 samples or more"):
        waveforms.measure_draws([noise(0.01, 1), noise(0.01, 2)])
    with pytest.raises(errors.InputError, match="two or more"):
        waveforms.measure_draws([noise(1, 1)])
