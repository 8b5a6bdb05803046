"""The `gcp` secrets store keeps its promises on a fake of Google Secret Manager that speaks its wire format."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import google_crc32c
import grpc
import pytest
import trustme
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from strongroom.connectors.gcp import Endpoint, connect
from strongroom.connectors.gcp_methods import GcpMethod, OAuth2TokenMethod, gcp_method
from strongroom.errors import (
    ConfigurationError,
    MissingExtra,
    StoreForbidden,
    StrongroomError,
    TooLarge,
    Unavailable,
    ValuesCorrupt,
    ValuesMissing,
)
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.gcp import GcpSecretsStore, Options, open_store
from tests.canary import CANARY
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.relay import Fault, Relay
from tests.fakes.secret_manager import PROJECT, Failure, SecretManager

ABOUT = About(deployment_id="d", secret_id="s", name="my_Secret", scope="workspace", workspace="Team Ä")
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
SECONDS = 20
PRINCIPAL = "strongroom@example.com"
RIGHTS = (
    "secretmanager.secrets.create", "secretmanager.secrets.delete", "secretmanager.secrets.list",
    "secretmanager.versions.access", "secretmanager.versions.add", "secretmanager.versions.destroy",
)  # fmt: skip


@pytest.fixture
def identity() -> Iterator[GoogleIdentity]:
    """Where tokens come from."""
    server = GoogleIdentity()
    yield server
    server.stop()


@pytest.fixture
def google(identity: GoogleIdentity) -> Iterator[SecretManager]:
    """A project in which somebody has the rights of the policy."""
    server = SecretManager(identity)
    server.grant(PRINCIPAL, *RIGHTS)
    yield server
    server.stop()


@pytest.fixture
def opened(google: SecretManager) -> Iterator[Callable[..., GcpSecretsStore]]:
    """Opens stores, and closes them in the end."""
    stores: list[GcpSecretsStore] = []

    def open_(options: Options | None = None, deployment_id: str = "d", **endpoint: Any) -> GcpSecretsStore:
        stores.append(new_store(google, deployment_id, options, **endpoint))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., GcpSecretsStore]) -> GcpSecretsStore:
    """A store of the deployment `d`."""
    return opened()


def new_store(
    google: SecretManager, deployment_id: str = "d", options: Options | None = None, method: GcpMethod | None = None, **endpoint: Any
) -> GcpSecretsStore:
    """A store with a token of its own."""
    method = method or OAuth2TokenMethod(token=SecretText(google.identity.issue(PRINCIPAL)))
    place = Endpoint(**{"project_id": PROJECT, "endpoint": f"http://{google.address}", **endpoint})
    return open_store(connect(place, method), options or Options(), deployment_id)


def official(google: SecretManager) -> SecretManagerServiceClient:
    """Google's own client, of somebody who may do anything."""
    google.grant("admin@example.com")
    token = google.identity.issue("admin@example.com")

    class Authorized(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            metadata = [*(details.metadata or ()), ("authorization", f"Bearer {token}")]
            return continuation(_Details(details.method, details.timeout, metadata), request)

    channel = grpc.intercept_channel(grpc.insecure_channel(google.address), Authorized())
    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


class _Details(grpc.ClientCallDetails):
    def __init__(self, method: str, timeout: float, metadata: Any) -> None:
        self.method, self.timeout, self.metadata = method, timeout, metadata
        self.credentials = self.wait_for_ready = self.compression = None


def name_of(locator: str) -> str:
    """Google's name of a locator."""
    return f"projects/{PROJECT}/secrets/{locator}"


def put(store: GcpSecretsStore, values: dict[str, str] = VALUES) -> str:
    """The locator of values that lie there."""
    locator = store.new_locator("s")
    store.put(locator, values, ABOUT, seconds=SECONDS)
    return locator


def shows_nothing(error: BaseException | None) -> None:
    """No credential and no value in an error, in what led to it, or in what it would print."""
    assert error is not None
    assert not isinstance(error.__context__, grpc.RpcError)
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!r}{vars(error)}"
        error = error.__context__
    assert CANARY not in shown, "an error shows what it should not"


