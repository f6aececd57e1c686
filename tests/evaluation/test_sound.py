"""Figures of sound: known signals, and impostors of synthesised music that fail their rows."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal

from lstm_gen.audio import representations
from lstm_gen.config.audio import AudioConfig
from lstm_gen.evaluation import baselines, sound, table

RATE = 11025
SECONDS = 6
N = RATE * SECONDS
BEAT = 0.4
_TIME = np.arange(N) / RATE
_AUDIO = AudioConfig(sample_rate=RATE, n_fft=1024, hop_length=256, n_mels=80)


def _tone(midi: float, seconds: float, decay: float = 3.0) -> np.ndarray:
    """Return a struck note of six partials."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((midi - 69) / 12)
    partials = [np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 7) if hz * k < RATE / 2]
    attack = np.minimum(1, time / 0.005)
    return 0.1 * attack * np.exp(-decay * time) * np.sum(partials, axis=0)


def _music(seed: int) -> np.ndarray:
    """Return chords and a melody in C major on a beat of 0.4 s, a phrase of four beats repeated."""
    random = np.random.default_rng(seed)
    chords = [(48, 52, 55), (53, 57, 60), (55, 59, 62), (45, 52, 60)]
    samples = np.zeros(N + 2 * RATE)
    phrase = random.choice([60, 62, 64, 65, 67, 69, 71, 72], size=4)
    for beat in range(int(SECONDS / BEAT)):
        if beat % 8 == 0 and beat:
            phrase = random.permutation(phrase)
        notes = [int(phrase[beat % 4]) + 12]
        if beat % 4 == 0:
            notes += random.permutation(chords)[0].tolist()
        for midi in notes:
            start = round(beat * BEAT * RATE)
            note = random.uniform(0.5, 1.5) * _tone(midi, 1.6)
            samples[start : start + len(note)] += note
    return samples[:N] + 1e-4 * random.standard_normal(N)


def _hiss(real: np.ndarray, seed: int) -> np.ndarray:
    del real
    return _noise(seed)


def _noise(seed: int) -> np.ndarray:
    return 0.05 * np.random.default_rng(seed).standard_normal(N)


@functools.cache
def _real(first: int) -> tuple[np.ndarray, ...]:
    return tuple(_music(seed) for seed in range(first, first + 6))


def _drone(real: np.ndarray, seed: int) -> np.ndarray:
    del seed
    chord = [_tone(midi, SECONDS, 0) for midi in (48, 55, 60, 64)]
    return np.sqrt(np.mean(real**2)) * np.sum(chord, axis=0) / np.std(np.sum(chord, axis=0))


