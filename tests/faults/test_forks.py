"""Processes that fork: no lock is inherited locked, and no connection is shared."""

from __future__ import annotations

import concurrent.futures
import ctypes
import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.errors import Unavailable
from tests.canary import CANARY

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]

SECONDS = 30


def in_child(work: Callable[[], object], seconds: float = SECONDS) -> None:
    """Does the work in a forked child, which has to end well in time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            raise
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.002)
    assert ended[1] == 0


@pytest.fixture(params=["sqlite", "postgresql", "two vault stores"])
def store(request: pytest.FixtureRequest) -> Settings:
    """The settings of a store: on SQLite, on PostgreSQL, and with values in two places of OpenBao."""
    if request.param == "sqlite":
        return request.getfixturevalue("local_settings")  # type: ignore[no-any-return]
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql_settings")  # type: ignore[no-any-return]
    local: Settings = request.getfixturevalue("local_settings")
    options: dict[str, str] = request.getfixturevalue("vault_variables")
    second = {f"BACKUP_{name}": text for name, text in options.items()}
    second["BACKUP_SECRETS_STORE_PREFIX"] = f"{options['SECRETS_STORE_PREFIX']}/second"
    variables = {"CONFIG_PATH": str(local.folder), **options, **second}
    return read_settings({f"{PREFIX}{name}": text for name, text in variables.items()})


def use(client: Client, name: str) -> None:
    """Creates, reads, changes and lists."""
    client.create_secret(name, {"k": CANARY})
    assert client.get_secret(name).secret_values == {"k": CANARY}
    client.update_secret(name, add_or_update_values={"k": f"{CANARY}2"})
    assert name in {each.name for each in client.list_secrets(size=1000)}


def names_of(client: Client) -> set[str]:
    """The names of all secrets."""
    pages = itertools.takewhile(
        lambda page: page.items, (client.list_secrets(page=number, size=1000) for number in itertools.count(1))
    )
    return {each.name for page in pages for each in page}


def test_children_and_grandchildren(store: Settings) -> None:
    """Parent, children and their children use one client, which was used before, side by side; nothing is lost."""
    with Client(store) as client:
        use(client, "before")

        def work(number: int) -> None:
            use(client, f"child{number}")
            in_child(lambda: use(client, f"grandchild{number}"))
            use(client, f"again{number}")

        for number in range(2):
            in_child(lambda number=number: work(number))  # type: ignore[misc]
            use(client, f"parent{number}")
        names = names_of(client)
    kinds = ("child", "grandchild", "again", "parent")
    assert names == {"before", *(f"{kind}{number}" for kind in kinds for number in range(2))}


def test_forks_while_threads_work(store: Settings) -> None:
    """Children that are forked while other threads of the parent read and write hang nowhere, and lose nothing of the threads."""
    with Client(store) as client:
        use(client, "before")
        ended, written = threading.Event(), list[str]()

        def work(number: int) -> None:
            count = 0
            while not ended.is_set():
                client.create_secret(f"t{number}-{count}", {"k": CANARY})
                written.append(f"t{number}-{count}")
                assert client.get_secret("before").name == "before"
                count += 1

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            threads = [pool.submit(work, number) for number in range(3)]
            try:
                for number in range(5):
                    in_child(lambda number=number: use(client, f"child{number}"))  # type: ignore[misc]
            finally:
                ended.set()
            for thread in threads:
                thread.result()
        names = names_of(client)
        assert {*written, *(f"child{number}" for number in range(5))} <= names


@pytest.mark.skipif(sys.platform != "linux", reason="needs the C library of Linux")
def test_a_fork_that_python_is_not_told_of(local_client: Client, local_settings: Settings) -> None:
    """When a program forks behind Python's back while the file is open, the child refuses to use it, and says why."""
    local_client.create_secret("a", {"k": CANARY})
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        code = 1
        try:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            for client in (local_client, Client(replace(local_settings, active_stack="default"))):
                with pytest.raises(Unavailable, match="was forked while the database"):
                    client.create_secret("lost", {"k": CANARY})
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [each.name for each in local_client.list_secrets()] == ["a"]


@pytest.fixture
def silent() -> Iterator[Settings]:
    """The settings of a database server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/x"
        yield read_settings(
            {f"{PREFIX}DATABASE_URL": url, f"{PREFIX}ENCRYPTION_KEY": "A" * 43 + "=", f"{PREFIX}DATABASE_TIMEOUT": "1"}
        )


def test_a_fork_while_a_thread_opens_a_store(local_client: Client, local_settings: Settings, silent: Settings) -> None:
    """The child uses another store at once, and so do other threads."""
    local_client.create_secret("a", {"k": CANARY})

    def open_silent() -> None:
        with pytest.raises(Exception, match="database"):
            Client(silent).list_secrets()

    thread = threading.Thread(target=open_silent)
    thread.start()
    in_child(lambda: use(Client(local_settings), "child"), 10)
    Client(local_settings).get_secret("a")
    thread.join()


def _set_variable(name: str, text: str) -> None:
    os.environ[name] = text


def _in_pool(name: str) -> int:
    use(Client(), name)
    return os.getpid()


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools_of_processes(local_client: Client, local_settings: Settings, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Workers of multiprocessing, as of task queues that fork them beforehand, use the store of a parent that has used it."""
    place = f"{PREFIX}CONFIG_PATH", str(local_settings.folder)
    monkeypatch.setenv(*place)  # which a server of forks that runs already does not see
    local_client.create_secret("before", {"k": CANARY})
    with multiprocessing.get_context(method).Pool(2, _set_variable, place) as pool:
        pool.map(_in_pool, [f"{method}{number}" for number in range(6)])
    assert local_client.list_secrets(size=100).total == 7


_APP = """
import os, sys, signal
from strongroom.client import Client
client = Client()
client.get_secret("preloaded")
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        for turn in range(20):
            client.create_secret(f"w{number}-{turn}", {"k": "v"})
        client.close()
        os._exit(0)
    children.append(child)
if sys.argv[1] == "closes":
    client.close()
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.parametrize("parent", ["closes", "stays"])
def test_a_server_that_preloads(local_settings: Settings, parent: str) -> None:
    """Workers forked from a process that has read a secret write side by side, while commands come and go; nothing is lost."""
    environment = {**os.environ, f"{PREFIX}CONFIG_PATH": str(local_settings.folder)}
    with Client(local_settings) as client:
        client.create_secret("preloaded", {"k": CANARY})
    app = subprocess.Popen([sys.executable, "-c", _APP, parent], env=environment, stdout=subprocess.PIPE, text=True)
    commands = 0
    while app.poll() is None and commands < 1000:
        subprocess.run(
            [Path(sys.executable).parent / "strongroom", "secret", "create", f"c{commands}", f"--k={CANARY}"],
            env=environment,
            check=True,
            capture_output=True,
        )
        commands += 1
    assert app.communicate(timeout=SECONDS)[0] == "[0, 0, 0]\n"
    with Client(local_settings) as client:
        names = names_of(client)
    assert {f"w{number}-{turn}" for number in range(3) for turn in range(20)} | {f"c{each}" for each in range(commands)} <= names
