import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
import tiny

from lstm_gen.audio import representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.config.training import AugmentationConfig, WindowConfig
from lstm_gen.dataset.format import manifest
from lstm_gen.dataset.input import augmentation, pipeline
from lstm_gen.platform import errors

AUDIO = AudioConfig(sample_rate=8000, n_fft=256, hop_length=128, n_mels=20)
SILENCE = math.log(AUDIO.log_floor)
WINDOW = WindowConfig(timesteps=8)


def vary(frames: np.ndarray, chance: float, **settings: Any) -> np.ndarray:
    """Return one window varied by the same chance in every respect."""
    varied = augmentation.build(AugmentationConfig(**settings), AUDIO)(
        frames[np.newaxis], np.full((1, 4), chance, np.float32)
    )
    return np.asarray(varied)[0]


def sound() -> np.ndarray:
    """Return half a second of tone that begins in silence, float64 [samples]."""
    time = np.arange(4000) / AUDIO.sample_rate
    return 0.1 * np.sin(2 * np.pi * 900 * time) * (time > 0.2)


def test_nothing_is_varied_by_default() -> None:
    frames = tiny.make_frames(10, 0, 20)
    np.testing.assert_array_equal(vary(frames, 0.7), frames)


@pytest.mark.parametrize(
    ("chance", "gain_db"), [(0.0, -12.0), (0.25, -6.0), (0.5, 0.0), (0.75, 6.0)]
)
def test_a_gain_is_that_of_the_recording(chance: float, gain_db: float) -> None:
    """Frames of a louder recording are the louder frames, silence included."""
    quiet, loud = (
        representations.extract(x, AUDIO) for x in (sound(), sound() * 10 ** (gain_db / 20))
    )
    # What is far below the floor has lost its digits; they count again when it is amplified.
    np.testing.assert_allclose(vary(quiet, chance, gain_db=12.0), loud, atol=0.02)
    np.testing.assert_allclose(vary(quiet, chance, gain_db=12.0)[0], SILENCE, atol=1e-3)


@pytest.mark.parametrize(("chance", "shift"), [(0.0, -2), (0.3, -1), (0.5, 0), (0.7, 1), (0.99, 2)])
def test_a_shift_moves_bands_and_lets_silence_in(chance: float, shift: int) -> None:
    frames = tiny.make_frames(10, 0, 20)
    wanted = np.full_like(frames, SILENCE)
    wanted[:, max(0, shift) : 20 + min(0, shift)] = frames[:, max(0, -shift) : 20 - max(0, shift)]
    np.testing.assert_allclose(vary(frames, chance, shift_mels=2), wanted, rtol=1e-6)


