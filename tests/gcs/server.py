"""Buckets in memory behind a server on which connections break as they are told to.

One port serves both clients: in clear for Python's (STORAGE_EMULATOR_HOST), and as a proxy
(CONNECT, then TLS) for TensorFlow's, whose host names are fixed.
"""

import contextlib
import dataclasses
import http.server
import random
import re
import socket
import ssl
import struct
import sys
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from typing import Any

import objects

TRANSIENT = ("408", "429", "500", "503", "reset", "short", "lost")


@dataclasses.dataclass
class Faults:
    """What goes wrong: a function of the request and of how often it came, not of the clock.

    Attributes:
      kinds: HTTP statuses; "reset" before anything happens; "short" for half a response;
        "lost" for no response although all is done.
      rate: Fraction of the requests concerned that go wrong.
      seed: Decides which.
      request: Regular expression to be found in "METHOD /path" of those concerned.
      fired: How often each kind happened.
    """

    kinds: Sequence[str] = TRANSIENT
    rate: float = 0.0
    seed: int = 0
    request: str = ""
    fired: Counter[str] = dataclasses.field(default_factory=Counter)
    _seen: Counter[str] = dataclasses.field(default_factory=Counter)

    def draw(self, request: str) -> str:
        """Return the kind of fault that a request meets, or ""."""
        if not re.search(self.request, request):
            return ""
        self._seen[request] += 1
        chance = random.Random(f"{self.seed} {request} {self._seen[request]}")
        return chance.choice(self.kinds) if chance.random() < self.rate else ""


class Server(http.server.ThreadingHTTPServer):
    """The server, on a free port of the loopback interface.

    Args:
      tls: With a certificate for Google's hosts.
      *buckets: Names of the buckets that there are.

    Attributes:
      store: What is in them.
      faults: What goes wrong; may be replaced at any time.
      requests: Every "METHOD /path" so far.
      failures: What went wrong that was not meant to.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext, *buckets: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = tls
        self.store = objects.Store(*buckets)
        self.faults = Faults()
        self.requests: list[str] = []
        self.failures: list[BaseException | None] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Keep what went wrong in a handler, for the test to see."""
        self.failures.append(sys.exc_info()[1])


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: reads requests, has them answered, and breaks what is to be broken."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Server
    _scheme = "http"

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # clients come and go
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self._scheme = "https"
        self.close_connection = False

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        request = objects.Request(
            method=self.command,
            path=url.path,
            query=dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)),
            # A mapping in all but type, and one in which the case of names does not matter.
            headers=self.headers,  # type: ignore[arg-type]
            body=self._body(),
            origin=f"{self._scheme}://{self.headers['Host']}",
        )
        self.server.requests.append(f"{request.method} {request.path}")
        fault = self.server.faults.draw(f"{request.method} {request.path}")
        if fault == "reset":
            self._reset(fault)
        elif fault.isdigit():
            self.server.faults.fired[fault] += 1
            self._send(objects.error(int(fault)))
        else:
            self._finish_request(request, fault)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _finish_request(self, request: objects.Request, fault: str) -> None:
        try:
            answer = self.server.store.answer(request)
        except objects.RefusedError as error:
            answer = objects.error(error.status)
        if fault == "lost":
            self._reset(fault)
        elif fault == "short" and answer.content:
            self._send(answer, len(answer.content) // 2)
            self._reset(fault)
        else:
            self._send(answer)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self._read_line(), 16):
            body += self._read(size)
            self._read_line()
        self._read_line()
        return body

    def _read(self, n_bytes: int) -> bytes:
        """Return so many bytes; of a client killed before it sent them nothing counts."""
        found = self.rfile.read(n_bytes)
        if len(found) < n_bytes:
            raise ConnectionError
        return found

    def _read_line(self) -> bytes:
        """Return a line, with the same for a client that was killed within it."""
        found = self.rfile.readline()
        if not found.endswith(b"\n"):
            raise ConnectionError
        return found

    def _send(self, answer: objects.Answer, n_bytes: int | None = None) -> None:
        """Send an answer, or its head and so many bytes of it."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content[:n_bytes])
        self.wfile.flush()

    def _reset(self, fault: str) -> None:
        """End the connection, with a reset where nothing has been sent."""
        self.server.faults.fired[fault] += 1
        if fault != "short":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()
