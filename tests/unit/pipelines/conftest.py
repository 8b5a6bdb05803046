"""Pipelines on an embedded store of the test's own, which is open all the while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

import pytest

from strongroom.auth.actor import Actor
from strongroom.client import Client
from strongroom.client.transports.chosen import ChosenTransport
from strongroom.client.transports.local import LocalTransport
from strongroom.config import PREFIX, Settings
from strongroom.operations.operation import Operation
from strongroom.service.dispatcher import Dispatcher

Request = TypeVar("Request")
Response = TypeVar("Response")


class CountingDispatcher(Dispatcher):
    """Does what another one does, and counts the operations by their names."""

    def __init__(self, wrapped: Dispatcher) -> None:
        self._wrapped = wrapped
        self.calls: Counter[str] = Counter()

    def call(self, operation: Operation[Request, Response], request: Request, actor: Actor) -> Response:
        """Counts before it calls: what fails counts too."""
        self.calls[operation.name] += 1
        return self._wrapped.call(operation, request, actor)


@pytest.fixture
def client(local_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the store that pipelines use here, by the environment."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_settings.folder))
    with Client() as client:
        client.list_secrets()  # opens the store, so that runs find it open
        yield client


@pytest.fixture
def calls(client: Client) -> Counter[str]:
    """How often each operation was called from now on, by whatever client of this process."""
    chosen = client._transport
    assert isinstance(chosen, ChosenTransport)
    transport = chosen.opened()
    assert isinstance(transport, LocalTransport)
    service = transport.service()
    counting = CountingDispatcher(service.dispatcher)
    service.dispatcher = counting
    return counting.calls
