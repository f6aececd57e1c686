"""Composition: random pieces for one guitar, as lists of notes.

A piece has a key, a metre, a tempo, a finger-picking pattern and the form A A B A over two chord
progressions. The melody is a random walk on the scale that prefers chord notes on strong beats.
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
# Voice played on each eighth of a bar: 0 is the bass, 1 to 4 the voices above it.
_PICKING = {
    4: ((0, 2, 3, 4, 1, 4, 3, 2), (0, 3, 2, 4, 0, 3, 2, 4), (0, 2, 4, 3, 4, 2, 4, 3)),
    3: ((0, 2, 3, 4, 3, 2), (0, 3, 4, 2, 4, 3), (0, 2, 4, 3, 4, 2)),
}
_FORM = (0, 0, 1, 0)  # progression of each four-bar phrase
_RING_SECONDS = 3.0  # after the last chord, for its decay
_HUMAN_SECONDS = 0.006  # standard deviation of note timing
_MELODY_RANGE = (62, 81)  # MIDI note numbers


class Note(NamedTuple):
    """One plucked string.

    Attributes:
      start_seconds: Onset.
      pitch: MIDI note number; 69 is 440 Hz.
      velocity: Strength, from 0 to 1.
      ring_seconds: Time until the string is damped.
    """

    start_seconds: float
    pitch: int
    velocity: float
    ring_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Piece:
    """Random choices of a whole piece."""

    tonic: int
    scale: tuple[int, ...]
    beats: int
    eighth_seconds: float
    progressions: tuple[tuple[int, ...], tuple[int, ...]]
    picking: tuple[int, ...]

    @property
    def bar_seconds(self) -> float:
        return 2 * self.beats * self.eighth_seconds

    def pitch(self, degree: int) -> int:
        """Return the MIDI note number of a scale degree, in any octave."""
        octave, step = divmod(degree, len(self.scale))
        return self.tonic + 12 * octave + self.scale[step]

    def chord(self, bar: int) -> int:
        """Return the scale degree of a bar's chord."""
        progression = self.progressions[_FORM[bar // 4 % len(_FORM)]]
        return progression[bar % len(progression)]


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
    notes = _melody(piece, bars, random)
    for bar in range(bars):
        notes += _accompaniment(piece, bar, bars, random)
    notes += _last_chord(piece, bars, seconds)
    return sorted(note for note in notes if note.start_seconds < seconds)


def _draw_piece(random: np.random.Generator) -> _Piece:
    beats = int(random.choice([4, 4, 3]))
    first, second = random.choice(len(_PROGRESSIONS), 2, replace=False)
    return _Piece(
        tonic=int(random.integers(40, 51)),
        scale=_MAJOR if random.random() < 0.6 else _MINOR,
        beats=beats,
        eighth_seconds=30.0 / random.uniform(76.0, 116.0),
        progressions=(_PROGRESSIONS[first], _PROGRESSIONS[second]),
        picking=_PICKING[beats][random.integers(len(_PICKING[beats]))],
    )


def _accompaniment(piece: _Piece, bar: int, bars: int, random: np.random.Generator) -> list[Note]:
    """Return one bar of the finger-picked chord; strings ring into the next bar."""
    voices = _voicing(piece, piece.chord(bar))
    loudness = 0.42 + 0.18 * np.sin(np.pi * (bar + 0.5) / bars)
    notes = []
    for eighth, voice in enumerate(piece.picking):
        start = bar * piece.bar_seconds + eighth * piece.eighth_seconds
        accent = 1.25 if eighth == 0 else 1.0 if eighth % 2 == 0 else 0.85
        velocity = loudness * accent * random.uniform(0.9, 1.1)
        ring = piece.bar_seconds if voice == 0 else 4.5 * piece.eighth_seconds
        notes.append(Note(_humanise(start, random), voices[voice], velocity, ring))
    return notes


def _voicing(piece: _Piece, degree: int) -> list[int]:
    """Return the bass and four voices of a triad in close position above it."""
    bass = piece.pitch(degree)
    bass -= 12 if bass > 50 else 0
    tones = [piece.pitch(degree + step) % 12 for step in (0, 2, 4)]
    above = [pitch for pitch in range(bass + 7, bass + 36) if pitch % 12 in tones]
    return [bass, *above[:4]]


def _melody(piece: _Piece, bars: int, random: np.random.Generator) -> list[Note]:
    """Return the melody, which rests during the first phrase unless the piece is short."""
    notes = []
    degree = 14
    for bar in range(min(4, bars // 2), bars):
        eighth = 0
        while eighth < 2 * piece.beats:
            length = int(random.choice([1, 2, 2, 3, 4]))
            degree = _next_degree(piece, degree, piece.chord(bar), eighth % 2 == 0, random)
            if random.random() < 0.82:
                start = bar * piece.bar_seconds + eighth * piece.eighth_seconds
                ring = (length + 0.6) * piece.eighth_seconds
                velocity = random.uniform(0.62, 0.9)
                pitch = piece.pitch(degree)
                notes.append(Note(_humanise(start, random), pitch, velocity, ring))
            eighth += length
    return notes


def _next_degree(
    piece: _Piece, degree: int, chord: int, strong: bool, random: np.random.Generator
) -> int:
    """Return the melody's next scale degree: a small step, to a chord note if on the beat."""
    low, high = _MELODY_RANGE
    candidates = [degree + step for step in (-3, -2, -1, 0, 1, 2, 3)]
    if strong:
        candidates = [one for one in candidates if (one - chord) % 7 in (0, 2, 4)]
    in_range = [one for one in candidates if low <= piece.pitch(one) <= high]
    if not in_range:
        return degree + (1 if piece.pitch(degree) < low else -1)
    weights = np.array([1.0 / (1 + abs(one - degree)) for one in in_range])
    return int(random.choice(in_range, p=weights / weights.sum()))


def _last_chord(piece: _Piece, bars: int, seconds: float) -> list[Note]:
    """Return the tonic chord, rolled from bass to top, that ends the piece."""
    start = bars * piece.bar_seconds
    pitches = [*_voicing(piece, 0), piece.pitch(14)]
    return [
        Note(start + 0.045 * order, pitch, 0.5, seconds - start)
        for order, pitch in enumerate(pitches)
    ]


def _humanise(start_seconds: float, random: np.random.Generator) -> float:
    return max(0.0, start_seconds + random.normal(0.0, _HUMAN_SECONDS))
