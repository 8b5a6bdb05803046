"""What the fakes have in common: an HTTP server on a free port of 127.0.0.1, in a thread of the test's process."""

from __future__ import annotations

import base64
import binascii
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client sent. The names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def form(self) -> dict[str, Any]:
        """The fields of the body, be it JSON or a form, and of the query."""
        if self.headers.get("content-type", "").startswith("application/json"):
            fields = json.loads(self.body or b"{}")
        else:
            fields = {name: texts[-1] for name, texts in parse_qs(self.body.decode()).items()}
        return {name: texts[-1] for name, texts in self.query.items()} | fields

    def bearer_token(self) -> str | None:
        """The token of the header `Authorization`."""
        return self._authorization("bearer")

    def basic_credentials(self) -> tuple[str, str] | None:
        """The user and the password of the header `Authorization`."""
        try:
            text = base64.b64decode(self._authorization("basic") or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, colon, password = text.partition(":")
        return (user, password) if colon else None

    def _authorization(self, wanted: str) -> str | None:
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        return rest.strip() if scheme.lower() == wanted else None


@dataclass(frozen=True)
class Answer:
    """What the client is to get: a body, of JSON unless it is bytes, under a status."""

    status: int
    body: Mapping[str, Any] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class LoopbackServer:
    """Answers each request with `answer`, several at once, until `stop()`. Nothing is logged. With `tls` by HTTPS only."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # a call takes 44 ms otherwise
            timeout = 30

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ssl.SSLError):  # the client went away in the middle of its request
                    self.close_connection = True

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                headers = {name.lower(): text for name, text in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", "0")))
                given = answer(Request(self.command, url.path, parse_qs(url.query), headers, body))
                content = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
                content = b"" if given.status == 204 else content
                self.send_response(given.status)
                for name, text in {"Content-Type": "application/json", "Content-Length": str(len(content)), **given.headers}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else content)

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                self.do_GET()

            def do_PUT(self) -> None:
                self.do_GET()

            def do_PATCH(self) -> None:
                self.do_GET()

            def do_DELETE(self) -> None:
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

            def setup(self) -> None:
                if tls is not None:  # here, in the connection's thread: a handshake may take long
                    self.request = tls.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
                super().setup()

            def finish(self) -> None:
                super().finish()
                if tls is not None:
                    self.request.close()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, request: Request) -> Answer:
        """The answer to a request. Called in a thread of the connection."""
        raise NotImplementedError

    def stop(self) -> None:
        """Closes the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
