"""What buckets hold, and how they answer requests, as Google Cloud Storage does."""

import base64
import dataclasses
import hashlib
import itertools
import json
import random
import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import google_crc32c

_OBJECT = r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)"
_ROUTES = {
    "upload": r"(POST|PUT) /upload/storage/v1/b/(?P<bucket>[^/]+)/o",
    "copy": rf"POST {_OBJECT}/rewriteTo/b/(?P<bucket_to>[^/]+)/o/(?P<name_to>[^/]+)",
    "list": r"GET /storage/v1/b/(?P<bucket>[^/]+)/o",
    "describe": rf"GET (/download)?{_OBJECT}",
    "delete": rf"DELETE {_OBJECT}",
    "download": r"GET /(?!storage/|download/|upload/)(?P<bucket>[^/]+)/(?P<name>.+)",
}


class RefusedError(Exception):
    """A request that is answered with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Object(NamedTuple):
    """An object's content and the number of its version."""

    content: bytes
    generation: int


class Request(NamedTuple):
    """What a client asks for."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    origin: str


class Answer(NamedTuple):
    """What it is given."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


@dataclasses.dataclass
class Upload:
    """A resumable upload, under way or done."""

    name: str
    query: Mapping[str, str]
    content: bytes = b""
    answer: Answer | None = None


