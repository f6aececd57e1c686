"""Decoding, resampling and writing of recordings, good and bad."""

import pathlib
import pickle
import struct
import sys
from typing import Any

import numpy as np
import pytest
import soundfile

from lstm_gen.audio import files
from lstm_gen.platform import errors

RATE = 22050


def tone(hz: Any = 440.0, seconds: Any = 1.0, rate: Any = RATE, peak: Any = 0.5) -> Any:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def pitch_hz(samples: Any, rate: Any = RATE) -> Any:
    """The strongest frequency, by a parabola through the log spectrum's peak."""
    log = np.log(np.abs(np.fft.rfft(samples * np.hanning(samples.size))) + 1e-12)
    peak = int(log[1:-1].argmax()) + 1
    left, middle, right = log[peak - 1 : peak + 2]
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    return (peak + offset) * rate / samples.size


def reason_for(path: Any, rate: Any = RATE) -> Any:
    with pytest.raises(files.AudioError) as caught:
        files.read(str(path), rate)
    assert isinstance(caught.value, errors.InputError)
    message = str(caught.value)
    assert "Received:" in message
    assert str(path) in message
    assert "\n" not in message
    return caught.value.reason


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wav_samples_come_back_at_their_level(tmp_path: pathlib.Path, subtype: Any) -> None:
    path = str(tmp_path / "tone.wav")
    soundfile.write(path, tone(), RATE, subtype=subtype)
    step = {"PCM_U8": 2**-7, "PCM_16": 2**-15}.get(subtype, 2**-22)
    np.testing.assert_allclose(files.read(path, RATE), tone(), atol=step)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_formats_keep_pitch_duration_and_level(tmp_path: pathlib.Path, suffix: Any) -> None:
    path = str(tmp_path / f"tone.{suffix}")
    soundfile.write(path, tone(), RATE)
    samples = files.read(path, RATE)
    assert samples.dtype == np.float32
    assert samples.size == RATE
    assert pitch_hz(samples) == pytest.approx(440, abs=0.1)
    assert samples.std() == pytest.approx(tone().std(), rel=0.02)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000, 96000])
def test_resampling_keeps_pitch_duration_and_level(tmp_path: pathlib.Path, rate: Any) -> None:
    path = str(tmp_path / "tone.wav")
    soundfile.write(path, tone(rate=rate), rate, subtype="FLOAT")
    samples = files.read(path, RATE)
    assert abs(samples.size - RATE) <= 1
    np.testing.assert_allclose(samples[500:-500], tone()[500 : samples.size - 500], atol=2e-3)


def test_channels_are_averaged(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "stereo.wav")
    left, right = tone(440), tone(660, peak=0.25)
    soundfile.write(path, np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(files.read(path, RATE), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_blocks_join_to_the_same_signal(tmp_path: pathlib.Path, rate: Any) -> None:
    path = str(tmp_path / "tone.flac")
    soundfile.write(path, tone(seconds=2.0, rate=rate), rate)
    whole = files.read(path, RATE)
    blocks = list(files.read_blocks(path, RATE, block_seconds=0.123))
    assert len(blocks) > 10
    assert all(block.size for block in blocks)
    # soxr's blocks differ from its whole by rounding alone.
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_few_samples_are_a_recording(tmp_path: pathlib.Path, count: Any) -> None:
    path = str(tmp_path / "short.wav")
    soundfile.write(path, tone()[:count], RATE, subtype="FLOAT")
    np.testing.assert_array_equal(files.read(path, RATE), tone()[:count])


def test_no_samples(tmp_path: pathlib.Path) -> None:
    soundfile.write(tmp_path / "none.wav", tone()[:0], RATE)
    (tmp_path / "nothing.wav").touch()
    assert reason_for(tmp_path / "none.wav") == "empty"
    assert reason_for(tmp_path / "nothing.wav") == "empty"


def test_what_is_not_audio(tmp_path: pathlib.Path) -> None:
    (tmp_path / "text.wav").write_text("not a recording\n" * 200)
    (tmp_path / "folder.wav").mkdir()
    assert reason_for(tmp_path / "text.wav") == "unreadable"
    assert reason_for(tmp_path / "folder.wav") == "missing"
    assert reason_for(tmp_path / "absent.wav") == "missing"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_samples_that_are_not_finite(tmp_path: pathlib.Path, bad: Any) -> None:
    samples = tone()
    samples[5000] = bad
    soundfile.write(tmp_path / "bad.wav", samples, RATE, subtype="FLOAT")
    assert reason_for(tmp_path / "bad.wav") == "not_finite"


def test_absurd_headers(tmp_path: pathlib.Path) -> None:
    soundfile.write(tmp_path / "slow.wav", tone()[:100], 10)
    soundfile.write(tmp_path / "wide.wav", np.zeros((10, 40)), RATE)
    assert reason_for(tmp_path / "slow.wav") == "bad_rate"
    assert reason_for(tmp_path / "wide.wav") == "bad_channels"


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "flac", "mp3"])
def test_a_cut_file_is_named(tmp_path: pathlib.Path, suffix: Any, fraction: Any) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE)  # bytes spread evenly over time
    soundfile.write(path, noise, RATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    assert reason_for(path) in ("truncated", "unreadable")


def set_flac_length(path: Any, n_samples: Any) -> Any:
    """Rewrite the 36-bit number of samples in a FLAC header."""
    content = bytearray(path.read_bytes())
    fields = int.from_bytes(content[18:26], "big")
    content[18:26] = (fields >> 36 << 36 | n_samples).to_bytes(8, "big")
    path.write_bytes(content)


def test_a_flac_stream_of_unknown_length_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "stream.flac"
    soundfile.write(path, tone(), RATE)
    set_flac_length(path, 0)
    assert files.read(str(path), RATE).size == RATE


def test_a_header_that_promises_terabytes_allocates_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "liar.flac"
    soundfile.write(path, tone(), RATE)
    set_flac_length(path, (1 << 36) - 1)
    assert reason_for(path) == "truncated"


def test_a_wav_of_a_stream_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "stream.wav"
    soundfile.write(path, tone(), RATE)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    assert files.read(str(path), RATE).size == RATE


def test_the_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(
        pickle.dumps(files.AudioError("empty", "expected more", path="a", peak=1.5))
    )
    assert (error.reason, error.detail) == ("empty", "expected more. Received: peak=1.5")
    assert str(error) == "expected more. Received: path='a', peak=1.5"


def test_other_containers_ask_for_ffmpeg(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "song.m4a").write_bytes(b"\0" * 100)
    assert reason_for(tmp_path / "song.m4a") == "needs_ffmpeg"


def install_ffmpeg(folder: Any, monkeypatch: pytest.MonkeyPatch, body: Any) -> Any:
    """Put a stand-in for ffmpeg on the PATH that runs `body`."""
    script = folder / "ffmpeg"
    script.write_text(f"#!{sys.executable}\nimport struct, sys\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_other_containers_go_through_ffmpeg(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "rate = int(sys.argv[sys.argv.index('-ar') + 1])\n"
        "assert sys.argv[sys.argv.index('-i') + 1] == 'file:' + sys.argv[0][:-6] + 'song.m4a'\n"
        "sys.stdout.buffer.write(struct.pack(f'<{rate}f', *[0.25] * rate))"
    )
    install_ffmpeg(tmp_path, monkeypatch, body)
    (tmp_path / "song.m4a").write_bytes(b"\0" * 100)
    blocks = list(files.read_blocks(str(tmp_path / "song.m4a"), RATE, block_seconds=0.3))
    assert len(blocks) == 4
    np.testing.assert_array_equal(np.concatenate(blocks), np.full(RATE, 0.25, "f4"))
    # Played faster it is resampled to fewer samples, exactly but for a fraction of one a second.
    faster = list(files.read_blocks(str(tmp_path / "song.m4a"), RATE, speed=2 ** (7 / 12)))
    assert sum(map(len, faster)) == round(RATE / 2 ** (7 / 12))


def test_what_ffmpeg_refuses(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_ffmpeg(tmp_path, monkeypatch, "sys.exit('moov atom not found')")
    (tmp_path / "song.m4a").write_bytes(b"\0" * 100)
    assert reason_for(tmp_path / "song.m4a") == "unreadable"


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "FLOAT", 0),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
    ],
)
def test_written_samples_come_back(
    tmp_path: pathlib.Path, name: Any, subtype: Any, step: Any
) -> None:
    path = str(tmp_path / name)
    files.write(path, tone(), RATE, subtype)
    assert soundfile.info(path).subtype == subtype
    np.testing.assert_allclose(files.read(path, RATE), tone(), rtol=0, atol=step)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.OGG"])
