"""Ten thousand wrong passwords: limits hold, and others hardly notice."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from strongroom.config import PREFIX, read_settings
from strongroom.db.engine import Database
from strongroom.db.tables import login_failures
from strongroom.service.throttle import MAX_FAILURES
from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import PASSWORD, StrongroomServer

ATTEMPTS, BATCH = 10_000, 50
USERS = ["ann", "bea", "cal"]
ADDRESSES = ["127.0.0.2", "127.0.0.3"]
HASH_KIB = 65_536


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The server's folder."""
    return tmp_path / "server"


@pytest.fixture
def root(folder: Path) -> Iterator[Caller]:
    """The administrator of a server of two workers."""
    variables = {"CONFIG_PATH": str(folder), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables, "--workers", "2")
    with server.connections() as pool:
        yield Caller(server, pool).log_in("root")
    server.stop()


def guess(server: StrongroomServer, user: str, address: str, times: int) -> Counter[str]:
    """Sends so many wrong passwords on one connection, many at a time; how often each status came."""
    body = json.dumps({"username": user, "password": f"{CANARY}-wrong"}).encode()
    head = f"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    seen: Counter[str] = Counter()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60, source_address=(address, 0)) as connection:
        for _ in range(times // BATCH):
            connection.sendall((head.encode() + body) * BATCH)
            answer, statuses = b"", []
            while len(statuses) < BATCH:
                part = connection.recv(65_536)
                assert part, "the server hung up"
                answer += part
                statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)
            seen.update(status.decode() for status in statuses)
    return seen


def log_in_from(server: StrongroomServer, user: str, address: str) -> int:
    """The status of a login with the right password."""
    body = json.dumps({"username": user, "password": PASSWORD})
    head = "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60, source_address=(address, 0)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        return int(connection.recv(100)[9:12])


def peak_memory(server: StrongroomServer) -> int:
    """The most that the workers ever held, in KiB."""
    lines = [line for pid in server.workers() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_ten_thousand_wrong_passwords(root: Caller, folder: Path) -> None:
    """Of 10,000 attempts over few users and addresses next to all are refused unhashed, by both workers together; memory and the
    table of failures stay small; reads of others stay fast; the users log in from elsewhere.
    """
    server = root.server
    for user in USERS:
        assert root.call("POST", "/users", {"name": user, "password": PASSWORD}).status == 201
    root.create("s", {"k": CANARY})
    before = peak_memory(server)
    times: list[float] = []
    with ThreadPoolExecutor(12) as pool:
        share = ATTEMPTS // (len(USERS) * len(ADDRESSES) * 2) // BATCH * BATCH + BATCH
        guesses = [pool.submit(guess, server, user, address, share) for user in USERS for address in ADDRESSES for _ in range(2)]
        while not all(each.done() for each in guesses):
            began = time.monotonic()
            assert root.call("GET", "/secrets/by-name/s").status == 200
            times.append(time.monotonic() - began)
        statuses = sum((each.result() for each in guesses), Counter[str]())
    assert statuses.total() >= ATTEMPTS
    assert set(statuses) == {"401", "429"}
    # Those that were already being hashed when the limit was reached come on top: four threads in each of two workers.
    places = len(ADDRESSES) * len(USERS)
    assert statuses["401"] <= places * (MAX_FAILURES + 8)
    assert sorted(times)[len(times) // 2] < 0.25
    assert peak_memory(server) - before < 8 * HASH_KIB + 100_000
    for user in USERS:
        assert log_in_from(server, user, "127.0.0.9") == 200
        assert log_in_from(server, user, ADDRESSES[0]) == 429
    database = Database(read_settings({f"{PREFIX}CONFIG_PATH": str(folder)}).database_url)
    with database.read() as connection:
        rows = connection.execute(select(func.count()).select_from(login_failures)).scalar_one()
    database.close()
    assert rows == places + len(ADDRESSES) + len(USERS)
