"""The transport to a server: what it sends, what it tries again, and what its errors say."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Thread
from typing import Any

import pytest

from strongroom import errors
from strongroom.client import Client
from strongroom.client.transports.remote import ATTEMPTS, RemoteTransport, check_url
from strongroom.config import Settings
from strongroom.db.identifiers import new_id
from strongroom.errors import (
    ConfigurationError,
    InvalidInput,
    NoSuchOperation,
    NotFound,
    ServerUnknown,
    StrongroomError,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from strongroom.models.secret import CreateSecret, DeleteSecret, GetSecretByName, UpdateSecret
from strongroom.models.user import Login
from strongroom.operations import secret as operations
from strongroom.operations import user as of_user
from strongroom.redaction import SecretText
from tests.canary import CANARY, holds_canary
from tests.fakes.loopback import Answer, LoopbackServer, Request
from tests.processes import until
from tests.servers.strongroom import free_port

TOKEN = f"srs_{CANARY}"
BUSY = Answer(503, {"error": {"code": "unavailable", "message": "busy"}})
SECRET = {
    "id": new_id(),
    "name": "s",
    "scope": "workspace",
    "workspace": "w",
    "owner": "o",
    "description": "",
    "labels": {},
    "keys": ["k"],
    "version": 1,
    "created": "2026-01-01T00:00:00Z",
    "updated": "2026-01-01T00:00:00Z",
    "created_by": "o",
    "expires_at": None,
}
MADE = Answer(201, SECRET)


class ScriptedServer(LoopbackServer):
    """Answers with what it was told to, in this order; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        super().__init__()

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.answers.pop(0)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that says what a test wants."""
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def transport(server: ScriptedServer) -> Iterator[RemoteTransport]:
    """A transport to that server."""
    with closing(RemoteTransport(f"http://{server.address}/", lambda: SecretText(TOKEN), workspace="w")) as transport:
        yield transport


def create(transport: RemoteTransport) -> Any:
    return transport.call(operations.CREATE, CreateSecret(name="s", values={"k": SecretText(CANARY)}))


def get(transport: RemoteTransport) -> Any:
    return transport.call(operations.GET_BY_NAME, GetSecretByName(name="s"))


def waiting(url: str, seconds: float) -> RemoteTransport:
    """A transport that waits so long for a server that restarts."""
    return RemoteTransport(url, lambda: SecretText(TOKEN), wait_seconds=seconds)


def test_what_travels(server: ScriptedServer, transport: RemoteTransport) -> None:
    """The token in its header, names in the path, the workspace in the query, values in the body; what was not said is left out."""
    server.answers = [MADE, Answer(200, {**SECRET, "values": {"k": CANARY}})]
    assert create(transport).name == "s"
    found = transport.call(operations.GET_BY_NAME, GetSecretByName(name="a/b c.", version=3))
    assert found.secret_values == {"k": CANARY}
    made, read = server.requests
    assert made.headers["authorization"] == read.headers["authorization"] == f"Bearer {TOKEN}"
    assert (made.path, made.query, made.form()) == (
        "/api/v1/secrets",
        {"workspace": ["w"]},
        {"workspace": "w", "name": "s", "values": {"k": CANARY}},
    )
    assert len(made.headers["idempotency-key"]) >= 32
    assert (read.path, read.query) == ("/api/v1/secrets/by-name/a%2Fb%20c.", {"workspace": ["w"], "version": ["3"]})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: ScriptedServer, transport: RemoteTransport, status: int) -> None:
    """A read, and a POST under one and the same key, are repeated until there is an answer."""
    busy = Answer(status, BUSY.body, {"Retry-After": "0"})
    server.answers = [busy, busy, MADE, busy, Answer(200, SECRET)]
    assert create(transport).version == 1
    assert get(transport).version == 1
    assert len({request.headers["idempotency-key"] for request in server.requests[:3]}) == 1


def test_patience_ends(server: ScriptedServer, transport: RemoteTransport) -> None:
    """After some attempts the error stands."""
    server.answers = [BUSY] * ATTEMPTS
    with pytest.raises(Unavailable, match="busy"):
        get(transport)
    assert len(server.requests) == ATTEMPTS


def test_a_change_is_repeated_under_its_key(server: ScriptedServer, transport: RemoteTransport) -> None:
    """A PATCH whose answer got lost, as when a replica ends, is sent again under one and the same key: it is made once."""
    server.answers = [Answer(502, None, {"Retry-After": "0"}), Answer(200, SECRET)]
    assert transport.call(operations.UPDATE, UpdateSecret(id="x", values={"k": SecretText(CANARY)})).version == 1
    assert [request.method for request in server.requests] == ["PATCH", "PATCH"]
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


def test_a_change_that_a_server_gave_up_is_sent_again(server: ScriptedServer, transport: RemoteTransport) -> None:
    """Under one and the same key: the server keeps the change and its reply in one transaction, so it is made once."""
    server.answers = [BUSY, Answer(200, SECRET)]
    assert transport.call(operations.UPDATE, UpdateSecret(id="x", description="y")).version == 1
    assert [request.method for request in server.requests] == ["PATCH", "PATCH"]
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


def test_a_login_is_not_repeated(server: ScriptedServer, transport: RemoteTransport) -> None:
    """It is sent once: its answer is kept nowhere."""
    server.answers = [BUSY]
    with pytest.raises(Unavailable):
        transport.call(of_user.LOGIN, Login(username="u", password=SecretText(CANARY)))
    assert [request.method for request in server.requests] == ["POST"]
    assert "authorization" not in server.requests[0].headers


def test_a_long_wait_is_left_to_the_caller(server: ScriptedServer, transport: RemoteTransport) -> None:
    """A `Retry-After` beyond patience comes back as an error that says how long."""
    server.answers = [Answer(429, {"error": {"code": "rate_limited", "message": "slow"}}, {"Retry-After": "600"})]
    with pytest.raises(TooManyRequests) as caught:
        get(transport)
    assert caught.value.retry_after == 600


@pytest.mark.parametrize(
    "kind", [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, StrongroomError)]
)
def test_every_error_arrives_as_its_own_class(
    server: ScriptedServer, transport: RemoteTransport, kind: type[StrongroomError]
) -> None:
    """Code, message and hint are those of the other side."""
    answer = Answer(kind.status, {"error": {"code": kind.code, "message": "what happened", "hint": "what to do"}})
    server.answers = [answer]
    with pytest.raises(kind) as caught:
        waiting(transport.url, 0).call(operations.UPDATE, UpdateSecret(id="x", name="y"))
    assert type(caught.value) is kind
    if kind is not NoSuchOperation:
        assert (str(caught.value), caught.value.hint) == ("what happened", "what to do")


def test_errors_of_a_newer_server(server: ScriptedServer, transport: RemoteTransport) -> None:
    """A code that this client does not know is told by its status."""
    server.answers = [Answer(status, {"error": {"code": "new", "message": "x"}}) for status in (422, 401, 418)]
    for kind in (InvalidInput, Unauthenticated, StrongroomError):
        with pytest.raises(kind):
            get(transport)


def test_an_older_server(server: ScriptedServer, transport: RemoteTransport) -> None:
    """An operation that the server does not know is named; it is no `KeyError`."""
    server.answers = [Answer(404, {"error": {"code": "no_such_operation", "message": "x"}})]
    with pytest.raises(NoSuchOperation, match=r"secret\.get-by-name") as caught:
        get(transport)
    assert not isinstance(caught.value, KeyError)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}),
        Answer(200, {**SECRET, "version": "x"}),
        Answer(404, {}),
        Answer(404, {"error": "not found"}),
        Answer(302, {}, {"Location": "http://127.0.0.1:9/elsewhere"}),
        Answer(403, {"detail": CANARY}),
    ],
    ids=range(6),
)
def test_a_wrong_url(server: ScriptedServer, transport: RemoteTransport, answer: Answer) -> None:
    """What does not answer like a strongroom server is said to be none, is not followed elsewhere, and is not repeated."""
    server.answers = [answer]
    with pytest.raises(ServerUnknown, match="no strongroom server") as caught:
        get(transport)
    assert not holds_canary(f"{caught.value}{caught.value.hint}")
    assert len(server.requests) == 1


def test_a_proxy_without_its_server(server: ScriptedServer, transport: RemoteTransport) -> None:
    """A gateway's own 502 is `Unavailable`, when it was the answer for long enough."""
    server.answers = [Answer(502, {"gateway": "x"}, {"Retry-After": "0"})] * 1000
    with pytest.raises(Unavailable, match="does not answer"):
        get(waiting(transport.url, 0.5))
    assert 1 < len(server.requests) < 10


