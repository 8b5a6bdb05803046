"""Fixtures of all tests: an environment of their own, databases, an open store, and people."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from sqlalchemy import inspect, text

from strongroom.client import Client, observers
from strongroom.client.login_state import LoginState, write_login
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.db import identifiers
from strongroom.db.engine import Database
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import Introspective
from strongroom.service.wiring import Service
from tests.callers import Caller
from tests.people import Person, add_person
from tests.servers import DatabaseServer
from tests.servers.strongroom import PASSWORD, StrongroomServer

if TYPE_CHECKING:
    from tests.servers.openbao import OpenBaoServer

pytest_plugins = ["tests.reaper", "tests.canary", "tests.opens", "tests.fakes.keyring", "tests.processes", "pytester"]

DATABASES = ("sqlite", "postgresql", "mariadb")

hypothesis.settings.register_profile("tests", database=None, deadline=None)
hypothesis.settings.load_profile("tests")
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """No test meets the settings, the home or the keyring of whoever runs it."""
    for name in [name for name in os.environ if name.startswith((PREFIX, "XDG_"))]:
        del os.environ[name]
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    os.environ["HOME"] = "/nonexistent"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _values_of_this_test() -> Iterator[None]:
    """What a test read is not masked in the runs of the next ones."""
    yield
    observers._recent.clear()


@pytest.fixture(autouse=True)
def _ids_of_today() -> Iterator[None]:
    """Ids that a test made in a future of its own do not keep those of the next tests there."""
    yield
    if identifiers._last >> 12 > time.time() * 1000 + 1000:
        identifiers._last = 0


@pytest.fixture(scope="session")
def key() -> str:
    """An encryption key as an operator gives it."""
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture(scope="session")
def postgresql(key: str) -> Iterator[DatabaseServer]:
    """A PostgreSQL server with the database `template`, in which strongroom was started once."""
    from tests.servers.postgresql import PostgreSQLServer

    yield from _with_template(PostgreSQLServer(), key)


@pytest.fixture(scope="session")
def mariadb(key: str) -> Iterator[DatabaseServer]:
    """A MariaDB server with such a `template`."""
    from tests.servers.mariadb import MariaDBServer, find_mariadbd

    if find_mariadbd() is None:
        pytest.skip("mariadbd is not installed; with Debian: apt-get install mariadb-server")

    yield from _with_template(MariaDBServer(), key)


def _with_template(server: DatabaseServer, key: str) -> Iterator[DatabaseServer]:
    try:
        server.create("template")
        Service(_server_settings(server, "template", key)).close()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBaoServer]:
    """A real OpenBao, for many tests: each works under names of its own."""
    from tests.servers.openbao import OpenBaoServer

    server = OpenBaoServer()
    yield server
    server.stop()


@pytest.fixture
def vault_variables(openbao: OpenBaoServer) -> dict[str, str]:
    """The variables, without their prefix, that keep values in OpenBao, at a place of this test and with no right elsewhere."""
    from strongroom.config import StoreSettings
    from strongroom.secrets_stores.opening import open_external

    place = {"vault_addr": openbao.url, "vault_token": "none", "prefix": f"t{uuid.uuid4().hex}"}
    store = open_external(StoreSettings("vault", options=tuple(place.items())), "d")
    assert isinstance(store, Introspective)
    place["vault_token"] = openbao.new_token(store.policy)
    store.close()
    return {"SECRETS_STORE_TYPE": "vault"} | {f"SECRETS_STORE_{name.upper()}": text for name, text in place.items()}


@pytest.fixture
def vault_settings(local_settings: Settings, vault_variables: dict[str, str]) -> Settings:
    """The settings of an embedded store whose values are in OpenBao."""
    variables = {"CONFIG_PATH": str(local_settings.folder), **vault_variables}
    return read_settings({f"{PREFIX}{name}": text for name, text in variables.items()})


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an embedded store that was opened once."""
    folder = tmp_path_factory.mktemp("template") / "state"
    Service(read_settings({f"{PREFIX}CONFIG_PATH": str(folder)})).close()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where this test's embedded store is to be; it does not exist yet."""
    return tmp_path / "state"


@pytest.fixture
def new_local_settings(folder: Path) -> Settings:
    """The settings of an embedded store that does not exist yet."""
    return read_settings({f"{PREFIX}CONFIG_PATH": str(folder)})


@pytest.fixture
def local_settings(new_local_settings: Settings, sqlite_template: Path) -> Settings:
    """The settings of an empty embedded store with a key file, the default."""
    shutil.copytree(sqlite_template, new_local_settings.folder)
    return new_local_settings


