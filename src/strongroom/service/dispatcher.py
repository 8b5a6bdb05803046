"""The one door to everything that strongroom does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from strongroom.auth.actor import Actor
from strongroom.auth.policy import authorise
from strongroom.operations.operation import Operation

Request = TypeVar("Request")
Response = TypeVar("Response")
Handler = Callable[[Actor, Any], Any]


class Dispatcher:
    """Runs operations: is the actor allowed, then the handler. Thread-safe as far as the handlers are."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)

    @property
    def operations(self) -> frozenset[str]:
        """The names of all operations that it runs."""
        return frozenset(self._handlers)

    def call(self, operation: Operation[Request, Response], request: Request, actor: Actor) -> Response:
        """The operation's response, or a `StrongroomError`."""
        if operation.permission is not None:
            authorise(actor.role, operation.permission, server_admin=actor.admin)
        response: Response = self._handlers[operation.name](actor, request)
        return response
