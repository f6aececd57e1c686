import pathlib

import mido
import numpy as np
import pytest

from lstm_gen.generation import melody
from lstm_gen.platform import errors

RATE = 8000
_NOTE = b"\0\x90\x3c\x40\x10\x80\x3c\x40\0\xff\x2f\0"
_TRACK = b"MTrk" + len(_NOTE).to_bytes(4, "big") + _NOTE
_BAD_KEY = b"MTrk\0\0\0\x0a\0\xff\x59\2\x55\0\0\xff\x2f\0"  # of 85 sharps


def test_a_melody_is_written_out_with_rests_and_lengths() -> None:
    notes = melody.read("60, 62:1.5,-:0.5,64", note_seconds=0.25)
    assert notes == [
        melody.Note(60, 0.0, 0.25),
        melody.Note(62, 0.25, 1.5),
        melody.Note(64, 2.25, 0.25),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("do,re", "must be a .mid file, or MIDI note numbers.*'do'"),
        ("60:long", "MIDI note numbers.*'60:long'"),
        ("60,128", "from 0 to 127.*'128'"),
        ("60:0", "up to 60 seconds.*'60:0'"),
        ("-", "must have notes"),
    ],
)
def test_what_is_no_melody_is_refused(text: str, message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        melody.read(text, 0.5)


def write_midi(path: pathlib.Path) -> None:
    """Write a chord of two, a drum and a note, at 120 beats a minute."""
    file, track = mido.MidiFile(ticks_per_beat=100), mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    track.append(mido.Message("note_on", note=60, velocity=127))
    track.append(mido.Message("note_on", note=64, velocity=64))
    track.append(mido.Message("note_on", note=36, velocity=99, channel=9))
    track.append(mido.Message("note_off", note=64, time=100))
    track.append(mido.Message("note_on", note=60, velocity=0, time=100))  # ends it, as many do
    track.append(mido.Message("note_on", note=67, velocity=127))
    track.append(mido.Message("note_off", note=67, time=50))
    file.save(path)


def test_a_midi_file_is_played_without_its_drums(tmp_path: pathlib.Path) -> None:
    write_midi(tmp_path / "tune.mid")
    notes = melody.read(str(tmp_path / "tune.mid"), 9.0)
    assert [(note.pitch, note.start_seconds, note.seconds) for note in notes] == [
        (60, 0.0, 1.0),
        (64, 0.0, 0.5),
        (67, 1.0, 0.25),
    ]
    assert notes[0].loudness == 1.0
    assert notes[1].loudness == pytest.approx(64 / 127)


def test_a_damaged_midi_file_is_one_line(tmp_path: pathlib.Path) -> None:
    for content in (
        b"",
        b"MThd",
        b"RIFF" + bytes(40),
        b"MThd\0\0\0\6\0\1\0\1\0\1MTrk\0\0\0\x09abc",
        b"MThd\0\0\0\6\0\2\0\1\0\1" + _TRACK,  # songs one after another, not parts of one
        b"MThd\0\0\0\6\0\1\0\1\0\0" + _TRACK,  # no ticks to a beat
        b"MThd\0\0\0\6\0\1\0\1\0\1" + _BAD_KEY,
    ):
        (tmp_path / "bad.mid").write_bytes(content)
        with pytest.raises(errors.InputError, match="must be a MIDI file") as caught:
            melody.read(str(tmp_path / "bad.mid"), 0.5)
        assert "\n" not in str(caught.value)
    with pytest.raises(errors.InputError, match="must be a MIDI file"):
        melody.read(str(tmp_path / "none.mid"), 0.5)


def test_notes_stand_where_they_begin_and_end_softly() -> None:
    tone = np.ones(RATE, np.float32)
    notes = [melody.Note(60, 0.5, 0.25, 0.5), melody.Note(62, 1.0, 2.0)]
    song = melody.mix(notes, {60: tone, 62: tone}, RATE)
    assert song.size == round((3.0 + 0.1) * RATE) + 1
    assert not song[: RATE // 2].any()
    np.testing.assert_array_equal(song[RATE // 2 : 3 * RATE // 4], 0.5)
    release = song[3 * RATE // 4 : 3 * RATE // 4 + RATE // 10]
    assert (np.diff(release) < 0).all()
    np.testing.assert_array_equal(song[RATE : 2 * RATE], 1.0)  # as long as there is sound
    assert not song[2 * RATE :].any()
    assert tone.all(), "what is mixed must not change the notes"


def test_a_note_that_is_never_let_go_sounds_to_the_end(tmp_path: pathlib.Path) -> None:
    file = mido.MidiFile()
    file.tracks.append(
        mido.MidiTrack(
            [
                mido.Message("note_on", note=60, velocity=127, time=0),
                mido.Message("note_on", note=64, velocity=127, time=480),
                mido.Message("note_off", note=64, time=480),
            ]
        )
    )
    file.save(tmp_path / "held.mid")
    notes = melody.read(str(tmp_path / "held.mid"), 9.0)
    assert notes == [melody.Note(60, 0.0, 1.0), melody.Note(64, 0.5, 0.5)]