def _shuffle(real: np.ndarray, seed: int) -> np.ndarray:
    """Permute pieces of 93 ms, with short fades."""
    size = 1024
    fade = np.minimum(1, np.minimum(np.arange(size), np.arange(size)[::-1]) / 64)
    pieces = real[: N // size * size].reshape(-1, size) * fade
    shuffled = np.random.default_rng(seed).permutation(pieces).reshape(-1)
    return np.pad(shuffled, (0, N - len(shuffled)))


def _loop(real: np.ndarray, seed: int) -> np.ndarray:
    del seed
    return np.tile(real[: round(1.05 * RATE)], SECONDS)[:N]


def _fade(real: np.ndarray, seed: int) -> np.ndarray:
    del seed
    return real * 10 ** (-4 * np.clip(_TIME / SECONDS, 0, 1))


def _loud(real: np.ndarray, seed: int) -> np.ndarray:
    del seed
    return 4 * real


@functools.cache
def _linear() -> tuple[baselines.VAR, np.ndarray, np.ndarray]:
    frames = np.stack(
        [representations.extract(clip.astype(np.float32), _AUDIO) for clip in _real(0)]
    )
    mean, std = frames.mean(axis=(0, 1)), frames.std(axis=(0, 1))
    return baselines.fit_var((frames - mean) / std), mean, std


def _autoregress(real: np.ndarray, seed: int) -> np.ndarray:
    """Return the song of a VAR(3) of log-mel frames, as the product would make it."""
    var, mean, std = _linear()
    history = (representations.extract(real[:4096].astype(np.float32), _AUDIO) - mean) / std
    n_frames = N // _AUDIO.hop_length
    frames = var.sample(history, n_frames, np.random.default_rng(seed)) * std + mean
    return representations.invert(frames.astype(np.float32), _AUDIO, 4).astype(np.float64)


def _failed(songs: list[np.ndarray]) -> set[str]:
    """Return the figures that songs fail beside real music."""
    groups = {
        "held-out music": sound.Group(_real(0), [clip[:RATE] for clip in _real(0)]),
        "training music": sound.Group(_real(100), [clip[:RATE] for clip in _real(100)]),
        "songs": sound.Group(songs, [clip[:RATE] for clip in _real(0)]),
    }
    rows = sound.compare(groups, RATE).rows
    names = {words: name for name, words in sound.WORDS.items()}
    assert [row[0] for row in rows] == list(names)
    assert not any(row[1] == table.UNUSABLE or "**" in row[2] + row[3] for row in rows)
    return {names[row[0]] for row in rows if "**" in row[4]}


def test_other_music_of_the_kind_passes() -> None:
    assert _failed(list(_real(200))) <= {"timbre"}  # its primers were others'


@pytest.mark.parametrize(
    ("impostor", "rows"),
    [
        (_drone, "onsets rise_db pulse quiet loud timbre"),
        (_shuffle, "onsets pulse harmonic_db chroma_repetition"),
        (_autoregress, "onsets pulse pitch_entropy"),
        (_loop, "chroma_repetition"),
        (_fade, "quiet loud onsets"),
        (_loud, "quiet loud"),
        (_hiss, "rise_db pulse harmonic_db pitch_entropy chroma_repetition timbre"),
    ],
)
def test_an_impostor_fails_its_rows(
    impostor: Callable[[np.ndarray, int], np.ndarray], rows: str
) -> None:
    songs = [impostor(clip, seed) for seed, clip in enumerate(_real(0))]
    assert _failed(songs) >= set(rows.split())


def _clicks(times: np.ndarray) -> np.ndarray:
    samples = np.zeros(N)
    for time in times:
        start = round(time * RATE)
        samples[start : start + 200] += np.exp(-np.arange(len(samples[start : start + 200])) / 40)
    return samples * np.random.default_rng(0).standard_normal(N) + 1e-4 * _noise(1)


def _described(samples: np.ndarray) -> sound.Figures:
    return sound.describe(sound.analyse(samples, RATE), -60, 0)


def test_onsets_of_clicks_are_counted_and_rise_as_they_do() -> None:
    times = np.arange(0.3, SECONDS - 0.2, 0.5)
    found = _described(_clicks(times))
    assert found.onsets * SECONDS == pytest.approx(len(times), abs=1)
    assert found.rise_db > 40
    assert found.pulse > 0.9


def test_a_pulse_is_clear_only_where_strikes_are_regular() -> None:
    random = np.random.default_rng(0)
    irregular = np.sort(random.uniform(0, SECONDS - 0.1, 12))
    assert _described(_clicks(irregular)).pulse < 0.4
    strength = np.tile([1.0, 0, 0, 0, 0, 0, 0, 0], 20)
    assert sound.pulse_clarity(strength, 20.0) == pytest.approx(1)
    assert sound.pulse_clarity(np.ones(100), 20.0) == 0


def test_a_steady_sound_has_no_onsets() -> None:
    assert _described(_drone(_music(0), 0)).onsets < 0.3
    assert math.isnan(_described(np.zeros(N)).rise_db)


def test_tones_are_harmonic_and_clicks_percussive() -> None:
    tone, clicks = 0.1 * np.sin(2 * np.pi * 440 * _TIME), _clicks(np.arange(0.2, 5.8, 0.4))
    assert _described(tone).harmonic_db > 20
    assert _described(clicks).harmonic_db < -6
    both = _described(tone * np.std(clicks) / np.std(tone) + clicks).harmonic_db
    assert both == pytest.approx(0, abs=2)


def test_entropy_is_that_of_the_pitch_classes_that_sound() -> None:
    def chord(*notes: int) -> np.ndarray:
        hz = [440 * 2 ** ((note - 69) / 12) for note in notes]
        return 0.1 * np.sum([np.sin(2 * np.pi * one * _TIME) for one in hz], axis=0)

    one, two, four = (
        _described(chord(*notes)).pitch_entropy for notes in ((69,), (69, 76), (69, 72, 75, 78))
    )
    assert (one, two, four) == pytest.approx((0, 1, 2), abs=0.05)
    assert _described(chord(33, 45, 57)).pitch_entropy == pytest.approx(0, abs=0.05)
    assert _described(_noise(0)).pitch_entropy > four
    assert math.isnan(_described(np.zeros(N)).pitch_entropy)


def test_pitch_classes_are_those_of_the_tuning() -> None:
    for cents in (-40, 0, 30):
        hz = 440 * 2 ** ((np.array([60, 64, 67]) - 69 + cents / 100) / 12)
        samples = 0.1 * np.sin(2 * np.pi * hz[:, np.newaxis] * _TIME).sum(axis=0)
        classes = sound.pitch_classes(sound.analyse(samples, RATE)).sum(axis=1)
        assert set(np.argsort(classes)[-3:]) == {0, 4, 7}
        assert np.sort(classes)[:-3].sum() < 0.01 * classes.sum()


def test_chroma_repeats_where_music_does() -> None:
    random = np.random.default_rng(1)
    rate = 20.0
    loop = np.tile(random.random((12, 40)), 4)
    assert sound.chroma_repetition(loop, rate) > 0.7  # less for the first 2 s
    assert sound.chroma_repetition(random.random((12, 160)), rate) < 0.3
    assert math.isnan(sound.chroma_repetition(np.zeros((12, 160)), rate))
    assert math.isnan(sound.chroma_repetition(random.random((12, 30)), rate))


def _cepstrum(samples: np.ndarray) -> np.ndarray:
    return sound.cepstrum(sound.analyse(samples, RATE))


def test_timbre_is_independent_of_level_and_of_rests() -> None:
    music = _music(3)
    analysed = sound.analyse(music, RATE)
    original = sound.cepstrum(analysed)
    louder = _cepstrum(np.concatenate([8 * music, np.zeros(RATE)]))
    dull = _cepstrum(scipy.signal.lfilter([0.05], [1, -0.95], music))
    assert original.shape == (13,)
    assert np.linalg.norm(louder - original) < 0.5
    assert np.linalg.norm(dull - original) > 3
    without = sound.timbres([[analysed, analysed], [analysed]], (), RATE)
    assert without == [pytest.approx(math.nan, nan_ok=True)] * 3
    assert sound.timbres([[analysed]], [music], RATE) == [0.0]


def test_longer_clips_are_compared_in_parts_of_the_real_length() -> None:
    clips = [np.arange(7.0), np.arange(3.0)]
    assert [part.tolist() for part in sound.parts(clips, 3)] == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_the_range_holds_the_means_of_real_clips_of_both_splits() -> None:
    random = np.random.default_rng(0)
    held_out, training = random.normal(5, 1, 200), random.normal(5, 1, 50)
    low, high = sound.real_range(list(held_out), [*training, math.nan])
    # Means of four have half the deviation: 99 % lie within 2.58 halves.
    assert (low, high) == pytest.approx((0.95 * 3.71, 1.05 * 6.29), abs=0.25)
    assert sound.real_range([-2.0], []) == pytest.approx((-2.1, -1.9))
    assert sound.real_range([math.nan], []) == (math.inf, -math.inf)


def _figures(**changes: float) -> sound.Figures:
    return sound.Figures(*[1.0] * len(sound.WORDS))._replace(**changes)


def test_what_training_music_does_not_pass_is_unusable_and_what_none_has_is_left_out() -> None:
    random = np.random.default_rng(0)
    groups = {
        "held-out": [_figures(pulse=random.normal(1, 0.1), timbre=math.nan) for _ in range(9)],
        "training": [_figures(pulse=random.normal(3, 0.1), timbre=math.nan) for _ in range(9)],
        "songs": [_figures(onsets=3.0, pulse=7.0)],
    }
    cells = {row[0]: row[1:] for row in sound.tabulate(groups).rows}
    assert sound.WORDS["timbre"] not in cells
    assert cells[sound.WORDS["onsets"]] == ["0.95 to 1.05", "1.00", "1.00", "**3.00**"]
    assert cells[sound.WORDS["pulse"]][0] == table.UNUSABLE
    assert cells[sound.WORDS["pulse"]][-1] == "7.00"


def test_clips_under_a_second_give_no_table() -> None:
    group = sound.Group([np.zeros(RATE // 2)])
    assert not sound.compare({"a": group, "b": group, "c": group}, RATE).rows
