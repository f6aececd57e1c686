"""The transform and mel bands against librosa; the transform taken back; streaming."""

from typing import Any

import librosa
import numpy as np
import pytest

from lstm_gen.audio import frequency_scales, inversion, representations, stft
from lstm_gen.config.audio import AudioConfig

DEFAULT = AudioConfig()
CONFIGS = [
    DEFAULT,
    AudioConfig(n_mels=128, mel_break_hz=1000),
    AudioConfig(sample_rate=16000, n_fft=1024, hop_length=256, n_mels=80, mel_break_hz=700),
    AudioConfig(
        sample_rate=44100,
        n_fft=2046,
        hop_length=441,
        n_mels=96,
        mel_break_hz=1000,
        fmin_hz=30,
        fmax_hz=16000,
    ),
    AudioConfig(
        sample_rate=8000, n_fft=256, hop_length=128, n_mels=20, mel_break_hz=3500, fmax_hz=3000
    ),
]
LENGTHS = [1, 5, 511, 512, 513, 2048, 30_000, 40_001]


def noise(n_samples: Any, seed: Any = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(n_samples).astype("f4") * np.float32(0.1)


def librosas_bank(audio: AudioConfig) -> np.ndarray:
    """Return librosa's bank, whose scale breaks at 1000 Hz, with frequencies in proportion.

    Unit area over Hz: a band that is narrower by a factor is higher by it.
    """
    wider = 1000 / audio.mel_break_hz
    bank = librosa.filters.mel(
        sr=audio.sample_rate * wider,
        n_fft=audio.n_fft,
        n_mels=audio.n_mels,
        fmin=audio.fmin_hz * wider,
        fmax=audio.fmax_resolved_hz * wider,
    )
    return np.asarray(bank * wider)


@pytest.mark.parametrize("audio", CONFIGS)
def test_bank_is_librosas(audio: Any) -> None:
    bank = frequency_scales.filter_bank(audio)
    assert bank.dtype == np.float32
    np.testing.assert_allclose(bank, librosas_bank(audio), rtol=1e-5, atol=1e-8)
    assert not bank.flags.writeable


def test_the_default_bands_all_reach_a_bin_and_finer_ones_do_not() -> None:
    assert frequency_scales.empty_bands(DEFAULT) == 0
    finer = AudioConfig(n_fft=1024)
    with pytest.warns(UserWarning, match="Empty filters"):
        filled = np.count_nonzero(librosas_bank(finer).sum(axis=1))
    assert frequency_scales.empty_bands(finer) == finer.n_mels - filled > 0


def test_midi_notes_are_librosas() -> None:
    midi = np.linspace(-10, 140, 61)
    found = frequency_scales.midi_to_hz(midi)
    np.testing.assert_allclose(found, librosa.midi_to_hz(midi), rtol=1e-12)
    assert frequency_scales.midi_to_hz(69) == 440.0


def test_mel_scale_is_librosas_and_inverts() -> None:
    hz = np.geomspace(1, 20_000, 200)
    mels = frequency_scales.hz_to_mel(hz, 1000.0)
    np.testing.assert_allclose(mels, librosa.hz_to_mel(hz), rtol=1e-12)
    np.testing.assert_allclose(frequency_scales.mel_to_hz(mels, 1000.0), hz, rtol=1e-12)


@pytest.mark.parametrize("break_hz", [250.0, 500.0, 1000.0, 1500.0])
def test_the_scale_is_linear_to_its_break_and_logarithmic_above(break_hz: float) -> None:
    octaves = break_hz * 2.0 ** np.arange(4)
    above = np.diff(frequency_scales.hz_to_mel(octaves, break_hz))
    np.testing.assert_allclose(above, 27 * np.log(2) / np.log(6.4), rtol=1e-12)
    below = frequency_scales.hz_to_mel(np.linspace(0, break_hz, 16), break_hz)
    np.testing.assert_allclose(below, np.arange(16), atol=1e-12)
    hz = np.geomspace(1, 20_000, 200)
    back = frequency_scales.mel_to_hz(frequency_scales.hz_to_mel(hz, break_hz), break_hz)
    np.testing.assert_allclose(back, hz, rtol=1e-12)
    # Both sides are as fine at the break to 3 %.
    beside = frequency_scales.hz_to_mel(break_hz * np.array([0.999, 1, 1.001]), break_hz)
    assert np.divide(*np.diff(beside)) == pytest.approx(15 * np.log(6.4) / 27, rel=1e-3)


@pytest.mark.parametrize("audio", CONFIGS)
@pytest.mark.parametrize("n_samples", [5000, 40_001])
def test_stft_is_librosas(audio: Any, n_samples: Any) -> None:
    samples = noise(n_samples)
    oracle = librosa.stft(samples, n_fft=audio.n_fft, hop_length=audio.hop_length).T
    spectrum = stft.stft(samples, audio)
    assert spectrum.dtype == np.complex64
    assert len(spectrum) == stft.n_frames(n_samples, audio)
    np.testing.assert_allclose(spectrum, oracle, atol=1e-5 * np.abs(oracle).max())


@pytest.mark.parametrize("audio", CONFIGS[:3])
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_the_transform_is_taken_back(audio: Any, n_samples: Any) -> None:
    samples = noise(n_samples)
    back = inversion.refine(stft.stft(samples, audio), audio, 0, n_samples)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, samples, atol=1e-6)


