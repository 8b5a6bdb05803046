"""The one door to everything that strongroom does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from strongroom.auth.access import check_access
from strongroom.auth.actor import Actor
from strongroom.db.engine import Database, Deadlocked
from strongroom.errors import StrongroomError, Unavailable
from strongroom.operations.operation import Operation
from strongroom.service.authority import Authority, AuthorityChanged
from strongroom.service.facts import Facts, facts_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TRIES = 3
"""How often a change is made again that the database undid in favor of another one."""

Request = TypeVar("Request")
Response = TypeVar("Response")
Handler = Callable[[Actor, Any], Any]
Finish = Callable[["Connection", Any], object]
"""Adds to the transaction of a change, given its connection and the response."""


class Trail(Protocol):
    """Records events."""

    def record(self, facts: Sequence[Facts], /) -> None:
        """Returns when the events are on record."""

    def add(self, connection: Connection, facts: Sequence[Facts], /) -> None:
        """Records the events in the caller's transaction."""

    def settle(self) -> None:
        """Does what is left to do for recorded events."""


class Gate(Protocol):
    """Answers those who act for a run."""

    def call(self, operation: Operation[Any, Any], actor: Actor, request: Any, /) -> Any:
        """The operation's response, as far as the actor's run may see it."""


class Dispatcher:
    """Runs operations: is the actor allowed, then the handler, then the audit trail. Thread-safe as far as the handlers are.

    All that an operation changes is one transaction, and its event is in it: a change and its event are durable, both or neither. The
    actor's rights are looked at again within that transaction, and for a read after its last wait; see `Authority`.
    """

    def __init__(self, handlers: Mapping[str, Handler], gate: Gate, trail: Trail, database: Database, *, reads_too: bool) -> None:
        """`gate` stands before the handlers for run tokens; `trail` records calls that change something, with `reads_too` all."""
        self._handlers, self._gate, self._trail, self._reads_too = dict(handlers), gate, trail, reads_too
        self._database, self._authority = database, Authority(database)

    @property
    def operations(self) -> frozenset[str]:
        """The names of all operations that it runs."""
        return frozenset(self._handlers)

    def call(self, operation: Operation[Request, Response], request: Request, actor: Actor) -> Response:
        """The operation's response, or a `StrongroomError`, once it is on record."""
        outcome, facts = self.perform(operation, request, actor)
        if facts and (self._reads_too or not operation.reads):
            self._trail.record(facts)
        if not operation.reads:
            with suppress(Unavailable):  # the events are on record; the next call settles them
                self._trail.settle()
        if isinstance(outcome, StrongroomError):
            raise outcome
        response: Response = outcome
        return response

    def perform(
        self, operation: Operation[Any, Any], request: Any, actor: Actor, finish: Finish | None = None
    ) -> tuple[Any, list[Facts]]:
        """The response or the error, and the events that the caller must record before it hands out the response.

        The event of a change is on record already, in the transaction of the change, unless that transaction is the caller's own
        (`Database.together`). `finish` adds to the transaction of an operation that changes something; its errors undo the change.
        """
        outcome: Any
        for _ in range(_TRIES):
            try:
                try:
                    if not operation.reads:
                        return self._change(operation, request, actor, finish)
                    outcome = self._answer(operation, request, actor)
                except Deadlocked as error:
                    outcome = error
                    continue
                except StrongroomError as error:  # which may tell something, too
                    outcome = error
                if operation.permission is not None:
                    self._authority.check(actor)
                break
            except AuthorityChanged as changed:
                actor = changed.actor
                outcome = Unavailable("the rights of the caller keep changing", hint="try again")
            except StrongroomError as error:
                outcome = error
                break
        return outcome, facts_of(operation, actor, request, outcome)

    def _change(self, operation: Operation[Any, Any], request: Any, actor: Actor, finish: Finish | None) -> tuple[Any, list[Facts]]:
        with self._database.unit() as unit:
            if operation.permission is not None:
                unit.on_begin = lambda connection: self._authority.hold(connection, actor)
            outcome = self._answer(operation, request, actor)
            facts = facts_of(operation, actor, request, outcome)
            if finish is not None:
                with self._database.write() as connection:
                    finish(connection, outcome)
            if unit.connection is None or unit.joined:
                return outcome, facts
            self._trail.add(unit.connection, facts)
        return outcome, []

    def _answer(self, operation: Operation[Any, Any], request: Any, actor: Actor) -> Any:
        check_access(actor, operation)
        if actor.run is None or operation.permission is None:
            return self._handlers[operation.name](actor, request)
        return self._gate.call(operation, actor, request)
