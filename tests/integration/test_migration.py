"""The guide to a migration, walked through with real servers while people work: two replicas on one PostgreSQL behind a balancer.

They are redeployed one after the other, so for a while each has another idea of which store is the primary one, or of which stores
there are. No request fails, nothing is lost, and in the end the old store can go.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from strongroom.client import Client
from strongroom.client.login_state import LoginState, write_login
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.db.engine import Database
from strongroom.db.tables import sql_values
from strongroom.errors import StrongroomError
from strongroom.models.job import JobReport
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import MARKER_ID
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.fakes.aws import REGION, AwsServer
from tests.fakes.balancer import Balancer
from tests.integration.aws_place import least
from tests.servers.openbao import OpenBaoServer
from tests.servers.strongroom import PASSWORD, StrongroomServer

PRIMARY, BACKUP = "SECRETS_STORE", "BACKUP_SECRETS_STORE"
Options = Mapping[str, str]
PAUSE_SECONDS = 0.05
"""Between two calls of one person, so that there is something left of the machine for the servers."""


class Replicas:
    """Two replicas behind a balancer, and the command line of their administrator."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        assert settings.encryption_key is not None
        self._common = {
            "DATABASE_URL": settings.database_url, "ENCRYPTION_KEY": settings.encryption_key,
            "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD,
        }  # fmt: skip
        self._servers: list[StrongroomServer] = []
        self._settings = read_settings({f"{PREFIX}CONFIG_PATH": str(folder)})
        self.balancer = Balancer()

    def deploy(self, primary: Options, backup: Options | None = None) -> None:
        """Redeploys with these stores: one replica after the other is ended as an operator would, and started anew."""
        variables = dict(self._common)
        for role, options in ((PRIMARY, primary), (BACKUP, backup or {})):
            variables |= {f"{role}_{name.upper()}": text for name, text in options.items()}
        first_time = not self._servers
        for place in range(2):
            if not first_time:
                self._end(self._servers[place])
            started = StrongroomServer(variables)
            self._servers[place : place + 1] = [started]
            self.balancer.ports = [each.port for each in self._servers]
        if first_time:
            with self._servers[0].connections() as pool:
                token = Caller(self._servers[0], pool).log_in("default").token
            assert token is not None
            write_login(self._settings, LoginState(url=self.balancer.url, token=SecretText(token), username="default"))

    def client(self) -> Client:
        """A client that goes through the balancer, as any other."""
        return Client(replace(self._settings))

    def run(self, *words: str) -> JobReport:
        """The report of a command that has to end well."""
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        environment[f"{PREFIX}CONFIG_PATH"] = str(self._settings.folder)
        command = [sys.executable, "-m", "strongroom", *words, "-o", "json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert not holds_canary(done.stdout + done.stderr)
        assert not done.returncode, done.stdout + done.stderr
        return JobReport(**json.loads(done.stdout))

    def stop(self) -> None:
        for server in self._servers:
            self._end(server)
        self.balancer.stop()

    @staticmethod
    def _end(server: StrongroomServer) -> None:
        log = server.log
        server.stop()
        assert not holds_canary(log)
        assert "Traceback" not in log, log


class People:
    """Threads that write and read all the time, and know what has to be there. What fails is in `failures`."""

    def __init__(self, open_client: Callable[[], Client], writers: int = 3, readers: int = 2) -> None:
        self._open_client, self._writers, self._readers = open_client, writers, readers
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: dict[str, int] = {}
        self._gone: set[str] = set()
        self._numbers = itertools.count()
        self.failures: list[str] = []
        self.calls = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Meanwhile they work. Nothing may have failed."""
        self._ended.clear()
        with ThreadPoolExecutor(self._writers + self._readers) as pool:
            working = [pool.submit(self._write, number) for number in range(self._writers)]
            working += [pool.submit(self._read, number) for number in range(self._readers)]
            try:
                yield
            finally:
                self._ended.set()
        for each in working:
            each.result()
        assert self.failures == []

    def progress(self) -> None:
        """Returns when some more has been done, by everybody together."""
        wanted = self.calls + 50
        while self.calls < wanted and not self.failures:
            self._ended.wait(0.02)

    @staticmethod
    def pause() -> None:
        """A moment in which the servers may do something."""
        threading.Event().wait(0.2)

    def _write(self, writer: int) -> None:
        """Makes, changes and deletes secrets of its own, and reads each back."""
        choose = random.Random(writer)
        mine: dict[str, int] = {}
        with self._open_client() as client:
            while not (self._ended.wait(PAUSE_SECONDS) or self.failures):
                number = next(self._numbers)
                name, text = f"w{writer}-{number}", f"{CANARY}-{number}"
                verb = choose.choice(["create", "update", "update", "update", "delete"]) if len(mine) > 4 else "create"
                if verb != "create":
                    name = choose.choice(list(mine))
                with self._noted(f"{verb} {name}"):
                    if verb == "create":
                        client.create_secret(name, {"n": str(number), "k": text})
                    elif verb == "update":
                        client.update_secret(name, add_or_update_values={"n": str(number)})
                    else:
                        with self._lock:
                            self._gone.add(name)
                            self.acknowledged.pop(name, None)
                        client.delete_secret(name)
                        del mine[name]
                        continue
                    mine[name] = number
                    with self._lock:
                        self.acknowledged[name] = number
                with self._noted(f"read {name} back"):
                    found = int(client.get_secret(name).secret_values["n"])
                    assert found == number, f"{name}: {found} instead of {number}"

    def _read(self, reader: int) -> None:
        """Reads what others write: never less than what was acknowledged before."""
        choose = random.Random(100 + reader)
        with self._open_client() as client:
            while not (self._ended.wait(PAUSE_SECONDS) or self.failures):
                with self._lock:
                    known = dict(self.acknowledged)
                if not known:
                    continue
                name = choose.choice(list(known))
                with self._noted(f"read {name}"):
                    try:
                        found = int(client.get_secret(name).secret_values["n"])
                    except KeyError:
                        assert name in self._gone, f"{name} is lost"
                    else:
                        assert found >= known[name], f"{name}: {found} is older than {known[name]}"

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except (StrongroomError, AssertionError) as error:
            with self._lock:
                self.failures.append(f"{what}: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self.calls += 1


@pytest.fixture
def replicas(postgresql_settings: Settings, tmp_path: Path) -> Iterator[Replicas]:
    """None deployed yet."""
    replicas = Replicas(postgresql_settings, tmp_path / "admin")
    yield replicas
    replicas.stop()


@pytest.fixture
def vault(vault_variables: dict[str, str]) -> Options:
    """The options of a store in OpenBao."""
    return {name.removeprefix(f"{PRIMARY}_").lower(): text for name, text in vault_variables.items()}


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    """A fake of AWS for one test."""
    server = AwsServer()
    yield server
    server.stop()


def migrate(replicas: Replicas, people: People, old: Options, new: Options) -> None:
    """The five steps of the guide, up to the verification; both stores are there still."""
    replicas.deploy(old, new)
    people.progress()
    report = replicas.run("secret", "backup", "--delete-secrets")
    assert report.failed == 0
    people.progress()
    replicas.deploy(new, old)
    people.progress()
    assert replicas.run("secret", "verify", "--deep").failed == 0


def test_from_the_database_to_vault(
    replicas: Replicas, vault: Options, postgresql_settings: Settings, record_property: Callable[[str, object], None]
) -> None:
    """Under constant reads and writes, to the last step. What nobody changed since is not in the old store any more."""
    replicas.deploy({"type": "sql"})
    with replicas.client() as client:
        quiet = {client.create_secret(f"q{number}", {"k": f"{CANARY}-{number}"}).id: number for number in range(100)}
    people = People(replicas.client)
    with people.at_work():
        people.progress()
        migrate(replicas, people, {"type": "sql"}, vault)
        replicas.deploy(vault)
        people.progress()
    record_property("calls", people.calls)
    record_property("connections", replicas.balancer.connections)
    with replicas.client() as client:
        for secret_id, number in quiet.items():
            assert client.get_secret(secret_id).secret_values == {"k": f"{CANARY}-{number}"}
        for name, number in people.acknowledged.items():
            assert int(client.get_secret(name).secret_values["n"]) == number
    assert replicas.run("secret", "verify", "--deep").failed == 0
    database = Database(postgresql_settings.database_url)
    with database.read() as connection:
        left = select(func.count()).select_from(sql_values).where(sql_values.c.secret_id.in_(list(quiet)))
        assert connection.execute(left).scalar_one() == 0
    database.close()


def test_from_vault_to_aws(replicas: Replicas, vault: Options, aws: AwsServer, openbao: OpenBaoServer) -> None:
    """The same between two back ends outside of the database. When nobody writes in the end, the old one can be left empty."""
    key = aws.add(policy=least())
    new = {
        "type": "aws", "auth_method": "secret-key", "region": REGION, "endpoint_url": aws.url,
        "aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key,
    }  # fmt: skip
    replicas.deploy(vault)
    people = People(replicas.client, writers=2, readers=1)
    with people.at_work():
        people.progress()
        migrate(replicas, people, vault, new)
    assert replicas.run("secret", "restore", "--delete-secrets").failed == 0
    with replicas.client() as client:
        while any(store.to_delete or store.behind for store in client.info().stores):
            people.pause()
        left = everything_in(openbao, vault["prefix"])
        assert [path for path in left if MARKER_ID not in path] == []
        with people.at_work():
            people.progress()
            replicas.deploy(new)
            people.progress()
        for name, number in people.acknowledged.items():
            assert int(client.get_secret(name).secret_values["n"]) == number
    assert replicas.run("secret", "verify", "--deep").failed == 0


def everything_in(openbao: OpenBaoServer, path: str) -> list[str]:
    """All paths below this one that hold something."""
    import hvac.exceptions

    found: list[str] = []
    with suppress(hvac.exceptions.InvalidPath):
        for each in openbao.admin.secrets.kv.v2.list_secrets(path)["data"]["keys"]:
            below = f"{path}/{each}"
            found += everything_in(openbao, below.rstrip("/")) if each.endswith("/") else [below]
    return found