def test_lossy_files_keep_pitch_and_level(tmp_path: pathlib.Path, name: Any) -> None:
    path = str(tmp_path / name)
    files.write(path, tone(seconds=12.0), RATE)  # more than one block of the encoder's
    samples = files.read(path, RATE)
    assert samples.size == 12 * RATE
    assert pitch_hz(samples) == pytest.approx(440, abs=0.1)
    assert samples.std() == pytest.approx(tone().std(), rel=0.02)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_loud_signals_are_scaled_whole(tmp_path: pathlib.Path, subtype: Any) -> None:
    path = str(tmp_path / "loud.wav")
    files.write(path, tone(peak=3.0), RATE, subtype)
    samples = files.read(path, RATE)
    assert 0.998 < np.abs(samples).max() <= 0.999 + 2**-15
    np.testing.assert_allclose(samples, tone() * samples.max() / 0.5, atol=1e-3)


def test_quiet_signals_keep_their_level(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "quiet.wav")
    files.write(path, tone(peak=0.01), RATE, "FLOAT")
    np.testing.assert_array_equal(files.read(path, RATE), tone(peak=0.01))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_only_finite_samples_are_written(tmp_path: pathlib.Path, bad: Any) -> None:
    path = tmp_path / "bad.wav"
    with pytest.raises(errors.InputError, match="finite"):
        files.write(str(path), np.array([0.0, bad]), RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "words"),
    [
        ("a.txt", "PCM_16", RATE, "must end in"),
        ("a.flac", "FLOAT", RATE, "PCM_16 or PCM_24"),
        ("a.wav", "PCM_8", RATE, "subtype"),
        ("a.mp3", "PCM_16", 12345, "another rate"),
    ],
)
def test_settings_that_cannot_be_written(
    tmp_path: pathlib.Path, name: Any, subtype: Any, rate: Any, words: Any
) -> None:
    with pytest.raises(errors.InputError, match=words):
        files.write(str(tmp_path / name), tone(), rate, subtype)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_song(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "song.wav"
    files.write(str(path), tone(), RATE)
    before = path.read_bytes()

    def fail(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with pytest.raises(OSError, match="No space"):
        files.write(str(path), tone(660), RATE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writing_makes_the_folder(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "folder" / "song.wav"
    files.write(str(path), tone(), RATE)
    assert [entry.name for entry in path.parent.iterdir()] == ["song.wav"]


def test_suffixes_are_lower_case_and_apart() -> None:
    assert not files.EXTENSIONS & files.FFMPEG_EXTENSIONS
    assert all(s == s.lower() and s[0] == "." for s in files.EXTENSIONS | files.FFMPEG_EXTENSIONS)
