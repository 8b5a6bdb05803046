"""Clients that are slow, silent or malicious: others are served meanwhile, memory stays bounded, connections end."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import PASSWORD, StrongroomServer

LOGIN = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrongroomServer]:
    """A server of two workers that waits two seconds for slow clients."""
    folder = tmp_path_factory.mktemp("hostile")
    variables = {"CONFIG_PATH": str(folder), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD, "CLIENT_TIMEOUT": "2"}
    server = StrongroomServer(variables, "--workers", "2")
    yield server
    assert '"failed"' not in server.log
    server.stop()


@pytest.fixture(scope="module")
def root(server: StrongroomServer) -> Iterator[Caller]:
    """Its administrator, who has a secret `s`."""
    with server.connections() as pool:
        caller = Caller(server, pool).log_in("root")
        caller.create("s", {"k": CANARY})
        yield caller


def connect(server: StrongroomServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def conversation(server: StrongroomServer, *sent: bytes) -> bytes:
    """Everything that is answered until the server closes the connection."""
    with connect(server) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):  # it may hang up before it has heard everything
            for each in sent:
                connection.sendall(each)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65_536):
                answer += part
        return answer


def slowest(caller: Caller, calls: int = 20) -> float:
    """The slowest of some reads."""
    times = []
    for _ in range(calls):
        began = time.monotonic()
        assert caller.call("GET", "/secrets/by-name/s").status == 200
        times.append(time.monotonic() - began)
    return max(times)


def memory(server: StrongroomServer) -> int:
    """What the workers hold, in KiB."""
    lines = [line for pid in server.workers() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def trickle(connection: socket.socket, text: bytes, ended: threading.Event) -> None:
    """Sends a byte now and then until the server has had enough."""
    with contextlib.suppress(OSError):
        for position in range(len(text)):
            connection.sendall(text[position : position + 1])
            if select.select([connection], [], [], 0.05)[0]:  # an answer, or the end
                break
    ended.set()


def test_slow_clients_end(server: StrongroomServer, root: Caller) -> None:
    """Silence, a head and a body byte by byte, and idling between requests: each connection is closed in time, a body with 408."""
    endings = [threading.Event(), threading.Event()]
    with connect(server) as silent, connect(server) as idle, connect(server) as head, connect(server) as body:
        idle.sendall(HEALTH)
        assert idle.recv(10_000).startswith(b"HTTP/1.1 200")
        body.sendall(LOGIN + b"Content-Length: 1000\r\n\r\n")
        slow = ((head, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 2000), (body, b"{" + b" " * 900))
        for (connection, text), ended in zip(slow, endings, strict=True):
            threading.Thread(target=trickle, args=(connection, text, ended), daemon=True).start()
        assert slowest(root) < 2
        assert silent.recv(100) == b""
        assert idle.recv(100) == b""
        assert all(ended.wait(20) for ended in endings)
        assert body.recv(10_000).startswith(b"HTTP/1.1 408")
        with contextlib.suppress(ConnectionError):
            assert body.recv(10_000) == b""


def test_idle_connections_keep_nobody_out(server: StrongroomServer, root: Caller) -> None:
    """With 1,500 connections that say nothing, and 100 that never read what they asked for, others are served; memory is bounded."""
    before = memory(server)
    with contextlib.ExitStack() as stack:
        for _ in range(1_500):
            stack.enter_context(connect(server))
        for _ in range(100):
            deaf = stack.enter_context(connect(server))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert slowest(root) < 2
        assert memory(server) - before < 100_000


HEADS = {
    "a head of 1 MiB": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_048_576 + b"\r\n\r\n", b"431"),
    "a thousand headers": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1_000 + b"\r\n", b"431"),
    "a line break in a header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: abcdefgh\r\n Injected: 1\r\n\r\n", b"400"),
    "a NUL in a header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: abcdefgh\0\r\n\r\n", b"400"),
    "no HTTP": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", b"400"),
    "two lengths": (LOGIN + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + HEALTH, b"400"),
    "a length that is none": (LOGIN + b"Content-Length: +2\r\n\r\n{}" + HEALTH, b"400"),
    "an unknown coding": (LOGIN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HEALTH, b"400"),
    "a coding twice": (LOGIN + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HEALTH, b"400"),
    "a coding and a length": (LOGIN + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HEALTH, b"411"),
    "a chunk that is none": (LOGIN + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n" + HEALTH, b"411"),
    "a chunk without end": (LOGIN + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFF\r\n" + b"x" * 1_000_000, b"411"),
    "chunks without end": (LOGIN + b"Transfer-Encoding: chunked\r\n\r\n" + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 1000, b"411"),
    "more than a stranger may send": (LOGIN + b"Content-Length: 16385\r\n\r\n" + b" " * 16_385, b"413"),
    "a body that breaks off": (LOGIN + b"Content-Length: 100\r\n\r\n{", b"408"),
}


@pytest.mark.parametrize("name", HEADS)
def test_malicious_requests_are_refused(server: StrongroomServer, root: Caller, name: str) -> None:
    """One answer, which is no 500, then the connection is closed: nothing behind a doubtful end is taken for a request."""
    sent, status = HEADS[name]
    answer = conversation(server, sent)
    if answer:  # it may have hung up while it was talked to
        assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"injected" not in answer.lower()
    assert slowest(root, 1) < 2


def test_garbage_behind_a_request_is_not_answered_for(server: StrongroomServer) -> None:
    """Requests that come together are answered in order, up to the first that is none."""
    answer = conversation(server, HEALTH + HEALTH + b"GARBAGE\r\n\r\n" + HEALTH)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(b"HTTP/1.1 400") == answer.count(b"HTTP/1.1 ") - 2 == 1


def test_a_client_that_goes_away_is_no_failure(server: StrongroomServer, root: Caller) -> None:
    """Whoever hangs up in the middle of a body leaves no error behind in log and metrics."""
    body = json.dumps({"username": "root", "password": "x"}).encode()
    for _ in range(5):
        with connect(server) as connection:
            connection.sendall(LOGIN + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
    deadline = time.monotonic() + 30
    while server.log.count('"status":400') < 5:
        assert root.call("GET", "/me").status == 200
        assert time.monotonic() < deadline
    assert 'status="500"' not in root.call("GET", "/metrics", root="").body.decode()
