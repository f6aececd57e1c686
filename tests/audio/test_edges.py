"""Recordings at the edge of what there is: how many frames each gives, and how loud they are.

The tone is at the centre of a bin of the transform, so a Hann window's main lobe gives the level
of the frames in closed form: half its area on the bin, a quarter on each neighbour.
"""

import pathlib
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from lstm_gen.audio import files, frequency_scales, representations, stft
from lstm_gen.config.audio import AudioConfig

AUDIO = AudioConfig(sample_rate=8000, n_fft=256, hop_length=128, n_mels=8)
BIN = 37  # 1156.25 Hz: 256 different samples, so that errors of rounding are noise
DB = np.log(10) / 10  # of power, in the unit of log-mel frames


class Row(NamedTuple):
    """A recording, and the amplitude of the tone in the mean of its channels."""

    samples: np.ndarray
    amplitude: float
    rate: int = 8000
    tolerance_db: float = 0.001  # of rounding to 16 bits or more
    container: str = "WAV"
    subtype: str = "FLOAT"


def tone(amplitude: float = 0.5, rate: int = 8000, seconds: float = 1.0) -> np.ndarray:
    """Return a tone at the centre of a bin of the 8 kHz transform."""
    hz = BIN * 8000 / AUDIO.n_fft
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def level_of(amplitude: float) -> float:
    """Return the loudest band of a frame in the middle of a tone, natural logarithm of power."""
    power = np.zeros(AUDIO.n_fft // 2 + 1)
    power[BIN] = (amplitude * AUDIO.n_fft / 4) ** 2
    power[[BIN - 1, BIN + 1]] = (amplitude * AUDIO.n_fft / 8) ** 2
    return float(np.log((frequency_scales.filter_bank(AUDIO) @ power).max() + AUDIO.log_floor))


def level_of_constant(value: float) -> float:
    """Return the loudest band of a constant: its window's transform is on bins 0 and 1."""
    power = np.zeros(AUDIO.n_fft // 2 + 1)
    power[0], power[1] = (value * AUDIO.n_fft / 2) ** 2, (value * AUDIO.n_fft / 4) ** 2
    return float(np.log((frequency_scales.filter_bank(AUDIO) @ power).max() + AUDIO.log_floor))


def spread(n_channels: int, samples: np.ndarray) -> np.ndarray:
    """Return the samples on the first channel and silence on the others, [samples, channels]."""
    channels = np.zeros((samples.size, n_channels))
    channels[:, 0] = samples
    return channels


RATES = (
    *(8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000),
    *(44_100, 48_000, 88_200, 96_000, 176_400, 192_000),
)
EXACT_DB, BYTES_DB, COMPANDED_DB = 0.001, 0.02, 0.1
DEPTHS = {
    EXACT_DB: (
        *("WAV PCM_16", "WAV PCM_24", "WAV PCM_32", "WAV FLOAT", "WAV DOUBLE", "AIFF PCM_16"),
        *("AIFF PCM_24", "AIFF PCM_32", "AIFF FLOAT", "AIFF DOUBLE", "FLAC PCM_16", "FLAC PCM_24"),
        *("AU PCM_16", "CAF PCM_16", "CAF ALAC_16", "W64 PCM_16", "RF64 PCM_16"),
    ),
    BYTES_DB: ("WAV PCM_U8", "AIFF PCM_S8", "FLAC PCM_S8"),
    COMPANDED_DB: ("WAV ULAW", "WAV ALAW"),
    0.3: ("OGG VORBIS",),  # what the encoders do to a tone
    1.0: ("MP3 MPEG_LAYER_III",),
}
ROWS = {
    # The filter of the change of rate is flat to within 0.001 dB where there is sound.
    **{f"{rate} Hz": Row(tone(rate=rate), 0.5, rate) for rate in RATES},
    **{
        f"{n} channels at {rate} Hz": Row(spread(n, tone(0.8, rate)), 0.8 / n, rate)
        for n in (1, 2, 6, 8)
        for rate in (8000, 44_100, 192_000)
    },
    **{
        kind: Row(tone(), 0.5, 8000, tolerance_db, *kind.split())
        for tolerance_db, kinds in DEPTHS.items()
        for kind in kinds
    },
    **{
        f"full scale {subtype}": Row(tone(1.0), 1.0, subtype=subtype, tolerance_db=0.02)
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
    },
    "louder than full scale": Row(tone(100.0), 100.0),
    "the quietest above the floor": Row(tone(1e-4), 1e-4),
    "opposite channels": Row(np.stack([tone(), -tone()], axis=1), 0.0),
    "silent": Row(np.zeros(8000), 0.0, subtype="PCM_16"),
    "silent stereo at 44.1 kHz": Row(np.zeros((44_100, 2)), 0.0, 44_100, subtype="PCM_16"),
}


@pytest.mark.parametrize("name", ROWS)
def test_level_and_frames_of_a_tone(name: str, tmp_path: pathlib.Path) -> None:
    row = ROWS[name]
    path = tmp_path / "a.wav"  # whatever it holds
    soundfile.write(path, row.samples, row.rate, format=row.container, subtype=row.subtype)
    samples = files.read(str(path), AUDIO.sample_rate)
    frames = representations.extract(samples, AUDIO)
    assert frames.shape == (1 + 8000 // AUDIO.hop_length, AUDIO.n_mels)
    middle = frames[4:-4].max(axis=1)
    expected = level_of(row.amplitude)
    np.testing.assert_allclose(middle, expected, rtol=0, atol=row.tolerance_db * DB)


@pytest.mark.parametrize(
    ("value", "subtype", "expected"),
    [
        (0.5, "FLOAT", 0.5),
        (-0.5, "PCM_16", -0.5),
        (1.0, "PCM_16", 1 - 2**-15),
        (-1.0, "PCM_16", -1.0),
        (1.0, "PCM_24", 1 - 2**-23),
        (2**-15, "PCM_16", 2**-15),
        (2**-7, "PCM_U8", 2**-7),
        (1e6, "FLOAT", 1e6),
    ],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_constant_keeps_its_level(
    value: float, subtype: str, expected: float, n_channels: int, tmp_path: pathlib.Path
) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.full((1280, n_channels), value), 8000, subtype=subtype)
    samples = files.read(path, 8000)
    np.testing.assert_array_equal(samples, np.full(1280, expected, np.float32))
    middle = representations.extract(samples, AUDIO)[2:-2].max(axis=1)
    np.testing.assert_allclose(middle, level_of_constant(expected), rtol=0, atol=0.001 * DB)


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(1, 1), (2, 1), (127, 1), (128, 2), (129, 2), (255, 2), (256, 3), (257, 3), (8191, 64)],
)
def test_frames_of_a_short_recording(
    container: str, n_samples: int, n_frames: int, tmp_path: pathlib.Path
) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.full(n_samples, 0.5), 8000, format=container)
    frames = representations.extract(files.read(path, 8000), AUDIO)
    assert frames.shape == (n_frames, AUDIO.n_mels)
    # The first frame is centred on the first sample, so half of its window is before it.
    seen = np.zeros(AUDIO.n_fft)
    seen[128 : 128 + n_samples] = 0.5
    spectrum = np.fft.rfft(stft.hann_window(AUDIO.n_fft) * seen)
    expected = np.log(frequency_scales.filter_bank(AUDIO) @ np.abs(spectrum) ** 2 + AUDIO.log_floor)
    np.testing.assert_allclose(frames[0], expected, rtol=0, atol=0.001 * DB)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 1000])
@pytest.mark.parametrize("rate", [1000, 8001, 48_000, 384_000])
def test_a_few_samples_at_another_rate(rate: int, n_samples: int, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.full(n_samples, 0.5), rate, subtype="FLOAT")
    wanted = round(n_samples * 8000 / rate)
    if wanted:
        assert files.read(path, 8000).size == wanted
        return
    with pytest.raises(files.AudioError) as caught:
        files.read(path, 8000)
    assert caught.value.reason == "empty"
