"""What a file is by its bytes, and whether it is cut: tried at every place to cut it."""

import io
import struct

import numpy as np
import pytest
import soundfile

from lstm_gen.audio import sniff


def encode(
    container: str, subtype: str | None = None, seconds: float = 0.05, rate: int = 8000
) -> bytes:
    """Return a file of noise, whose bytes are spread evenly over time."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))
    soundfile.write(file, noise, rate, format=container, subtype=subtype)
    return file.getvalue()


def judge(content: bytes) -> tuple[str, str]:
    """Return the container, and what is wrong with its end."""
    file = io.BytesIO(content)
    container = sniff.identify(file)
    return container, sniff.find_cut(file, container)


@pytest.mark.parametrize(
    ("container", "name"),
    [
        ("WAV", "RIFF"),
        ("WAVEX", "RIFF"),
        ("RF64", "RF64"),
        ("W64", "W64"),
        ("AIFF", "AIFF"),
        ("AU", "AU"),
        ("CAF", "CAF"),
        ("FLAC", "FLAC"),
        ("OGG", "OGG"),
        ("MP3", "MPEG"),
    ],
)
def test_whole_files_are_known_and_whole(container: str, name: str) -> None:
    assert judge(encode(container)) == (name, "")


@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_either_order_of_bytes(endian: str) -> None:
    for container, name in (("AU", "AU"), ("WAV", "RIFF" if endian == "LITTLE" else "RIFX")):
        file = io.BytesIO()
        soundfile.write(file, np.ones(99), 8000, format=container, endian=endian)
        assert judge(file.getvalue()) == (name, "")
        assert judge(file.getvalue()[:-1]) == (name, "1 bytes are missing")


@pytest.mark.parametrize(
    ("container", "subtype", "first"),  # first byte after the header
    [
        ("WAV", "PCM_16", 44),
        ("WAVEX", "FLOAT", 104),
        ("RF64", "PCM_16", 104),
        ("W64", "PCM_16", 104),
        ("AIFF", "PCM_24", 54),
        ("AU", "PCM_16", 24),
        ("OGG", "VORBIS", 4),
        ("OGG", "OPUS", 4),
    ],
)
def test_a_cut_anywhere_is_found(container: str, subtype: str, first: int) -> None:
    content = encode(container, subtype)
    assert judge(content)[1] == ""
    for length in range(first, len(content)):
        assert judge(content[:length])[1], length


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_a_cut_mp3_is_found_unless_between_two_frames(rate: int) -> None:
    content = encode("MP3", seconds=1.5, rate=rate)
    assert judge(content)[1] == ""
    starts = [len(content) - n for n in range(3000) if not judge(content[: len(content) - n])[1]]
    lengths = np.diff(starts[::-1])
    assert 2 <= lengths.size < 100
    for start in starts[1:]:  # what is not found begins a frame, or has too little of one
        after = content[start : start + 2]
        assert after[:1] == b"\xff" or content[start - 3 : start].find(b"\xff") >= 0


@pytest.mark.parametrize("junk", [b"TAG" + bytes(125), bytes(5000), b"\xff" * 1000, b"\xff\xfb"])
def test_what_follows_the_last_frame_is_no_cut(junk: bytes) -> None:
    assert judge(encode("MP3", seconds=1.5) + junk) == ("MPEG", "")


def test_a_tag_before_an_mp3_is_skipped() -> None:
    tag = b"ID3\4\0\0" + bytes([0, 0, 2, 44]) + b"fLaC" * 75  # 7 bits a byte: 300
    content = encode("MP3", seconds=1.5)
    assert judge(tag + content) == ("MPEG", "")
    assert judge(tag + content[:-20]) == ("MPEG", "the last frame is incomplete")
    assert judge(tag + encode("FLAC")) == ("FLAC", "")


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFF000])
def test_a_stream_of_unknown_length_is_whole(size: int) -> None:
    content = bytearray(encode("WAV"))
    struct.pack_into("<I", content, 40, size)
    assert judge(bytes(content)) == ("RIFF", "")


@pytest.mark.parametrize("size", [1 << 30, 3 << 30])
def test_a_long_file_that_is_cut(size: int) -> None:
    content = bytearray(encode("WAV"))
    struct.pack_into("<I", content, 40, size)
    assert judge(bytes(content)) == ("RIFF", f"{size + 44 - len(content)} bytes are missing")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"R",
        b"RIFF",
        b"RIFF\0\0\0\0AVI ",
        b"FORM\0\0\0\x008SVX",
        b"<html>",
        b"\xff\xf1\x50\x80",
    ],
)
def test_what_is_not_known(content: bytes) -> None:
    assert judge(content) == ("", "")


def test_nothing_makes_it_fail_or_take_long() -> None:
    random = np.random.default_rng(0)
    heads = [encode(name)[:200] for name in ("WAV", "RF64", "W64", "AIFF", "AU", "OGG", "MP3")]
    for _ in range(500):
        content = bytearray(heads[random.integers(len(heads))])
        for place in random.integers(12, len(content), 4):
            content[place] = random.integers(256)
        judge(bytes(content[: random.integers(len(content))]))
    endless = heads[0][:36] + bytes(8) * 300_000  # chunks of nothing
    assert judge(endless) == ("RIFF", "")
