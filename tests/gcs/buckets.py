"""A bucket for tests, and the environment in which the clients find it."""

import contextlib
import dataclasses
import gc
import os
import pathlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import server
import trustme

from lstm_gen.platform import gcs

_NAME = "bucket"
_HOSTS = ("www.googleapis.com", "storage.googleapis.com")


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A bucket on a server of ours.

    Attributes:
      server: Whose faults and requests tests set and see.
      environment: What leads Python's client and TensorFlow's there, for subprocesses.
      url: The bucket's gs:// path.
    """

    server: server.Server
    environment: dict[str, str]
    url: str = f"gs://{_NAME}"

    def put(self, name: str, content: bytes) -> None:
        """Have an object, without a request."""
        self.server.store.put(_NAME, name, content)

    def contents(self, folder: str = "") -> dict[str, bytes]:
        """Return the objects below a folder by relative name, directories' stand-ins aside."""
        return {name: found.content for name, found in self._objects(folder).items()}

    def versions(self, folder: str = "") -> dict[str, int]:
        """Return the version of each object below a folder by relative name."""
        return {name: found.generation for name, found in self._objects(folder).items()}

    def times_written(self, name: str) -> int:
        """Return how many versions of an object there have been."""
        return self.server.store.written[f"{_NAME}/{name}"]

    def _objects(self, folder: str) -> Mapping[str, Any]:
        objects = dict(self.server.store.objects[_NAME])  # requests go on meanwhile
        return {
            name.removeprefix(folder): found
            for name, found in sorted(objects.items())
            if name.startswith(folder) and not name.endswith("/")
        }


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[Bucket]:
    """Yield an empty bucket, which this process and its children find."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*_HOSTS).configure_cert(tls)
    with server.Server(tls, _NAME) as running:
        environment = _environment(running, folder / "ca.pem")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            with mock.patch.dict(os.environ, environment):
                yield Bucket(running, environment)
                gcs.close()
                gc.collect()  # the connections that the library does not close after a fault
        finally:
            running.shutdown()
            thread.join()
    assert not running.failures, running.failures


def _environment(running: server.Server, certificate: pathlib.Path) -> dict[str, str]:
    return {
        "STORAGE_EMULATOR_HOST": running.url,
        "https_proxy": running.url,  # the only way that TensorFlow's client can be led
        "CURL_CA_BUNDLE": str(certificate),
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
        "NO_GCE_CHECK": "true",
        "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "10000",
        "GCS_RETRY_CONFIG_MAX_DELAY_TIME_US": "100000",
    }
