"""Container type and truncation of audio files, from their bytes.

libsndfile opens only the containers recognised here. Truncation is read from a file's structure,
because libsndfile does not report it: it corrects the length in the header of a truncated WAV,
reads a truncated Ogg or MP3 as a shorter one, and notes it at most in a log of 2 KB, which a few
tags fill.
"""

import struct
from typing import BinaryIO, NamedTuple

_MAGIC = (  # bytes by offset, all of which must match
    ("RIFF", {0: b"RIFF", 8: b"WAVE"}),
    ("RIFX", {0: b"RIFX", 8: b"WAVE"}),
    ("RF64", {0: b"RF64", 8: b"WAVE"}),
    ("W64", {0: b"riff\x2e\x91\xcf\x11", 24: b"wave\xf3\xac\xd3\x11"}),
    ("AIFF", {0: b"FORM", 8: b"AIFF"}),
    ("AIFF", {0: b"FORM", 8: b"AIFC"}),
    ("AU", {0: b".snd"}),
    ("AU", {0: b"dns."}),
    ("CAF", {0: b"caff"}),
    ("FLAC", {0: b"fLaC"}),
    ("OGG", {0: b"OggS"}),
)
_HEAD_BYTES = 32
_ID3_BYTES = 10

_MOST_CHUNKS = 10_000  # bounds the time for a file of empty chunks alone
_RF64_DATA_BYTES_AT = 28

_OGG_HEADER_BYTES = 27
_OGG_PAGE_BYTES = _OGG_HEADER_BYTES + 255 + 255 * 255  # the longest
_OGG_LAST = 4  # the flag of a page that ends its stream

_MPEG_TAIL_BYTES = 1 << 14
_MPEG_SURE = 4  # consecutive frames: fewer could be a coincidence
_MPEG_KBPS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES_HZ = (44_100, 48_000, 32_000)


class _Layout(NamedTuple):
    """Chunk layout of a container: offset of the first chunk, header, name of the data chunk."""

    start: int
    header: struct.Struct  # name and size
    data: bytes  # the chunk that holds the samples
    align: int = 2
    counts_header: bool = False


_LAYOUTS = {
    "RIFF": _Layout(12, struct.Struct("<4sI"), b"data"),
    "RIFX": _Layout(12, struct.Struct(">4sI"), b"data"),
    "RF64": _Layout(12, struct.Struct("<4sI"), b"data"),
    "W64": _Layout(40, struct.Struct("<4s12xQ"), b"data", align=8, counts_header=True),
    "AIFF": _Layout(12, struct.Struct(">4sI"), b"SSND"),
}


def identify(file: BinaryIO) -> str:
    """Return the container by a file's first bytes, whatever its name; "" if unknown."""
    head = _read(file, 0, _HEAD_BYTES)
    if head.startswith(b"ID3"):
        head = _read(file, _id3_end(head), _HEAD_BYTES)
        return _match(head) or "MPEG"  # perhaps padding before the first frame
    return _match(head)


def find_cut(file: BinaryIO, container: str) -> str:
    """Return a description of a file's truncation; "" if it is whole.

    Decoding a truncated CAF or FLAC file fails, so they are not checked here. An MP3 truncated
    between two frames, without their number in a header, is indistinguishable from a shorter one.

    Args:
      file: Open for reading.
      container: As `identify` names it.
    """
    if container in _LAYOUTS:
        return _describe_missing(_chunk_end(file, container), file)
    if container == "AU":
        return _describe_missing(_au_end(file), file)
    if container == "OGG":
        return _find_cut_ogg(_read_tail(file, _OGG_PAGE_BYTES))
    if container == "MPEG":
        return _find_cut_mpeg(_read_tail(file, _MPEG_TAIL_BYTES))
    return ""


