import hashlib
import pathlib
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile

from lstm_gen.audio import frequency_scales
from tools.example_recordings import score, strings

ROOT = pathlib.Path(__file__).parents[2]


def make(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "tools.example_recordings", f"--output_dir={folder}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def digests(folder: pathlib.Path) -> dict[str, str]:
    """Return name to content hash of each file in a folder."""
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.iterdir()}


def piece(seed: int, seconds: float = 20.0) -> np.ndarray:
    """Return the samples of a piece."""
    random = np.random.default_rng(seed)
    return strings.play(score.compose(random, seconds), seconds, random)


def test_the_command_makes_the_same_recordings_again(tmp_path: pathlib.Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        result = make(tmp_path / name, "--minutes=0.2", "--n_recordings=2", f"--seed={seed}")
        assert (result.returncode, result.stderr) == (0, "")
    first = digests(tmp_path / "first")
    assert sorted(first) == ["piece-01.flac", "piece-02.flac"]
    assert digests(tmp_path / "again") == first
    assert not set(digests(tmp_path / "other").values()) & set(first.values())
    information = soundfile.info(tmp_path / "first" / "piece-01.flac")
    assert (information.samplerate, information.channels) == (44100, 2)
    assert (information.subtype, information.frames) == ("PCM_16", 6 * 44100)


def test_bad_flags_are_refused(tmp_path: pathlib.Path) -> None:
    result = make(tmp_path, "--n_recordings=0")
    assert result.returncode == 1
    assert result.stderr == "error: n_recordings must be at least 1. Received: n_recordings=0\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("pitch", [40, 52, 64, 76, 81])
def test_a_string_is_in_tune(pitch: int) -> None:
    """The loop's delay is exact at the fundamental: within 2 cents, half a bin being 0.9."""
    sound = strings.pluck(pitch, 0.7, 2.0, np.random.default_rng(0))[4410:]
    frequency_hz = frequency_scales.midi_to_hz(pitch)
    n_fft = 2**19
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / strings.SAMPLE_RATE)
    magnitude = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n_fft))
    magnitude[np.abs(frequencies_hz / frequency_hz - 1) > 0.05] = 0
    found_hz = frequencies_hz[magnitude.argmax()]
    assert abs(1200 * np.log2(found_hz / frequency_hz)) < 2.0


def test_a_string_dies_away_and_ends_without_a_click() -> None:
    sound = strings.pluck(52, 0.7, 2.0, np.random.default_rng(0))
    quarters = [np.sqrt(np.square(part).mean()) for part in np.array_split(sound, 4)]
    assert np.all(np.diff(quarters) < 0)
    damped = piece(0)
    assert np.abs(np.diff(damped[-100:], axis=0)).max() < 1e-3


def test_a_harder_pluck_is_louder_and_brighter() -> None:
    soft, hard = (
        strings.pluck(52, velocity, 1.0, np.random.default_rng(0)) for velocity in (0.2, 0.9)
    )
    assert np.square(hard).mean() > 9 * np.square(soft).mean()
    centroids = [librosa.feature.spectral_centroid(y=one, sr=44100).mean() for one in (soft, hard)]
    assert centroids[1] > 1.05 * centroids[0]


def test_notes_are_in_the_key_and_in_time() -> None:
    for seed in range(20):
        notes = score.compose(np.random.default_rng(seed), 30.0)
        assert notes == sorted(notes)
        assert all(0 <= note.start_seconds < 30 for note in notes)
        assert all(28 <= note.pitch <= 93 and 0 < note.velocity <= 1 for note in notes)
        assert len({note.pitch % 12 for note in notes}) <= 7
        assert 60 < len(notes) < 300


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.9])
def test_a_very_short_piece_is_a_piece(seconds: float) -> None:
    sound = piece(0, seconds)
    assert sound.shape == (round(seconds * 44100), 2)
    assert np.isfinite(sound).all()


def test_a_piece_is_worth_modelling() -> None:
    """Level, stereo, onsets and spectrum of plucked music: no drone, no noise, no clipping."""
    sound = piece(3)
    mono = sound.mean(axis=1)
    assert sound.dtype == np.float32
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-3.0, abs=1e-3)
    assert -26 < 10 * np.log10(np.square(sound).mean()) < -16
    assert 0.5 < np.corrcoef(sound.T)[0, 1] < 0.98
    onsets = librosa.onset.onset_detect(y=mono, sr=44100, units="time")
    assert 1.5 < len(onsets) / 20 < 8
    assert librosa.feature.spectral_flatness(y=mono).mean() < 0.05
    chroma = librosa.feature.chroma_stft(y=mono, sr=44100, tuning=0.0)
    assert len(set(chroma.argmax(axis=0))) >= 4
