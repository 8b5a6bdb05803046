"""Every answer of Google's, and none at all, is one of the errors of a store; and what it sends and is sent stays out of sight."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import grpc
import pytest
import trustme

from strongroom.connectors.gcp_methods import gcp_method
from strongroom.errors import (
    StoreForbidden,
    StrongroomError,
    Unavailable,
)
from strongroom.secrets_stores.gcp import GcpSecretsStore
from tests.canary import CANARY
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.relay import Fault, Relay
from tests.fakes.secret_manager import Failure, SecretManager
from tests.integration.gcp import ABOUT, PRINCIPAL, RIGHTS, SECONDS, VALUES, new_store, put, shows_nothing

FAILURES = [
    (Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota", "RATE_LIMIT_EXCEEDED", 7), Unavailable, "how often"),
    (Failure(grpc.StatusCode.UNAVAILABLE, "overloaded"), Unavailable, "out of reach"),
    (Failure(grpc.StatusCode.INTERNAL, "oops"), Unavailable, "INTERNAL"),
    (Failure(grpc.StatusCode.ABORTED, "etag"), Unavailable, "ABORTED"),
    (Failure(grpc.StatusCode.UNKNOWN, "?"), Unavailable, "UNKNOWN"),
    (Failure(grpc.StatusCode.DATA_LOSS, "lost"), Unavailable, "DATA_LOSS"),
    (Failure(grpc.StatusCode.UNIMPLEMENTED, "what?"), Unavailable, "does not speak"),
    (Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "slow"), Unavailable, "in time"),
    (Failure(grpc.StatusCode.INVALID_ARGUMENT, "the data_crc32c does not match"), Unavailable, "arrive"),
    (Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such location"), StoreForbidden, "does not accept"),
    (Failure(grpc.StatusCode.PERMISSION_DENIED, "no API", "SERVICE_DISABLED"), StoreForbidden, "API secretmanager.*not enabled"),
    (Failure(grpc.StatusCode.PERMISSION_DENIED, "no project", "CONSUMER_INVALID"), StoreForbidden, "has no project"),
    (Failure(grpc.StatusCode.NOT_FOUND, "nobody there", "CONSUMER_INVALID"), StoreForbidden, "has no project"),
    (Failure(grpc.StatusCode.NOT_FOUND, "Project 'x' not found"), StoreForbidden, "no project"),
    (Failure(grpc.StatusCode.PERMISSION_DENIED, "pay", "BILLING_DISABLED"), StoreForbidden, "billing"),
    (Failure(grpc.StatusCode.PERMISSION_DENIED, "scope", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), StoreForbidden, "scope"),
    (Failure(grpc.StatusCode.PERMISSION_DENIED, "perimeter", "SECURITY_POLICY_VIOLATED"), StoreForbidden, "perimeter"),
    (Failure(grpc.StatusCode.FAILED_PRECONDITION, "key of KMS is disabled"), StoreForbidden, "state"),
    (Failure(grpc.StatusCode.FAILED_PRECONDITION, "key of KMS is DESTROYED"), StoreForbidden, "state"),
]  # fmt: skip


@pytest.mark.parametrize(("failure", "kind", "text"), FAILURES, ids=[f"{each.code.name}-{each.reason}" for each, _, _ in FAILURES])
def test_every_answer_of_google_has_a_meaning(
    google: SecretManager, gcp_store: GcpSecretsStore, failure: Failure, kind: type[StrongroomError], text: str
) -> None:
    """Each status is one of the four errors, says what to do where something can be done, and shows nothing of what was sent."""
    locator = put(gcp_store)
    calls: list[Callable[[], object]] = [
        lambda: gcp_store.get(locator, seconds=SECONDS),
        lambda: put(gcp_store),
        lambda: gcp_store.delete(locator, seconds=SECONDS),
        lambda: list(gcp_store.scan(seconds=SECONDS)),
        lambda: gcp_store.identity(seconds=SECONDS),
    ]
    for call in calls:
        google.fail_next.append(failure)
        with pytest.raises(kind, match=text) as raised:
            call()
        shows_nothing(raised.value)
        assert raised.value.hint or kind is Unavailable
        assert getattr(raised.value, "retry_after", None) == (failure.retry_after or None)
    assert gcp_store.get(locator, seconds=SECONDS) == VALUES


@pytest.mark.parametrize("details", [b"\xff\xff", b"", b"\x1a\x03abc", b"\x1a\x02\x12\xff"], ids=range(4))
def test_details_that_are_garbage(google: SecretManager, gcp_store: GcpSecretsStore, details: bytes) -> None:
    """What nobody can understand beside a status does not hide the status."""
    google.fail_next.append(Failure(grpc.StatusCode.PERMISSION_DENIED, "no", details=details))
    with pytest.raises(StoreForbidden, match="lacks the permission") as refused:
        gcp_store.get(gcp_store.new_locator("s"), seconds=SECONDS)
    shows_nothing(refused.value)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n"], ids=range(3))
def test_somebody_else_at_the_address(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore], says: bytes) -> None:
    """A port that takes connections and says nothing, or something else, is `Unavailable` in time."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    taken.append(connection)
                    connection.sendall(says)

        taken: list[socket.socket] = []
        pool.submit(answer)
        store = open_gcp_store(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unavailable) as raised:
                store.get(store.new_locator("s"), seconds=0.3)
            shows_nothing(raised.value)
            assert time.monotonic() - began < 2
        server.shutdown(socket.SHUT_RDWR)
        for each in taken:
            each.close()


