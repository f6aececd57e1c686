"""sha256 of files, remembered for as long as a file does not change.

What is remembered is working state: deleting it costs the hashing and nothing else.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import pathlib
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from lstm_gen.platform import errors, storage

STATE_DIR = ".state"
"""Directory within a dataset's for working state: no part of it, and free to be deleted."""

_FILE = "digests.json"
_SHA256 = re.compile("[0-9a-f]{64}")
_READ_BYTES = 1 << 20
_THREADS = 4  # hashing releases the interpreter's lock
# A file can change twice within one tick of its file system's clock; what is so young is not
# remembered.
_YOUNG_SECONDS = 2.0


class Digest(NamedTuple):
    """What a file holds.

    Attributes:
      sha256: Of its content, hexadecimal; empty if it cannot be read.
      n_bytes: Its size.
      problem: Why it cannot be read, or empty.
      token: Of its `storage.Stamp`, taken before it was read.
    """

    sha256: str
    n_bytes: int
    problem: str = ""
    token: str = ""


class Digests:
    """The digests of files, computed or remembered.

    Attributes:
      n_hashed: How many files have been read so far.
    """

    def __init__(self, path: str = "") -> None:
        """Start with what is remembered at `path`, local or gs://, or without memory."""
        self.n_hashed = 0
        self._path = path
        self._known: dict[str, list[str]] = {}
        self._changed = False
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if path and storage.exists(path):
                known = json.loads(storage.read_text(path)).items()
                self._known = {file: entry for file, entry in known if _is_whole(entry)}

    def find(self, directory: str, names: Sequence[str]) -> list[Digest]:
        """Return the digest of files below a directory, in order.

        A bad file is described, not raised. In a bucket what is remembered costs one listing.
        """
        stamps = storage.list_stamps(directory) if storage.is_remote(directory) else {}

        def find(name: str) -> Digest:
            return self._find(storage.join(directory, name), stamps.get(name))

        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(find, names))

    def save(self) -> None:
        """Remember what was found, where that can be written."""
        if self._changed and self._path:
            with contextlib.suppress(OSError):
                storage.write_text(self._path, json.dumps(self._known, sort_keys=True))
            self._changed = False

    def _find(self, path: str, stamp: storage.Stamp | None) -> Digest:
        try:
            stamp = stamp or storage.stamp(path)
            remembered = self._known.get(path)
            if remembered and remembered[0] == stamp.token:
                return Digest(remembered[1], stamp.n_bytes, token=stamp.token)
            errors.require(stamp.is_file, "must be a regular file", path=path)
            sha256 = hash_file(path)
        except (OSError, errors.InputError) as error:
            return Digest("", 0, getattr(error, "strerror", None) or str(error))
        self.n_hashed += 1
        if stamp.seconds + _YOUNG_SECONDS < time.time():
            self._known[path] = [stamp.token, sha256]
            self._changed = True
        return Digest(sha256, stamp.n_bytes, token=stamp.token)


def _is_whole(entry: object) -> bool:
    """Whether what is remembered of a file is a token and a digest."""
    if not isinstance(entry, list) or [type(value) for value in entry] != [str, str]:
        return False
    return bool(_SHA256.fullmatch(entry[1]))


def beside(data_dir: str) -> Digests:
    """Return the digests that are remembered in the directory of a dataset."""
    return Digests(storage.join(data_dir, STATE_DIR, _FILE))


def hash_file(path: str) -> str:
    """Return sha256 of a file's content, hexadecimal.

    Args:
      path: Local or gs:// path.
    """
    digest = hashlib.sha256()
    with storage.local_copy(path) as local, pathlib.Path(local).open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
