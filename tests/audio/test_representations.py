"""Every representation: round trips, streamed, cropped, cut and in each stored type."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from lstm_gen.audio import fitted, plots, representations, stft
from lstm_gen.config.audio import REPRESENTATIONS, AudioConfig
from lstm_gen.dataset.prepare import shards
from lstm_gen.platform import errors

RATE = 16000
C4_HZ = 440 * 2 ** (-9 / 12)


def audio(representation: str, **values: Any) -> AudioConfig:
    return AudioConfig(
        **{
            "sample_rate": RATE,
            "n_fft": 1024,
            "hop_length": 256,
            "n_mels": 80,
            "representation": representation,
            **values,
        }
    )


WITH_PHASE = [
    audio("complex_stft"),
    audio("complex_stft", phase="real_imaginary"),
    audio("complex_stft", n_fft=1022, hop_length=211),
]


def name(value: Any) -> str:
    if not isinstance(value, AudioConfig):
        return str(value)
    kind = value.representation
    phase = f"-{value.phase}" if kind == "complex_stft" else ""
    return f"{kind}{phase}-{value.n_fft}-{value.n_bins_resolved}"


def note(seconds: float = 4.0, hz: float = C4_HZ) -> Any:
    """A note of four harmonics that fades in and dies away."""
    time = np.arange(round(seconds * RATE)) / RATE
    shape = np.minimum(time / 0.02, 1) * np.exp(-time)
    harmonics = sum(np.sin(2 * np.pi * hz * k * time + k) / k for k in range(1, 5))
    return (0.3 * shape * harmonics).astype("f4")


def noise(n_samples: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(n_samples).astype("f4") * np.float32(0.1)


def with_dictionary(setting: AudioConfig) -> AudioConfig:
    """Return an analysis with a dictionary of two notes and noise."""
    spectra = dataclasses.replace(setting, representation="log_stft")
    heard = [note(1.0), note(1.0, hz=1000), noise(RATE), 1e-3 * noise(RATE)]
    runs = [stft.power(stft.stft(samples, spectra)) for samples in heard]
    return fitted.attach(setting, fitted.fit(runs, setting))


EVERY = [
    audio("log_mel"),
    with_dictionary(audio("activations", n_atoms=24)),
    audio("log_stft"),
    audio("log_stft", n_bins=512),
    audio("complex_stft"),
    audio("complex_stft", n_bins=512),
    audio("complex_stft", phase="real_imaginary"),
    audio("complex_stft", n_bins=128, n_fft=1000, hop_length=240),
    audio("waveform", hop_length=250),
]


def snr_db(samples: Any, back: Any) -> float:
    error = np.square(samples.astype("f8") - back).sum()
    return float(10 * np.log10(np.square(samples.astype("f8")).sum() / max(error, 1e-30)))


def pitch_hz(samples: Any) -> float:
    """The frequency of the strongest partial, by a parabola through the peak of the spectrum."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(samples.size), 1 << 18)))
    peak = int(spectrum.argmax())
    left, middle, right = spectrum[peak - 1 : peak + 2]
    offset = (left - right) / (left - 2 * middle + right) / 2
    return float((peak + offset) * RATE / (1 << 18))


@pytest.mark.parametrize("setting", EVERY, ids=name)
def test_four_seconds_of_c4_are_four_seconds_of_c4(setting: AudioConfig) -> None:
    frames = representations.extract(note(), setting, "float16")
    assert frames.shape == (representations.n_frames(4 * RATE, setting), setting.channels)
    assert frames.dtype == np.float16
    back = representations.invert(frames, setting, n_samples=4 * RATE)
    assert back.shape == (4 * RATE,)
    assert back.dtype == np.float32
    # Two mel bands meet at C4, and their balance is all that is known of where in them it was.
    within = 5e-3 if setting.representation == "log_mel" else 1e-3
    assert pitch_hz(back) == pytest.approx(C4_HZ, rel=within)


