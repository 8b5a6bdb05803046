"""The client."""

from __future__ import annotations

from types import TracebackType

from strongroom.client.approval import ApprovalClient
from strongroom.client.audit import AuditClient
from strongroom.client.job import JobClient
from strongroom.client.run import RunClient
from strongroom.client.service_connector import ServiceConnectorClient
from strongroom.client.stack import StackClient
from strongroom.client.transports.base import Transport
from strongroom.client.user import UserClient
from strongroom.client.workspace import WorkspaceClient
from strongroom.config import Settings
from strongroom.redaction import SecretText


class Client(ServiceConnectorClient, StackClient, ApprovalClient, RunClient, UserClient, WorkspaceClient, AuditClient, JobClient):
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

    def with_token(self, token: SecretText) -> Client:
        """A client of the same server or store for whoever bears this token, as a run's steps do. To be closed by itself."""
        return Client.over(self._transport.with_token(token), self.settings)

    @classmethod
    def over(cls, transport: Transport, settings: Settings) -> Client:
        """A client that uses this transport, whatever the settings say."""
        client = cls(settings)
        client._transport = transport
        return client

    @property
    def transport(self) -> Transport:
        """What carries its calls."""
        return self._transport
