"""Which files are recordings, decided by their names and places alone; a verdict on the others.

Every name comes through here before anything is opened: it is relative, leads nowhere else, and
what it names is a regular file inside the folder of recordings.
"""

import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lstm_gen import config, errors, storage
from lstm_gen.audio import ffmpeg, files

_AUDIO_SUFFIXES = files.EXTENSIONS | ffmpeg.EXTENSIONS


class LeftOut(NamedTuple):
    """A file that will not be opened: its name, the code in `VERDICTS`, and why in a sentence."""

    name: str
    verdict: str
    detail: str


def find(input_dir: str) -> tuple[list[str], list[LeftOut]]:
    """Look for recordings below a folder.

    Folders behind symbolic links are not searched, so a circle of links costs nothing; files
    behind them are taken if they are inside the folder.

    Args:
      input_dir: Local or gs:// path of a folder.

    Returns:
      Names of the files to open and the verdicts on all others, both sorted by name; a name
      is "/"-separated and relative to the folder, with undecodable bytes as Python has them.

    Raises:
      InputError: If there is no such folder, or no file with a suffix of audio in it.
      OSError: If a folder cannot be listed; nothing is passed over in silence.
    """
    config.require(
        storage.is_directory(input_dir),
        "--input_dir must be a folder of recordings",
        input_dir=input_dir,
    )
    left_out = sorted(_judge_all(input_dir))
    names = [entry.name for entry in left_out if not entry.verdict]
    if not any(suffix(entry.name) in _AUDIO_SUFFIXES for entry in left_out):
        raise errors.InputError(
            "--input_dir must hold recordings such as .wav, .flac, .ogg, .mp3 or .aiff, at any "
            f"depth. Received: input_dir={input_dir!r} with {_count_suffixes(left_out)}"
        )
    return names, [entry for entry in left_out if entry.verdict]


def suffix(name: str) -> str:
    """Return a name's suffix in lower case, with its dot."""
    return pathlib.PurePosixPath(name).suffix.lower()


def _judge_all(input_dir: str) -> Iterator[LeftOut]:
    """Yield every file found, with an empty verdict for those to open."""
    if storage.is_remote(input_dir):
        for name in storage.walk_files(input_dir):
            yield LeftOut(name, *_judge_name(name))
        return
    root = pathlib.Path(input_dir)
    inside = root.resolve()
    for folder, folders, names in os.walk(root, onerror=_raise):
        for path in (pathlib.Path(folder, name) for name in folders):
            if path.is_symlink():
                yield LeftOut(
                    path.relative_to(root).as_posix(), *_judge_linked_folder(path, inside)
                )
        for path in (pathlib.Path(folder, name) for name in names):
            name = path.relative_to(root).as_posix()
            verdict, detail = _judge_name(name)
            yield LeftOut(name, *((verdict, detail) if verdict else _judge_file(path, inside)))


def _judge_name(name: str) -> tuple[str, str]:
    """Return the verdict on a name and why; empty if it is one of a recording."""
    if suffix(name) not in _AUDIO_SUFFIXES:
        return "not_audio", "its suffix is not of audio"
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        return "bad_name", "an empty, '.' or '..' part in its name could lead out of the folder"
    return "", ""


def _judge_linked_folder(path: pathlib.Path, inside: pathlib.Path) -> tuple[str, str]:
    """Return the verdict on a link to a folder."""
    if path.resolve().is_relative_to(inside):
        return "duplicate", "a link to a folder that is searched anyway"
    return "outside", "a link to a folder outside; name a folder that holds both as --input_dir"


def _judge_file(path: pathlib.Path, inside: pathlib.Path) -> tuple[str, str]:
    """Return the verdict on what has the name of a recording."""
    try:
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(inside):
            return (
                "outside",
                "a link to a file outside; name a folder that holds both as --input_dir",
            )
        if not path.is_file():
            return "not_a_file", "a pipe, a socket or a device"
        n_bytes = path.stat().st_size
    except (OSError, RuntimeError):  # a circle of links is a RuntimeError before Python 3.13
        return "missing", "a link to nothing, or in a circle"
    if n_bytes == 0:
        return "empty", "a file of 0 bytes"
    if n_bytes > files.MOST_BYTES:
        return "too_long", f"more than {files.MOST_BYTES >> 30} GiB; split it"
    return "", ""


def _count_suffixes(entries: Iterable[LeftOut]) -> str:
    """Return the commonest suffixes and how often they occur."""
    counts = Counter(suffix(entry.name) or "without suffix" for entry in entries).most_common(4)
    return ", ".join(f"{count} {kind}" for kind, count in counts) or "no files"


def _raise(error: OSError) -> None:
    raise error