@pytest.mark.parametrize("setting", WITH_PHASE, ids=name)
@pytest.mark.parametrize(("dtype", "least_db"), [("float32", 100), ("float16", 55)])
def test_phase_brings_the_wave_back(setting: AudioConfig, dtype: str, least_db: float) -> None:
    for samples in (note(), noise(3 * RATE + 17)):
        frames = representations.extract(samples, setting, dtype)
        back = representations.invert(frames, setting, n_samples=samples.size)
        assert snr_db(samples, back) > least_db


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_phase_does_not_drift(dtype: str) -> None:
    """After 10,000 frames the phase is as near as after one: within one step of the grid."""
    setting = audio("complex_stft", n_fft=62, hop_length=31)
    samples = noise(10_000 * 31)
    frames = representations.extract(samples, setting, dtype)
    spectrum = representations.InstantaneousFrequency(setting).to_spectrum(frames)
    true = stft.stft(samples, setting)
    apart = np.abs(np.angle(spectrum * np.conj(true))) / np.pi
    audible = np.abs(true) > 0.1
    step = {"float16": 2**-11, "float32": 2**-21}[dtype]
    for part in (slice(0, 100), slice(-100, None)):
        assert apart[part][audible[part]].max() < 1.01 * step


@pytest.mark.parametrize("start", [0, 1, 57])
@pytest.mark.parametrize("setting", WITH_PHASE, ids=name)
def test_a_segment_from_the_middle_stands_on_its_own(setting: AudioConfig, start: int) -> None:
    samples = noise(40_000)
    found = representations.analyse([samples], setting, "float16")
    segment = representations.as_segment(found.frames[start : start + 40], setting)
    back = representations.invert(segment, setting)
    first = start * setting.hop_length
    expected = samples[first : first + 39 * setting.hop_length]
    assert snr_db(expected, back[: expected.size]) > 50


def test_a_window_of_a_segment_keeps_its_pitch_though_not_its_wave() -> None:
    setting = audio("complex_stft")
    window = representations.extract(note(), setting, "float16")[50:150]
    back = representations.invert(window, setting, n_iterations=8)
    assert pitch_hz(back) == pytest.approx(C4_HZ, rel=1e-3)


@pytest.mark.parametrize("source", ["int16", "float32"])
@pytest.mark.parametrize("n_samples", [1, 249, 250, 70_001])
def test_a_waveform_is_exact(source: str, n_samples: int) -> None:
    setting = EVERY[-1]
    samples = noise(n_samples)
    if source == "int16":
        random = np.random.default_rng(1)
        samples = random.integers(-32768, 32768, n_samples).astype("f4") / np.float32(32768)
    frames = representations.extract(samples, setting, source)
    assert frames.dtype == source
    back = representations.invert(frames, setting, n_samples=n_samples)
    np.testing.assert_array_equal(back, samples)


def test_int16_clips_what_is_beyond_full_scale() -> None:
    stored = representations.quantise(np.array([1.5, 1, -1, -1.5], "f4"), "int16")
    np.testing.assert_array_equal(stored, [32767, 32767, -32768, -32768])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("n_bins", [0, 500])
def test_the_magnitude_is_within_a_tenth_of_a_decibel(dtype: str, n_bins: int) -> None:
    setting = audio("log_stft", n_bins=n_bins)
    power = representations.LogStft(setting).bin_power(
        representations.extract(note(), setting, dtype)
    )
    true = np.abs(stft.stft(note(), setting)) ** 2
    kept = setting.n_bins_resolved
    assert power.shape == true.shape
    np.testing.assert_array_equal(power[:, kept:], 0)
    above = true[:, :kept] > setting.log_floor
    off_db = 10 * np.log10(power[:, :kept][above] / true[:, :kept][above])
    assert np.abs(off_db).max() < 0.1


