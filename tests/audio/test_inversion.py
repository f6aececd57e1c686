"""The way back from log-mel frames: pitch, level, mel error, edges, determinism."""

import itertools
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lstm_gen.audio import frequency_scales, inversion, inversion_kernels, representations, stft
from lstm_gen.config.audio import AudioConfig
from lstm_gen.platform import errors

DEFAULT = AudioConfig()
SLANEY = AudioConfig(n_mels=128, mel_break_hz=1000)
SLANEY_SMALL = AudioConfig(
    sample_rate=16000, n_fft=1024, hop_length=256, n_mels=80, mel_break_hz=1000
)
SMALL = AudioConfig(sample_rate=16000, n_fft=1024, hop_length=256, n_mels=80)
ODD = AudioConfig(sample_rate=8000, n_fft=254, hop_length=100, n_mels=60, fmin_hz=80)


def notes(audio: Any, seconds: Any = 2.0) -> Any:
    """Decaying notes of four harmonics, two a second."""
    signal = np.zeros(round(seconds * audio.sample_rate), "f4")
    for index in range(int(2 * seconds)):
        part = signal[index * audio.sample_rate // 2 :]
        time = np.arange(part.size) / audio.sample_rate
        for harmonic in range(1, 5):
            hz = 220 * 2 ** (index * 4 / 12) * harmonic
            part += 0.2 / harmonic * np.exp(-4 * time) * np.sin(2 * np.pi * hz * time)
    return signal


def mel_error_db(samples: Any, log_mel: Any, audio: Any) -> Any:
    power = stft.log_to_power(log_mel, audio)
    floor = power.max() * 1e-8
    length = (len(log_mel) - 1) * audio.hop_length
    reached = stft.log_to_power(representations.extract(samples[:length], audio), audio)
    return np.abs(10 * np.log10(np.maximum(reached, floor) / np.maximum(power, floor))).mean()


@pytest.mark.parametrize("audio", [DEFAULT, SMALL])
def test_a_tone_comes_back(audio: Any) -> None:
    """A 440 Hz tone: pitch within 1 Hz, level within 0.2 dB, duration to the sample."""
    time = np.arange(audio.sample_rate) / audio.sample_rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype("f4")
    log_mel = representations.extract(tone, audio)
    back = inversion.invert(log_mel, audio, n_samples=tone.size)
    assert back.shape == tone.shape
    assert back.dtype == np.float32
    # Away from the ends, where the tone begins and stops in the middle of a frame.
    middle = slice(tone.size // 4, -tone.size // 4)
    spectrum = np.abs(np.fft.rfft(back[middle] * np.hanning(back[middle].size), 1 << 17))
    assert spectrum.argmax() * audio.sample_rate / (1 << 17) == pytest.approx(440, abs=1)
    assert 20 * np.log10(back[middle].std() / tone[middle].std()) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(
    ("audio", "of_simple"), [(DEFAULT, 0.9), (SMALL, 0.9), (SLANEY, 0.75), (SLANEY_SMALL, 0.75)]
)
def test_mel_error_falls_and_beats_griffin_lim(audio: Any, of_simple: float) -> None:
    """By more on Slaney's scale: wide bands at low notes leave Griffin-Lim less to go by."""
    log_mel = representations.extract(notes(audio), audio)
    few, more = (mel_error_db(inversion.invert(log_mel, audio, n), log_mel, audio) for n in (4, 24))
    simple = mel_error_db(inversion.griffin_lim(log_mel, audio, 32), log_mel, audio)
    assert more < few
    assert more < of_simple * simple


def test_the_kernels_bank_is_the_dense_one() -> None:
    for audio in (DEFAULT, SMALL, ODD):
        bank = frequency_scales.filter_bank(audio)
        kernel = inversion._bank(audio)
        dense = np.zeros((audio.n_mels + 2, bank.shape[1]), "f4")  # a band more on each side
        edges = kernel.segments.astype(int)
        for segment, (start, stop) in enumerate(itertools.pairwise(edges)):
            dense[segment, start:stop] += kernel.falling[start:stop]
            dense[segment + 1, start:stop] += kernel.rising[start:stop]
        np.testing.assert_array_equal(dense[1:-1], bank)


@pytest.mark.parametrize("audio", [DEFAULT, SMALL])
def test_mel_steps_are_richardson_lucy(audio: Any) -> None:
    """Three steps of the kernel, against the textbook's with dense matrices."""
    random = np.random.default_rng(0)
    bank = frequency_scales.filter_bank(audio).astype("f8")
    mel = random.uniform(0.1, 1, (4, audio.n_mels))
    power = np.where(bank.any(axis=0), random.uniform(0.1, 1, (4, bank.shape[1])), 0)
    fitted = power.astype("f4")
    inversion_kernels.fit_mel(fitted, mel.astype("f4"), *inversion._bank(audio), 3, 1e-12)
    for _ in range(3):
        spread = (mel / (power @ bank.T)) @ bank
        power *= np.divide(spread, bank.sum(axis=0), where=bank.any(axis=0), out=spread)
    np.testing.assert_allclose(fitted, power, rtol=1e-4)


def test_the_transform_pair_inverts() -> None:
    for audio in (DEFAULT, SMALL, ODD):
        samples = notes(audio)
        spectrum = stft.stft(samples, audio)
        gain = inversion._synthesis_gain(len(spectrum), audio, samples.size)
        signal = inversion._inverse(spectrum, gain, audio)
        np.testing.assert_allclose(
            signal[inversion._inside(audio, samples.size)], samples, atol=2e-5
        )
        again = inversion._forward(signal, slice(3, 9), audio)
        np.testing.assert_allclose(again, spectrum[3:9], atol=1e-3)


def test_the_start_phase_is_near_a_tones() -> None:
    """The integrated phase of a steady tone turns by its frequency from frame to frame."""
    time = np.arange(DEFAULT.sample_rate) / DEFAULT.sample_rate
    hz = 40.3 * DEFAULT.sample_rate / DEFAULT.n_fft
    tone = np.sin(2 * np.pi * hz * time).astype("f4")
    spectrum = stft.stft(tone, DEFAULT)
    start = inversion.estimate_spectrum(np.abs(spectrum) ** 2, DEFAULT)
    turns = np.angle(start[11:30, 40] / start[10:29, 40])
    expected = np.angle(spectrum[11:30, 40] / spectrum[10:29, 40])
    assert np.abs(np.angle(np.exp(1j * (turns - expected)))).max() < 0.1
    # Neighbouring bins of one tone are half a turn apart, as its frames start at their edge.
    apart = np.angle(start[20, 41] / start[20, 40] / (spectrum[20, 41] / spectrum[20, 40]))
    assert abs(apart) < 0.1


def test_the_same_input_gives_the_same_output() -> None:
    log_mel = representations.extract(notes(SMALL), SMALL)
    before = log_mel.copy()
    first = inversion.invert(log_mel, SMALL)
    np.testing.assert_array_equal(inversion.invert(log_mel, SMALL), first)
    np.testing.assert_array_equal(log_mel, before)


@pytest.mark.parametrize("invert", [inversion.invert, inversion.griffin_lim])
@pytest.mark.parametrize("audio", [DEFAULT, SMALL, ODD])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 129, 300])
def test_any_frames_give_finite_samples(invert: Any, audio: Any, n_frames: Any) -> None:
    random = np.random.default_rng(0)
    log_mel = random.uniform(-12, 6, (n_frames, audio.n_mels))
    log_mel[n_frames // 2 :, ::3] = -80  # under the floor
    samples = invert(log_mel, audio)
    assert samples.shape == ((n_frames - 1) * audio.hop_length,)
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("level", [-3000.0, -80.0, 0.0, 50.0])
def test_extreme_levels_stay_finite(level: Any) -> None:
    samples = inversion.invert(np.full((20, 80), level), SMALL, 8)
    assert np.isfinite(samples).all()


@pytest.mark.parametrize("invert", [inversion.invert, inversion.griffin_lim])
def test_silence_gives_zeros(invert: Any) -> None:
    log_mel = representations.extract(np.zeros(SMALL.sample_rate, "f4"), SMALL)
    np.testing.assert_array_equal(invert(log_mel, SMALL), 0)


def test_level_scales_the_signal() -> None:
    """A quarter of the power, at levels far above the floor, is half the amplitude."""
    audio = AudioConfig(sample_rate=16000, n_fft=1024, hop_length=256, log_floor=1e-20)
    log_mel = representations.extract(notes(audio), audio)
    loud = inversion.invert(log_mel, audio)
    quiet = inversion.invert(log_mel - np.float32(np.log(4)), audio)
    np.testing.assert_allclose(quiet, loud / 2, atol=2e-3 * np.abs(loud).max())


@pytest.mark.parametrize("n_samples", [0, 1, 5000, 5120, 5200, 5375, 9000])
def test_the_length_is_as_asked(n_samples: Any) -> None:
    log_mel = representations.extract(notes(SMALL)[:5120], SMALL)
    samples = inversion.invert(log_mel, SMALL, 2, n_samples=n_samples)
    assert samples.shape == (n_samples,)
    assert not samples[5376:].any()


@pytest.mark.parametrize(
    "log_mel", [np.zeros((5, 79)), np.zeros(80), np.zeros((0, 80)), np.full((5, 80), np.nan)]
)
def test_frames_that_do_not_fit_are_refused(log_mel: Any) -> None:
    with pytest.raises(errors.InputError, match="log_mel must be"):
        inversion.invert(log_mel, SMALL)


def test_kernels_work_where_nothing_can_be_cached(tmp_path: pathlib.Path) -> None:
    """An installation whose folder, and a home whose folder, cannot be written to."""
    package = tmp_path / "lstm_gen"
    source = pathlib.Path(inversion.__file__).parents[1]
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from lstm_gen.audio import inversion_kernels; print(inversion_kernels.__file__)"
    (package / "audio" / "__pycache__").write_text("a file, so that no folder can be made")
    blocked = str(package / "audio" / "__pycache__" / "no")
    environment = {**os.environ, "HOME": blocked, "XDG_CACHE_HOME": blocked}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