@pytest.mark.parametrize(("chance", "semitones"), [(0.0, -2), (0.25, -1), (0.5, 0), (0.875, 1.5)])
def test_a_transposition_moves_what_lies_between_bins_too(chance: float, semitones: float) -> None:
    """Against the transform of the same tone, evaluated between its bins."""
    audio = AudioConfig(sample_rate=8000, n_fft=1024, hop_length=256, representation="log_stft")
    augment = AugmentationConfig(transpose_semitones=2)
    tone = 0.3 * np.sin(2 * np.pi * 1003 / audio.sample_rate * np.arange(8000))
    frames = representations.extract(tone, audio)[8:20]
    chances = np.full((1, 4), chance, np.float32)
    moved = np.asarray(augmentation.build(augment, audio)(frames[np.newaxis], chances))[0]
    assert moved.shape == frames.shape
    ratio = 2 ** (semitones / 12)
    peak = round(1003 * ratio * 1024 / 8000)
    assert (moved.argmax(axis=1) == peak).all()
    window = scipy.signal.get_window("hann", 1024)
    times = np.arange(1024)
    # 0.6 dB at the peak, 1.5 beside it, in nats: magnitudes lack the sign of lobes.
    for bin_, most in ((peak - 1, 0.35), (peak, 0.14), (peak + 1, 0.35)):
        turning = np.exp(-2j * np.pi * (bin_ / ratio / 1024) * times)
        level = 2 * np.log(np.abs(np.sum(window * tone[2048:3072] * turning)))
        np.testing.assert_allclose(moved[2:-2, bin_], level, atol=most)
    assert (moved >= math.log(audio.log_floor) - 1e-4).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"representation": "waveform"},
        {"representation": "log_stft", "n_bins": 60},
        {"representation": "complex_stft", "phase": "real_imaginary"},
        {"representation": "complex_stft", "phase": "instantaneous_frequency"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_representation_is_amplified_as_its_sound(settings: dict[str, Any]) -> None:
    audio = AudioConfig(sample_rate=8000, n_fft=256, hop_length=128, **settings)
    # Twice: a power of two moves no rounding, on which the phase of a silent bin rests.
    quiet, loud = (representations.extract(sound() * gain, audio) for gain in (1, 2))
    augment = AugmentationConfig(gain_db=2 * 20 * math.log10(2))
    varied = augmentation.build(augment, audio)(
        quiet[np.newaxis], np.full((1, 4), 0.75, np.float32)
    )[0]
    np.testing.assert_allclose(varied, loud, atol=0.02)


@pytest.mark.parametrize("chance", [0.25, 0.75])
def test_polarity_changes_the_sign_of_half(chance: float) -> None:
    audio = AudioConfig(representation="waveform", hop_length=16)
    augment = AugmentationConfig(polarity=True)
    frames = tiny.make_frames(10, 0, 16)[np.newaxis]
    varied = augmentation.build(augment, audio)(frames, np.full((1, 4), chance, np.float32))
    np.testing.assert_array_equal(varied, -frames if chance < 0.5 else frames)


def test_what_does_not_fit_the_frames_is_refused() -> None:
    waveform = AudioConfig(representation="waveform")
    for augment, audio in (
        (AugmentationConfig(polarity=True), AUDIO),
        (AugmentationConfig(shift_mels=1), waveform),
        (AugmentationConfig(transpose_semitones=1), AUDIO),
    ):
        with pytest.raises(errors.InputError, match=r"Received: .*representation="):
            augmentation.build(augment, audio)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> manifest.Dataset:
    return tiny.make_dataset(tmp_path_factory.mktemp("dataset"))


def read(dataset: manifest.Dataset, n_steps: int, **arguments: Any) -> np.ndarray:
    """Return the frames of some batches, [windows, frames, channels]."""
    augment = AugmentationConfig(gain_db=20, shift_mels=3)
    settings = {"batch_size": 4, "seed": 1, "augment": augment, **arguments}
    stream = pipeline.windows(dataset, "train", WINDOW, **settings)
    return np.concatenate([b["frames"] for b in stream.take(n_steps).as_numpy_iterator()])


def test_every_window_of_every_epoch_is_varied_anew(dataset: manifest.Dataset) -> None:
    n_windows = pipeline.windows_per_epoch(dataset, "train", WINDOW)
    plain = read(dataset, 2 * n_windows, batch_size=1, augment=None)
    varied = read(dataset, 2 * n_windows, batch_size=1)
    levels = (varied - plain).mean(axis=(1, 2))
    assert len(np.unique(levels)) == 2 * n_windows


def test_the_variation_is_that_of_the_place_in_the_stream(dataset: manifest.Dataset) -> None:
    whole = read(dataset, 10)
    np.testing.assert_array_equal(read(dataset, 4, start_step=6), whole[24:])
    parts = [read(dataset, 10, replicas=range(i, i + 1), n_replicas=2) for i in range(2)]
    halves = [part.reshape(10, 2, *whole.shape[1:]) for part in parts]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1).reshape(whole.shape), whole)
    assert np.any(read(dataset, 10, seed=2) != whole)


def test_settings_out_of_range_are_refused() -> None:
    for field, value in (
        ("gain_db", -1.0),
        ("gain_db", math.inf),
        ("shift_mels", -1),
        ("transpose_semitones", -1.0),
    ):
        with pytest.raises(errors.InputError, match=f"{field}={value}"):
            # A field by its name, whose type is then not known.
            AugmentationConfig(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("moved", [{"transpose_semitones": 1.0}, {"shift_mels": 1}])
def test_a_pitch_in_the_condition_must_stay(moved: dict[str, Any]) -> None:
    augment = AugmentationConfig(**moved)
    augmentation.require_pitch_kept(augment, ["instrument"], "pitch")
    still = AugmentationConfig(gain_db=3)
    augmentation.require_pitch_kept(still, ["pitch"], "pitch")
    with pytest.raises(errors.InputError, match="contradicts conditioning on pitch"):
        augmentation.require_pitch_kept(augment, ["instrument", "pitch"], "pitch")
