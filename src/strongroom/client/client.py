"""The client."""

from __future__ import annotations

from types import TracebackType

from strongroom.client.audit import AuditClient
from strongroom.client.component import ComponentClient
from strongroom.client.run import RunClient
from strongroom.client.secret import SecretClient
from strongroom.client.stack import StackClient
from strongroom.client.user import UserClient
from strongroom.client.workspace import WorkspaceClient


class Client(SecretClient, StackClient, ComponentClient, RunClient, UserClient, WorkspaceClient, AuditClient):
    """Everything that strongroom does, from Python.

    Without arguments it works with the server of the settings, else with the one that was logged in to, else with the embedded store
    of this machine. Opening is lazy: the first call pays for it, and clients of one process share an open store. Thread-safe.
    `close()`, or leaving a `with` block, gives the connections back.
    """

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the client; calling it afterwards opens it anew."""
        self._transport.close()
