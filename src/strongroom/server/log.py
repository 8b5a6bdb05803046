"""The server's log: one JSON object per line."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from strongroom.server.encoding import to_json


class Line(msgspec.Struct, frozen=True):
    """What the log tells of each request."""

    request_id: str
    method: str
    operation: str
    status: int
    milliseconds: float
    address: str
    actor: str | None
    timestamp: datetime
    event: str = "request"
    level: str = "info"


def open_log() -> Any:
    """A log on standard error."""
    return structlog.wrap_logger(structlog.BytesLogger(sys.stderr.buffer), wrapper_class=JsonLog).bind()


class JsonLog(structlog.BoundLoggerBase):
    """Each call is a line. A chain of processors would take several times as long, for every request."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lines: list[bytes] = []

    def request(self, line: Line) -> None:
        """A request that was answered; those of one turn of the event loop are written together. For its thread alone."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._write)
        self._lines.append(to_json(line))

    def info(self, event: str, **fields: Any) -> None:
        """What happens all the time."""
        self._tell("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What the operator should know."""
        self._tell("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What the operator has to mend."""
        self._tell("error", event, fields)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        fields["event"], fields["level"], fields["timestamp"] = event, level, datetime.now(UTC)
        self._logger.msg(to_json(fields))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._logger.msg(b"\n".join(lines))
