"""Credentials of google-auth, as gcsfs takes them, whose tokens are those of a connection of ours."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp import GcpConnection
from strongroom.connectors.gcp_methods import import_google

_LOGIN_SECONDS = 20.0


def google_credentials(connection: GcpConnection) -> Any:
    """They are always valid: each request gets a token that is alive. `MissingExtra`.

    Requests fail as the connection's login does: `StoreForbidden`, `Unavailable`.
    """
    base = import_google("google.auth.credentials").Credentials

    class Credentials(base):  # type: ignore[misc, valid-type]
        """Whoever uses them asks for headers at each request."""

        valid, expired, expiry = True, False, None

        def refresh(self, request: Any) -> None:
            """The connection does that by itself."""

        def apply(self, headers: MutableMapping[str, str], token: str | None = None) -> None:
            headers.update(connection.headers(Deadline(_LOGIN_SECONDS)))

    return Credentials()
