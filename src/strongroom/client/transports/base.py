"""The seam between the client and whatever answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from strongroom.operations.operation import Operation
from strongroom.redaction import SecretText

Request = TypeVar("Request")
Response = TypeVar("Response")


class Transport(Protocol):
    """Carries operations. Thread-safe."""

    @property
    def server(self) -> str | None:
        """The URL of the server at the other side; None for the embedded store."""

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        """The operation's response, or the `StrongroomError` that it raised at the other side."""

    def close(self) -> None:
        """Gives connections back; a later call opens them anew."""

    def for_children(self) -> Mapping[str, str]:
        """The environment variables with which a child process reaches the other side, with the token that this transport has."""

    def with_token(self, token: SecretText) -> Transport:
        """Another transport to the same side, for whoever bears this token. To be closed by itself."""
