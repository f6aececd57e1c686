"""Objects in Google Cloud Storage, by their gs:// paths.

The client library is imported at the first use, so that local work never waits for it.
Transient errors are retried; the others become one line that names the object and the remedy.
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

_OUTAGE_SECONDS = 120  # a longer outage ends the program
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 10
_CHUNK_BYTES = 16 << 20  # of a large upload, held in memory
_READ_BYTES = 1 << 20
_THREADS = 8
_REPLACEMENTS = 5
_TAKEN = (410, 412)  # the upload has ended meanwhile, or the object exists already
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
    """Metadata of an object.

    Attributes:
      size: Bytes.
      generation: Version number, different after every write.
      crc32c: CRC-32C of the content in base64, as `checksum` returns it.
    """

    size: int
    generation: int
    crc32c: str


def find(path: str) -> Entry | None:
    """Return an object's metadata, or None if it does not exist."""
    bucket, name = _split(path)
    with _explained(path):
        blob = _client().bucket(bucket).get_blob(name, retry=_retry()) if name else None
    return _entry(blob) if blob else None


def stat(path: str) -> Entry:
    """Return an object's metadata.

    Raises:
      FileNotFoundError: If the object does not exist.
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

    Names that end in "/" are left out: some clients create them as directories.
    """
    found, _ = _listing(directory)
    return {name: found[name] for name in sorted(found) if name and not name.endswith("/")}


def read(path: str) -> bytes:
    """Return an object's content.

    Raises:
      FileNotFoundError: If the object does not exist.
    """
    return bytes(_fetch(path, "download_as_bytes"))


def download(path: str, local_file: str) -> None:
    """Copy an object to a local file.

    Raises:
      FileNotFoundError: If the object does not exist.
    """
    _fetch(path, "download_to_filename", local_file)


def write(path: str, content: bytes) -> None:
    """Write an object, replacing any that exists."""
    with _explained(path):
        _blob(path).upload_from_string(content, _CONTENT_TYPE, checksum="crc32c", retry=_retry())


def upload(local_file: str, path: str) -> None:
    """Upload a local file under a precondition, replacing any object that exists.

    A retry after a lost response finds the object with this file's checksum, and is done.
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
    """Replace an object if it has not changed meanwhile (compare and swap).

    Args:
      path: The object.
      content: Different from the content that any other process writes there.
      generation: Generation of the version to replace; 0 if the object must not exist.

    Returns:
      The new generation, or None if the object has changed.
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
            there = find(path)  # our own if the response to an earlier attempt was lost
            return there.generation if there and read(path) == content else None
        return int(blob.generation)


def delete(path: str, generation: int | None = None) -> None:
    """Delete an object, or only this version of it, if it exists."""
    from google.api_core import exceptions

    with _explained(path), contextlib.suppress(exceptions.NotFound, exceptions.PreconditionFailed):
        _blob(path).delete(if_generation_match=generation, retry=_retry())


def delete_tree(directory: str) -> None:
    """Delete everything below a directory."""
    found, _ = _listing(directory)
    prefix = directory.rstrip("/") + "/"
    run_parallel(delete, [prefix + name for name in found])


def run_parallel(function: Callable[..., None], *arguments: Iterable[str]) -> None:
    """Call a function for many objects, several at a time; the first error ends it."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(function, *arguments):
            pass


def checksum(local_file: str) -> str:
    """Return the CRC-32C of a local file as Cloud Storage has it: big-endian, base64."""
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
    """Call a download method of an object until it succeeds.

    Each attempt starts from the beginning: the library would resume where the last one failed,
    and would not verify the result.
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
    """Return this process's client; a forked process must not share its parent's connections."""
    return _make_client(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))


@functools.lru_cache(maxsize=1)
def _make_client(_process: int, _emulator: str | None) -> Any:
    from google.cloud import storage

    # Its telemetry would request the bucket's metadata from another thread.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return storage.Client(project=None)  # objects need none, and not every login names one


@functools.cache
def _retry() -> Any:
    """Return the library's retries with this module's delays and timeout."""
    from google.cloud.storage import retry

    return retry.DEFAULT_RETRY.with_delay(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS).with_timeout(
        _OUTAGE_SECONDS
    )


@contextlib.contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn the library's errors into one line, without URLs: they hold tokens and upload ids."""
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
    """Return the error for an HTTP status, or None where there was no usable response."""
    remedy, words = "try again later; finished work is kept", "no complete response"
    if status is not None:
        remedy = _REMEDIES.get(status, remedy)
        words = f"{int(status)} {_PHRASES.get(status, '')}".rstrip()
    return errors.StorageError(f"storage must give access to {path}; {remedy}. Received: {words}")