class TestGcp(SecretsStoreConformance):
    """All of the suite, with no more rights than the policy has."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self, google: SecretManager, identity: GoogleIdentity) -> Iterator[Harness]:
        """Stores behind a relay that can lose replies; each with a token, or with the key of a service account."""
        relay = Relay(google.port)
        endpoint = f"http://127.0.0.1:{relay.port}"
        key = identity.new_service_account("other")
        google.grant(key["client_email"], *RIGHTS)

        def open_by_key(deployment_id: str) -> GcpSecretsStore:
            method = gcp_method("service-account", {"service_account_json": key})
            return new_store(google, deployment_id, method=method, endpoint=endpoint)

        yield Harness(
            open=lambda deployment_id: new_store(google, deployment_id, endpoint=endpoint),
            other_credential=open_by_key,
            unavailable=google.down,
            reply_lost=partial(relay.fault, Fault.LOST),
            hanging=google.hanging,
            forbidden=google.forbidden,
            damage=lambda locator: google.damage(locator, b'{"a": {"nested": 1}}'),
        )
        relay.stop()


def test_other_tools_can_read_it(google: SecretManager, store: GcpSecretsStore) -> None:
    """Google's own client finds plain top-level JSON, and whose it is: in annotations exactly, in labels as far as those go."""
    locator, client = put(store), official(google)
    found = client.access_secret_version(name=f"{name_of(locator)}/versions/latest")
    assert json.loads(found.payload.data) == VALUES
    secret = client.get_secret(name=name_of(locator))
    assert dict(secret.annotations) == {
        "strongroom_deployment_id": "d", "strongroom_secret_id": "s", "strongroom_name": "my_Secret",
        "strongroom_scope": "workspace", "strongroom_workspace": "Team Ä",
    }  # fmt: skip
    labels = {"strongroom_deployment_id": "d", "strongroom_secret_id": "s", "strongroom_scope": "workspace"}
    assert dict(secret.labels) == labels
    assert "automatic" in secret.replication
    assert not secret.expire_time
    assert not secret.version_destroy_ttl


def test_how_google_is_to_keep_it(google: SecretManager, opened: Callable[..., GcpSecretsStore]) -> None:
    """Locations, a key in each of them, and labels of the operator's arrive at Google."""
    key = "projects/p/locations/{location}/keyRings/r/cryptoKeys/k"
    client = official(google)
    options = Options(replication=("europe-west3", "europe-west4"), kms_key_name=key, labels={"team": "ml", "empty": ""})
    secret = client.get_secret(name=name_of(put(opened(options))))
    replicas = secret.replication.user_managed.replicas
    assert [each.location for each in replicas] == ["europe-west3", "europe-west4"]
    keys = [each.customer_managed_encryption.kms_key_name for each in replicas]
    assert keys == [key.replace("{location}", each) for each in options.replication]
    assert secret.labels["team"] == "ml"
    assert secret.labels["empty"] == ""
    secret = client.get_secret(name=name_of(put(opened(Options(kms_key_name=key)))))
    assert secret.replication.automatic.customer_managed_encryption.kms_key_name == key.replace("{location}", "global")


def test_values_that_are_too_large_as_json_are_packed(google: SecretManager, store: GcpSecretsStore) -> None:
    """65,536 bytes of keys and values fit into Google's 65,536 bytes, whatever JSON would make of them."""
    values = {"key": '"' * 65_533}
    locator = put(store, values)
    assert len(google.versions(locator)[0][1]) <= 65_536
    assert store.get(locator, seconds=SECONDS) == values
    with pytest.raises(TooLarge):
        store.put(store.new_locator("s"), {"key": "x" * 65_534}, ABOUT, seconds=SECONDS)


