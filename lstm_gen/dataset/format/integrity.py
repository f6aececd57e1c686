"""Whether the files of a dataset are the ones that it was written with.

A TFRecord file that lost its last records, has one twice, or belongs to another dataset looks
whole to every reader. So size and sha256 of each file are compared with what is written down,
before anything is read; what has been hashed once is not hashed again until it changes.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from lstm_gen.dataset.format import file_hashes
from lstm_gen.platform import storage


class File(Protocol):
    """A file of a dataset: its name in the directory, and what must be in it."""

    @property
    def name(self) -> str:
        """Name in the directory."""

    @property
    def bytes(self) -> int:
        """Size."""

    @property
    def sha256(self) -> str:
        """Of the content, hexadecimal."""


def compare_sizes(data_dir: str, files: Sequence[File]) -> Iterator[str]:
    """Yield a line for each file that is missing, no file, or of another size."""
    listed = storage.list_stamps(data_dir) if storage.is_remote(data_dir) else {}
    for file in files:
        try:
            stamp = listed.get(file.name) or storage.stamp(storage.join(data_dir, file.name))
        except (FileNotFoundError, NotADirectoryError):
            yield f"{file.name} must be there, but is missing"
            continue
        if not stamp.is_file:
            yield f"{file.name} must be a regular file, but is none"
        elif stamp.n_bytes != file.bytes:
            yield f"{file.name} must have {file.bytes} bytes, but has {stamp.n_bytes}"


def compare_contents(
    data_dir: str, files: Sequence[File], known: file_hashes.Digests
) -> Iterator[str]:
    """Yield a line for each file of another content, or that cannot be read.

    Args:
      data_dir: Where the dataset is.
      files: That are there and of the right size.
      known: What has been hashed before; remembers what is hashed now.
    """
    found = known.find(data_dir, [file.name for file in files])
    known.save()
    names = {file.sha256: file.name for file in files}
    for file, digest in zip(files, found, strict=True):
        if digest.problem:
            yield f"{file.name} must be readable, but is not: {digest.problem}"
        elif digest.sha256 != file.sha256:
            other = names.get(digest.sha256)
            what = f"that of {other}" if other else "another"
            yield f"{file.name} must have the content it was written with, but has {what}"
