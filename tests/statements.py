"""What a database is asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from strongroom.db import query
from strongroom.db.engine import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that it is given meanwhile, by SQLAlchemy or by the driver itself."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler, logger = Noting(), logging.getLogger(query.__name__)
    former = logger.level
    for engine in database.engines:
        event.listen(engine, "before_cursor_execute", note)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield seen
    finally:
        logger.setLevel(former)
        logger.removeHandler(handler)
        for engine in database.engines:
            event.remove(engine, "before_cursor_execute", note)