def test_the_calls_that_each_operation_costs(google: SecretManager, store: GcpSecretsStore) -> None:
    """A read is one request; a put, also a repeated one, two; a deletion one; a scan one for each page."""
    locator = put(store)
    assert google.calls == ["CreateSecret", "AddSecretVersion"]
    google.calls.clear()
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert google.calls == ["CreateSecret", "AccessSecretVersion"]
    google.calls.clear()
    store.get(locator, seconds=SECONDS)
    assert google.calls == ["AccessSecretVersion"]
    google.calls.clear()
    list(store.scan(seconds=SECONDS))
    store.delete(locator, seconds=SECONDS)
    assert google.calls == ["ListSecrets", "DeleteSecret"]
    google.page = 2
    for _ in range(5):
        put(store)
    google.calls.clear()
    assert [len(page) for page in store.scan(seconds=SECONDS)] == [2, 2, 1]
    assert google.calls == ["ListSecrets"] * 3


def test_requests_say_where_they_belong(google: SecretManager, store: GcpSecretsStore) -> None:
    """Each has the header by which Google's front ends find their way."""
    locator = put(store)
    assert google.params == [f"parent=projects/{PROJECT}", f"parent={name_of(locator)}"]
    store.get(locator, seconds=SECONDS)
    assert google.params[-1] == f"name={name_of(locator)}/versions/1"


def test_a_put_that_was_cut_off(google: SecretManager, store: GcpSecretsStore) -> None:
    """Nothing is read where only the secret was made; a scan finds it, and the same put ends what it began."""
    locator = store.new_locator("s")
    google.before = lambda method: google.fail_next.extend(
        [Failure(grpc.StatusCode.UNAVAILABLE, "")] * (method == "AddSecretVersion")
    )
    with pytest.raises(Unavailable):
        store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    google.before = None
    with pytest.raises(ValuesMissing):
        store.get(locator, seconds=SECONDS)
    assert [(each.locator, each.about) for page in store.scan(seconds=SECONDS) for each in page] == [(locator, ABOUT)]
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert store.get(locator, seconds=SECONDS) == VALUES
    assert [state for state, _ in google.versions(locator)] == ["ENABLED"]


@pytest.mark.parametrize("same", [True, False], ids=["the same", "others"])
def test_a_put_that_comes_second_gives_way(google: SecretManager, opened: Callable[..., GcpSecretsStore], same: bool) -> None:
    """Of two puts that add their values at the same time one has the locator; what the other one added is destroyed again."""
    locator, both = opened().new_locator("s"), Barrier(2)
    google.before = lambda method: both.wait(SECONDS) and None if method == "AddSecretVersion" else None

    def attempt(number: int) -> int | None:
        values = VALUES if same else VALUES | {"number": str(number)}
        try:
            opened().put(locator, values, ABOUT, seconds=SECONDS)
        except ValuesCorrupt:
            return None
        return number

    with ThreadPoolExecutor(2) as pool:
        won = [each for each in pool.map(attempt, range(2)) if each is not None]
    assert len(won) == (2 if same else 1)
    assert opened().get(locator, seconds=SECONDS) == (VALUES if same else VALUES | {"number": str(won[0])})
    assert [state for state, _ in google.versions(locator)] == ["ENABLED", "DESTROYED"]


def test_versions_that_somebody_adds_do_not_matter(google: SecretManager, store: GcpSecretsStore) -> None:
    """Only version 1 is read, and nobody else's version is touched."""
    locator = put(store)
    edited = {"data": b'{"edited": "x"}', "data_crc32c": google_crc32c.value(b'{"edited": "x"}')}
    official(google).add_secret_version(parent=name_of(locator), payload=edited)
    assert store.get(locator, seconds=SECONDS) == VALUES
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    with pytest.raises(ValuesCorrupt):
        store.put(locator, {"edited": "x"}, ABOUT, seconds=SECONDS)
    assert [state for state, _ in google.versions(locator)] == ["ENABLED", "ENABLED"]


