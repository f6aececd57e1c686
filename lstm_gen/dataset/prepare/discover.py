"""Which files are recordings, decided by their names and places alone; a verdict on the others.

Every name comes through here before anything is opened: it is relative, leads nowhere else, and
what it names is a regular file inside the folder of recordings.
"""

import pathlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from lstm_gen.audio import files
from lstm_gen.platform import errors, storage

_SUFFIXES = files.EXTENSIONS | files.FFMPEG_EXTENSIONS


class LeftOut(NamedTuple):
    """A file that will not be opened: its name, the code in `STATUSES`, and why in a sentence."""

    name: str
    verdict: str
    detail: str


def find(input_dir: str) -> tuple[list[str], list[LeftOut]]:
    """Look for recordings below a folder.

    Folders behind symbolic links are not searched, so a circle of links costs nothing; files
    behind them are taken if they are inside the folder, and then are duplicates by content.

    Args:
      input_dir: Local or gs:// path of a folder.

    Returns:
      Names of the files to open and the verdicts on all others, both sorted by name. A name
      is "/"-separated and relative to the folder, with undecodable bytes as Python has them.

    Raises:
      InputError: If there is no such folder, or no file with a suffix of audio in it.
      OSError: If a folder cannot be listed; nothing is passed over in silence.
    """
    errors.require(
        storage.is_directory(input_dir),
        "--input_dir must be a folder of recordings",
        input_dir=input_dir,
    )
    names = storage.walk_files(input_dir)
    if not any(suffix(name) in _SUFFIXES for name in names):
        raise errors.InputError(
            "--input_dir must hold recordings such as .wav, .flac, .ogg, .mp3 or .aiff, at any "
            f"depth. Received: input_dir={input_dir!r} with {_count_suffixes(names)}"
        )
    judged = {name: judge(input_dir, name) for name in names}
    return (
        [name for name, reason in judged.items() if not reason],
        [LeftOut(name, *reason) for name, reason in judged.items() if reason],
    )


def judge(input_dir: str, name: str) -> tuple[str, str] | None:
    """Return the verdict on a file and its detail, or None if it is to be opened.

    Args:
      input_dir: Local or gs:// path of the folder of recordings.
      name: As `find` has it.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        return "bad_name", "a name with an empty, '.' or '..' part could lead out of the folder"
    is_audio = suffix(name) in _SUFFIXES
    if storage.is_remote(input_dir) and is_audio:
        return None
    path = pathlib.Path(input_dir, name)
    try:
        if is_audio or path.is_dir():  # only a link to a folder is listed like a file
            return _judge_place(path, pathlib.Path(input_dir).resolve())
    except PermissionError as error:
        return "denied", str(error.strerror)
    except (OSError, RuntimeError):  # a circle of links is a RuntimeError before Python 3.13
        return "missing", "a link to nothing, or in a circle"
    return "not_audio", "its suffix is not of audio"


def suffix(name: str) -> str:
    """Return a name's suffix in lower case, with its dot."""
    return pathlib.PurePosixPath(name).suffix.lower()


def _judge_place(path: pathlib.Path, root: pathlib.Path) -> tuple[str, str] | None:
    """Return the verdict on what is at a place on disk."""
    target = path.resolve(strict=True)
    if not target.is_relative_to(root):
        return "outside", "it links out of the folder; let --input_dir hold both"
    if target.is_dir():
        return "duplicate", "it links to a folder that is searched anyway"
    if not target.is_file():
        return "not_a_file", "a pipe, a socket or a device"
    n_bytes = target.stat().st_size
    if n_bytes == 0:
        return "empty", "a file of 0 bytes"
    if n_bytes > files.MOST_BYTES:
        return "too_long", f"more than {files.MOST_BYTES >> 30} GiB; split it"
    return None


def _count_suffixes(names: Iterable[str]) -> str:
    """Return the commonest suffixes and how often they occur."""
    counts = Counter(suffix(name) or "without suffix" for name in names).most_common(4)
    return ", ".join(f"{count} {kind}" for kind, count in counts) or "no files"
