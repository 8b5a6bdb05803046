"""Calls to the embedded store: the dispatcher in this process, as the local user."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from strongroom.config import Settings
from strongroom.operations.operation import Operation
from strongroom.redaction import SecretText

if TYPE_CHECKING:
    from strongroom.service.wiring import Service

Request = TypeVar("Request")
Response = TypeVar("Response")

_lock = threading.Lock()
_services: dict[Settings, tuple[Service, int]] = {}  # with the number of transports that use each


class LocalTransport:
    """Opens the store at its first call. All transports of a process with equal settings share one open store. Thread-safe."""

    def __init__(self, settings: Settings, token: SecretText | None = None) -> None:
        """With a token calls are made as its bearer, else as the local user."""
        self._settings, self._token = settings, token
        self._service: Service | None = None

    @property
    def server(self) -> None:
        """There is none."""
        return None

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        """Runs the operation in this thread."""
        service = self._service or self.service()
        if self._token is None:
            return service.dispatcher.call(operation, request, service.local_actor)
        return service.dispatcher.call(operation, request, service.identities.authenticate(self._token.reveal()))

    def with_token(self, token: SecretText) -> LocalTransport:
        """The same store, for whoever bears this token."""
        return LocalTransport(self._settings, token)

    def service(self) -> Service:
        """The open store itself, for local administration."""
        from strongroom.service.wiring import Service  # loads the database libraries

        with _lock:
            if self._service is None:
                service, users = _services.get(self._settings) or (Service(self._settings), 0)
                _services[self._settings] = service, users + 1
                self._service = service
            return self._service

    def close(self) -> None:
        """Closes the store if nobody else in this process uses it."""
        with _lock:
            if self._service is None:
                return
            service, users = _services.pop(self._settings)
            if users > 1:
                _services[self._settings] = service, users - 1
            else:
                try:
                    service.follow_up()
                finally:
                    service.close()
            self._service = None
