"""Strangers and users who ask as fast as they can make nothing grow without a bound, and keep nobody out. On a real server."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from strongroom.db.engine import Database
from strongroom.server.refusals import BURST, MAX_COUNTS
from strongroom.service.identity import MAX_SESSIONS
from tests.callers import Caller
from tests.servers.strongroom import PASSWORD, StrongroomServer

WORKERS = 2
STRANGERS = (
    b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %d\r\n\r\n",
    b"GET /api/v1/secrets/by-name/n%d HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n",
    b"DELETE /api/v1/secrets/%d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/v1/setup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /secrets HTTP/1.1\r\nHost: x\r\nCookie: strongroom-session=%d\r\n\r\n",
    b"GET /nowhere/%d HTTP/1.1\r\nHost: x\r\n\r\n",
)
EACH = 500


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def server(folder: Path) -> Iterator[StrongroomServer]:
    """One of its own: others' refusals are not to be counted here."""
    variables = {"CONFIG_PATH": str(folder), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables, "--workers", str(WORKERS))
    yield server
    server.stop()


@pytest.fixture
def root(server: StrongroomServer) -> Iterator[Caller]:
    with server.connections() as pool:
        yield Caller(server, pool).log_in("root")


def flood(server: StrongroomServer, form: bytes) -> int:
    """Sends a request many times over one connection, in batches; returns how many were answered, none of them well."""
    numbers = itertools.count()
    answered = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection, connection.makefile("rb") as replies:
        for _ in range(EACH // 50):
            connection.sendall(b"".join(form % ((next(numbers) % 200,) * form.count(b"%d")) for _ in range(50)))
            for _ in range(50):
                status = int(replies.readline().split()[1])
                assert status >= 303, form
                length = 0
                while (line := replies.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length"):
                        length = int(line.split(b":")[1])
                replies.read(length)
                answered += 1
    return answered


def test_strangers_do_not_fill_the_trail(server: StrongroomServer, root: Caller) -> None:
    """Thousands of requests of strangers, in seven forms, cost some hundred events at most, and users go on meanwhile."""

    def total() -> int:
        number: int = root.call("GET", "/audit?size=1").data["total"]
        return number

    before = total()
    with ThreadPoolExecutor(len(STRANGERS)) as threads:
        floods = [threads.submit(flood, server, form) for form in STRANGERS]
        while not all(each.done() for each in floods):
            assert root.call("GET", "/me").status == 200
        assert [each.result() for each in floods] == [EACH] * len(STRANGERS)
    strangers = [each for each in root.call("GET", "/audit?size=1000&actor=").data["items"] if not each["actor_id"]]
    assert total() > before
    assert len(strangers) <= WORKERS * (BURST + MAX_COUNTS + 20)


def test_logins_that_succeed(server: StrongroomServer, root: Caller, folder: Path) -> None:
    """A user who logs in as fast as they can, from 40 connections, has few sessions and keeps nobody from logging in."""
    root.add("mallory")
    stop = threading.Event()
    begun: list[int] = []

    def loop() -> None:
        with server.connections() as pool:
            while not stop.is_set():
                begun.append(pool.request("POST", "/api/v1/login", json={"username": "mallory", "password": PASSWORD}).status)

    threads = [threading.Thread(target=loop) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert root.log_in("root").call("GET", "/me").status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(begun) <= {200, 429}
    assert 200 in begun
    database = Database(f"sqlite:///{folder / 'strongroom.db'}")
    with database.read() as connection:
        query = "SELECT count(*) FROM tokens JOIN users ON users.id = user_id WHERE users.name = 'mallory' AND kind = 'session'"
        assert connection.execute(text(query)).scalar_one() <= MAX_SESSIONS
    database.close()
