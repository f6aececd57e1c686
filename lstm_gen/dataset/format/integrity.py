"""Integrity of files: cached SHA-256, compared with the hashes in `dataset.json`.

A TFRecord file that lost its last records, has one twice, or belongs to another dataset is
well-formed to every reader. So size and SHA-256 of each file are compared with the listed ones
before anything is read. A file is hashed again only when it changes; deleting the cache costs
the hashing and nothing else.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lstm_gen.platform import errors, storage

STATE_DIR = ".state"
"""Directory within a dataset's for working state: not part of the dataset, free to be deleted."""

_CACHE_FILE = "digests.json"
_SHA256 = re.compile("[0-9a-f]{64}")
_THREADS = 4  # hashing releases the interpreter's lock
# A file can change twice within one tick of its file system's clock, so younger files are not
# cached.
_YOUNG_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """A file of a dataset, as `dataset.json` lists it.

    Attributes:
      name: Name in the directory.
      bytes: Size.
      sha256: Of the content, hexadecimal.
    """

    name: str
    bytes: int
    sha256: str


class FileHash(NamedTuple):
    """SHA-256 of a file.

    Attributes:
      sha256: Of the content, hexadecimal; empty if it cannot be read.
      n_bytes: Size.
      problem: Why it cannot be read, or empty.
      token: Of its `storage.Stamp`, taken before it was read.
    """

    sha256: str
    n_bytes: int
    problem: str = ""
    token: str = ""


class HashCache:
    """Hashes of files, computed or taken from a cache file.

    Attributes:
      n_hashed: Number of files read so far.
    """

    def __init__(self, path: str = "") -> None:
        """Load the cache file at `path`, local or gs://; an empty path means no cache."""
        self.n_hashed = 0
        self._path = path
        self._entries: dict[str, list[str]] = {}
        self._changed = False
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if path and storage.exists(path):
                entries = json.loads(storage.read_text(path)).items()
                self._entries = {file: entry for file, entry in entries if _is_valid(entry)}

    def find(self, directory: str, names: Sequence[str]) -> list[FileHash]:
        """Return the hashes of files below a directory, in order.

        An unreadable file gets a `problem`, not an exception. In a bucket, cached files cost one
        listing together.
        """
        stamps = storage.list_stamps(directory) if storage.is_remote(directory) else {}

        def find(name: str) -> FileHash:
            return self._find(storage.join(directory, name), stamps.get(name))

        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(find, names))

    def save(self) -> None:
        """Write the cache file, if that is possible."""
        if self._changed and self._path:
            with contextlib.suppress(OSError):
                storage.write_text(self._path, json.dumps(self._entries, sort_keys=True))
            self._changed = False

    def _find(self, path: str, stamp: storage.Stamp | None) -> FileHash:
        try:
            stamp = stamp or storage.stamp(path)
            cached = self._entries.get(path)
            if cached and cached[0] == stamp.token:
                return FileHash(cached[1], stamp.n_bytes, token=stamp.token)
            errors.require(stamp.is_file, "must be a regular file", path=path)
            sha256 = storage.sha256(path)
        except (OSError, errors.InputError) as error:
            return FileHash("", 0, getattr(error, "strerror", None) or str(error))
        self.n_hashed += 1
        if stamp.seconds + _YOUNG_SECONDS < time.time():
            self._entries[path] = [stamp.token, sha256]
            self._changed = True
        return FileHash(sha256, stamp.n_bytes, token=stamp.token)


def dataset_cache(data_dir: str) -> HashCache:
    """Return the hash cache in a dataset's directory."""
    return HashCache(storage.join(data_dir, STATE_DIR, _CACHE_FILE))


def compare_sizes(data_dir: str, files: Sequence[File]) -> Iterator[str]:
    """Yield a line for each file that is missing, not a regular file, or of another size."""
    listed = storage.list_stamps(data_dir) if storage.is_remote(data_dir) else {}
    for file in files:
        try:
            stamp = listed.get(file.name) or storage.stamp(storage.join(data_dir, file.name))
        except (FileNotFoundError, NotADirectoryError):
            yield f"{file.name} must be there, but is missing"
            continue
        if not stamp.is_file:
            yield f"{file.name} must be a regular file, but is not"
        elif stamp.n_bytes != file.bytes:
            yield f"{file.name} must have {file.bytes} bytes, but has {stamp.n_bytes}"


def compare_contents(data_dir: str, files: Sequence[File], cache: HashCache) -> Iterator[str]:
    """Yield a line for each file that is unreadable or has another content.

    Args:
      data_dir: The dataset's directory.
      files: Files that exist and have the right size.
      cache: Hashes computed before; saved with the new ones.
    """
    found = cache.find(data_dir, [file.name for file in files])
    cache.save()
    names = {file.sha256: file.name for file in files}
    for file, content in zip(files, found, strict=True):
        if content.problem:
            yield f"{file.name} must be readable, but is not: {content.problem}"
        elif content.sha256 != file.sha256:
            other = names.get(content.sha256)
            content_found = f"that of {other}" if other else "another"
            yield f"{file.name} must have the content it was written with, but has {content_found}"


def _is_valid(entry: object) -> bool:
    """Whether a cache entry is a token and a SHA-256."""
    if not isinstance(entry, list) or [type(value) for value in entry] != [str, str]:
        return False
    return bool(_SHA256.fullmatch(entry[1]))
