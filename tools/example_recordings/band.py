"""A small band in a small room: notes to stereo samples."""

from collections.abc import Sequence

import numpy as np
from scipy import signal

from tools.example_recordings import percussion, score, strings

_PEAK = 10 ** (-1 / 20)  # of the recording; full scale is 1
_LOUD = 0.14  # RMS before the peaks are rounded off
_DRUMS = ("kick", "brush", "hat")
_TONES = {"bow": strings.bow, "strike": percussion.strike, "pluck": strings.pluck}
_GAINS = {"bow": 0.95, "strike": 0.75, "pluck": 1.1, "kick": 1.1, "brush": 0.6, "hat": 0.25}
_ROOM_SECONDS = 0.5  # reverberation time (-60 dB)
_ROOM_LEVEL = 0.1  # energy of the reverberation relative to the direct sound


def play(notes: Sequence[score.Note], seconds: float, random: np.random.Generator) -> np.ndarray:
    """Return a recording of the notes.

    Args:
      notes: Notes; each sounds by itself.
      seconds: Length of the recording.
      random: Source of noise and phases, and of the room's impulse response.

    Returns:
      float32 [samples, 2], peak at -1 dB, 44.1 kHz.
    """
    mix = np.zeros((round(seconds * strings.SAMPLE_RATE), 2))
    for note in notes:
        start = round(note.start_seconds * strings.SAMPLE_RATE)
        sound = _GAINS[note.instrument] * _sound(note, random)[: len(mix) - start]
        mix[start : start + len(sound)] += sound[:, None] * _pan(note)
    mix = _add_room(mix, random)
    level = np.sqrt(np.square(mix).mean())
    mix = np.tanh(mix * (_LOUD / max(level, 1e-9)))  # loud throughout, as mastered music is
    length = min(len(mix), round(strings.RELEASE_SECONDS * strings.SAMPLE_RATE))
    mix[len(mix) - length :] *= np.linspace(1, 0, length)[:, None]
    return (mix * (_PEAK / max(np.abs(mix).max(), 1e-9))).astype(np.float32)


def _sound(note: score.Note, random: np.random.Generator) -> np.ndarray:
    """Return the sound of one note."""
    if note.instrument in _DRUMS:
        return percussion.drum(note.instrument, note.velocity, random)
    tone = _TONES[note.instrument](note.pitch, note.velocity, note.ring_seconds, random)
    return strings.damp(tone)


def _pan(note: score.Note) -> np.ndarray:
    """Return left and right gains of constant power: low notes left, high ones right."""
    side = 0.0 if note.instrument in _DRUMS else np.clip((note.pitch - 60) / 24, -1, 1) * 0.3
    angle = np.pi / 4 + side
    return np.array([np.cos(angle), np.sin(angle)])


def _add_room(mix: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the mix with reverberation: a gap, then decaying low-passed noise."""
    n_samples = round(_ROOM_SECONDS * strings.SAMPLE_RATE)
    seconds = np.arange(n_samples) / strings.SAMPLE_RATE
    response = random.normal(size=(n_samples, 2)) * 10 ** (-3 * seconds / _ROOM_SECONDS)[:, None]
    response[: round(0.012 * strings.SAMPLE_RATE)] = 0
    response = signal.lfilter([0.3], [1, -0.7], response, axis=0)
    response *= _ROOM_LEVEL / np.sqrt(np.square(response).sum(axis=0))
    return mix + signal.fftconvolve(mix, response, axes=0)[: len(mix)]
