"""Which transport: that of the settings, else of the login, else the embedded store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TypeVar

from strongroom import forking
from strongroom.client.login_state import read_login
from strongroom.client.transports.acting import acting_transport
from strongroom.client.transports.base import Transport
from strongroom.client.transports.local import LocalTransport
from strongroom.config import PREFIX, Settings
from strongroom.errors import ConfigurationError
from strongroom.operations.operation import Operation
from strongroom.redaction import SecretText

Request = TypeVar("Request")
Response = TypeVar("Response")


def open_transport(settings: Settings) -> Transport:
    """A transport to the server of the settings, else to the one that was logged in to, else to the embedded store.

    With the token of a run it has no other login.
    """
    if settings.api_key and not settings.server_url:
        raise ConfigurationError(f"{PREFIX}API_KEY needs {PREFIX}SERVER_URL too", hint="say which server the key is for")
    of_run = SecretText(settings.run_token) if settings.run_token else None
    login = None if settings.api_key else read_login(settings)
    if settings.server_url is None and login is None:
        return LocalTransport(settings, of_run)
    from strongroom.client.transports.remote import RemoteTransport  # loads what HTTP needs

    if settings.server_url is not None and (login is None or login.url != settings.server_url.rstrip("/")):
        key = SecretText(settings.api_key) if settings.api_key else None
        url, token, workspace = settings.server_url, key, ""
    else:
        assert login is not None
        url, token, workspace = login.url, login.token, login.workspace
    if of_run is not None:
        token, workspace = of_run, ""
    return RemoteTransport(
        url,
        lambda: token,
        workspace="" if of_run is not None else settings.active_workspace or workspace,
        ca_cert=settings.ca_cert,
        insecure=settings.insecure,
        wait_seconds=settings.server_wait,
    )


class ChosenTransport:
    """Chooses at its first call, and again after it was closed. Making it touches neither disk nor network. Thread-safe.

    Where a step acts for its run, calls go there instead, also those of clients that were opened before.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = forking.renewed(self, "_lock", threading.RLock)
        self._inner: Transport | None = None

    @property
    def server(self) -> str | None:
        """The URL of the server that was chosen; None for the embedded store."""
        return (acting_transport() or self.opened()).server

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        """The operation's response, or its error."""
        return (acting_transport() or self._inner or self.opened()).call(operation, request)

    def for_children(self) -> Mapping[str, str]:
        """Those of what was chosen."""
        return (acting_transport() or self.opened()).for_children()

    def with_token(self, token: SecretText) -> Transport:
        """What was chosen, for whoever bears this token."""
        return (acting_transport() or self.opened()).with_token(token)

    def opened(self) -> Transport:
        """The transport that was chosen."""
        with self._lock:
            if self._inner is None:
                self._inner = open_transport(self._settings)
            return self._inner

    def close(self) -> None:
        """Gives connections back."""
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()
