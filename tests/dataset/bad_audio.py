"""A folder of files that are broken, hostile or only odd, and the status that each must get.

Every class is a function of a random generator, so a seed makes as many different files of each
as are wanted.
"""

import io
import os
import pathlib
import socket
import struct
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile

RATE = 8000
Random = np.random.Generator
Maker = Callable[[Random], bytes]


def sound(random: Random, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """Return a chord that no other has, float64 [samples]."""
    time = np.arange(round(seconds * rate)) / rate
    return sum(0.2 * np.sin(2 * np.pi * hz * time) for hz in random.uniform(100, 3000, 3))


def encode(
    samples: np.ndarray, container: str = "WAV", subtype: str | None = None, rate: int = RATE
) -> bytes:
    """Return samples [samples] or [samples, channels] as the bytes of a file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def cut(container: str, subtype: str | None = None, seconds: float = 2.0) -> Maker:
    """Return the class of files that end early."""

    def make(random: Random) -> bytes:
        content = encode(random.uniform(-0.5, 0.5, round(seconds * RATE)), container, subtype)
        return content[: int(len(content) * random.uniform(0.3, 0.9))]

    return make


def cut_behind_tags(random: Random) -> bytes:
    """A WAV with comments enough to fill the log in which libsndfile notes that it is cut."""
    content = encode(sound(random))
    comments = b"".join(chunk(b"ICMT", b"comment " * 32) for _ in range(20))
    tagged = content[:36] + chunk(b"LIST", b"INFO" + comments) + content[36:]
    return tagged[: -random.integers(1000, 9000)]


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a RIFF chunk."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def bare_mp3(random: Random) -> bytes:
    """Return an MP3 without the frame that says how many frames there are."""
    content = encode(random.uniform(-0.5, 0.5, 4 * RATE), "MP3")
    return content[content.index(b"\xff\xe3", content.index(b"LAME") + 4) :]


def with_field(content: bytes, place: int, pattern: str, value: int) -> bytes:
    """Return a file with a number in its header replaced."""
    changed = bytearray(content)
    struct.pack_into(pattern, changed, place, value)
    return bytes(changed)


def with_flac_length(content: bytes, n_samples: int) -> bytes:
    """Return a FLAC file whose header has another number of samples, 36 bits."""
    fields = struct.unpack_from(">Q", content, 18)[0]
    return with_field(content, 18, ">Q", fields >> 36 << 36 | n_samples)


def with_xing_frames(content: bytes, n_frames: int) -> bytes:
    """Return an MP3 whose first frame promises another number of frames."""
    place = max(content.find(b"Xing"), content.find(b"Info"))
    return with_field(content, place + 8, ">I", n_frames)


def with_sample(value: float) -> Maker:
    """Return the class of recordings with one sample that cannot be."""

    def make(random: Random) -> bytes:
        samples = sound(random)
        samples[random.integers(samples.size)] = value
        return encode(samples, subtype="DOUBLE" if abs(value) > 3.4e38 else "FLOAT")

    return make


def flipped_flac(random: Random) -> bytes:
    """A FLAC with a bit flipped in its audio, which has checksums."""
    content = bytearray(encode(random.uniform(-0.5, 0.5, RATE), "FLAC"))
    content[random.integers(len(content) // 2, len(content) - 100)] ^= 1 << random.integers(8)
    return bytes(content)


def long_silence(random: Random) -> bytes:
    """Return a small FLAC of more hours than a recording may have."""
    file = io.BytesIO()
    hour = np.zeros(3600 * RATE, np.int16)
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC") as writer:
        writer.write(sound(random))
        for _ in range(5):
            writer.write(hour)
    return file.getvalue()


# Class: suffix, status, maker of the content.
CONTENTS: dict[str, tuple[str, str, Maker]] = {
    "no bytes": (".wav", "empty", lambda _: b""),
    "no samples": (
        ".wav",
        "empty",
        lambda r: encode(np.zeros(0), rate=int(r.integers(1000, 99_999))),
    ),
    "text": (".wav", "unreadable", lambda r: b"not a recording\n" * 99 + r.bytes(9)),
    "html": (".mp3", "unreadable", lambda r: b"<!DOCTYPE html><p>404 " + r.bytes(40)),
    "noise": (".flac", "unreadable", lambda r: b"\x01" + r.bytes(9000)),
    "zeros": (".ogg", "unreadable", lambda r: bytes(int(r.integers(100, 9999)))),
    "picture": (".au", "unreadable", lambda r: b"\x89PNG\r\n\x1a\n" + r.bytes(999)),
    "tag alone": (".mp3", "unreadable", lambda r: b"ID3\4\0\0\0\0\1\0" + r.bytes(128)),
    "magic alone": (".flac", "unreadable", lambda r: b"fLaC" + r.bytes(int(r.integers(1, 99)))),
    "cut wav": (".wav", "truncated", cut("WAV")),
    "cut float wav": (".wav", "truncated", cut("WAVEX", "FLOAT")),
    "cut behind tags": (".wav", "truncated", cut_behind_tags),
    "cut rf64": (".rf64", "truncated", cut("RF64")),
    "cut w64": (".w64", "truncated", cut("W64")),
    "cut aiff": (".aiff", "truncated", cut("AIFF")),
    "cut au": (".au", "truncated", cut("AU")),
    "cut vorbis": (".ogg", "truncated", cut("OGG", "VORBIS")),
    "cut opus": (".opus", "truncated", cut("OGG", "OPUS")),
    "cut mp3": (".mp3", "truncated", cut("MP3", seconds=4.0)),
    "cut bare mp3": (".mp3", "truncated", lambda r: bare_mp3(r)[: -int(r.integers(20, 60))]),
    "cut flac": (".flac", "unreadable", cut("FLAC")),
    "cut caf": (".caf", "unreadable", cut("CAF")),
    "flipped flac": (".flac", "unreadable", flipped_flac),
    "lying wav": (
        ".wav",
        "truncated",
        lambda r: with_field(encode(sound(r)), 40, "<I", 1 << 30),
    ),
    "lying flac": (
        ".flac",
        "truncated",
        lambda r: with_flac_length(encode(sound(r), "FLAC"), (1 << 36) - 1),
    ),
    "lying mp3": (
        ".mp3",
        "truncated",
        lambda r: with_xing_frames(encode(sound(r), "MP3"), (1 << 32) - 1),
    ),
    "0 channels": (".wav", "unreadable", lambda r: with_field(encode(sound(r)), 22, "<H", 0)),
    "65535 channels": (
        ".wav",
        "unreadable",
        lambda r: with_field(encode(sound(r)), 22, "<H", 65_535),
    ),
    "many channels": (
        ".wav",
        "bad_channels",
        lambda r: encode(r.uniform(-1, 1, (9, int(r.integers(33, 999))))),
    ),
    "rate 0": (".wav", "unreadable", lambda r: with_field(encode(sound(r)), 24, "<I", 0)),
    "rate 1": (".wav", "bad_rate", lambda r: with_field(encode(sound(r)), 24, "<I", 1)),
    "low rate": (
        ".wav",
        "bad_rate",
        lambda r: with_field(encode(sound(r)), 24, "<I", int(r.integers(2, 1000))),
    ),
    "high rate": (
        ".wav",
        "bad_rate",
        lambda r: with_field(encode(sound(r)), 24, "<I", int(r.integers(384_001, 1 << 31))),
    ),
    "nan": (".wav", "not_finite", with_sample(np.nan)),
    "infinity": (".wav", "not_finite", with_sample(-np.inf)),
    "3e38": (".wav", "not_finite", with_sample(3e38)),
    "1e300": (".wav", "not_finite", with_sample(1e300)),
    "silence": (
        ".flac",
        "silent",
        lambda r: encode(np.zeros(int(r.integers(9000, 19_000))), "FLAC"),
    ),
    "one sample": (".wav", "too_short", lambda r: encode(r.uniform(0.1, 1, 1))),
    "ima adpcm": (".wav", "unreadable", lambda r: encode(sound(r), "WAV", "IMA_ADPCM")),
    "gsm": (".wav", "unreadable", lambda r: encode(sound(r), "WAV", "GSM610")),
    "voc": (".wav", "unreadable", lambda r: encode(sound(r), "VOC")),
    "8svx": (".aiff", "unreadable", lambda r: encode(sound(r), "SVX")),
    "aac": (".m4a", "needs_ffmpeg", lambda r: b"\0\0\0\x20ftypM4A " + r.bytes(500)),
    "other": (".txt", "not_audio", lambda r: r.bytes(50)),
    # Odd, and good.
    "mp3 by another name": (".wav", "ok", lambda r: encode(sound(r), "MP3")),
    "wav by another name": (".m4a", "ok", lambda r: encode(sound(r))),
    "flac by another name": (".aif", "ok", lambda r: encode(sound(r), "FLAC")),
    "capitals": (".WAV", "ok", lambda r: encode(sound(r))),
    "bytes after the end": (".wav", "ok", lambda r: encode(sound(r)) + r.bytes(99)),
    "tag after the end": (".ogg", "ok", lambda r: encode(sound(r), "OGG") + b"TAG" + bytes(125)),
    "wav of a stream": (
        ".wav",
        "ok",
        lambda r: with_field(encode(sound(r)), 40, "<I", (1 << 32) - 1),
    ),
    "flac of a stream": (
        ".flac",
        "ok",
        lambda r: with_flac_length(encode(sound(r), "FLAC"), 0),
    ),
}
SLOW_CONTENTS: dict[str, tuple[str, str, Maker]] = {"hours": (".flac", "too_long", long_silence)}


def make(folder: pathlib.Path, seed: int, per_class: int, slow: bool = False) -> dict[str, str]:
    """Fill a new folder; return the status that each file in it must get, by name."""
    folder.mkdir()
    random, wanted = np.random.default_rng(seed), {}
    for kind, (suffix, status, maker) in (CONTENTS | (SLOW_CONTENTS if slow else {})).items():
        for index in range(1 if kind in SLOW_CONTENTS else per_class):
            name = f"{kind} {index}{suffix}"
            (folder / name).write_bytes(maker(random))
            wanted[name] = status
    return wanted | make_places(folder, random) | make_names(folder, random)


def make_places(folder: pathlib.Path, random: Random) -> dict[str, str]:
    """Add links, pipes and the like."""
    outside = folder.with_name(f"{folder.name} outside")
    outside.mkdir()
    (outside / "secret.wav").write_bytes(encode(sound(random)))
    (folder / "deep.wav").mkdir()  # a folder, whatever its name
    (folder / "deep.wav" / "real.wav").write_bytes(encode(sound(random)))
    (folder / "~copy.wav").write_bytes((folder / "deep.wav" / "real.wav").read_bytes())
    links: dict[str, Any] = {
        "~link.wav": "deep.wav/real.wav",
        "link to nothing.wav": "nothing.wav",
        "circle.wav": "circle.wav",
        "circle of folders": folder,
        "inside.wav": "deep.wav",
        "outside.wav": outside / "secret.wav",
        "up.wav": f"../{outside.name}/secret.wav",
        "folder outside": outside,
        "device.wav": "/dev/zero",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        here = pathlib.Path.cwd()
        os.chdir(folder)  # the path of a socket must be short
        try:
            listener.bind("socket.wav")
        finally:
            os.chdir(here)
    with (folder / "sparse.wav").open("wb") as file:
        file.truncate(17 << 30)
    return {
        "deep.wav/real.wav": "ok",
        "~copy.wav": "duplicate",
        "~link.wav": "duplicate",
        "link to nothing.wav": "missing",
        "circle.wav": "missing",
        "circle of folders": "duplicate",
        "inside.wav": "duplicate",
        "outside.wav": "outside",
        "up.wav": "outside",
        "folder outside": "outside",
        "device.wav": "outside",
        "pipe.wav": "not_a_file",
        "socket.wav": "not_a_file",
        "sparse.wav": "too_long",
    }


def make_names(folder: pathlib.Path, random: Random) -> dict[str, str]:
    """Add good recordings with names that break careless programs."""
    names = [
        "new\nline.wav",
        "\x1b[31mred\x07.wav",
        "--data_dir=elsewhere.wav",
        "-.wav",
        "~.wav",
        "$(reboot).wav",
        "a'b\"c\\d.wav",
        "..wav",
        "...wav",
        " .wav",
        "\u202egnp.wav",
        unicodedata.normalize("NFC", "\u00e9.wav"),
        unicodedata.normalize("NFD", "\u00e9.wav"),
        os.fsdecode(b"caf\xe9.wav"),
        f"{'x' * 251}.wav",
        "con.wav",
    ]
    for name in names:
        (folder / name).write_bytes(encode(sound(random)))
    return dict.fromkeys(names, "ok")