def test_an_outage_leaves_nothing_behind(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Each failed call replaces the channel, and none of them stays open."""
    locator = put(gcp_store)

    def fail(count: int) -> int:
        with google.down():
            for _ in range(count):
                with pytest.raises(Unavailable, match="out of reach"):
                    gcp_store.get(locator, seconds=SECONDS)
        assert gcp_store.get(locator, seconds=SECONDS) == VALUES
        return len(list(Path("/proc/self/fd").iterdir())) + threading.active_count()

    before = fail(5)
    assert fail(100) < before + 20


def test_a_project_that_is_not_there(open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """It is not taken for values that are missing."""
    store = open_gcp_store(project_id="another-project")
    with pytest.raises(StoreForbidden, match="another-project"):
        store.get(store.new_locator("s"), seconds=SECONDS)


def test_nothing_is_tried_again_by_itself(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """One failure of Google's is one failed call."""
    google.fail_next.append(Failure(grpc.StatusCode.UNAVAILABLE, ""))
    with pytest.raises(Unavailable):
        gcp_store.get(gcp_store.new_locator("s"), seconds=SECONDS)
    assert google.calls == ["AccessSecretVersion"]


def test_an_answer_that_trickles(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """A call ends in time also when bytes keep coming, and the next one succeeds."""
    relay = Relay(google.port)
    store = open_gcp_store(endpoint=f"http://127.0.0.1:{relay.port}")
    locator = put(store)
    began = time.monotonic()
    with relay.fault(Fault.TRICKLES), pytest.raises(Unavailable):
        store.get(locator, seconds=0.5)
    assert time.monotonic() - began < 2
    assert store.get(locator, seconds=SECONDS) == VALUES
    relay.stop()


def test_calls_that_are_under_way_survive_a_reconnection(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """A call that fails does not end those of other threads."""
    locator, together = put(gcp_store), Barrier(2)
    google.before = lambda method: together.wait(SECONDS) and None if method == "AccessSecretVersion" else None
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(gcp_store.get, locator, seconds=SECONDS)
        google.fail_next.append(Failure(grpc.StatusCode.UNAVAILABLE, ""))
        with pytest.raises(Unavailable):
            list(gcp_store.scan(seconds=SECONDS))
        together.wait(SECONDS)
        assert slow.result(SECONDS) == VALUES


def test_tls(google_identity: GoogleIdentity, tmp_path: Path) -> None:
    """With TLS the server has to prove that it is the right one, and a plain address stays on this machine."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    pair = (certificate.private_key_pem.bytes(), b"".join(each.bytes() for each in certificate.cert_chain_pems))
    google = SecretManager(google_identity, grpc.ssl_server_credentials([pair]))
    google.grant(PRINCIPAL, *RIGHTS)
    ca_cert = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_cert))
    right = new_store(google, endpoint=google.address, ca_cert=str(ca_cert))
    assert right.get(put(right), seconds=SECONDS) == VALUES
    for endpoint in (google.address, f"http://{google.address}"):
        stranger = new_store(google, endpoint=endpoint)
        with pytest.raises(Unavailable, match="right one" if endpoint == google.address else "out of reach") as raised:
            stranger.get(stranger.new_locator("s"), seconds=SECONDS)
        shows_nothing(raised.value)
        stranger.close()
    right.close()
    google.stop()


def test_the_log_shows_no_value(
    google: SecretManager, caplog: pytest.LogCaptureFixture, open_gcp_store: Callable[..., GcpSecretsStore]
) -> None:
    """Also where everything is logged that Google's libraries have to say."""
    caplog.set_level(logging.DEBUG)
    for name in ("google", "google.cloud", "google.auth", "grpc", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    method = gcp_method("user-account", {"user_account_json": google.identity.user_account()})
    google.grant("ann@example.com", *RIGHTS)
    store = new_store(google, method=method)
    assert store.get(put(store), seconds=SECONDS) == VALUES
    store.close()
    assert not any(CANARY in f"{each.getMessage()}{vars(each)}" for each in caplog.records), "the log shows a value"


def test_a_closed_store(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """Calls after `close()` are `Unavailable`, and closing again is no error."""
    store = open_gcp_store()
    locator = put(store)
    store.close()
    for _ in range(2):
        with pytest.raises(Unavailable, match="closed"):
            store.get(locator, seconds=SECONDS)
    store.close()


def test_each_page_of_a_scan_has_its_own_time(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Whoever works on a page for longer than it may take gets the next one all the same."""
    google.page = 1
    locators = {put(gcp_store) for _ in range(3)}
    found = set()
    for page in gcp_store.scan(seconds=0.3):
        found |= {each.locator for each in page}
        began = time.monotonic()
        while time.monotonic() < began + 0.3:
            gcp_store.get(page[0].locator, seconds=SECONDS)
    assert found == locators


def test_no_time_left(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Nothing is begun that cannot end in time."""
    with pytest.raises(Unavailable):
        gcp_store.put(gcp_store.new_locator("s"), VALUES, ABOUT, seconds=0)
    assert google.calls == []
