"""Composition: random pieces for a small band, as lists of notes.

A piece has a key that stays, a metre, a tempo, and the form A A B A over two chord progressions.
Each phrase has a melody of its own, which comes back with it: a rhythm that repeats, chord notes on
strong beats and steps between them. Below it are chords, a bass and a beat, and the whole swells
and fades a little with every phrase.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
# Scale degrees of the chords, a bar each; 0 is the tonic.
_PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (0, 3, 0, 4),
    (0, 5, 1, 4),
    (5, 3, 0, 4),
    (0, 2, 3, 4),
    (0, 6, 5, 4),
)
# Lengths of a bar's melody notes, by beats of the bar; all lengths and places are in eighths.
_RHYTHMS = {
    4: ((2, 2, 2, 2), (3, 1, 2, 2), (2, 2, 3, 1), (3, 3, 2), (2, 1, 1, 2, 2), (2, 1, 1, 4)),
    3: ((2, 2, 2), (4, 2), (3, 1, 2), (2, 1, 1, 2)),
}
_CHORDS_AT = {4: ((0, 4), (0, 3, 6), (2, 6), (0, 3, 4)), 3: ((2, 4), (0, 3))}
_BASS_AT = {4: ((0, 4), (0, 3, 4)), 3: ((0,), (0, 4))}
_FORM = (0, 0, 1, 0)  # progression and melody of each four-bar phrase
_PHRASE_BARS = 4
_RING_SECONDS = 1.5  # of the last chord: longer fades would teach a model to fall silent
_HUMAN_SECONDS = 0.005  # standard deviation of note timing
_MELODY_RANGE = (65, 83)  # MIDI note numbers
_LOWEST_CHORD_NOTE = 53
_LOWEST_BASS_NOTE = 33


class Note(NamedTuple):
    """One note of one instrument.

    Attributes:
      start_seconds: Onset.
      instrument: "bow", "strike" or "pluck"; "kick", "brush" or "hat".
      pitch: MIDI note number; 69 is 440 Hz; 0 of drums.
      velocity: Strength, from 0 to 1.
      ring_seconds: Time until it is damped.
    """

    start_seconds: float
    instrument: str
    pitch: int
    velocity: float
    ring_seconds: float


class _Sung(NamedTuple):
    """A note of a phrase's melody; times in eighths."""

    start: int
    length: int
    degree: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Piece:
    """Random choices of a whole piece."""

    tonic: int
    scale: tuple[int, ...]
    beats: int
    eighth_seconds: float
    progressions: tuple[tuple[int, ...], tuple[int, ...]]
    chords_at: tuple[int, ...]
    bass_at: tuple[int, ...]
    melody_instrument: str

    @property
    def bar_seconds(self) -> float:
        return 2 * self.beats * self.eighth_seconds

    def pitch(self, degree: int) -> int:
        """Return the MIDI note number of a scale degree, in any octave."""
        octave, step = divmod(degree, len(self.scale))
        return self.tonic + 12 * octave + self.scale[step]

    def chord(self, bar: int) -> int:
        """Return the scale degree of a bar's chord."""
        progression = self.progressions[_section(bar)]
        return progression[bar % len(progression)]

    def swell(self, bar: float) -> float:
        """Return the loudness at a bar: a phrase swells to its third bar, section B is louder."""
        place = bar % _PHRASE_BARS / _PHRASE_BARS
        return 0.82 + 0.18 * float(np.sin(np.pi * place**1.3)) + 0.08 * _section(int(bar))


def compose(random: np.random.Generator, seconds: float) -> list[Note]:
    """Return the notes of a piece, in order of their start.

    Args:
      random: Source of every random choice.
      seconds: Length of the piece, decay of the last chord included.
    """
    piece = _draw_piece(random)
    played_seconds = max(seconds - _RING_SECONDS, seconds / 2)
    bars = max(1, round(played_seconds / piece.bar_seconds))
    piece = dataclasses.replace(piece, eighth_seconds=played_seconds / bars / (2 * piece.beats))
    melodies = [_draw_melody(piece, section, random) for section in (0, 1)]
    notes = []
    for bar in range(bars):
        notes += _sing(piece, bar, melodies[_section(bar)], random)
        notes += _strum(piece, bar, random)
        notes += _walk(piece, bar, random)
        notes += _beat(piece, bar, random)
    notes += _last_chord(piece, bars, seconds)
    return sorted(note for note in notes if note.start_seconds < seconds)


def _draw_piece(random: np.random.Generator) -> _Piece:
    beats = int(random.choice([4, 4, 4, 3]))
    first, second = random.choice(len(_PROGRESSIONS), 2, replace=False)
    return _Piece(
        tonic=int(random.integers(60, 68)),
        scale=_MAJOR if random.random() < 0.6 else _MINOR,
        beats=beats,
        eighth_seconds=30.0 / random.uniform(84.0, 112.0),
        progressions=(_PROGRESSIONS[first], _PROGRESSIONS[second]),
        chords_at=_CHORDS_AT[beats][random.integers(len(_CHORDS_AT[beats]))],
        bass_at=_BASS_AT[beats][random.integers(len(_BASS_AT[beats]))],
        melody_instrument=str(random.choice(["bow", "strike"])),
    )