def test_a_version_that_somebody_disabled(google: SecretManager, store: GcpSecretsStore) -> None:
    """It is forbidden, not missing: the values are there, and come back when it is enabled again."""
    locator, client = put(store), official(google)
    client.disable_secret_version(name=f"{name_of(locator)}/versions/1")
    for call in (lambda: store.get(locator, seconds=SECONDS), lambda: store.put(locator, VALUES, ABOUT, seconds=SECONDS)):
        with pytest.raises(StoreForbidden, match="disabled") as refused:
            call()
        shows_nothing(refused.value)
    client.enable_secret_version(name=f"{name_of(locator)}/versions/1")
    assert store.get(locator, seconds=SECONDS) == VALUES


def test_a_version_that_somebody_destroyed(google: SecretManager, store: GcpSecretsStore) -> None:
    """Its values are missing, and none can be put in their place; the locator can be deleted."""
    locator, client = put(store), official(google)
    client.destroy_secret_version(name=f"{name_of(locator)}/versions/1")
    with pytest.raises(ValuesMissing):
        store.get(locator, seconds=SECONDS)
    with pytest.raises(ValuesCorrupt, match="destroyed"):
        store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert [state for state, _ in google.versions(locator)] == ["DESTROYED", "DESTROYED"]
    store.delete(locator, seconds=SECONDS)
    assert list(store.scan(seconds=SECONDS)) == []


def test_a_locator_that_is_deleted_during_a_put(google: SecretManager, store: GcpSecretsStore) -> None:
    """The put is not acknowledged, and leaves nothing."""
    locator = store.new_locator("s")
    client = official(google)

    def before(method: str) -> None:
        if method == "AddSecretVersion":
            client.delete_secret(name=name_of(locator))

    google.before = before
    with pytest.raises(Unavailable, match="deleted"):
        store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert list(store.scan(seconds=SECONDS)) == []


def test_a_wrong_checksum_is_noticed(google: SecretManager, store: GcpSecretsStore) -> None:
    """What arrives otherwise than Google says that it sent it is corrupt."""
    locator = put(store)
    google.spoil_checksums = True
    with pytest.raises(ValuesCorrupt, match="checksum"):
        store.get(locator, seconds=SECONDS)


@pytest.mark.parametrize("right", RIGHTS[:-1])
def test_each_right_is_needed_and_named(google: SecretManager, store: GcpSecretsStore, right: str) -> None:
    """Without one of the policy's permissions the call that needs it is forbidden, and the error names permission and place."""
    kept = put(store)
    calls: dict[str, Callable[[], object]] = {
        "secretmanager.secrets.create": lambda: put(store),
        "secretmanager.secrets.delete": lambda: store.delete(kept, seconds=SECONDS),
        "secretmanager.secrets.list": lambda: list(store.scan(seconds=SECONDS)),
        "secretmanager.versions.access": lambda: store.get(kept, seconds=SECONDS),
        "secretmanager.versions.add": lambda: put(store),
    }
    google.grant(PRINCIPAL, *(each for each in RIGHTS if each != right))
    with pytest.raises(StoreForbidden, match=f"'{right}' at 'projects/{PROJECT}") as refused:
        calls[right]()
    shows_nothing(refused.value)
    google.grant(PRINCIPAL, *RIGHTS)
    calls[right]()


def test_the_right_to_destroy_is_named(google: SecretManager, store: GcpSecretsStore) -> None:
    """It is needed where a put has to give way."""
    locator = put(store)
    official(google).destroy_secret_version(name=f"{name_of(locator)}/versions/1")
    google.grant(PRINCIPAL, *RIGHTS[:-1])
    with pytest.raises(StoreForbidden, match=RIGHTS[-1]):
        store.put(locator, VALUES, ABOUT, seconds=SECONDS)


