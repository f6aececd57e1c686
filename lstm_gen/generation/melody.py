"""Melody: one generated note for each pitch, mixed at the times of a list of notes or a MIDI file.

A list is "60,62,64" or "60:0.5,-:0.25,64:1": a MIDI note number (60 is middle C), or - for a rest,
and its seconds. Of a MIDI file every note of every track is played, except drums.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from lstm_gen.audio import representations
from lstm_gen.config import generation as generation_config
from lstm_gen.config.generation import GenerationConfig
from lstm_gen.generation import conditioning, output, request, rollout
from lstm_gen.platform import errors, storage
from lstm_gen.runs import run as runs

_DRUM_CHANNEL = 9  # of General MIDI
_RELEASE_SECONDS = 0.1  # fade-out after the end of a note
_MAX_NOTES = 100_000


class Note(NamedTuple):
    """A note of a melody.

    Attributes:
      pitch: MIDI note number.
      start_seconds: Onset, seconds.
      seconds: Duration without the release, seconds.
      loudness: Factor on the samples, 0 to 1.
    """

    pitch: int
    start_seconds: float
    seconds: float
    loudness: float = 1.0


def play(
    run: runs.Run, config: GenerationConfig, devices: Sequence[str], show_progress: bool = False
) -> output.Sound:
    """Return a melody played with one generated note for each of its pitches.

    All notes have the same labels, except for the pitch, and share their noise.

    Args:
      run: Run with trained weights, of a model conditioned on pitch.
      config: The request.
      devices: Names of devices.
      show_progress: Whether to show progress bars on stderr.

    Raises:
      InputError: If the melody cannot be read, or the model does not support it.
    """
    errors.require(
        not conditioning.between(run, config),
        "a melody has one instrument; give each label one value",
        label=",".join(config.label),
    )
    notes = read(config.melody, config.note_seconds)
    wanted = pitches(notes, run, config)
    errors.require(
        config.pitch_label not in conditioning.given(run, config),
        f"the notes of the melody have the pitch; leave out --label {config.pitch_label}",
        label=",".join(config.label),
    )
    seconds = longest(notes)
    window_seconds = run.window.timesteps / run.audio.frames_per_second
    if seconds > window_seconds and "between" in run.family.controls:  # generated note by note
        logging.warning("notes longer than %.1f s are struck again and again", window_seconds)
    per_pitch = dataclasses.replace(config, n_songs=len(wanted), seconds=seconds, primer="")
    shared = conditioning.of_songs(run, per_pitch)[0]
    labels = [
        {
            **shared,
            **conditioning.given(
                run, dataclasses.replace(config, label=(f"{config.pitch_label}={pitch}",))
            ),
        }
        for pitch in wanted
    ]
    songs = rollout.roll_out(
        run,
        request.for_model(per_pitch, run, labels),
        np.zeros((len(wanted), 0, run.audio.channels), np.float32),
        [range(len(wanted))],  # a melody is one song: no other process has a part in it
        devices,
        config.precision,
        show_progress,
    )
    sounds = {
        pitch: output.invert(run.normalisation.undo(songs[index]), run.audio, config)
        for index, pitch in output.show_inversion(list(enumerate(wanted)), show_progress)
    }
    samples = mix(notes, sounds, run.audio.sample_rate)
    instrument = {name: value for name, value in shared.items() if name != config.pitch_label}
    frames = representations.extract(samples, run.audio)
    return output.Sound("melody", frames, samples, instrument)


def read(text: str, note_seconds: float) -> list[Note]:
    """Return the notes of a melody in the order of their onsets.

    Args:
      text: A list of notes, or the path of a MIDI file.
      note_seconds: Duration of a note that is written without one, seconds.

    Raises:
      InputError: If it is no melody, or the file cannot be read.
    """
    notes = _read_midi(text) if generation_config.is_midi(text) else _read_text(text, note_seconds)
    errors.require(0 < len(notes) <= _MAX_NOTES, "a melody must have notes", melody=text)
    return sorted(notes, key=lambda note: (note.start_seconds, note.pitch))


def pitches(notes: list[Note], run: runs.Run, config: GenerationConfig) -> list[int]:
    """Return the distinct pitches of notes, ascending.

    Raises:
      InputError: If the model is not conditioned on pitch, or a pitch is out of its range.
    """
    name = config.pitch_label
    errors.require(
        name in run.condition,
        f"a melody needs a model conditioned on pitch: train_model.py --condition={name}, or, "
        "if the label has another name, --pitch_label=NAME",
        condition=",".join(run.condition),
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
    """Return the duration of the longest note with its release, seconds."""
    return max(note.seconds for note in notes) + _RELEASE_SECONDS


def mix(notes: list[Note], sounds: dict[int, np.ndarray], sample_rate: int) -> np.ndarray:
    """Return the sum of all notes, float32 [samples].

    Args:
      notes: Notes of the melody.
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
    """Return a sound cut to its note's duration and faded out."""
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
        if message.type not in ("note_on", "note_off") or message.channel == _DRUM_CHANNEL:
            continue
        key = (message.channel, message.note)
        if key in held:
            start, velocity = held.pop(key)
            notes.append(Note(message.note, start, max(now - start, 0.01), velocity / 127))
        if message.type == "note_on" and message.velocity:
            held[key] = (now, message.velocity)
    # A note without an end lasts to the end of the file.
    for (_, pitch), (start, velocity) in held.items():
        notes.append(Note(pitch, start, max(now - start, 0.01), velocity / 127))
    return notes