def _section(bar: int) -> int:
    """Return 0 in sections A, 1 in section B."""
    return _FORM[bar // _PHRASE_BARS % len(_FORM)]


def _draw_melody(piece: _Piece, section: int, random: np.random.Generator) -> list[_Sung]:
    """Return the melody of a phrase: a rhythm, another, the first again, and a long note."""
    rhythms = _RHYTHMS[piece.beats]
    first, second = random.choice(len(rhythms), 2, replace=False)
    last = (2 * piece.beats - 2,)  # and a breath
    sung = []
    degree = 4 if section else 2
    for bar, rhythm in enumerate((rhythms[first], rhythms[second], rhythms[first], last)):
        chord = piece.progressions[section][bar]
        start = 2 * piece.beats * bar
        for place, length in enumerate(rhythm):
            strong = place == 0 or start % 4 == 0
            degree = _next_degree(piece, degree, chord, strong, random)
            sung.append(_Sung(start, length, degree))
            start += length
    return sung


def _next_degree(
    piece: _Piece, degree: int, chord: int, strong: bool, random: np.random.Generator
) -> int:
    """Return the melody's next scale degree: a small step, to a chord note if on the beat."""
    low, high = _MELODY_RANGE
    candidates = [degree + step for step in (-3, -2, -1, 1, 2, 3)]
    if strong:
        candidates = [
            one for one in range(degree - 3, degree + 4) if (one - chord) % 7 in (0, 2, 4)
        ]
    in_range = [one for one in candidates if low <= piece.pitch(one) <= high]
    if not in_range:
        return degree + (1 if piece.pitch(degree) < low else -1)
    weights = np.array([1.0 / (1 + abs(one - degree)) for one in in_range])
    return int(random.choice(in_range, p=weights / weights.sum()))


def _sing(piece: _Piece, bar: int, melody: list[_Sung], random: np.random.Generator) -> list[Note]:
    """Return a bar of the melody."""
    first = 2 * piece.beats * (bar % _PHRASE_BARS)
    notes = []
    for start, length, degree in melody:
        place = start - first
        if 0 <= place < 2 * piece.beats:
            accent = 1.0 if place == 0 else 0.9 if place % 2 == 0 else 0.8
            velocity = 0.8 * accent * piece.swell(bar + place / (2 * piece.beats))
            notes.append(
                Note(
                    _time(piece, bar, place, random),
                    piece.melody_instrument,
                    piece.pitch(degree),
                    velocity * random.uniform(0.95, 1.05),
                    0.92 * length * piece.eighth_seconds,
                )
            )
    return notes


def _strum(piece: _Piece, bar: int, random: np.random.Generator) -> list[Note]:
    """Return a bar of chords: each rings until the next."""
    notes = []
    for place, following in zip(
        piece.chords_at, (*piece.chords_at[1:], 2 * piece.beats), strict=True
    ):
        start = _time(piece, bar, place, random)
        velocity = (0.5 if place == 0 else 0.42) * piece.swell(bar) * random.uniform(0.95, 1.05)
        ring = 0.88 * (following - place) * piece.eighth_seconds
        notes += [
            Note(start, "strike", pitch, velocity, ring)
            for pitch in _voicing(piece, piece.chord(bar))
        ]
    return notes


def _voicing(piece: _Piece, degree: int) -> list[int]:
    """Return the three notes of a chord within one octave, so that its voices hardly move."""
    tones = [piece.pitch(degree + step) for step in (0, 2, 4)]
    return sorted(_LOWEST_CHORD_NOTE + (tone - _LOWEST_CHORD_NOTE) % 12 for tone in tones)


def _walk(piece: _Piece, bar: int, random: np.random.Generator) -> list[Note]:
    """Return a bar of the bass: the chord's root, then its fifth and root."""
    notes = []
    chord, ends = piece.chord(bar), (*piece.bass_at[1:], 2 * piece.beats)
    for order, (place, following) in enumerate(zip(piece.bass_at, ends, strict=True)):
        pitch = piece.pitch(chord + (4 if order == len(piece.bass_at) - 1 and order else 0))
        pitch = _LOWEST_BASS_NOTE + (pitch - _LOWEST_BASS_NOTE) % 12
        velocity = (0.75 if order == 0 else 0.62) * piece.swell(bar)
        ring = 0.92 * (following - place) * piece.eighth_seconds
        notes.append(Note(_time(piece, bar, place, random), "pluck", pitch, velocity, ring))
    return notes


def _beat(piece: _Piece, bar: int, random: np.random.Generator) -> list[Note]:
    """Return a bar of drums: low on the first beats, a brush between, a hat on every beat."""
    drums = []
    for beat in range(piece.beats):
        low = beat == 0 or (piece.beats == 4 and beat == 2)
        drums += [(2 * beat, "kick", 0.9) if low else (2 * beat, "brush", 0.5)]
        drums += [(2 * beat, "hat", 0.3), (2 * beat + 1, "hat", 0.18)]
    return [
        Note(_time(piece, bar, place, random), drum, 0, strength * piece.swell(bar), 0.3)
        for place, drum, strength in drums
    ]


def _last_chord(piece: _Piece, bars: int, seconds: float) -> list[Note]:
    """Return the tonic, in bass, chord and melody, that ends the piece."""
    start = bars * piece.bar_seconds
    ring = min(_RING_SECONDS, max(0.0, seconds - start - 0.1))
    bass = _LOWEST_BASS_NOTE + (piece.tonic - _LOWEST_BASS_NOTE) % 12
    chord = [Note(start, "strike", pitch, 0.5, ring) for pitch in _voicing(piece, 0)]
    top = Note(start, piece.melody_instrument, piece.pitch(7), 0.7, ring)
    return [*chord, Note(start, "pluck", bass, 0.75, ring), top]


def _time(piece: _Piece, bar: int, place: int, random: np.random.Generator) -> float:
    """Return when an eighth of a bar is played, in seconds."""
    seconds = bar * piece.bar_seconds + place * piece.eighth_seconds
    return max(0.0, seconds + random.normal(0.0, _HUMAN_SECONDS))
