"""The server's log."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import UTC, datetime

import structlog

from strongroom.server.log import JsonLog, Line


class Pipe(io.BytesIO):
    """Counts how often it is written to."""

    writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type]


def test_requests_of_one_turn_are_written_together() -> None:
    """Each has a line of its own, in order, with all that is known of it; none is left when the loop ends."""
    pipe = Pipe()
    log = structlog.wrap_logger(structlog.BytesLogger(pipe), wrapper_class=JsonLog).bind()
    moment = datetime(2026, 1, 31, 9, tzinfo=UTC)

    async def main() -> None:
        for number in range(3):
            log.request(Line(f"id-{number}", "GET", "secret.get", 200, 0.25, "127.0.0.1", None, moment))
        await asyncio.sleep(0)
        log.request(Line("id-3", "GET", "secret.get", 200, 0.25, "127.0.0.1", "me", moment))

    asyncio.run(main())
    lines = [json.loads(line) for line in pipe.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == ["id-0", "id-1", "id-2", "id-3"]
    assert pipe.writes == 2
    assert lines[3] == {
        "request_id": "id-3",
        "method": "GET",
        "operation": "secret.get",
        "status": 200,
        "milliseconds": 0.25,
        "address": "127.0.0.1",
        "actor": "me",
        "timestamp": "2026-01-31T09:00:00Z",
        "event": "request",
        "level": "info",
    }


def test_other_lines_are_written_at_once() -> None:
    """They have their level and a time, from any thread."""
    pipe = Pipe()
    log = structlog.wrap_logger(structlog.BytesLogger(pipe), wrapper_class=JsonLog).bind()
    log.warning("waiting", reason="x")
    [line] = map(json.loads, pipe.getvalue().splitlines())
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {"event": "waiting", "level": "warning", "reason": "x"}