def test_nobody_there() -> None:
    """Refused connections, names without an address: each says what it is, for reads and changes alike."""
    for url, said in ((f"http://127.0.0.1:{free_port()}", "nothing answers"), ("https://strongroom.invalid", "there is no address")):
        transport = waiting(url, 0.3)
        for attempt in (create, get):
            with pytest.raises(Unavailable, match=said) as caught:
                attempt(transport)
            assert not holds_canary(f"{caught.value}{caught.value.hint}{caught.value.__cause__}")


@pytest.mark.parametrize("kind", ["name", "tls", "url", "forbidden", "invalid"])
def test_what_no_waiting_mends_is_told_at_once(server: ScriptedServer, kind: str) -> None:
    """A name without an address, TLS that fails, a server that is none, and what was wrong with the call: one attempt, no waiting."""
    url = {"name": "https://strongroom.invalid", "tls": f"https://{server.address}"}.get(kind, f"http://{server.address}")
    status, code = {"forbidden": (403, "forbidden"), "invalid": (422, "invalid")}.get(kind, (404, "x"))
    server.answers = [Answer(status, {} if kind == "url" else {"error": {"code": code, "message": "x"}})]
    began = time.monotonic()
    with pytest.raises(StrongroomError):
        get(waiting(url, 600))
    assert time.monotonic() - began < 30
    assert len(server.requests) <= 1


