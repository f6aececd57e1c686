"""Files on disk and in Google Cloud Storage, by one set of functions.

A path that starts with "gs://" goes to `gcs`, everything else is a local path. Writes are
atomic: a reader sees the old content or the new one. Imports no TensorFlow, to start fast.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lstm_gen.platform import errors, failpoints, gcs

_MOUNT = "/gcs/"
_READ_BYTES = 1 << 20


def is_remote(path: str) -> bool:
    """Whether the path is in a bucket."""
    return path.startswith(gcs.SCHEME)


def resolve(path: str, local: bool, bucket: str) -> str:
    """Return the local or gs:// path of a path given on the command line.

    Args:
      path: As the user gave it; a full gs:// path is returned as it is. Vertex AI mounts buckets
        at /gcs/NAME; such a path becomes gs://NAME, because renames and small writes are not
        atomic in the mount.
      local: Whether the path is local; otherwise it is inside the bucket.
      bucket: Bucket name, with or without "gs://"; needed when `local` is false.

    Raises:
      InputError: If a bucket is needed and none is given.
    """
    if path.startswith(_MOUNT):
        return gcs.SCHEME + path.removeprefix(_MOUNT)
    if local or is_remote(path):
        return path
    name = bucket.removeprefix(gcs.SCHEME).strip("/")
    if not name:
        raise errors.InputError(
            "a path in a bucket needs --gcs_bucket=NAME or a full gs://NAME/... path. "
            f"Received: path={path!r}, gcs_bucket={bucket!r}"
        )
    return f"{gcs.SCHEME}{name}/{path.strip('/')}"


def join(directory: str, *names: str) -> str:
    """Return a path below a directory."""
    if is_remote(directory):
        return "/".join([directory.rstrip("/"), *names])
    return str(pathlib.Path(directory, *names))


def name(path: str) -> str:
    """Return the last part of a path."""
    return path.rstrip("/").rsplit("/", 1)[-1]


def folders(path: str) -> Iterator[str]:
    """Yield the parent folders of a path, the nearest first; local ones without symbolic links."""
    if not is_remote(path):
        yield from map(str, pathlib.Path(path).resolve().parents)
        return
    scheme, inside = gcs.SCHEME, path.removeprefix(gcs.SCHEME).rstrip("/")
    while "/" in inside:
        inside = inside.rsplit("/", 1)[0]
        yield scheme + inside


def exists(path: str) -> bool:
    """Whether a file or directory exists."""
    if is_remote(path):
        return gcs.find(path) is not None or gcs.is_directory(path)
    return pathlib.Path(path).exists()


def is_directory(path: str) -> bool:
    """Whether the path is a directory."""
    return gcs.is_directory(path) if is_remote(path) else pathlib.Path(path).is_dir()


def is_link(path: str) -> bool:
    """Whether a path is a symbolic link, broken ones included."""
    return not is_remote(path) and pathlib.Path(path).is_symlink()


def is_plain_file(path: str, max_bytes: int) -> bool:
    """Whether a path is a file of at most this size, and no link, pipe, device or directory."""
    if is_remote(path):
        entry = gcs.find(path)
        return entry is not None and entry.size <= max_bytes
    try:
        found = pathlib.Path(path).lstat()
    except (OSError, ValueError):  # nothing there, or not a valid name
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= max_bytes


def size_bytes(path: str) -> int:
    """Return a file's size in bytes."""
    return gcs.stat(path).size if is_remote(path) else pathlib.Path(path).stat().st_size


class Stamp(NamedTuple):
    """Version of a file, cheap to read: an equal stamp means that the file has not changed.

    Attributes:
      n_bytes: Size in bytes.
      seconds: Last change of the content or the metadata, seconds since the epoch.
      token: Differs after every change of the content (but for one within a clock tick).
      is_file: Whether it is a regular file, not a pipe or a device.
      checksum: As `checksum` returns it, for an object in a bucket; empty for a local file.
    """

    n_bytes: int
    seconds: float
    token: str
    is_file: bool
    checksum: str = ""


def stamp(path: str) -> Stamp:
    """Return a file's stamp."""
    if is_remote(path):
        return _object_stamp(gcs.stat(path))
    local = pathlib.Path(path).stat()
    token = f"{local.st_size}-{local.st_mtime_ns}-{local.st_ctime_ns}-{local.st_ino}"
    is_file = stat.S_ISREG(local.st_mode)
    return Stamp(local.st_size, max(local.st_mtime, local.st_ctime), token, is_file)


def list_stamps(directory: str) -> dict[str, Stamp]:
    """Return the stamp of every file below a directory, by the names of `walk_files`.

    A bucket is listed once.
    """
    if is_remote(directory):
        return {name: _object_stamp(entry) for name, entry in gcs.entries(directory).items()}
    paths = {name: join(directory, name) for name in walk_files(directory)}
    return {name: stamp(path) for name, path in paths.items() if exists(path)}


def make_directory(path: str) -> None:
    """Create a directory and its parents, unless it exists."""
    if is_remote(path):
        return  # a bucket has no directories; an object's name creates them
    pathlib.Path(path).mkdir(parents=True, exist_ok=True)


