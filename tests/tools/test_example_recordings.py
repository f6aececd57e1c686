import hashlib
import pathlib
import subprocess
import sys
from collections.abc import Callable

import librosa
import numpy as np
import pytest
import soundfile

from lstm_gen.audio import frequency_scales
from tools.example_recordings import band, percussion, score, strings

ROOT = pathlib.Path(__file__).parents[2]
RATE = strings.SAMPLE_RATE

Tone = Callable[[float, float, float, np.random.Generator], np.ndarray]
TONES: list[Tone] = [strings.bow, percussion.strike, strings.pluck]


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
    return band.play(score.compose(random, seconds), seconds, random)


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


@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize("pitch", [40, 52, 64, 76, 81])
def test_a_note_is_in_tune(tone: Tone, pitch: int) -> None:
    """Within 2 cents, half a bin being 0.9: delay and vibrato are centred on the fundamental."""
    sound = tone(pitch, 0.7, 2.0, np.random.default_rng(0))[4410:]
    frequency_hz = frequency_scales.midi_to_hz(pitch)
    n_fft = 2**19
    frequencies_hz = np.fft.rfftfreq(n_fft, 1 / RATE)
    magnitude = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n_fft))
    magnitude[np.abs(frequencies_hz / frequency_hz - 1) > 0.05] = 0
    found_hz = frequencies_hz[magnitude.argmax()]
    assert abs(1200 * np.log2(found_hz / frequency_hz)) < 2.0


@pytest.mark.parametrize("tone", [percussion.strike, strings.pluck])
def test_a_struck_or_plucked_note_dies_away(tone: Tone) -> None:
    sound = tone(52, 0.7, 2.0, np.random.default_rng(0))
    quarters = [np.sqrt(np.square(part).mean()) for part in np.array_split(sound, 4)]
    assert np.all(np.diff(quarters) < 0)
    assert quarters[0] > 2 * quarters[3]


def test_a_bowed_note_speaks_and_sustains() -> None:
    sound = strings.bow(64, 0.7, 1.0, np.random.default_rng(0))
    levels = [np.sqrt(np.square(part).mean()) for part in np.split(sound[:RATE], 100)]
    assert levels[0] < 0.1 * levels[10]
    assert min(levels[40:]) > 0.4 * max(levels)


@pytest.mark.parametrize("tone", TONES)
def test_a_damped_note_ends_without_a_click(tone: Tone) -> None:
    sound = strings.damp(tone(64, 0.7, 0.5, np.random.default_rng(0)))
    assert len(sound) == round((0.5 + strings.RELEASE_SECONDS) * RATE)
    assert np.abs(sound[-20:]).max() < 1e-3


@pytest.mark.parametrize("tone", TONES)
def test_a_harder_note_is_louder_and_brighter(tone: Tone) -> None:
    soft, hard = (tone(52, velocity, 1.0, np.random.default_rng(0)) for velocity in (0.2, 0.9))
    assert np.square(hard).mean() > 9 * np.square(soft).mean()
    centroids = [librosa.feature.spectral_centroid(y=one, sr=RATE).mean() for one in (soft, hard)]
    assert centroids[1] > 1.05 * centroids[0]


@pytest.mark.parametrize("name", ["kick", "brush", "hat"])
def test_a_drum_is_struck_and_short(name: str) -> None:
    sound = percussion.drum(name, 0.8, np.random.default_rng(0))
    energy = np.cumsum(np.square(sound)) / np.square(sound).sum()
    assert energy[round(0.15 * RATE)] > 0.9
    assert np.abs(sound[-100:]).max() < 0.02


def test_notes_are_in_the_key_and_in_time() -> None:
    for seed in range(20):
        notes = score.compose(np.random.default_rng(seed), 30.0)
        assert notes == sorted(notes)
        assert all(0 <= note.start_seconds < 30 for note in notes)
        assert all(0 < note.velocity <= 1 and note.ring_seconds > 0 for note in notes)
        tones = [note for note in notes if note.pitch]
        assert {note.instrument for note in notes} - {note.instrument for note in tones} == {
            *("kick", "brush", "hat")
        }
        assert all(33 <= note.pitch <= 93 for note in tones)
        assert len({note.pitch % 12 for note in tones}) <= 7
        assert 60 < len(tones) < 300


def test_a_melody_comes_back() -> None:
    """The form begins with A A: the first phrase twice, note for note."""
    n_sung = 0
    for seed in range(12):
        notes = score.compose(np.random.default_rng(seed), 40.0)
        sung = [note.pitch for note in notes if note.instrument == "bow"]
        if sung:
            n_sung += 1
            assert any(sung[:length] == sung[length : 2 * length] for length in range(8, 20))
            assert len(set(sung)) >= 4
    assert n_sung >= 3


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.9])
def test_a_very_short_piece_is_a_piece(seconds: float) -> None:
    sound = piece(0, seconds)
    assert sound.shape == (round(seconds * 44100), 2)
    assert np.isfinite(sound).all()


@pytest.mark.parametrize("seed", [1, 3])
def test_a_piece_is_worth_modelling(seed: int) -> None:
    """Level, stereo, onsets and spectrum of a band: no drone, no noise, no clipping, no fade."""
    sound = piece(seed)
    mono = sound.mean(axis=1)
    assert sound.dtype == np.float32
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-1.0, abs=1e-3)
    assert -20 < 10 * np.log10(np.square(sound).mean()) < -13
    assert 0.5 < np.corrcoef(sound.T)[0, 1] < 0.99
    levels_db = 10 * np.log10([np.square(part).mean() for part in np.split(mono, 20)])
    assert levels_db.min() > -28
    assert np.abs(np.diff(sound[-100:], axis=0)).max() < 1e-3
    onsets = librosa.onset.onset_detect(y=mono, sr=44100, units="time")
    assert 1.5 < len(onsets) / 20 < 6
    assert librosa.feature.spectral_flatness(y=mono).mean() < 0.05
    chroma = librosa.feature.chroma_stft(y=mono, sr=44100, tuning=0.0)
    assert len(set(chroma.argmax(axis=0))) >= 4