class Store:
    """Objects by bucket and name, and what requests do with them.

    Attributes:
      objects: What there is.
      written: How often each "bucket/name" was written.
      listing_seed: Of the order within a page of a listing; 0 for that of the names.
    """

    def __init__(self, *buckets: str) -> None:
        self.objects: dict[str, dict[str, Object]] = {bucket: {} for bucket in buckets}
        self.written: Counter[str] = Counter()
        self.listing_seed = 0
        self._generations = itertools.count(1)
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Do what a request asks for."""
        for route, pattern in _ROUTES.items():
            match = re.fullmatch(pattern, f"{request.method} {request.path}")
            if match:
                names = {key: urllib.parse.unquote(text) for key, text in match.groupdict().items()}
                with self._lock:
                    return getattr(self, f"_{route}")(request, **names)
        raise RefusedError(501)

    def put(self, bucket: str, name: str, content: bytes) -> Object:
        """Make a new version of an object."""
        self.objects[bucket][name] = Object(content, next(self._generations))
        self.written[f"{bucket}/{name}"] += 1
        return self.objects[bucket][name]

    def _bucket(self, bucket: str) -> dict[str, Object]:
        if bucket not in self.objects:
            raise RefusedError(404)
        return self.objects[bucket]

    def _object(self, bucket: str, name: str) -> Object:
        if name not in self._bucket(bucket):
            raise RefusedError(404)
        return self.objects[bucket][name]

    def _describe(self, request: Request, bucket: str, name: str) -> Answer:
        if request.query.get("alt") == "media":
            return self._download(request, bucket, name)
        return _json(_metadata(bucket, name, self._object(bucket, name)))

    def _download(self, request: Request, bucket: str, name: str) -> Answer:
        found = self._object(bucket, name)
        if request.query.get("generation", str(found.generation)) != str(found.generation):
            raise RefusedError(404)
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Goog-Generation": str(found.generation),
            "X-Goog-Hash": f"crc32c={crc32c(found.content)},md5={_md5(found.content)}",
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if not wanted:
            return Answer(found.content, 200, headers)
        start, total = int(wanted[1]), len(found.content)
        stop = min(int(wanted[2] or total) + 1, total)
        if start >= total:
            raise RefusedError(416)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
        return Answer(found.content[start:stop], 206, headers)

    def _list(self, request: Request, bucket: str) -> Answer:
        objects, query = self._bucket(bucket), request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        listed: dict[str, Object | None] = {}  # None for what stands for all below it
        for name in objects:
            if name.startswith(prefix):
                rest = name[len(prefix) :]
                head, cut, _ = rest.partition(delimiter) if delimiter else (rest, "", "")
                listed[prefix + head + cut] = None if cut else objects[name]
        names = sorted(name for name in listed if name > query.get("pageToken", ""))
        page = names[: int(query.get("maxResults", 1000))]
        token = {"nextPageToken": page[-1]} if len(page) < len(names) else {}
        if self.listing_seed:
            random.Random(self.listing_seed).shuffle(page)
        found = {name: listed[name] for name in page}
        items = [_metadata(bucket, name, one) for name, one in found.items() if one]
        return _json(
            {"items": items, "prefixes": [name for name, one in found.items() if not one], **token}
        )

    def _delete(self, request: Request, bucket: str, name: str) -> Answer:
        self._object(bucket, name)
        self._require_generation(request.query, bucket, name)
        del self.objects[bucket][name]
        return Answer(b"", 204)

    def _copy(
        self, request: Request, bucket: str, name: str, bucket_to: str, name_to: str
    ) -> Answer:
        content = self._object(bucket, name).content
        resource = self._write(bucket_to, name_to, request.query, content)
        return _json({"done": True, "resource": json.loads(resource.content)})

    def _upload(self, request: Request, bucket: str) -> Answer:
        query, kind = request.query, request.query.get("uploadType")
        if "upload_id" in query:
            return self._continue(request, bucket)
        if kind == "media":
            return self._write(bucket, query["name"], query, request.body)
        if kind == "multipart":
            boundary = request.headers["Content-Type"].split("boundary=")[1].strip("\"'").encode()
            _, described, rest = request.body.split(b"--" + boundary, 2)
            content = rest.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + boundary, 1)[0]
            resource = json.loads(described.split(b"\r\n\r\n", 1)[1])
            _require_checksum(resource.get("crc32c"), content)
            return self._write(bucket, resource["name"], query, content)
        self._bucket(bucket)
        name = query.get("name") or json.loads(request.body)["name"]
        identity = str(next(self._generations))
        self._uploads[identity] = Upload(name, query)
        url = f"{request.origin}{request.path}?uploadType=resumable&upload_id={identity}"
        return Answer(b"", 200, {"Location": url})

    def _continue(self, request: Request, bucket: str) -> Answer:
        """Take a chunk of a resumable upload, or say how much of it there is."""
        upload = self._uploads.get(request.query["upload_id"])
        if upload is None:
            raise RefusedError(410)
        if upload.answer:
            return upload.answer
        given = re.fullmatch(r"bytes (\d+-\d+|\*)/(\d+|\*)", request.headers["Content-Range"])
        if given is None:
            raise RefusedError(400)
        if given[1] != "*":
            start = int(given[1].split("-")[0])
            upload.content = upload.content[:start] + request.body
        if given[2] == str(len(upload.content)):
            claimed = re.search(r"crc32c=([^,]+)", request.headers.get("X-Goog-Hash", ""))
            _require_checksum(claimed and claimed[1], upload.content)
            upload.answer = self._write(bucket, upload.name, upload.query, upload.content)
            return upload.answer
        there = {"Range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}
        return Answer(b"", 308, there)

    def _write(self, bucket: str, name: str, query: Mapping[str, str], content: bytes) -> Answer:
        """Make a new version if the one that there is may be replaced."""
        self._require_generation(query, bucket, name)
        return _json(_metadata(bucket, name, self.put(bucket, name, content)))

    def _require_generation(self, query: Mapping[str, str], bucket: str, name: str) -> None:
        there = self._bucket(bucket).get(name)
        generation = str(there.generation if there else 0)
        if query.get("ifGenerationMatch", generation) != generation:
            raise RefusedError(412)


def crc32c(content: bytes) -> str:
    """Return a checksum as storage writes it."""
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def _require_checksum(claimed: str | None, content: bytes) -> None:
    if claimed not in (None, crc32c(content)):
        raise RefusedError(400)


def _metadata(bucket: str, name: str, found: Object) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": bucket,
        "size": str(len(found.content)),
        "generation": str(found.generation),
        "metageneration": "1",
        "updated": "2026-01-01T00:00:00.000Z",
        "crc32c": crc32c(found.content),
        "md5Hash": _md5(found.content),
    }


def _json(values: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(json.dumps(values).encode(), status, {"Content-Type": "application/json"})


def error(status: int) -> Answer:
    """Return an error that tells a secret, as a real one may: none of it may reach the user."""
    message = "see https://storage.googleapis.com/b?upload_id=SECRET&X-Goog-Signature=SECRET"
    return _json({"error": {"code": status, "message": message}}, status)
