"""The one door to everything that strongroom does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from strongroom.auth.actor import Actor
from strongroom.auth.policy import authorise
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


class Dispatcher:
    """Runs operations: is the actor allowed, then the handler, then the audit trail. Thread-safe as far as the handlers are."""

    def __init__(self, handlers: Mapping[str, Handler], trail: Trail, *, reads_too: bool) -> None:
        """`trail` records calls that change something, and with `reads_too` all of them."""
        self._handlers, self._trail, self._reads_too = dict(handlers), trail, reads_too

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
            if operation.permission is not None:
                authorise(actor.role, operation.permission, server_admin=actor.admin)
            outcome = self._handlers[operation.name](actor, request)
        except StrongroomError as error:
            outcome = error
        return outcome, facts_of(operation, actor, request, outcome)
