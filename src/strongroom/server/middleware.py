"""What holds for every request: an id, headers, a line in the log, measurements, and an answer whatever happens."""

from __future__ import annotations

import itertools
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strongroom.errors import StrongroomError
from strongroom.server import ROOT
from strongroom.server.address import Network, forwarded_address, forwarded_scheme
from strongroom.server.answer import Answer
from strongroom.server.log import Line
from strongroom.server.metrics import Metrics
from strongroom.server.refusal import error_body

_REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{8,64}")
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
_HEADERS_TLS = [*_HEADERS, (b"strict-transport-security", b"max-age=31536000")]
_NO_LENGTH = "a request has the header Content-Length, and no Transfer-Encoding"
_BELOW_ROOT = f"{ROOT}/"

Answering = Callable[[Scope, Receive], Awaitable[Answer]]


class Manners:
    """The outermost layer. No exception gets past it, and nothing of a request or of a foreign exception's text into the log."""

    def __init__(
        self, pages: ASGIApp, metrics: Metrics, log: Any, trusted: Sequence[Network] = (), api: Answering | None = None
    ) -> None:
        """The `api` answers what lies below its root, `pages` all else.

        The API's own table of paths decides what is there, by what the path was before it was decoded. `trusted` are the networks of
        proxies whose word about where a request comes from is taken.
        """
        self._pages, self._api, self._metrics, self._log, self._trusted = pages, api, metrics, log, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        if self._trusted:
            scope["scheme"] = forwarded_scheme(scope, self._trusted)
            scope["client"] = (forwarded_address(scope, self._trusted), 0)
        begun, request_id, status = time.perf_counter(), _request_id(scope), 0
        try:
            own = [*(_HEADERS_TLS if scope["scheme"] == "https" else _HEADERS), (b"x-request-id", request_id.encode())]
            if _has_coding(scope):
                answer = error_body(411, "length_required", _NO_LENGTH, None, {"Connection": "close"})
                status = answer.status
                answer.headers += own
                await answer(scope, receive, send)
                return
            if self._api is not None and scope["path"].startswith(_BELOW_ROOT):
                answer = await self._api(scope, receive)
                status = answer.status
                answer.headers += own
                await answer(scope, receive, send)
                return
            sending = _Sending(send, own)
            try:
                await self._pages(scope, receive, sending)
            finally:
                status = sending.status
        except Exception as error:  # noqa: BLE001 - the operator is told where, the caller is told the request's id
            self._log.error("failed", request_id=request_id, error=describe(error))
            if not status:
                message, hint = "something went wrong in the server", f"its log says more about the request {request_id}"
                answer = error_body(500, StrongroomError.code, message, hint, {})
                status = answer.status
                answer.headers += own
                await answer(scope, receive, send)
        finally:
            operation, seconds = scope.get("strongroom.operation", "none"), time.perf_counter() - begun
            self._metrics.observe(operation, status, seconds)
            self._log.request(
                Line(
                    request_id,
                    scope["method"] if scope["method"].isalpha() and len(scope["method"]) < 10 else "other",
                    operation,
                    status,
                    round(seconds * 1000, 2),
                    client_address(scope),
                    scope.get("strongroom.actor"),
                    datetime.now(UTC),
                )
            )


class _Sending:
    """Sends a page's answer with further headers, but for those that it has itself; knows its status, 0 before it has one."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._send, self._headers, self.status = send, headers, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = dict(message["headers"])  # in lower case
            message["headers"] = [*message["headers"], *(each for each in self._headers if each[0] not in given)]
        await self._send(message)


def _has_coding(scope: Scope) -> bool:
    """Whether the body comes in pieces. The HTTP library hides a length beside it, which a proxy may have believed."""
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])


def client_address(scope: Scope) -> str:
    """Where the request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def describe(error: BaseException) -> list[str]:
    """The types of a chain of exceptions and where they happened. Messages of foreign ones are left out: they may quote a value."""
    lines: list[str] = []
    chain: BaseException | None = error
    while chain is not None:
        lines.append(f"{type(chain).__name__}: {chain}" if isinstance(chain, StrongroomError) else type(chain).__name__)
        lines += [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(chain.__traceback__)]
        chain = chain.__cause__ or chain.__context__
    return lines


_numbers = itertools.count(secrets.randbits(63))
"""Request ids of this process: no other one has come to the same numbers."""


def _request_id(scope: Scope) -> str:
    for name, text in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text):
            return str(text, "ascii")
    return f"{next(_numbers):016x}"
