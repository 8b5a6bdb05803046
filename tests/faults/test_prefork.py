"""Real programs that fork their workers: gunicorn, and pools of processes as Celery has them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from strongroom.client import Client
from strongroom.client.login_state import LoginState, write_login
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.redaction import SecretText
from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import free_port

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The variables of a store that programs use: on SQLite, on PostgreSQL, or at a server that they are logged in to."""
    if request.param == "server":
        admin: Caller = request.getfixturevalue("admin")
        variables = {f"{PREFIX}CONFIG_PATH": str(tmp_path / "client")}
        assert admin.token is not None
        login = LoginState(url=admin.server.url, token=SecretText(admin.token), username="root", workspace=admin.workspace)
        write_login(read_settings(variables), login)
        return variables
    settings: Settings = request.getfixturevalue("local_settings" if request.param == "sqlite" else "postgresql_settings")
    variables = {"CONFIG_PATH": str(settings.folder), "DATABASE_URL": settings.database_url}
    if settings.encryption_key:
        variables["ENCRYPTION_KEY"] = settings.encryption_key
    return {f"{PREFIX}{name}": text for name, text in variables.items() if name != "DATABASE_URL" or request.param != "sqlite"}


def names_in(place: dict[str, str]) -> set[str]:
    """The names of all secrets there."""
    with Client(read_settings(place)) as client:
        return {each.name for number in (1, 2, 3) for each in client.list_secrets(page=number, size=1000)}


_APP = """
import os
from strongroom.client import Client
client = Client()
client.get_secret("preloaded")

def app(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    client.create_secret(name, {"k": "v"})
    assert client.get_secret(name).secret_values == {"k": "v"}
    assert client.get_secret("preloaded").secret_values["k"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def gunicorn(place: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a gunicorn with three workers, whose application has used a client before they were forked."""
    if importlib.util.find_spec("gunicorn") is None:
        pytest.skip("gunicorn is not installed")
    with Client(read_settings(place)) as client:
        client.create_secret("preloaded", {"k": CANARY})
    (tmp_path / "application.py").write_text(_APP)
    port = free_port()
    options = ["--preload", "--workers", "3", "--bind", f"127.0.0.1:{port}", "--chdir", str(tmp_path), *request.param]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "application:app"],
        env={**os.environ, **place},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        with urllib3.HTTPConnectionPool("127.0.0.1", port) as pool:
            while True:
                with contextlib.suppress(urllib3.exceptions.HTTPError):
                    assert pool.request("GET", "/ready", retries=False).status == 200
                    break
                assert process.poll() is None, "gunicorn has ended"
                assert time.monotonic() < deadline, "gunicorn does not answer"
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "gunicorn", [[], ["--threads", "3"], ["--max-requests", "4"]], indirect=True, ids=["sync", "threads", "renewed"]
)
def test_gunicorn_that_preloads(gunicorn: str, place: dict[str, str]) -> None:
    """Workers of all kinds go on with the client of the application, and so do those that replace one that was killed."""
    pool, done, workers = urllib3.PoolManager(maxsize=8), [], set()

    def create(name: str) -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # the worker that is killed
            answer = pool.request("GET", f"{gunicorn}/{name}", retries=False, timeout=30)
            assert answer.status == 200
            done.append(name)
            workers.add(int(answer.data))

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(create, [f"a{number}" for number in range(12)]))
        with contextlib.suppress(ProcessLookupError):  # it has been renewed meanwhile
            os.kill(min(workers), signal.SIGKILL)
        list(threads.map(create, [f"b{number}" for number in range(20)]))
    pool.clear()
    assert len(done) >= 26, "more than the requests of the killed worker were lost"
    assert {*done, "preloaded", "ready"} <= names_in(place)


_POOL = """
import os, signal, sys, threading
from strongroom.client import Client
client = Client()
client.create_secret("preloaded", {"k": "v"})

def task(name):
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    client.create_secret(name, {"k": "v"})
    assert client.get_secret("preloaded").secret_values == {"k": "v"}
    return name

def work():
    count = 0
    while not ended.is_set():
        client.create_secret(f"thread{count}", {"k": "v"})
        count += 1
        ended.wait(0.02)
    written.extend(f"thread{number}" for number in range(count))

if __name__ == "__main__":
    ended, written = threading.Event(), []
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    names = [f"task{number}" for number in range(12)]
    kind = sys.argv[1]
    if kind == "billiard":  # Celery's: workers are replaced after two tasks, and when they are killed
        import billiard
        pool = billiard.Pool(2, maxtasksperchild=2)
        lost = pool.apply_async(task, ["killed"])
        done = [each.get(60) for each in [pool.apply_async(task, [name]) for name in names]]
        lost.wait(60)
        assert lost.ready() and not lost.successful()
        pool.close()
        pool.join()
    elif kind == "multiprocessing":
        import multiprocessing
        with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
            done = pool.map(task, names, chunksize=1)
    else:
        import concurrent.futures, multiprocessing
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            done = list(pool.map(task, names))
    ended.set()
    thread.join()
    print(",".join(sorted({*done, *written})))
"""


@pytest.mark.parametrize("kind", ["billiard", "multiprocessing", "concurrent.futures"])
def test_pools_whose_workers_are_replaced(kind: str, place: dict[str, str], tmp_path: Path) -> None:
    """Workers that are forked while threads of the parent use the client, again and again, lose nothing and hang nowhere."""
    if importlib.util.find_spec(kind.partition(".")[0]) is None:
        pytest.skip(f"{kind} is not installed")
    program = tmp_path / "program.py"
    program.write_text(_POOL)
    command = [sys.executable, "-W", "ignore", program, kind]
    done = subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.strip().split(","))
    assert {f"task{number}" for number in range(12)} <= names
    assert any(name.startswith("thread") for name in names)
    assert names <= names_in(place)