def _read(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    """Return bytes from an offset, fewer at the end of the file."""
    file.seek(start)
    return file.read(n_bytes)


def _read_tail(file: BinaryIO, n_bytes: int) -> bytes:
    """Return the last bytes of a file."""
    return _read(file, max(0, file.seek(0, 2) - n_bytes), n_bytes)


def _match(head: bytes) -> str:
    """Return the container of the first bytes."""
    for container, magic in _MAGIC:
        if all(head.startswith(word, place) for place, word in magic.items()):
            return container
    # MPEG's 11 sync bits, and one of its three layers (the fourth value is AAC's).
    is_mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 6
    return "MPEG" if is_mpeg else ""


def _id3_end(head: bytes) -> int:
    """Return the length of an ID3 tag; its size has 7 bits a byte."""
    size = 0
    for byte in head[6:_ID3_BYTES]:
        size = size << 7 | byte & 0x7F
    return _ID3_BYTES + size


def _chunk_end(file: BinaryIO, container: str) -> int:
    """Return where the data chunk ends by its header, 0 if unknown.

    A chunk before it that ends beyond the file counts instead.
    """
    layout, n_bytes = _LAYOUTS[container], file.seek(0, 2)
    place = layout.start
    for _ in range(_MOST_CHUNKS):
        header = _read(file, place, layout.header.size)
        if len(header) < layout.header.size:
            return 0
        name, size = layout.header.unpack(header)
        if any(not 32 <= byte < 127 for byte in name):
            return 0  # no chunk here, as where padding is missing; libsndfile may find it
        begin = place + (0 if layout.counts_header else layout.header.size)
        if name == layout.data:
            if container == "RF64" and size == 0xFFFFFFFF:
                size = int.from_bytes(_read(file, _RF64_DATA_BYTES_AT, 8), "little")
            return 0 if _is_unknown(size) else begin + size
        place = begin + -(-size // layout.align) * layout.align
        if place > n_bytes:
            return place
    return 0


def _au_end(file: BinaryIO) -> int:
    """Return where the samples of an AU file end by its header, 0 if unknown."""
    head = _read(file, 0, 12)
    order = ">" if head.startswith(b".snd") else "<"
    start, size = struct.unpack(f"{order}II", head[4:].ljust(8, b"\xff"))
    return 0 if _is_unknown(size) else start + size


def _is_unknown(size: int) -> bool:
    """Whether a size means "unknown": a little below 2^31 or 2^32, or absurdly large."""
    return any(limit - (1 << 16) <= size < limit for limit in (1 << 31, 1 << 32)) or size >> 62 > 0


def _describe_missing(end: int, file: BinaryIO) -> str:
    """Return the number of missing bytes, in words."""
    missing = end - file.seek(0, 2)
    return f"{missing} bytes are missing" if missing > 0 else ""


def _find_cut_ogg(tail: bytes) -> str:
    """Return the truncation of an Ogg file, by its last page."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    lengths = page[_OGG_HEADER_BYTES:][: page[26]] if len(page) >= _OGG_HEADER_BYTES else b""
    if not lengths or len(page) < _OGG_HEADER_BYTES + len(lengths) + sum(lengths):
        return "the last page is incomplete"
    return "" if page[5] & _OGG_LAST else "no page ends the stream"


def _find_cut_mpeg(tail: bytes) -> str:
    """Return the truncation of an MPEG file: consecutive frames lead beyond its end."""
    place = tail.find(b"\xff")
    while place >= 0:
        end, n_frames = _follow_frames(tail, place)
        if n_frames >= _MPEG_SURE:
            return "the last frame is incomplete" if end > len(tail) else ""
        place = tail.find(b"\xff", place + 1)
    return ""


def _follow_frames(tail: bytes, place: int) -> tuple[int, int]:
    """Return where consecutive frames from `place` on end, and their number."""
    n_frames = 0
    while size := _mpeg_frame_bytes(tail[place : place + 4]):
        place += size
        n_frames += 1
    return place, n_frames


def _mpeg_frame_bytes(header: bytes) -> int:
    """Return the length of the layer III frame with this header of 4 bytes; 0 if it is none.

    Source: ISO/IEC 11172-3, 2.4.1.3 and 2.4.3.1; ISO/IEC 13818-3 for the lower rates.
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate, kbps = header[1] >> 3 & 3, header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or rate == 3 or kbps in (0, 15):
        return 0
    n_bits = _MPEG_KBPS[1 if version == 3 else 2][kbps] * (144_000 if version == 3 else 72_000)
    rate_hz = _MPEG_RATES_HZ[rate] >> {3: 0, 2: 1, 0: 2}[version]
    return n_bits // rate_hz + (header[2] >> 1 & 1)