def test_half_overlap_is_taken_back() -> None:
    audio = CONFIGS[3]
    samples = noise(128 * 40)
    back = inversion.refine(stft.stft(samples, audio), audio, 0, samples.size)
    np.testing.assert_allclose(back, samples, atol=1e-6)


@pytest.mark.parametrize("audio", CONFIGS)
def test_log_mel_is_librosas(audio: Any) -> None:
    samples = noise(40_001)
    transform = librosa.stft(
        samples, n_fft=audio.n_fft, hop_length=audio.hop_length, pad_mode="constant"
    )
    oracle = (librosas_bank(audio) @ np.abs(transform) ** 2).T
    log_mel = representations.extract(samples, audio)
    assert log_mel.dtype == np.float32
    np.testing.assert_allclose(log_mel, np.log(oracle + audio.log_floor), atol=1e-4)


@pytest.mark.parametrize("sizes", [[1] * 700, [0, 513, 0, 2047, 1], [40_000], [33_000, 7], [0]])
@pytest.mark.parametrize("audio", CONFIGS[:3])
def test_streamed_frames_are_the_same_to_the_bit(audio: Any, sizes: Any) -> None:
    samples = noise(sum(sizes) + 100)
    blocks = np.split(samples, np.cumsum(sizes))
    streamed = representations.analyse(blocks, audio).frames
    np.testing.assert_array_equal(streamed, representations.extract(samples, audio))


def test_streaming_holds_little() -> None:
    """A minute goes through in blocks, and no array that comes out is longer than a chunk."""
    blocks = (noise(DEFAULT.sample_rate, seed) for seed in range(60))
    lengths = [len(frames) for frames in representations.of(DEFAULT).extract(blocks)]
    assert sum(lengths) == stft.n_frames(60 * DEFAULT.sample_rate, DEFAULT)
    assert max(lengths) <= 128


@pytest.mark.parametrize("n_samples", [0, 1, 512])
def test_short_signals_have_a_frame(n_samples: Any) -> None:
    log_mel = representations.extract(np.zeros(n_samples, "f4"), DEFAULT)
    assert log_mel.shape == (1 + n_samples // 512, DEFAULT.n_mels)
    np.testing.assert_allclose(log_mel, np.log(DEFAULT.log_floor), rtol=1e-6)


def test_mel_power_undoes_the_logarithm() -> None:
    power = np.array([[0, 1e-6, 1e-3, 1, 1e4]], "f4")
    back = stft.log_to_power(np.log(power + np.float32(DEFAULT.log_floor)), DEFAULT)
    np.testing.assert_allclose(back, power, rtol=1e-5, atol=1e-10)
    below = stft.log_to_power(np.full((1, 3), -40, "f4"), DEFAULT)
    np.testing.assert_array_equal(below, 0)