def test_a_signal_is_found_that_has_the_magnitude() -> None:
    setting = audio("log_stft")
    back = representations.invert(representations.extract(note(), setting), setting)
    true, reached = (np.abs(stft.stft(x, setting))[4:-4] for x in (note(), back[: 4 * RATE]))
    assert np.linalg.norm(true - reached[: len(true)]) < 0.1 * np.linalg.norm(true)


@pytest.mark.parametrize("setting", EVERY, ids=name)
def test_streamed_frames_are_the_same_to_the_bit(setting: AudioConfig) -> None:
    samples = noise(90_000)
    blocks = np.split(samples, [0, 1, 513, 514, 40_000])
    streamed = representations.analyse(blocks, setting, "float16")
    whole = representations.analyse([samples], setting, "float16")
    np.testing.assert_array_equal(streamed.frames, whole.frames)
    np.testing.assert_array_equal(streamed.power, whole.power)
    assert streamed.n_samples == 90_000


@pytest.mark.parametrize("setting", EVERY, ids=name)
def test_trimming_keeps_what_is_loud(setting: AudioConfig) -> None:
    def active(samples: Any) -> Any:
        power = representations.analyse([samples.astype("f4")], setting).power
        return shards.active_frames(power, 30, setting)

    assert not active(np.zeros(50_000)).any()
    assert not active(np.full(50_000, 1e-7)).any()
    click = np.zeros(200_000)
    click[100_000] = 1
    kept = np.flatnonzero(active(click))
    assert 1 <= kept.size <= 5
    assert abs(kept.mean() - 100_000 / setting.hop_length) < 1
    quiet = np.concatenate([noise(16_000) * 1e-3, noise(32_000), noise(16_000) * 1e-3])
    inside = active(quiet).sum() * setting.hop_length
    assert abs(inside - 32_000) < setting.n_fft + 2 * setting.hop_length


@pytest.mark.parametrize("setting", EVERY, ids=name)
def test_a_picture_shows_the_pitch(setting: AudioConfig) -> None:
    frames = representations.extract(note(1.0, hz=1000), setting, "float16")
    log_power, rows_hz = representations.picture(frames, setting)
    assert log_power.shape[1] == rows_hz.size
    assert (np.diff(rows_hz) > 0).all()
    assert rows_hz[log_power.mean(axis=0).argmax()] == pytest.approx(1000, abs=40)
    assert plots.draw([("", frames)], setting).startswith(b"\x89PNG")


@pytest.mark.parametrize("setting", EVERY, ids=name)
def test_what_is_not_finite_is_refused(setting: AudioConfig) -> None:
    samples = np.full(4000, np.nan, "f4")
    with pytest.raises(errors.InputError, match="finite frames"):
        representations.analyse([samples], setting, "float16")
    frames = np.zeros((3, setting.channels))
    for bad, message in (
        (frames[:, 1:], "must be .frames, channels"),
        (frames[:0], "at least one frame"),
        (np.full_like(frames, np.nan), "must be finite"),
        (np.full_like(frames, 1e12), "must be finite and below"),
    ):
        with pytest.raises(errors.InputError, match=message):
            representations.invert(bad, setting)


def test_integers_do_not_hide_what_is_not_finite() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(errors.InputError, match="finite frames"):
            representations.analyse([np.full(900, bad, "f4")], EVERY[-1], "int16")


def test_float16_overflow_is_refused() -> None:
    setting = audio("complex_stft", phase="real_imaginary")
    with pytest.raises(errors.InputError, match="finite frames"):
        representations.analyse([noise(4000) * np.float32(1e7)], setting, "float16")


@pytest.mark.parametrize("setting", EVERY, ids=name)
def test_silence_comes_back_as_silence(setting: AudioConfig) -> None:
    frames = representations.extract(np.zeros(8000, "f4"), setting)
    np.testing.assert_array_equal(representations.invert(frames, setting, n_samples=8000), 0)


def test_every_representation_is_tested() -> None:
    assert {setting.representation for setting in EVERY} == set(REPRESENTATIONS)