def list_names(directory: str) -> list[str]:
    """Return the sorted names directly inside a directory (empty if it does not exist)."""
    if is_remote(directory):
        return gcs.children(directory)
    if not is_directory(directory):
        return []
    return sorted(entry.name for entry in pathlib.Path(directory).iterdir())


def walk_files(directory: str) -> list[str]:
    """Return everything below a directory but directories: sorted, "/"-separated relative names.

    Pipes, devices and symbolic links are included; links are not followed.

    Raises:
      OSError: If a directory cannot be listed.
    """
    if is_remote(directory):
        return list(gcs.entries(directory))
    root = pathlib.Path(directory)
    names = []
    for folder, folders, others in os.walk(root, onerror=_raise):
        place = pathlib.Path(folder)
        links = [name for name in folders if (place / name).is_symlink()]
        names += [(place / name).relative_to(root).as_posix() for name in links + others]
    return sorted(names)


def read_bytes(path: str) -> bytes:
    """Return a file's content."""
    return gcs.read(path) if is_remote(path) else pathlib.Path(path).read_bytes()


def read_text(path: str) -> str:
    """Return a file's content as UTF-8 text."""
    return read_bytes(path).decode("utf-8")


def write_bytes(path: str, content: bytes) -> None:
    """Write a file atomically: a reader or a crash sees the old content or the new one."""
    if is_remote(path):
        gcs.write(path, content)
        return
    make_directory(str(pathlib.Path(path).parent))
    temporary = pathlib.Path(f"{path}.tmp-{os.getpid()}")
    try:
        with naming(path), temporary.open("wb") as file:
            file.write(content)
            file.flush()
            failpoints.reach("file.written")
            os.fsync(file.fileno())
        failpoints.reach("file.synced")
        commit(str(temporary), path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Add this file's name to an OSError that has none, as when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, path) from error


def write_text(path: str, content: str) -> None:
    """Write UTF-8 text atomically (see `write_bytes`)."""
    write_bytes(path, content.encode("utf-8"))


def commit(temporary: str, path: str) -> None:
    """Rename a finished, flushed local file to its final name, durably."""
    pathlib.Path(temporary).replace(path)
    failpoints.reach("file.renamed")
    _flush(pathlib.Path(path).parent)


def publish(local_file: str, path: str) -> None:
    """Move a finished, flushed local file to `path`: by rename, or by one upload."""
    if not is_remote(path):
        commit(local_file, path)
        return
    gcs.upload(local_file, path)
    pathlib.Path(local_file).unlink()


def remove(path: str) -> None:
    """Delete a file if it exists."""
    if is_remote(path):
        gcs.delete(path)
    else:
        pathlib.Path(path).unlink(missing_ok=True)


def remove_tree(path: str) -> None:
    """Delete a directory and everything in it, if it exists."""
    if is_remote(path):
        gcs.delete_tree(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def lock(path: str, content: str = "") -> Iterator[None]:
    """Hold an exclusive lock on a local file, which stays; the lock ends with the process.

    Args:
      path: The file, made if need be; its folder exists.
      content: Written to it once the lock is held.

    Raises:
      BlockingIOError: If another process holds the lock.
    """
    with pathlib.Path(path).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(content)
        file.flush()
        yield


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yield a local file with the content of `path` (itself, when it is local already)."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = str(pathlib.Path(folder, pathlib.PurePosixPath(path).name))
        with naming(copy):
            gcs.download(path, copy)
        yield copy


def checksum(path: str) -> str:
    """Return a file's CRC-32C in base64, as buckets store it; an object is not read."""
    return gcs.stat(path).crc32c if is_remote(path) else gcs.checksum(path)


def sha256(path: str) -> str:
    """Return SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with local_copy(path) as local, pathlib.Path(local).open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def stage(directory: str, names: Sequence[str], folder: str) -> None:
    """Download files of a bucket's directory to a local folder, several at a time.

    Each is verified and appears atomically. A local file with the same checksum is not downloaded
    again.

    Raises:
      FileNotFoundError: If a file is missing in the directory.
    """
    there = gcs.entries(directory)

    def fetch(name: str) -> None:
        local = pathlib.Path(folder, name)
        if name in there and local.is_file() and gcs.checksum(str(local)) == there[name].crc32c:
            return
        make_directory(str(local.parent))
        temporary = pathlib.Path(f"{local}.tmp-{os.getpid()}")
        try:
            gcs.download(join(directory, name), str(temporary))
            _flush(temporary)
            commit(str(temporary), str(local))
        finally:
            temporary.unlink(missing_ok=True)

    gcs.run_parallel(fetch, names)


def _raise(error: OSError) -> None:
    raise error


def _flush(path: pathlib.Path) -> None:
    """Make a local file's content, or the names in a local directory, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _object_stamp(entry: gcs.Entry) -> Stamp:
    """Return an object's stamp, different for every version."""
    return Stamp(entry.size, 0.0, f"{entry.size}-{entry.generation}", True, entry.crc32c)