@pytest.mark.parametrize("answer", ["refused", "reset", "gateway", "retry-after"])
def test_a_server_that_restarts_is_waited_for(server: ScriptedServer, caplog: pytest.LogCaptureFixture, answer: str) -> None:
    """Reads, and changes with a key, succeed when it is back; after two seconds a line says what they wait for, once."""
    answers = {
        "gateway": Answer(502, {"gateway": CANARY}),
        "retry-after": Answer(503, BUSY.body, {"Retry-After": "1"}),
    }
    back = threading.Event()

    def reply(connection: socket.socket) -> None:
        connection.recv(65_536)
        if answer in answers or back.is_set():
            given = answers[answer] if not back.is_set() else MADE
            body = json.dumps(given.body).encode()
            head = f"HTTP/1.1 {given.status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            head += "".join(f"{name}: {text}\r\n" for name, text in given.headers.items())
            connection.sendall(head.encode() + b"\r\n" + body)

    port, stop = (free_port(), lambda: None) if answer == "refused" else _hanging_up(reply)
    transport = waiting(f"http://127.0.0.1:{port}", 60)
    try:
        with ThreadPoolExecutor() as pool, caplog.at_level("WARNING", "strongroom"):
            calls = [pool.submit(call, transport) for call in (create, get, get)]
            until(lambda: "waiting for" in caplog.text)
            if answer == "refused":
                _, stop = _hanging_up(reply, port)
            back.set()
            assert [call.result().version for call in calls] == [1, 1, 1]
    finally:
        stop()
    assert [record.getMessage() for record in caplog.records] == [f"waiting for http://127.0.0.1:{port}; Ctrl-C to stop"]


def test_without_waiting_a_call_is_made_once(server: ScriptedServer) -> None:
    """With 0 seconds nothing is tried again, whatever the answer is."""
    for answer in (BUSY, Answer(502, {}), Answer(503, BUSY.body, {"Retry-After": "1"}), Answer(429, BUSY.body, {"Retry-After": "1"})):
        server.answers = [answer]
        with pytest.raises(StrongroomError):
            get(waiting(f"http://{server.address}", 0))
    with pytest.raises(Unavailable, match="nothing answers"):
        get(waiting(f"http://127.0.0.1:{free_port()}", 0))
    assert len(server.requests) == 4


def _hanging_up(accept: Callable[[socket.socket], None], port: int = 0) -> tuple[int, Callable[[], None]]:
    """A port at which each connection is treated so; and what ends it."""
    listening = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                accept(connection)

    thread = Thread(target=serve, daemon=True)
    thread.start()

    def stop() -> None:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()

    return listening.getsockname()[1], stop


