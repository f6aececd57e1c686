"""A melody played with generated notes: one sound for each pitch, put where the notes are.

A melody is written out, as in "60,62,64" or "60:0.5,-:0.25,64:1" (MIDI note number or - for a
rest, then seconds), or it is a MIDI file, of which every note of every track is played, drums
apart. 60 is middle C.
"""

from typing import NamedTuple

import numpy as np

from lstm_gen.config import generation as generation_config
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs

_DRUMS = 9  # channel of General MIDI
_RELEASE_SECONDS = 0.1  # in which a note that ends is faded out
_MAX_NOTES = 100_000


class Note(NamedTuple):
    """One note.

    Attributes:
      pitch: MIDI note number.
      start_seconds: When it begins.
      seconds: How long it sounds.
      loudness: Factor on its samples, 0 to 1.
    """

    pitch: int
    start_seconds: float
    seconds: float
    loudness: float = 1.0


def read(text: str, note_seconds: float) -> list[Note]:
    """Return the notes of a melody, written out or in a MIDI file, in the order of their starts.

    Args:
      text: As the module says.
      note_seconds: Length of a note that is written without one.

    Raises:
      InputError: If it is no melody, or cannot be read.
    """
    notes = _read_midi(text) if generation_config.is_midi(text) else _read_text(text, note_seconds)
    errors.require(0 < len(notes) <= _MAX_NOTES, "a melody must have notes", melody=text)
    return sorted(notes, key=lambda note: (note.start_seconds, note.pitch))


def pitches(notes: list[Note], run: runs.Run, songs: GenerationConfig) -> list[int]:
    """Return the pitches that sounds are needed of, rising.

    Raises:
      InputError: If the model is not told pitches, or was trained on none as low or as high.
    """
    name = songs.pitch_label
    errors.require(
        name in run.condition,
        f"a melody needs a model that is told pitches: train_model.py --condition={name}, or, "
        "where the label has another name, --pitch_label=NAME",
        told=",".join(run.condition),
    )
    label, wanted = run.vocabulary[name], sorted({note.pitch for note in notes})
    if label.kind == "number":
        low, high = label.minimum or 0.0, label.maximum or 0.0
        errors.require(
            low <= wanted[0] and wanted[-1] <= high,
            f"a melody must lie within the pitches of the dataset, {low:g} to {high:g}",
            lowest=wanted[0],
            highest=wanted[-1],
        )
    return wanted


def longest(notes: list[Note]) -> float:
    """Return the seconds of the longest note, its release included."""
    return max(note.seconds for note in notes) + _RELEASE_SECONDS


def mix(notes: list[Note], sounds: dict[int, np.ndarray], sample_rate: int) -> np.ndarray:
    """Return all notes of a melody together, float32 [samples].

    Args:
      notes: What to play.
      sounds: Pitch to the waveform of a note, float32 [samples].
      sample_rate: Samples per second, Hz.
    """
    end = max(note.start_seconds + note.seconds for note in notes) + _RELEASE_SECONDS
    song = np.zeros(round(end * sample_rate) + 1, np.float32)
    for note in notes:
        first = round(note.start_seconds * sample_rate)
        sound = _released(sounds[note.pitch], note.seconds, sample_rate)
        song[first : first + sound.size] += np.float32(note.loudness) * sound
    return song


def _released(samples: np.ndarray, seconds: float, sample_rate: int) -> np.ndarray:
    """Return the beginning of a sound, faded out where its note ends."""
    held, release = round(seconds * sample_rate), round(_RELEASE_SECONDS * sample_rate)
    sound = samples[: held + release].copy()
    fading = sound[held:]
    fading *= np.linspace(1, 0, release, dtype=np.float32)[: fading.size]
    return sound


def _read_text(text: str, note_seconds: float) -> list[Note]:
    notes, start = [], 0.0
    for part in text.split(","):
        pitch, _, length = part.strip().partition(":")
        try:
            seconds = float(length) if length else note_seconds
            number = None if pitch == "-" else int(pitch)
        except ValueError as error:
            raise errors.InputError(
                "melody must be a .mid file, or MIDI note numbers with seconds if need be, as in "
                f"60,62:1.5,-:0.5,64. Received: {part!r}"
            ) from error
        errors.require(
            0 < seconds <= 60 and (number is None or 0 <= number <= 127),
            "a note of a melody must be from 0 to 127, of up to 60 seconds",
            note=part,
        )
        if number is not None:
            notes.append(Note(number, start, seconds))
        start += seconds
    return notes


def _read_midi(path: str) -> list[Note]:
    try:
        import mido
    except ImportError as error:
        raise errors.InputError(
            f"MIDI files are read by mido; pip install 'lstm_gen[midi]'. Received: melody={path!r}"
        ) from error
    notes, held, now = [], dict[tuple[int, int], tuple[float, int]](), 0.0
    with storage.local_copy(path) as copy:
        try:
            messages = list(mido.MidiFile(copy))  # with the seconds since the message before
        except Exception as error:  # the library names no errors of its own for what it reads
            raise errors.InputError(
                f"melody must be a MIDI file. Received: {path!r}, {' '.join(str(error).split())}"
            ) from error
    for message in messages:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        key = (message.channel, message.note)
        if key in held:
            start, velocity = held.pop(key)
            notes.append(Note(message.note, start, max(now - start, 0.01), velocity / 127))
        if message.type == "note_on" and message.velocity:
            held[key] = (now, message.velocity)
    # A note that is never let go sounds to the end.
    for (_, pitch), (start, velocity) in held.items():
        notes.append(Note(pitch, start, max(now - start, 0.01), velocity / 127))
    return notes
