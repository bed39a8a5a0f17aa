# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A threaded HTTP/1.1 server for WSGI applications that keeps connections alive."""

from __future__ import annotations

import http
import io
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.serving import DechunkedInput, ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wsgi import LimitedStream

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

NO_BODY = (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED)
# Bodies up to this many bytes are read at once, image uploads as they come.
LARGE_BODY = 1 << 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ConnectionCut(ConnectionError):
    """Raised by an application to end the connection without an answer."""


class Handler(WSGIRequestHandler):
    """Answers each request of a connection; werkzeug's own closes it after the first."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def run_wsgi(self) -> None:
        """Answer one request."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        self.environ = self.make_environ()
        body = self.environ["wsgi.input"] = self._body(self.environ)
        try:
            self._answer()
            while body.read(65536):
                pass
        except ConnectionCut:
            self._reset()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    @staticmethod
    def _body(environ: dict[str, Any]) -> Any:
        """Return the request's body alone: what follows it is the next request."""
        if isinstance(environ["wsgi.input"], DechunkedInput):
            return environ["wsgi.input"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > LARGE_BODY:
            return LimitedStream(environ["wsgi.input"], length)
        return io.BytesIO(environ["wsgi.input"].read(length))

    def _answer(self) -> None:
        head: list[Any] = []
        body: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None):
            head[:] = [status, headers]
            return body.append

        chunks = self.server.app(self.environ, start_response)
        try:
            iterator = iter(chunks)
            # An application may call start_response as late as with its first chunk.
            body.append(next(iterator, b""))
            status, headers = head
            if not any(name.lower() == "content-length" for name, _ in headers):
                body.extend(iterator)
                headers = [*headers, ("Content-Length", str(sum(map(len, body))))]
            self._send_head(status, headers)
            if self.command != "HEAD":
                for chunk in itertools.chain(body, iterator):
                    self.wfile.write(chunk)
            self.wfile.flush()
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def _send_head(self, status: str, headers: list[tuple[str, str]]) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if int(code) not in NO_BODY or name.lower() != "content-length":
                self.send_header(name, value)
        self.end_headers()

    def _reset(self) -> None:
        """Close so that the client sees a connection reset by its peer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.connection.close()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave it to the request log."""


class Server(ThreadedWSGIServer):
    """One thread per connection, none of which outlives the process."""

    daemon_threads = True
    request_queue_size = 512


def serve(application: Application, port: int) -> Server:
    """Bind to a port of the loopback interface and answer in the background."""
    server = Server("127.0.0.1", port, application, handler=Handler)
    threading.Thread(target=server.serve_forever, name=f"http-{port}", daemon=True).start()
    return server
