"""Objects in Google Cloud Storage, by their gs:// paths.

The client library is imported with the first use, so that local work never waits for it.
Transient faults are retried; what remains is one line that names the object and the remedy.
Every upload and download is verified by its CRC-32C.
"""

import base64
import concurrent.futures
import contextlib
import errno
import functools
import http
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import google_crc32c

from lstm_gen.platform import errors

SCHEME = "gs://"

_OUTAGE_SECONDS = 120  # storage that stays away for longer ends the program
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 10
_CHUNK_BYTES = 16 << 20  # of a large upload, held in memory
_READ_BYTES = 1 << 20
_THREADS = 8
_REPLACEMENTS = 5
_TAKEN = (410, 412)  # the upload has ended meanwhile; the object is there already
_CONTENT_TYPE = "application/octet-stream"
_FIELDS = "items(name,size,generation,crc32c),prefixes,nextPageToken"
_MISSING = "there is no such object, or no such bucket; check the path and --gcs_bucket"
_REMEDIES = {
    401: "log in with `gcloud auth application-default login`, or name a key file in "
    "GOOGLE_APPLICATION_CREDENTIALS",
    403: "ask the bucket's owner for the role Storage Object User",
    404: "there is no such bucket; check --gcs_bucket or the path",
}
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


class Entry(NamedTuple):
    """What storage says of an object without sending it.

    Attributes:
      size: Bytes.
      generation: Changes with every write, never back.
      crc32c: Of the content, in base64, as `checksum` returns it.
    """

    size: int
    generation: int
    crc32c: str


def find(path: str) -> Entry | None:
    """Return what there is of an object, or None if there is no such object."""
    bucket, name = _split(path)
    with _explained(path):
        blob = _client().bucket(bucket).get_blob(name, retry=_retry()) if name else None
    return _entry(blob) if blob else None


def stat(path: str) -> Entry:
    """Return what there is of an object.

    Raises:
      FileNotFoundError: If there is no such object.
    """
    entry = find(path)
    if entry is None:
        raise FileNotFoundError(errno.ENOENT, _MISSING, path)
    return entry


def is_directory(path: str) -> bool:
    """Whether there is anything below a path."""
    found, _ = _listing(path, max_results=1)
    return bool(found)


def children(directory: str) -> list[str]:
    """Return the sorted names directly below a directory, of objects and of directories."""
    found, directories = _listing(directory, delimiter="/")
    return sorted({*found, *(name.rstrip("/") for name in directories)} - {""})


def entries(directory: str) -> dict[str, Entry]:
    """Return every object below a directory by its relative name, sorted, from one listing.

    A name that ends in "/" is none of a file: some clients let it stand for a directory.
    """
    found, _ = _listing(directory)
    return {name: found[name] for name in sorted(found) if name and not name.endswith("/")}


def read(path: str) -> bytes:
    """Return an object's content.

    Raises:
      FileNotFoundError: If there is no such object.
    """
    return bytes(_fetch(path, "download_as_bytes"))


def download(path: str, local_file: str) -> None:
    """Copy an object to a local file.

    Raises:
      FileNotFoundError: If there is no such object.
    """
    _fetch(path, "download_to_filename", local_file)


def write(path: str, content: bytes) -> None:
    """Make this an object's content, whatever was there."""
    with _explained(path):
        _blob(path).upload_from_string(content, _CONTENT_TYPE, checksum="crc32c", retry=_retry())


def upload(local_file: str, path: str) -> None:
    """Make a local file's content an object's, by one upload under a precondition.

    An upload whose response was lost is found done when it is tried again: the object is there
    already, and has our checksum. Anything else that is there is replaced.
    """
    from google.api_core import exceptions

    ours, generation = checksum(local_file), 0
    with _explained(path):
        blob = _blob(path)
        blob.chunk_size = _CHUNK_BYTES
        for _ in range(_REPLACEMENTS):
            try:
                blob.upload_from_filename(
                    local_file,
                    _CONTENT_TYPE,
                    if_generation_match=generation,
                    checksum="crc32c",
                    retry=_retry(),
                )
                return
            except exceptions.ClientError as error:
                if error.code not in _TAKEN:
                    raise
            there = find(path)
            if there and there.crc32c == ours:
                return
            generation = there.generation if there else 0
    raise errors.StorageError(
        f"one program at a time must write {path}; stop the other. "
        f"Received: {_REPLACEMENTS} other versions"
    )


