"""Discovery of recordings: files with an audio suffix, their content hashes and duplicates.

Every name is checked before a file is opened: it is relative, stays inside the input folder, and
belongs to a regular file. Other files get a status with the reason why they are left out.
"""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lstm_gen.audio import files
from lstm_gen.dataset.format import integrity, records
from lstm_gen.dataset.format.labels import Values
from lstm_gen.platform import errors, storage

_SUFFIXES = files.EXTENSIONS | files.FFMPEG_EXTENSIONS


class LeftOut(NamedTuple):
    """A file that is not opened: its name, its code in `manifest.STATUSES`, and a sentence."""

    name: str
    status: str
    detail: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """An audio file.

    Attributes:
      name: "/"-separated, relative to the input folder.
      n_bytes: Size of the file.
      sha256: Of its content, hexadecimal; empty if it cannot be read.
      same_as: Name of the recording with the same content that is used instead, or empty.
      problem: Why it cannot be read, or empty.
      labels: Values of every label, known or not.
      token: Of its `storage.Stamp` when it was hashed; differs after a change.
    """

    name: str
    n_bytes: int
    sha256: str
    same_as: str = ""
    problem: str = ""
    labels: Values = dataclasses.field(default_factory=dict, hash=False)
    token: str = dataclasses.field(default="", compare=False)

    @property
    def id(self) -> int:
        """Its `records.recording_id`."""
        return records.recording_id(self.sha256)


def find(input_dir: str) -> tuple[list[str], list[LeftOut]]:
    """List the files below a folder.

    Folders behind symbolic links are not searched, so a circle of links does no harm; files
    behind them are opened if they are inside the folder, and then are duplicates by content.

    Args:
      input_dir: Local or gs:// path of a folder.

    Returns:
      Names of the files to open, and all other files with their statuses, both sorted by name.
      A name is "/"-separated and relative to the folder, undecodable bytes as surrogate escapes.

    Raises:
      InputError: If there is no such folder, or no file with an audio suffix in it.
      OSError: If a folder cannot be listed.
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
    problems = {name: find_problem(input_dir, name) for name in names}
    return (
        [name for name, problem in problems.items() if not problem],
        [LeftOut(name, *problem) for name, problem in problems.items() if problem],
    )


def find_problem(input_dir: str, name: str) -> tuple[str, str] | None:
    """Return status and detail of a file that must not be opened, or None.

    Args:
      input_dir: Local or gs:// path of the folder of recordings.
      name: As returned by `find`.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
        return "bad_name", "a name with an empty, '.' or '..' part could lead out of the folder"
    is_audio = suffix(name) in _SUFFIXES
    if storage.is_remote(input_dir) and is_audio:
        return None
    path = pathlib.Path(input_dir, name)
    try:
        if is_audio or path.is_dir():  # only a link to a folder is listed like a file
            return _find_local_problem(path, pathlib.Path(input_dir).resolve())
    except PermissionError as error:
        return "denied", str(error.strerror)
    except (OSError, RuntimeError):  # a circle of links is a RuntimeError before Python 3.13
        return "missing", "a link to nothing, or in a circle"
    return "not_audio", "its suffix is not of audio"


def hash_recordings(
    input_dir: str,
    names: Sequence[str],
    cache: integrity.HashCache,
    values: Mapping[str, Values],
) -> list[Recording]:
    """Return recordings with sizes, content hashes, labels, and duplicates marked.

    Args:
      input_dir: Folder of the recordings.
      names: As returned by `find`.
      cache: Hashes computed before; saved with the new ones.
      values: Name to labels.
    """
    hashes = cache.find(input_dir, names)
    cache.save()  # however this run ends, the next one need not hash them again
    first: dict[str, str] = {}
    for name, content in zip(names, hashes, strict=True):
        first.setdefault(content.sha256, name)
    return [
        Recording(
            name=name,
            n_bytes=content.n_bytes,
            sha256=content.sha256,
            same_as=first[content.sha256]
            if content.sha256 and first[content.sha256] != name
            else "",
            # The same wherever the folder is.
            problem=content.problem.replace(storage.join(input_dir, name), name),
            labels=values.get(name, {}),
            token=content.token,
        )
        for name, content in zip(names, hashes, strict=True)
    ]


def suffix(name: str) -> str:
    """Return a name's suffix in lower case, with its dot."""
    return pathlib.PurePosixPath(name).suffix.lower()


def _find_local_problem(path: pathlib.Path, root: pathlib.Path) -> tuple[str, str] | None:
    """Return status and detail of a local file that must not be opened, or None."""
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
    """Return the commonest suffixes and their counts, in words."""
    counts = Counter(suffix(name) or "without suffix" for name in names).most_common(4)
    return ", ".join(f"{count} {kind}" for kind, count in counts) or "no files"
