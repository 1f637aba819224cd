"""The server of the page: from the standard library, for this machine alone.

It listens on 127.0.0.1. A page of another site could still send requests there. So each request
must name this server in `Host`, and a browser's request must come from the server's own page
(`Origin`). Requests are small JSON objects; the desk checks their content.
"""

import json
import sys
import threading
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import ConfigError, MinidlError
from ..health.report import plain
from .desk import Desk
from .page import served_files, served_page
from .subject import Subject

ADDRESS = "127.0.0.1"
LONGEST = 1 << 14  # bytes of a request
PATIENCE = 10.0  # seconds that a client may be silent in the middle of a request
CONNECTIONS = 32  # at a time; more are refused


class Server(ThreadingHTTPServer):
    """Serves the page of one subject. Raises: ConfigError where it cannot listen on the port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, subject: Subject, port: int = 0) -> None:
        self.desk = Desk(subject)
        self.page, self.policy = served_page(self.desk.facts())
        self.free = threading.BoundedSemaphore(CONNECTIONS)
        self.patience = PATIENCE
        try:
            super().__init__((ADDRESS, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"scope: cannot listen on port {port}: {reason}; give another --port, or none"
            ) from None
        self.url = f"http://{ADDRESS}:{self.server_port}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, unless too many are open already."""
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        text = b'{"error": "too many connections are open; close some and try again"}'
        head = f"HTTP/1.1 503 busy\r\nContent-Type: application/json\r\nContent-Length: {len(text)}"
        with suppress(OSError):  # the client has left
            request.sendall(head.encode() + b"\r\nConnection: close\r\n\r\n" + text)
        super().shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its own thread, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless the client has just left."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Refused(Exception):
    """A request that is answered with an error: the status, and why in words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Set how long this connection may be silent."""
        super().setup()
        self.connection.settimeout(self.server.patience)

    def do_GET(self) -> None:
        """The page, or one of its parts."""
        try:
            self._check_sender()
            path = self.path.partition("?")[0]
            if path == "/":
                self._send(200, "text/html; charset=utf-8", self.server.page.encode())
                return
            found = served_files().get(path)
            if found is None:
                raise Refused(404, "there is no such page here; the microscope is at /")
            self._send(200, *found)
        except Refused as refused:
            self.send_error(refused.status, str(refused))

    def do_POST(self) -> None:
        """A computation: /step, /pixel or /film."""
        try:
            self._check_sender()
            request = self._request()
            if self.path == "/film":
                self._stream(request)
            elif self.path in ("/step", "/pixel"):
                answer = getattr(self.server.desk, self.path[1:])(request)
                self._send(200, "application/json", _line(answer))
            else:
                raise Refused(404, "expected a POST to /step, /pixel or /film")
        except Refused as refused:
            self.send_error(refused.status, str(refused))
        except MinidlError as error:
            self.send_error(400, str(error))
        except MemoryError:
            self.send_error(507, "the memory does not suffice for this network: make it smaller")
        except OSError:  # the client has left
            self.close_connection = True
        except Exception as error:
            traceback.print_exc()
            self.send_error(500, f"the engine failed: {type(error).__name__}: {error}")

    def _check_sender(self) -> None:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if host not in self.server.hosts:
            raise Refused(403, "this server answers only under its own name, 127.0.0.1")
        if origin is not None and origin not in {f"http://{name}" for name in self.server.hosts}:
            raise Refused(403, "only this server's own page may ask it")

    def _request(self) -> Any:
        """The JSON object of the request's body."""
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind != "application/json":
            raise Refused(415, "expected a body of application/json")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Refused(411, "expected a Content-Length")
        if len(length) > 9 or int(length) > LONGEST:
            raise Refused(413, f"expected at most {LONGEST} bytes")
        try:
            body = self.rfile.read(int(length))
        except TimeoutError:
            raise Refused(408, "the rest of the request did not come") from None
        if len(body) < int(length):
            raise Refused(400, "the request ended before its Content-Length")
        try:
            return json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"expected a JSON object: {error}") from None

    def _stream(self, request: Any) -> None:
        """A line of JSON for each frame, as it comes."""
        frames = self.server.desk.film(request)
        self.close_connection = True
        self._head(200, "application/x-ndjson", None)
        try:
            for frame in frames:
                self.wfile.write(_line(frame) + b"\n")
                self.wfile.flush()
        finally:
            frames.close()  # type: ignore[attr-defined]  # the desk is free again

    def _head(self, status: int, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self._head(status, kind, len(content))
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: Any = None) -> None:
        """An error in words, as JSON. The connection is closed, because a part of the refused
        request may still be unread.
        """
        self.close_connection = True
        words = {"error": message or self.responses.get(code, ("error",))[0]}
        with suppress(OSError):  # the client has left
            self._send(code, "application/json", _line(words))

    def log_error(self, format: str, *args: Any) -> None:
        """Called by the base class, for example where a request's head does not arrive in time."""
        if args and isinstance(args[0], TimeoutError):
            self.request_version, self.requestline = "HTTP/1.1", ""
            self.send_error(408, "the rest of the request did not come")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _line(value: Any) -> bytes:
    return json.dumps(plain(value), allow_nan=False, separators=(",", ":")).encode()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