def exchange(path: str, content: bytes, generation: int) -> int | None:
    """Make this an object's content if it has not changed meanwhile.

    Args:
      path: The object.
      content: Unlike what anybody else writes there.
      generation: Of the version to replace; 0 if there must be none.

    Returns:
      The new generation, or None if there is another version.
    """
    from google.api_core import exceptions

    with _explained(path):
        blob = _blob(path)
        try:
            blob.upload_from_string(
                content,
                _CONTENT_TYPE,
                if_generation_match=generation,
                checksum="crc32c",
                retry=_retry(),
            )
        except exceptions.ClientError as error:
            if error.code not in _TAKEN:
                raise
            there = find(path)  # ours, if the answer to an earlier attempt was lost
            return there.generation if there and read(path) == content else None
        return int(blob.generation)


def delete(path: str, generation: int | None = None) -> None:
    """Delete an object, or just this version of it; nothing happens if it is not there."""
    from google.api_core import exceptions

    with _explained(path), contextlib.suppress(exceptions.NotFound, exceptions.PreconditionFailed):
        _blob(path).delete(if_generation_match=generation, retry=_retry())


def delete_tree(directory: str) -> None:
    """Delete everything below a directory."""
    found, _ = _listing(directory)
    prefix = directory.rstrip("/") + "/"
    run_parallel(delete, [prefix + name for name in found])


def run_parallel(function: Callable[..., None], *arguments: Iterable[str]) -> None:
    """Call a function for each of many objects, some at a time; the first error ends it."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(function, *arguments):
            pass


def checksum(local_file: str) -> str:
    """Return the CRC-32C of a local file as storage writes it: base64, big-endian."""
    crc = google_crc32c.Checksum()
    with pathlib.Path(local_file).open("rb") as file:
        while block := file.read(_READ_BYTES):
            crc.update(block)
    return base64.b64encode(crc.digest()).decode()


def close() -> None:
    """Close this process's connections; the next call opens others."""
    _client().close()
    _make_client.cache_clear()


def _fetch(path: str, method: str, *arguments: str) -> Any:
    """Call a download method of an object until it is whole.

    Each attempt begins anew: the library would go on where the last broke off, and does not
    verify what it has put together.
    """
    from google.api_core import exceptions
    from google.cloud.storage.exceptions import DataCorruption

    def attempt() -> Any:
        try:
            return getattr(_blob(path), method)(*arguments, checksum="crc32c", retry=None)
        except DataCorruption as error:
            raise ConnectionError(f"{path} arrived damaged") from error

    with _explained(path):
        try:
            return _retry()(attempt)()
        except exceptions.NotFound:
            raise FileNotFoundError(errno.ENOENT, _MISSING, path) from None


def _listing(directory: str, **options: Any) -> tuple[dict[str, Entry], set[str]]:
    """Return objects below a directory and, with a delimiter, directories, by relative name."""
    bucket, name = _split(directory)
    prefix = f"{name.rstrip('/')}/" if name else ""
    with _explained(directory):
        pages = _client().list_blobs(
            bucket, prefix=prefix, fields=_FIELDS, retry=_retry(), **options
        )
        found = {blob.name.removeprefix(prefix): _entry(blob) for blob in pages}
        return found, {name.removeprefix(prefix) for name in pages.prefixes}


def _entry(blob: Any) -> Entry:
    return Entry(blob.size, blob.generation, blob.crc32c)


def _blob(path: str) -> Any:
    bucket, name = _split(path)
    return _client().bucket(bucket).blob(name)


def _split(path: str) -> tuple[str, str]:
    """Return the bucket and the object's name."""
    bucket, _, name = path.removeprefix(SCHEME).partition("/")
    return bucket, name


def _client() -> Any:
    """Return this process's client; a forked one must not share its parent's connections."""
    return _make_client(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))


@functools.lru_cache(maxsize=1)
def _make_client(_process: int, _emulator: str | None) -> Any:
    from google.cloud import storage

    # Its traces, which nobody asked for, would ask for the bucket from a thread of their own.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return storage.Client(project=None)  # objects need none, and not every login names one


@functools.cache
def _retry() -> Any:
    """Return the library's retries, with patience of our own."""
    from google.cloud.storage import retry

    return retry.DEFAULT_RETRY.with_delay(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS).with_timeout(
        _OUTAGE_SECONDS
    )


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn the library's errors into one line without URLs, which hold tokens and upload ids."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except exceptions.GoogleAPIError as error:
        last = error.cause if isinstance(error, exceptions.RetryError) else error
        raise _refusal(path, getattr(last, "code", None)) from None
    except GoogleAuthError:
        raise _refusal(path, 401) from None
    except DataCorruption:
        raise _refusal(path, None) from None


def _refusal(path: str, status: int | None) -> errors.StorageError:
    """Return the error for a final status, or for none: no answer that could be used."""
    remedy, words = "try again later; what is finished is kept", "no whole answer"
    if status is not None:
        remedy = _REMEDIES.get(status, remedy)
        words = f"{int(status)} {_PHRASES.get(status, '')}".rstrip()
    return errors.StorageError(f"storage must give access to {path}; {remedy}. Received: {words}")
