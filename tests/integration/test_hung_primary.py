"""A primary store that hangs, beside a backup that answers: the first reads wait for it, and the others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from strongroom.config import Settings, StoreSettings
from strongroom.secrets_stores.breaker import FAILURES, Breaker
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.opening import open_external
from strongroom.service.placements import ConfiguredStore
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.fakes.relay import Relay
from tests.people import Person
from tests.servers.openbao import OpenBaoServer

VALUES = {"k": f"{CANARY}-one"}


@pytest.fixture
def relay(openbao: OpenBaoServer) -> Iterator[Relay]:
    """Between strongroom and OpenBao; it counts requests."""
    relay = Relay(openbao.port)
    yield relay
    relay.stop()


@pytest.fixture
def primary(vault_settings: Settings, relay: Relay, deployment_id: str) -> GuardedStore:
    """OpenBao. Once it is down it is left alone."""
    options = dict(vault_settings.secrets_store.options) | {"vault_addr": f"http://127.0.0.1:{relay.port}", "name": "the-vault"}
    return GuardedStore(open_external(StoreSettings("vault", options=tuple(options.items())), deployment_id), breaker=Breaker())


@pytest.fixture
def deployment_id(local_settings: Settings) -> str:
    """Of the deployment at work."""
    service = Service(local_settings)
    service.close()
    return service.deployment.id


@pytest.fixture
def person(local_settings: Settings, primary: GuardedStore) -> Iterator[Person]:
    """Whoever uses a deployment whose backup store is its database."""
    stores = [ConfiguredStore("primary", "vault", 1, primary), ConfiguredStore("backup", "sql", 1, None)]
    service = Service(local_settings, lambda settings, deployment_id: stores)
    yield Person(service, service.local_actor)
    service.close()


def test_the_first_reads_wait_and_the_others_do_not(
    person: Person, primary: GuardedStore, relay: Relay, openbao: OpenBaoServer
) -> None:
    """As many calls reach it as it takes to know that it is down, and the backup answers these reads too; then none does."""
    made = person.create("s", VALUES)

    def read(_: int) -> bool:
        return {key: value.reveal() for key, value in person.get(made.id).values.items()} == VALUES

    assert read(0)
    with openbao.paused():
        begun = read_until_down(read, primary, relay)
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(400)))
        assert relay.requests == begun


def read_until_down(read: Callable[[int], bool], primary: GuardedStore, relay: Relay) -> int:
    """Reads, five at once, until the store counts as down: as a rule once. What a process has begun when it is stopped it may still
    answer. How many requests have come.
    """
    with ThreadPoolExecutor(FAILURES) as pool:
        while primary.is_up:
            before = relay.requests
            assert all(pool.map(read, range(FAILURES)))
            assert relay.requests - before <= FAILURES
    return relay.requests
