"""Frames and sound in a graph, beside the same in numpy and compiled loops."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from lstm_gen.audio import (
    fitted,
    inversion,
    inversion_kernels,
    representations,
    stft,
    tf_inversion,
)
from lstm_gen.config.audio import AudioConfig

RATE = 8000
ANALYSES: dict[str, dict[str, Any]] = {
    "log_mel": {"n_mels": 40, "mel_break_hz": 700.0},
    "fitted_mel": {"representation": "log_mel", "n_mels": 40},
    "activations": {"n_atoms": 12},
    "log_stft": {},
    "cropped": {"representation": "log_stft", "n_bins": 200},
    "instantaneous_frequency": {"representation": "complex_stft"},
    "real_imaginary": {"representation": "complex_stft", "phase": "real_imaginary", "n_bins": 250},
    "waveform": {},
}


def analysis(name: str) -> AudioConfig:
    """Return one of the analyses, of a hop that does not divide the window."""
    chosen: dict[str, Any] = {"representation": name} | ANALYSES[name]
    audio = AudioConfig(sample_rate=RATE, n_fft=512, hop_length=120, **chosen)
    return with_arrays(audio) if name in ("fitted_mel", "activations") else audio


def with_arrays(audio: AudioConfig) -> AudioConfig:
    """Return an analysis with arrays fitted to the signal."""
    spectra = dataclasses.replace(audio, representation="log_stft", n_bins=0)
    run = stft.power(stft.stft(make_signal(), spectra))
    return fitted.attach(audio, fitted.fit([run], audio))


def make_signal(seconds: float = 1.0) -> np.ndarray:
    """Return two decaying tones with noise, then digital silence, float32 [samples]."""
    time = np.arange(round(RATE * seconds)) / RATE
    tones = sum(np.sin(2 * np.pi * hz * time) for hz in (220, 610)) * np.exp(-3 * time)
    noise = np.random.default_rng(0).standard_normal(time.size)
    signal = 0.3 * tones + 0.01 * noise
    signal[-RATE // 8 :] = 0
    return signal.astype(np.float32)


@pytest.mark.parametrize("name", ANALYSES)
def test_frames_are_those_of_the_representation(name: str) -> None:
    audio, signal = analysis(name), make_signal()
    expected = representations.extract(signal, audio)
    frames = tf.function(tf_inversion.extract)(tf.constant(signal), audio).numpy()
    assert frames.shape == expected.shape
    if name != "instantaneous_frequency":
        np.testing.assert_allclose(frames, expected, atol=1e-4)
        return
    n_bins = audio.n_bins_resolved
    np.testing.assert_allclose(frames[:, :n_bins], expected[:, :n_bins], atol=1e-4)
    loud = np.minimum(expected[:, :n_bins], np.roll(expected[:, :n_bins], 1, axis=0)) > -2
    turned = (frames - expected)[:, n_bins:][loud]
    assert np.abs((turned + 1) % 2 - 1).max() < 1e-3


@pytest.mark.parametrize("name", ANALYSES)
def test_sound_without_a_search_is_the_representations(name: str) -> None:
    audio = analysis(name)
    frames = representations.extract(make_signal(), audio)
    expected = representations.invert(frames, audio, 0)
    signal = tf.function(tf_inversion.invert)(tf.constant(frames), audio, 0).numpy()
    assert signal.shape == expected.shape
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(signal, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("log_mel", 0.3), ("fitted_mel", 0.3), ("activations", 0.5), ("log_stft", 0.3)],
)
def test_a_search_ends_as_near_to_the_frames(name: str, nearest: float) -> None:
    """A search makes much of rounding, so its result is compared by what is asked of it."""
    audio = analysis(name)
    frames = representations.extract(make_signal(), audio)
    errors = []
    for signal in (
        representations.invert(frames, audio, 16),
        tf.function(tf_inversion.invert)(tf.constant(frames), audio, 16).numpy(),
    ):
        again = representations.extract(signal, audio)[: len(frames)]
        errors.append(np.abs(again - frames)[frames > -8].mean())
    assert errors[0] < nearest
    assert errors[1] == pytest.approx(errors[0], rel=0.01)


def test_silence_is_silent() -> None:
    audio = analysis("log_mel")
    frames = representations.extract(np.zeros(RATE // 4, np.float32), audio)
    assert not tf_inversion.invert(tf.constant(frames), audio, 4).numpy().any()


@pytest.mark.parametrize("seed", range(4))
def test_phases_are_those_of_the_compiled_loop(seed: int) -> None:
    """Random loudness, smooth or rough, with plateaus, gives every kind of chain."""
    audio = AudioConfig(sample_rate=RATE, n_fft=128, hop_length=32, n_mels=8)
    random = np.random.default_rng(seed)
    loud = random.standard_normal((40, 65)).astype(np.float32)
    loud = np.round(loud, 1) if seed % 2 else np.cumsum(loud, axis=seed // 2)
    loud[10:14] = loud[10]
    loud[20] = -20
    expected = np.empty_like(loud)
    gamma = inversion.GAMMA * audio.n_fft**2
    inversion_kernels.integrate_phase(loud, audio.hop_length, audio.n_fft, gamma, expected)
    phase = tf_inversion.integrate_phase(tf.constant(loud), audio).numpy()
    apart = np.abs((phase - expected + np.pi) % (2 * np.pi) - np.pi)
    assert apart.max() < 1e-4