def test_a_lost_answer() -> None:
    """A connection that breaks is tried again where that is harmless; where not, the error says that it may have been done."""
    calls: list[bytes] = []
    port, stop = _hanging_up(lambda connection: calls.append(connection.recv(65_536)))
    try:
        transport = waiting(f"http://127.0.0.1:{port}", 1)
        with pytest.raises(Unavailable, match="may have been done"):
            transport.call(of_user.LOGIN, Login(username="u", password=SecretText(CANARY)))
        assert len(calls) == 1
        with pytest.raises(Unavailable, match="broke"):
            get(transport)
        reads = len(calls) - 1
        assert reads > 1
        with pytest.raises(Unavailable, match="may have been done"):
            transport.call(operations.UPDATE, UpdateSecret(id="x", name="y"))
        assert len(calls) > 1 + reads + 1
    finally:
        stop()


def test_a_delete_whose_answer_was_lost() -> None:
    """When the second attempt finds nothing, the first one has done it; without a lost answer it is `NotFound`."""
    missing = b'{"error":{"code":"not_found","message":"x"}}'
    answers = [b"", b"HTTP/1.1 404 x\r\nContent-Length: 44\r\nConnection: close\r\n\r\n" + missing]
    answers.append(answers[1])

    def reply(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answers.pop(0))

    port, stop = _hanging_up(reply)
    try:
        transport = RemoteTransport(f"http://127.0.0.1:{port}", lambda: SecretText(TOKEN))
        transport.call(operations.DELETE, DeleteSecret(id="x"))
        with pytest.raises(NotFound):
            transport.call(operations.DELETE, DeleteSecret(id="x"))
    finally:
        stop()


def test_an_answer_that_never_comes() -> None:
    """A server that keeps silent is given up after the time for it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        transport = RemoteTransport(
            f"http://127.0.0.1:{silent.getsockname()[1]}", lambda: SecretText(TOKEN), read_seconds=0.05, wait_seconds=0
        )
        with pytest.raises(Unavailable, match="did not answer in time"):
            transport.call(operations.UPDATE, UpdateSecret(id="x", name="y"))


def test_https_where_http_is_spoken(server: ScriptedServer) -> None:
    """A wrong scheme is a clear error."""
    with pytest.raises(ServerUnknown, match="TLS"):
        get(RemoteTransport(f"https://{server.address}", lambda: SecretText(TOKEN)))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://a",
        "http://",
        "https://u:p@a",
        "https://a?b",
        "https://a#b",
        "https://a:x",
        "https://a:99999",
        "https://é",
        "https://a\n",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """Anything but http or https with a host is refused; a password in the URL would be kept in clear."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        check_url(url, insecure=True)


def test_plain_http_stays_on_this_machine() -> None:
    """Tokens travel in clear only where nobody else listens, or where somebody said so."""
    for url in ("http://example.com", "http://192.0.2.1:8200", "http://127.0.0.1.example.com"):
        with pytest.raises(ConfigurationError, match="https"):
            check_url(url, insecure=False)
        assert check_url(url, insecure=True) == url
    for url in ("http://127.0.0.1:8200", "http://localhost", "http://[::1]:8200", "https://example.com/strongroom"):
        assert check_url(url, insecure=False) == url


def test_text_that_is_no_unicode(transport: RemoteTransport) -> None:
    """It is refused before anything is sent, and not shown."""
    with pytest.raises(InvalidInput) as caught:
        transport.call(operations.CREATE, CreateSecret(name="s", values={"k": SecretText(f"{CANARY}\udc80")}))
    assert not holds_canary(f"{caught.value}{caught.value.__context__}{caught.value.__cause__}")


def test_a_transport_survives_a_fork(remote_settings: Settings) -> None:
    """Parent and child go on, each on connections of its own."""
    with Client(remote_settings) as client:
        client.create_secret("before", {"k": CANARY})
        child = os.fork()
        if child == 0:
            fine = False
            try:
                fine = client.get_secret("before").secret_values == {"k": CANARY}
                client.create_secret("child", {"k": CANARY})
            finally:
                os._exit(0 if fine else 1)
        with ThreadPoolExecutor(4) as pool:
            assert all(secret.version == 1 for secret in pool.map(client.get_secret, ["before"] * 20))
        assert os.waitpid(child, 0)[1] == 0
        assert client.list_secrets().total == 2