@pytest.fixture(params=DATABASES)
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of an empty store, in each database in turn."""
    yield from settings_in(request, "template")


@pytest.fixture(params=DATABASES)
def new_settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of a database in which strongroom was never started, in each database in turn."""
    yield from settings_in(request, None)


@pytest.fixture
def postgresql_settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of an empty store in PostgreSQL."""
    yield from _on_server(request, "postgresql", "template")


@pytest.fixture
def new_postgresql_settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of a database in PostgreSQL in which strongroom was never started."""
    yield from _on_server(request, "postgresql", None)


def settings_in(request: pytest.FixtureRequest, template: str | None) -> Iterator[Settings]:
    if request.param == "sqlite":
        yield request.getfixturevalue("local_settings" if template else "new_local_settings")
    else:
        yield from _on_server(request, request.param, template)


def _on_server(request: pytest.FixtureRequest, database: str, template: str | None) -> Iterator[Settings]:
    server: DatabaseServer = request.getfixturevalue(database)
    name = f"test_{next(_numbers)}"
    server.create(name, template)
    try:
        settings = _server_settings(server, name, request.getfixturevalue("key"), request.getfixturevalue("folder"))
        yield settings
        _look_for_canary(settings.database_url)
    finally:
        server.drop(name)


def _server_settings(server: DatabaseServer, name: str, key: str, folder: Path | None = None) -> Settings:
    return read_settings(
        {
            f"{PREFIX}CONFIG_PATH": str(folder or "/nonexistent/strongroom"),
            f"{PREFIX}DATABASE_URL": server.url(name),
            f"{PREFIX}ENCRYPTION_KEY": key,
        }
    )


def _look_for_canary(url: str) -> None:
    """What the canary's plugin does with files, for a database behind a server."""
    from tests.canary import holds_canary  # a plugin is to be loaded as one first

    database = Database(url)
    try:
        with database.snapshot() as connection:
            for table in inspect(connection).get_table_names():
                for row in connection.execute(text(f"SELECT * FROM {table}")):
                    if any(holds_canary(field if isinstance(field, bytes) else str(field)) for field in row):
                        pytest.fail(f"A value leaked: the canary is in a row of the table {table}", pytrace=False)
    finally:
        database.close()


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """An open store, in each database in turn."""
    service = Service(settings)
    yield service
    service.close()


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client, on each database in turn."""
    with Client(settings) as client:
        yield client


@pytest.fixture
def local_service(local_settings: Settings) -> Iterator[Service]:
    """An open embedded store, for what does not depend on the database."""
    service = Service(local_settings)
    yield service
    service.close()


@pytest.fixture
def local_client(local_settings: Settings) -> Iterator[Client]:
    """A client of an embedded store."""
    with Client(local_settings) as client:
        yield client


@pytest.fixture(scope="session")
def strongroom_server(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrongroomServer]:
    """A server of two workers on SQLite, whose administrator is `default`. Tests use workspaces of their own."""
    from tests.canary import holds_canary

    folder = shutil.copytree(sqlite_template, tmp_path_factory.mktemp("server") / "state")
    variables = {"CONFIG_PATH": str(folder), "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables, "--workers", "2")
    yield server
    log = server.log
    server.stop()
    assert not holds_canary(log), "a value leaked: the canary is in the server's log"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(holds_canary(path.read_bytes()) for path in files), "a value leaked into the server's folder"


@pytest.fixture(scope="session")
def _administrator(strongroom_server: StrongroomServer) -> Iterator[Caller]:
    with strongroom_server.connections() as pool:
        yield Caller(strongroom_server, pool).log_in("default")


@pytest.fixture
def admin(_administrator: Caller) -> Caller:
    """The administrator of a server, in a fresh workspace."""
    name = f"w{next(_numbers)}"
    assert _administrator.call("POST", "/workspaces", {"name": name}).status == 201
    return replace(_administrator, workspace=name)


@pytest.fixture
def nobody(admin: Caller) -> Caller:
    """Somebody without a token."""
    return replace(admin, token=None, workspace="")


@pytest.fixture
def remote_settings(admin: Caller, new_local_settings: Settings) -> Settings:
    """The settings of somebody who is logged in to a server, in a fresh workspace."""
    assert admin.token is not None
    state = LoginState(url=admin.server.url, token=SecretText(admin.token), username="default", workspace=admin.workspace)
    write_login(new_local_settings, state)
    return new_local_settings


@pytest.fixture
def alice(service: Service) -> Person:
    """An editor of the default workspace."""
    return add_person(service, "alice")


@pytest.fixture
def bob(service: Service) -> Person:
    """Another one."""
    return add_person(service, "bob")
