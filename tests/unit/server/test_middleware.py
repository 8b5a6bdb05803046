"""The outermost layer of the server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from strongroom.errors import InvalidInput
from strongroom.server.log import Line
from strongroom.server.metrics import Metrics
from strongroom.server.middleware import Manners
from tests.canary import CANARY, holds_canary


class Log:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    error = info

    def request(self, line: Line) -> None:
        self.events.append(msgspec.structs.asdict(line))


def ask(app: Any, log: Log, metrics: Metrics) -> list[Message]:
    """What the layer sends for one request to the application."""
    sent: list[Message] = []
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "scheme": "http", "client": ("127.0.0.1", 1)}

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    asyncio.run(Manners(app, metrics, log)(scope, receive, send))
    return sent


def test_an_unexpected_exception_says_nothing_of_itself() -> None:
    """The caller gets an id; the log gets types and places, and the text of our own errors alone."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError(CANARY) from InvalidInput("ours")

    log, metrics = Log(), Metrics()
    start, body = ask(fail, log, metrics)
    headers = dict(start["headers"])
    assert start["status"] == 500
    error = json.loads(body["body"])["error"]
    assert error["code"] == "internal"
    assert headers[b"x-request-id"].decode() in error["hint"]
    failed, request = log.events
    assert failed["request_id"] == request["request_id"] == headers[b"x-request-id"].decode()
    assert "ValueError" in failed["error"]
    assert "InvalidInput: ours" in failed["error"]
    assert any("test_middleware.py" in line for line in failed["error"])
    assert not holds_canary(f"{start}{body}{log.events}{metrics.render()!r}")
    metrics.count()
    assert b'strongroom_requests_total{operation="none",status="500"} 1.0' in metrics.render()


def test_a_failure_in_the_middle_of_an_answer_is_logged() -> None:
    """Nothing is sent twice."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(CANARY)

    log = Log()
    assert [message["type"] for message in ask(fail, log, Metrics())] == ["http.response.start"]
    assert [event["event"] for event in log.events] == ["failed", "request"]
