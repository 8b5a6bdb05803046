"""The client."""

from __future__ import annotations

from types import TracebackType

from strongroom.client.component import ComponentClient
from strongroom.client.run import RunClient
from strongroom.client.secret import SecretClient
from strongroom.client.stack import StackClient
from strongroom.client.user import UserClient
from strongroom.client.workspace import WorkspaceClient


class Client(SecretClient, StackClient, ComponentClient, RunClient, UserClient, WorkspaceClient):
    """Everything that strongroom does, from Python.

    Without arguments it works on the embedded store of this machine. Opening is lazy: the first call pays for it, and clients of
    one process share what is open. Thread-safe. `close()`, or leaving a `with` block, gives the connections back.
    """

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the client; calling it afterwards opens it anew."""
        self._transport.close()
