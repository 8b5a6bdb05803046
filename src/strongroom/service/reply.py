"""Requests that arrive twice: the second gets the reply of the first.

Only replies to what succeeded are kept, for a day. They hold metadata and no values; what a request looked like is kept as a keyed
digest.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated
from strongroom.errors import InvalidInput, UnderWay
from strongroom.metadata import reply as index
from strongroom.service.deployment import Deployment

KEPT_SECONDS = 24 * 3600
ABANDONED_SECONDS = 120
"""A request that takes longer belongs to a process that has ended; whoever repeats it begins anew."""

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

    def begin(self, ticket: str, content: bytes) -> Reply | None:
        """The reply that was given before; None when there is none, and the caller is to work on it and to say how it ended.

        `UnderWay` while another one works on it, `InvalidInput` when it was another request.
        """
        moment, request = now(), self._digest(content)
        try:
            with self._database.write() as connection:
                index.delete_replies(connection, moment - KEPT_SECONDS * _SECOND)
                index.insert_reply(connection, ticket, request, moment)
        except ConstraintViolated:
            return self._known(ticket, request)
        return None

    def finish(self, ticket: str, reply: Reply) -> None:
        """Keeps the reply."""
        with self._database.write() as connection:
            index.finish_reply(connection, ticket, reply.status, reply.body)

    def abandon(self, ticket: str) -> None:
        """Nothing was done: whoever repeats the request begins anew."""
        with self._database.write() as connection:
            index.delete_reply(connection, ticket)

    def _known(self, ticket: str, request: str) -> Reply | None:
        with self._database.write() as connection:
            row = index.find_reply(connection, ticket)
            if row is None:
                raise UnderWay("this request was just refused to somebody else", hint="try again")
            if row.request != request:
                raise InvalidInput("this Idempotency-Key came with another request", hint="use a fresh key for each request")
            if row.status is not None:
                return Reply(row.status, row.body)
            moment = now()
            if row.created > moment - ABANDONED_SECONDS * _SECOND or not index.take_over_reply(
                connection, ticket, row.created, moment
            ):
                raise UnderWay("this request is being worked on", hint="try again")
            return None

    def _digest(self, content: bytes) -> str:
        return hmac.digest(self._digest_key, b"reply\0" + content, hashlib.sha256).hex()
