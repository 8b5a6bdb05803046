"""Real stores that hang or vanish, behind real servers: few calls pay for it, and service is back soon after the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import Settings, StoreSettings
from strongroom.errors import ConfigurationError
from strongroom.models.job import ListJobs, VerifySecrets
from strongroom.service.wiring import Service
from tests.callers import Caller
from tests.canary import CANARY
from tests.fakes.line import FaultyLine, Line
from tests.people import Person
from tests.servers.openbao import OpenBaoServer
from tests.servers.strongroom import PASSWORD, StrongroomServer

WAIT_SECONDS = 40.0
Serve = Callable[[str], Caller]


@pytest.fixture
def line(openbao: OpenBaoServer) -> Iterator[FaultyLine]:
    """Between strongroom and OpenBao."""
    line = FaultyLine(openbao.port)
    yield line
    line.stop()


@pytest.fixture
def serve(tmp_path: Path, vault_variables: dict[str, str], line: FaultyLine) -> Iterator[Serve]:
    """Starts a server of two workers whose primary or backup is OpenBao; gives its administrator."""
    servers: list[StrongroomServer] = []

    def start(role: str) -> Caller:
        place = vault_variables | {"SECRETS_STORE_VAULT_ADDR": f"http://127.0.0.1:{line.port}"}
        if role == "backup":
            place = {f"BACKUP_{name}": text for name, text in place.items()}
        variables = {"CONFIG_PATH": str(tmp_path / "state"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD, **place}
        servers.append(StrongroomServer(variables, "--workers", "2"))
        return Caller(servers[-1], servers[-1].connections()).log_in("root")

    yield start
    for server in servers:
        server.stop()


def wait_until(condition: Callable[[], bool]) -> float:
    """Waits; how many seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < WAIT_SECONDS, "it does not come true"
    return time.monotonic() - began


def behind(root: Caller) -> int:
    counts: dict[str, int] = {each["role"]: each["behind"] for each in root.call("GET", "/info").data["stores"]}
    return counts["backup"]


def test_a_hung_backup_costs_a_few_writes_one_timeout(serve: Serve, line: FaultyLine) -> None:
    """Of all workers together; all are acknowledged, and the backup is behind by them until it is back."""
    root = serve("backup")
    for number in range(8):
        root.create(f"before{number}", {"k": f"{CANARY}-{number}"})

    def write(number: int) -> float:
        with root.server.connections() as pool:  # a connection of its own: any worker may take it
            began = time.monotonic()
            replace(root, pool=pool).create(f"s{number}", {"k": f"{CANARY}-{number}"})
            return time.monotonic() - began

    line.set(Line.BLACK_HOLE)
    first = write(0)
    rest = [write(number) for number in range(1, 40)]
    assert first < 5
    assert sum(each > 1 for each in rest) <= 3
    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(write, range(40, 80))) < 2
    assert behind(root) == 80
    line.set(Line.WELL)
    assert wait_until(lambda: behind(root) == 0) < WAIT_SECONDS


def test_service_is_back_soon_after_the_store(serve: Serve, line: FaultyLine) -> None:
    """After an outage of the only store reads and writes are served about as soon as it answers; meanwhile they fail at once."""
    root = serve("primary")
    made = root.create("s", {"k": f"{CANARY}-one"})

    def read(_: int = 0) -> int:
        with root.server.connections() as pool:
            return replace(root, pool=pool).call("GET", f"/secrets/{made['id']}").status

    line.set(Line.BLACK_HOLE)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(16))) == {503}

    def fails_at_once() -> bool:
        began = time.monotonic()
        return {read() for _ in range(8)} == {503} and time.monotonic() - began < 2

    wait_until(fails_at_once)
    line.set(Line.WELL)
    assert wait_until(lambda: read() == 200) < 3
    assert wait_until(lambda: {read() for _ in range(12)} == {200}) < 3
    root.create("t", {"k": f"{CANARY}-two"})


def test_one_vault_under_two_addresses(vault_settings: Settings, openbao: OpenBaoServer) -> None:
    """The least policy lets the markers be written; what a former release wrote there twice survives a verification that repairs."""
    options = dict(vault_settings.secrets_store.options)
    other = StoreSettings("vault", options=tuple(sorted((options | {"vault_addr": f"http://localhost:{openbao.port}"}).items())))
    with Client(vault_settings) as client:
        made = client.create_secret("s", {"k": f"{CANARY}-one"})
    service = Service(replace(vault_settings, backup_secrets_store=other))
    person = Person(service, service.local_actor)
    with pytest.raises(ConfigurationError, match="same place"):
        person.create("t", {"k": f"{CANARY}-two"})
    service.placements.markers.are_set = True  # as a former release was
    late = person.create("u", {"k": f"{CANARY}-three"})
    service.jobs.begin(service.local_actor, VerifySecrets(deep=True, repair=True))
    service.jobs.wait()
    assert "same place" in str(service.jobs.list(service.local_actor, ListJobs()).items[0].error)
    service.follow_up()
    found = [person.get(each).values["k"].reveal() for each in (made.id, late.id)]
    assert found == [f"{CANARY}-{text}" for text in ("one", "three")]
    service.close()
    with Client(vault_settings) as client:
        assert client.get_secret("s").secret_values == {"k": f"{CANARY}-one"}


def test_addresses_of_one_place(vault_settings: Settings, openbao: OpenBaoServer) -> None:
    """A slash at the end, capitals in a host's name, another name: no text hides one place."""
    options = dict(vault_settings.secrets_store.options)
    for address in (f"http://127.0.0.1:{openbao.port}/", f"http://LOCALHOST:{openbao.port}", f"http://localhost:{openbao.port}/"):
        other = StoreSettings("vault", options=tuple(sorted((options | {"vault_addr": address}).items())))
        with (
            pytest.raises(ConfigurationError, match="same place"),
            Client(replace(vault_settings, backup_secrets_store=other)) as client,
        ):
            client.create_secret(f"s{len(address)}", {"k": f"{CANARY}-one"})
