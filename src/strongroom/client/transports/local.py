"""Calls to the embedded store: the dispatcher in this process, as the local user."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, TypeVar

from strongroom import changes, forking
from strongroom.config import PREFIX, Settings
from strongroom.errors import StrongroomError
from strongroom.operations.operation import Operation
from strongroom.redaction import SecretText

if TYPE_CHECKING:
    from strongroom.service.wiring import Service

Request = TypeVar("Request")
Response = TypeVar("Response")

_lock = forking.renewed(sys.modules[__name__], "_lock", threading.RLock)
_stores: dict[Settings, _Store] = {}


class _Store:
    """A store that is open, or is being opened, and the number of transports that use it."""

    def __init__(self) -> None:
        self.users, self._service = 0, None  # type: int, Service | None
        self._opening = threading.RLock()

    def open(self, settings: Settings) -> Service:
        from strongroom.service.wiring import Service  # loads the database libraries

        with self._opening:
            if self._service is None:
                self._service = Service(settings)
            return self._service

    @property
    def is_gone(self) -> bool:
        """Whether its database is not there any more, or another one is."""
        return self._service is not None and self._service.deployment.database.is_gone

    def close(self) -> None:
        if self._service is not None:
            try:
                self._service.follow_up()
            finally:
                self._service.close()


def _forget_stores() -> None:
    forking.leave_alone(*_stores.values())
    _stores.clear()


forking.in_each_child(_forget_stores)


class LocalTransport:
    """Opens the store at its first call. All transports of a process with equal settings share one open store. Thread-safe.

    A forked child opens its own. When a call is interrupted, or finds that the database was removed or replaced, the next one works.
    """

    def __init__(self, settings: Settings, token: SecretText | None = None) -> None:
        """With a token calls are made as its bearer, else as the local user."""
        self._settings, self._token = settings, token
        self._store: _Store | None = None
        self._service: Service | None = None
        forking.renew_by(self._forget)

    def _forget(self) -> None:
        forking.leave_alone(self._store)
        self._store = self._service = None

    @property
    def server(self) -> None:
        """There is none."""
        return None

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        """Runs the operation in this thread."""
        service = self._service or self.service()
        database = service.deployment.database
        try:
            database.settle()
            if operation.reads:
                return self._run(service, operation, request)
            with changes.changing(decides=database.has_one_writer):
                return self._run(service, operation, request)
        except BaseException as error:
            database.settle(interrupted=not isinstance(error, Exception))
            if isinstance(error, StrongroomError) and database.is_gone:
                self._leave()
            raise

    def _run(self, service: Service, operation: Operation[Request, Response], request: Request) -> Response:
        if self._token is None:
            return service.dispatcher.call(operation, request, service.local_actor)
        return service.dispatcher.call(operation, request, service.identities.authenticate(self._token.reveal()))

    def with_token(self, token: SecretText) -> LocalTransport:
        """The same store, for whoever bears this token."""
        return LocalTransport(self._settings, token)

    def for_children(self) -> dict[str, str]:
        """The token. A child finds the store by its settings."""
        return {} if self._token is None else {f"{PREFIX}RUN_TOKEN": self._token.reveal()}

    def service(self) -> Service:
        """The open store itself, for local administration."""
        with _lock:
            store = self._store
            if store is None:
                store = _stores.get(self._settings)
                if store is None or store.is_gone:
                    store = _stores[self._settings] = _Store()
                store.users += 1
                self._store = store
        try:
            self._service = store.open(self._settings)
        except BaseException:
            self._leave()
            raise
        return self._service

    def close(self) -> None:
        """Closes the store if nobody else in this process uses it."""
        self._leave()

    def _leave(self) -> None:
        with _lock:
            store, self._store, self._service = self._store, None, None
            if store is None:
                return
            store.users -= 1
            if store.users > 0:
                return
            if _stores.get(self._settings) is store:
                del _stores[self._settings]
        store.close()
