"""The client's tests run on every database, on a server, and with values in OpenBao."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strongroom.client import Client
from strongroom.config import Settings
from tests.conftest import DATABASES, settings_in

OTHERS = {"server": "remote_settings", "vault": "vault_settings"}


@pytest.fixture(params=[*DATABASES, *OTHERS])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the embedded store, on each database in turn and with values elsewhere, and of a server."""
    if request.param in OTHERS:
        with Client(request.getfixturevalue(OTHERS[request.param])) as client:
            yield client
        return
    for settings in settings_in(request, "template"):
        with Client(settings) as client:
            yield client


@pytest.fixture(params=["local_settings", "remote_settings"])
def local_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of the embedded store, and of a server, for what does not depend on the database."""
    settings: Settings = request.getfixturevalue(request.param)
    with Client(settings) as client:
        yield client