def test_the_policy_is_the_rights(opened: Callable[..., GcpSecretsStore]) -> None:
    """What is to be copied is a role with exactly these permissions, and names project and prefix."""
    policy = opened(Options(prefix="ml")).policy
    assert tuple(re.findall(r"^- (\S+)$", policy, re.MULTILINE)) == RIGHTS
    assert f"projects/{PROJECT}/roles/strongroom" in policy
    assert "begin with ml-" in policy


def test_the_policy_is_the_one_of_the_guide(store: GcpSecretsStore) -> None:
    """The role in the guide is the one that the store gives."""
    guide = Path(__file__).parents[2] / "docs" / "guides" / "store-values-in-gcp.md"
    assert store.policy.replace(PROJECT, "my-project-42") in guide.read_text()


FAILURES = [
    (Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota", "RATE_LIMIT_EXCEEDED", 7), Unavailable, "how often.*7 seconds"),
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
    google: SecretManager, store: GcpSecretsStore, failure: Failure, kind: type[StrongroomError], text: str
) -> None:
    """Each status is one of the four errors, says what to do where something can be done, and shows nothing of what was sent."""
    locator = put(store)
    calls: list[Callable[[], object]] = [
        lambda: store.get(locator, seconds=SECONDS),
        lambda: put(store),
        lambda: store.delete(locator, seconds=SECONDS),
        lambda: list(store.scan(seconds=SECONDS)),
        lambda: store.identity(seconds=SECONDS),
    ]
    for call in calls:
        google.fail_next.append(failure)
        with pytest.raises(kind, match=text) as raised:
            call()
        shows_nothing(raised.value)
        assert raised.value.hint or kind is Unavailable
    assert store.get(locator, seconds=SECONDS) == VALUES


@pytest.mark.parametrize("details", [b"\xff\xff", b"", b"\x1a\x03abc", b"\x1a\x02\x12\xff"], ids=range(4))
def test_details_that_are_garbage(google: SecretManager, store: GcpSecretsStore, details: bytes) -> None:
    """What nobody can understand beside a status does not hide the status."""
    google.fail_next.append(Failure(grpc.StatusCode.PERMISSION_DENIED, "no", details=details))
    with pytest.raises(StoreForbidden, match="lacks the permission") as refused:
        store.get(store.new_locator("s"), seconds=SECONDS)
    shows_nothing(refused.value)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n"], ids=range(3))
def test_somebody_else_at_the_address(google: SecretManager, opened: Callable[..., GcpSecretsStore], says: bytes) -> None:
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
        store = opened(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(Unavailable) as raised:
                store.get(store.new_locator("s"), seconds=0.3)
            shows_nothing(raised.value)
            assert time.monotonic() - began < 2
        server.shutdown(socket.SHUT_RDWR)
        for each in taken:
            each.close()


def test_an_outage_leaves_nothing_behind(google: SecretManager, store: GcpSecretsStore) -> None:
    """Each failed call replaces the channel, and none of them stays open."""
    locator = put(store)

    def fail(count: int) -> int:
        with google.down():
            for _ in range(count):
                with pytest.raises(Unavailable, match="out of reach"):
                    store.get(locator, seconds=SECONDS)
        assert store.get(locator, seconds=SECONDS) == VALUES
        return len(list(Path("/proc/self/fd").iterdir())) + threading.active_count()

    before = fail(5)
    assert fail(100) < before + 20


def test_a_project_that_is_not_there(opened: Callable[..., GcpSecretsStore]) -> None:
    """It is not taken for values that are missing."""
    store = opened(project_id="another-project")
    with pytest.raises(StoreForbidden, match="another-project"):
        store.get(store.new_locator("s"), seconds=SECONDS)


def test_nothing_is_tried_again_by_itself(google: SecretManager, store: GcpSecretsStore) -> None:
    """One failure of Google's is one failed call."""
    google.fail_next.append(Failure(grpc.StatusCode.UNAVAILABLE, ""))
    with pytest.raises(Unavailable):
        store.get(store.new_locator("s"), seconds=SECONDS)
    assert google.calls == ["AccessSecretVersion"]


def test_an_answer_that_trickles(google: SecretManager, opened: Callable[..., GcpSecretsStore]) -> None:
    """A call ends in time also when bytes keep coming, and the next one succeeds."""
    relay = Relay(google.port)
    store = opened(endpoint=f"http://127.0.0.1:{relay.port}")
    locator = put(store)
    began = time.monotonic()
    with relay.fault(Fault.TRICKLES), pytest.raises(Unavailable):
        store.get(locator, seconds=0.5)
    assert time.monotonic() - began < 2
    assert store.get(locator, seconds=SECONDS) == VALUES
    relay.stop()


def test_calls_that_are_under_way_survive_a_reconnection(google: SecretManager, store: GcpSecretsStore) -> None:
    """A call that fails does not end those of other threads."""
    locator, together = put(store), Barrier(2)
    google.before = lambda method: together.wait(SECONDS) and None if method == "AccessSecretVersion" else None
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(store.get, locator, seconds=SECONDS)
        google.fail_next.append(Failure(grpc.StatusCode.UNAVAILABLE, ""))
        with pytest.raises(Unavailable):
            list(store.scan(seconds=SECONDS))
        together.wait(SECONDS)
        assert slow.result(SECONDS) == VALUES


def test_tls(identity: GoogleIdentity, tmp_path: Path) -> None:
    """With TLS the server has to prove that it is the right one, and a plain address stays on this machine."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    pair = (certificate.private_key_pem.bytes(), b"".join(each.bytes() for each in certificate.cert_chain_pems))
    google = SecretManager(identity, grpc.ssl_server_credentials([pair]))
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
    google: SecretManager, caplog: pytest.LogCaptureFixture, opened: Callable[..., GcpSecretsStore]
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


def test_deployments_and_prefixes_are_kept_apart(google: SecretManager, opened: Callable[..., GcpSecretsStore]) -> None:
    """Neither a scan nor a locator leads into another deployment, or to another prefix of the same project."""
    own, other, elsewhere = opened(), opened(deployment_id="e"), opened(Options(prefix="other"))
    locators = [put(own), put(other), put(elsewhere)]
    for store, locator in zip((own, other, elsewhere), locators, strict=True):
        assert [each.locator for page in store.scan(seconds=SECONDS) for each in page] == [locator]
    for foreign in locators[1:]:
        with pytest.raises(ValuesMissing):
            own.get(foreign, seconds=SECONDS)
        with pytest.raises(ValuesMissing):
            own.delete(foreign, seconds=SECONDS)
    assert other.get(locators[1], seconds=SECONDS) == VALUES


@pytest.mark.parametrize(
    "rest", ["", "x/versions/2", "x/../../y", "x\n", "x y", "é", "x" * 300, "x%2fy"],
)  # fmt: skip
def test_foreign_locators_lead_nowhere(google: SecretManager, store: GcpSecretsStore, rest: str) -> None:
    """A locator that the store did not make leads to no request."""
    for locator in (f"strongroom-d-{rest}", rest):
        with pytest.raises(ValuesMissing):
            store.get(locator, seconds=SECONDS)
    assert google.calls == []


def test_locators_fit_whatever_the_prefix_is(opened: Callable[..., GcpSecretsStore]) -> None:
    """The longest prefix with ids as they are in the index."""
    some_id = "0190a5c8-0000-7000-8000-000000000000"
    assert len(opened(Options(prefix="p" * 100), deployment_id=some_id).new_locator(some_id)) <= 255


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": ""}, {"prefix": "a/b"}, {"prefix": "x" * 101}, {"prefix": "a\n"}, {"name": "é"}, {"name": "x" * 256},
        {"replication": ("Europe!",)}, {"replication": ("europe-west3", "europe-west3")}, {"kms_key_name": "my-key"},
        {"labels": {"Team": "x"}}, {"labels": {"team": "X"}}, {"labels": {"strongroom_name": "x"}},
        {"labels": {f"label{number}": "x" for number in range(60)}},
    ],
)  # fmt: skip
def test_options_that_will_not_do(opened: Callable[..., GcpSecretsStore], options: dict[str, Any]) -> None:
    """What cannot work is refused at once, without asking anybody."""
    with pytest.raises(ConfigurationError):
        opened(Options(**options))


def test_the_id_is_the_place(google: SecretManager, opened: Callable[..., GcpSecretsStore]) -> None:
    """Project and prefix, and the address unless it is one of Google's, which all lead to the same place; or the operator's name."""
    assert opened().store_id == f"gcp://{google.address}/projects/{PROJECT}/secrets/strongroom"
    for address in ("secretmanager.googleapis.com", "https://secretmanager-mine.p.googleapis.com:443"):
        assert opened(endpoint=address).store_id == f"gcp://projects/{PROJECT}/secrets/strongroom"
    assert opened(Options(name="the-gcp")).store_id == "the-gcp"
    assert opened(Options(prefix="ml"), project_id="another-project").store_id.endswith("/projects/another-project/secrets/ml")


def test_a_deployment_whose_id_is_no_label(opened: Callable[..., GcpSecretsStore]) -> None:
    """A scan could never find it."""
    with pytest.raises(ConfigurationError):
        opened(deployment_id="Upper Case")


def test_the_identity_is_told_by_whoever_google_takes_it_for(google: SecretManager, identity: GoogleIdentity) -> None:
    """It names the account and the project; a credential that Google does not take is an error."""
    key = identity.new_service_account("trainer")
    store = new_store(google, method=gcp_method("service-account", {"service_account_json": key}))
    with pytest.raises(StoreForbidden, match=re.escape("secretmanager.secrets.list")):
        store.identity(seconds=SECONDS)
    google.grant(key["client_email"], *RIGHTS)
    assert store.identity(seconds=SECONDS) == f"{key['client_email']} in the project {PROJECT}"
    identity.forget(key["client_email"])
    with pytest.raises(StoreForbidden, match="does not take the credential"):
        store.identity(seconds=SECONDS)
    store.close()


def test_a_closed_store(google: SecretManager, opened: Callable[..., GcpSecretsStore]) -> None:
    """Calls after `close()` are `Unavailable`, and closing again is no error."""
    store = opened()
    locator = put(store)
    store.close()
    for _ in range(2):
        with pytest.raises(Unavailable, match="closed"):
            store.get(locator, seconds=SECONDS)
    store.close()


def test_each_page_of_a_scan_has_its_own_time(google: SecretManager, store: GcpSecretsStore) -> None:
    """Whoever works on a page for longer than it may take gets the next one all the same."""
    google.page = 1
    locators = {put(store) for _ in range(3)}
    found = set()
    for page in store.scan(seconds=0.3):
        found |= {each.locator for each in page}
        began = time.monotonic()
        while time.monotonic() < began + 0.3:
            store.get(page[0].locator, seconds=SECONDS)
    assert found == locators


def test_no_time_left(google: SecretManager, store: GcpSecretsStore) -> None:
    """Nothing is begun that cannot end in time."""
    with pytest.raises(Unavailable):
        store.put(store.new_locator("s"), VALUES, ABOUT, seconds=0)
    assert google.calls == []


@pytest.mark.parametrize("module", ["grpc", "google.auth.exceptions", "google_crc32c"])
def test_the_extra_is_named(google: SecretManager, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Without one of the libraries the error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as missing:
        new_store(google)
    assert missing.value.hint == "pip install 'strongroom[gcp]'"


def test_a_description_that_somebody_changed(google: SecretManager, store: GcpSecretsStore) -> None:
    """A locator whose description is gone is found without one."""
    locator = put(store)
    google.change(locator, "strongroom_name", None)
    assert [(each.locator, each.about) for page in store.scan(seconds=SECONDS) for each in page] == [(locator, None)]
