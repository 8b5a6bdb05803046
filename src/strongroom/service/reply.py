"""Requests that arrive twice: the second gets the reply of the first.

The reply is kept in the transaction of the change itself. So whatever happens to a process or to an answer, a request that is sent
again is either known, because it was done, or can be done, because it was not. Only replies to what succeeded are kept, for a day.
They hold metadata and no values; what a request looked like is kept as a keyed digest.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.errors import InvalidInput
from strongroom.metadata import reply as index
from strongroom.service.deployment import Deployment

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT_SECONDS = 24 * 3600
_SECOND = 1_000_000


@dataclass(frozen=True)
class Reply:
    """A status and a body, as they were sent."""

    status: int
    body: str


class ReplyService:
    """Keeps replies under an actor's keys. Thread-safe; any number of processes may share a database."""

    def __init__(self, deployment: Deployment) -> None:
        self._database, self._digest_key = deployment.database, deployment.digest_key

    def ticket(self, actor: Actor, operation: str, key: str) -> str:
        """What the reply to an actor's request is kept under."""
        return self._digest("\0".join((actor.user_id, actor.workspace_id, operation, key)).encode(errors="replace"))

    def find(self, ticket: str, content: bytes) -> Reply | None:
        """The reply that was given before. `InvalidInput` when that was to another request."""
        with self._database.read() as connection:
            row = index.find_reply(connection, ticket)
        if row is None or row.created <= now() - KEPT_SECONDS * _SECOND:
            return None
        if row.request not in (self._digest_of(ticket, content), self._digest(content)):  # the latter from before an upgrade
            raise InvalidInput("this Idempotency-Key came with another request", hint="use a fresh key for each request")
        return Reply(row.status, row.body)

    def keep(self, connection: Connection, ticket: str, content: bytes, reply: Reply) -> None:
        """Keeps the reply, in the caller's transaction. `ConstraintViolated` when another request was faster.

        While another transaction keeps a reply to the same request, this waits for its end.
        """
        moment = now()
        index.delete_replies(connection, moment - KEPT_SECONDS * _SECOND)
        index.insert_reply(connection, ticket, self._digest_of(ticket, content), reply.status, reply.body, moment)

    def _digest_of(self, ticket: str, content: bytes) -> str:
        """Salted with the ticket: a request may hold values, and nothing tells whether two requests hold equal ones."""
        return self._digest(ticket.encode() + b"\0" + content)

    def _digest(self, content: bytes) -> str:
        return hmac.digest(self._digest_key, b"reply\0" + content, hashlib.sha256).hex()
