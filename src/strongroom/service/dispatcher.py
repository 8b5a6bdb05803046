"""The one door to everything that strongroom does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from strongroom.auth.access import check_access
from strongroom.auth.actor import Actor
from strongroom.errors import StrongroomError
from strongroom.operations.operation import Operation
from strongroom.service.audit import Facts, done_unrecorded, facts_of

Request = TypeVar("Request")
Response = TypeVar("Response")
Handler = Callable[[Actor, Any], Any]


class Trail(Protocol):
    """Takes what is to be on record."""

    def record(self, facts: Sequence[Facts], /) -> None:
        """Returns when it is on record."""


class Gate(Protocol):
    """Answers those who act for a run."""

    def call(self, operation: Operation[Any, Any], actor: Actor, request: Any, /) -> Any:
        """The operation's response, as far as the actor's run may see it."""


class Dispatcher:
    """Runs operations: is the actor allowed, then the handler, then the audit trail. Thread-safe as far as the handlers are."""

    def __init__(self, handlers: Mapping[str, Handler], gate: Gate, trail: Trail, *, reads_too: bool) -> None:
        """`gate` stands before the handlers for run tokens; `trail` records calls that change something, with `reads_too` all."""
        self._handlers, self._gate, self._trail, self._reads_too = dict(handlers), gate, trail, reads_too

    @property
    def operations(self) -> frozenset[str]:
        """The names of all operations that it runs."""
        return frozenset(self._handlers)

    def call(self, operation: Operation[Request, Response], request: Request, actor: Actor) -> Response:
        """The operation's response, or a `StrongroomError`, once it is on record."""
        outcome, facts = self.perform(operation, request, actor)
        if self._reads_too or not operation.reads:
            try:
                self._trail.record(facts)
            except StrongroomError as error:
                raise done_unrecorded(operation, outcome, error) from error
        if isinstance(outcome, StrongroomError):
            raise outcome
        response: Response = outcome
        return response

    def perform(self, operation: Operation[Any, Any], request: Any, actor: Actor) -> tuple[Any, list[Facts]]:
        """The response or the error, and what has to be on record before anybody gets it: the caller sees to that."""
        outcome: Any
        try:
            check_access(actor, operation)
            if actor.run is None or operation.permission is None:
                outcome = self._handlers[operation.name](actor, request)
            else:
                outcome = self._gate.call(operation, actor, request)
        except StrongroomError as error:
            outcome = error
        return outcome, facts_of(operation, actor, request, outcome)
