"""The `vault` secrets store keeps its promises on a real OpenBao."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import pytest

from strongroom.connectors.vault import VaultConnection
from strongroom.connectors.vault_methods import AppRoleMethod, AwsMethod, TokenMethod
from strongroom.errors import ConfigurationError, MissingExtra, StoreForbidden, Unavailable, ValuesMissing
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.vault import VaultSecretsStore
from tests.canary import CANARY
from tests.fakes.relay import Fault, Relay
from tests.servers.openbao import DurableOpenBaoServer, OpenBaoServer

ABOUT = About(deployment_id="d", secret_id="s", name="my_secret", scope="workspace", workspace="default", version=7)
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
SECONDS = 20


def policy(prefix: str) -> str:
    """What the store says that it needs at a prefix."""
    connection = VaultConnection("http://127.0.0.1:1", TokenMethod(vault_token=SecretText("none")))
    return VaultSecretsStore(connection, "d", prefix=prefix).policy


@dataclass(frozen=True)
class Place:
    """A prefix of its own on a server, and a token that may do there what the document says."""

    server: OpenBaoServer
    prefix: str
    token: str
    policy_name: str

    def store(self, deployment_id: str = "d", url: str | None = None) -> VaultSecretsStore:
        """A store that uses the token."""
        connection = VaultConnection(url or self.server.url, TokenMethod(vault_token=SecretText(self.token)))
        return VaultSecretsStore(connection, deployment_id, prefix=self.prefix)

    @contextmanager
    def policy(self, text: str) -> Iterator[None]:
        """Meanwhile the token may do this."""
        self.server.admin.sys.create_or_update_acl_policy(self.policy_name, text)
        try:
            yield
        finally:
            self.server.admin.sys.create_or_update_acl_policy(self.policy_name, policy(self.prefix))


@pytest.fixture
def place(openbao: OpenBaoServer) -> Place:
    """A place that nobody used before."""
    prefix = f"t{uuid.uuid4().hex}"
    token = openbao.new_token(policy(prefix))
    (name,) = set(openbao.admin.lookup_token(token)["data"]["policies"]) - {"default"}
    return Place(openbao, prefix, token, name)


class TestVault(SecretsStoreConformance):
    """All of the suite, with no more rights than the document says."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self, place: Place) -> Iterator[Harness]:
        """Stores on a prefix of their own, behind a relay that can lose replies."""
        server, relay = place.server, Relay(place.server.port)
        url = f"http://127.0.0.1:{relay.port}"

        def open_by_app_role(deployment_id: str) -> VaultSecretsStore:
            method = new_app_role(server, [place.policy_name])
            return VaultSecretsStore(VaultConnection(url, method), deployment_id, prefix=place.prefix)

        def damage(locator: str) -> None:
            path = f"{place.prefix}/{locator}"
            server.admin.secrets.kv.v2.delete_metadata_and_all_versions(path)
            server.admin.secrets.kv.v2.create_or_update_secret(path, {"a": {"nested": 1}})

        yield Harness(
            open=lambda deployment_id: place.store(deployment_id, url),
            other_credential=open_by_app_role,
            unavailable=server.sealed,
            reply_lost=partial(relay.fault, Fault.LOST),
            hanging=server.paused,
            forbidden=partial(place.policy, 'path "nowhere" { capabilities = ["read"] }'),
            damage=damage,
        )
        relay.stop()


def new_app_role(server: OpenBaoServer, policies: list[str], **options: str) -> AppRoleMethod:
    """A fresh role with a secret id."""
    role = f"role-{uuid.uuid4().hex}"
    with suppress(Exception):  # it is there already
        server.admin.sys.enable_auth_method("approle")
    approle = server.admin.auth.approle
    approle.create_or_update_approle(role, token_policies=policies, **options)
    role_id = approle.read_role_id(role)["data"]["role_id"]
    secret_id = approle.generate_secret_id(role)["data"]["secret_id"]
    return AppRoleMethod(app_role_id=role_id, app_secret_id=SecretText(secret_id))


def test_other_tools_can_read_it(place: Place) -> None:
    """Values are plain top-level JSON, and the path says whose they are."""
    store = place.store()
    locator = store.new_locator("s")
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    found = place.server.admin.secrets.kv.v2.read_secret_version(f"{place.prefix}/{locator}", raise_on_deleted_version=True)
    assert found["data"]["data"] == VALUES
    assert found["data"]["metadata"]["custom_metadata"] == {
        "deployment_id": "d", "secret_id": "s", "name": "my_secret", "scope": "workspace", "workspace": "default",
        "version": "7",
    }  # fmt: skip


def test_settings_of_the_mount_do_not_matter(openbao: OpenBaoServer) -> None:
    """With `max_versions` 1 nothing is lost, and the setting is as it was; an edit by somebody else does not change what one gets."""
    mount = openbao.enable_engine({"version": "2"})
    kv = openbao.admin.secrets.kv.v2
    kv.configure(max_versions=1, mount_point=mount)
    connection = VaultConnection(openbao.url, TokenMethod(vault_token=SecretText(openbao.admin.token)))
    store = VaultSecretsStore(connection, "d", mount_point=mount)
    locators = [store.new_locator("s") for _ in range(3)]
    for locator in locators:
        store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert [store.get(locator, seconds=SECONDS) for locator in locators] == [VALUES] * 3
    assert kv.read_configuration(mount_point=mount)["data"]["max_versions"] == 1
    kv.create_or_update_secret(f"strongroom/{locators[0]}", {"edited": "x"}, mount_point=mount)
    with pytest.raises(ValuesMissing):
        store.get(locators[0], seconds=SECONDS)
    kv.configure(max_versions=10, mount_point=mount)
    kv.create_or_update_secret(f"strongroom/{locators[1]}", {"edited": "x"}, mount_point=mount)
    assert store.get(locators[1], seconds=SECONDS) == VALUES


def test_a_mount_that_deletes_by_itself_is_refused(openbao: OpenBaoServer) -> None:
    """With `delete_version_after` a put fails instead of being forgotten one day."""
    mount = openbao.enable_engine({"version": "2"})
    openbao.admin.secrets.kv.v2.configure(delete_version_after="1h", mount_point=mount)
    connection = VaultConnection(openbao.url, TokenMethod(vault_token=SecretText(openbao.admin.token)))
    store = VaultSecretsStore(connection, "d", mount_point=mount)
    with pytest.raises(StoreForbidden, match="delete_version_after"):
        store.put(store.new_locator("s"), VALUES, ABOUT, seconds=SECONDS)


RIGHTS = [("data", "create"), ("data", "read"), *(("metadata", right) for right in ("read", "update", "delete", "list"))]


def without(text: str, kind: str, right: str) -> str:
    """The policy, less one right at one kind of path."""
    blocks = text.split("\n\n")
    return "\n".join(re.sub(rf'"{right}",? ?', "", block) if f"/{kind}/" in block else block for block in blocks)


@pytest.mark.parametrize(("kind", "right"), RIGHTS)
def test_each_right_is_needed_and_named(place: Place, kind: str, right: str) -> None:
    """Without one of the policy's rights the call that needs it is forbidden, and the error names right and path."""
    store = place.store()
    kept = store.new_locator("s")
    store.put(kept, VALUES, ABOUT, seconds=SECONDS)
    calls: dict[tuple[str, str], Callable[[], object]] = {
        ("data", "create"): lambda: store.put(store.new_locator("s"), VALUES, ABOUT, seconds=SECONDS),
        ("data", "read"): lambda: store.get(kept, seconds=SECONDS),
        ("metadata", "update"): lambda: store.put(store.new_locator("s"), VALUES, ABOUT, seconds=SECONDS),
        ("metadata", "delete"): lambda: store.delete(kept, seconds=SECONDS),
        ("metadata", "list"): lambda: list(store.scan(seconds=SECONDS)),
        ("metadata", "read"): lambda: list(store.scan(seconds=SECONDS)),
    }
    with place.policy(without(policy(place.prefix), kind, right)):
        with pytest.raises(StoreForbidden) as refused:
            calls[kind, right]()
        assert f"'{right}' at 'secret/{kind}/{place.prefix}/" in str(refused.value)
    calls[kind, right]()


@pytest.mark.parametrize(("options", "text"), [({"version": "1"}, "KV version 1"), (None, "mounts/nowhere|no engine")])
def test_a_wrong_mount_is_told(openbao: OpenBaoServer, options: dict[str, str] | None, text: str) -> None:
    """A mount that is KV version 1, or is not there, is a clear error of every call, and nothing is written."""
    mount = openbao.enable_engine(options) if options else "nowhere"
    connection = VaultConnection(openbao.url, TokenMethod(vault_token=SecretText(openbao.admin.token)))
    store = VaultSecretsStore(connection, "d", mount_point=mount)
    with pytest.raises(StoreForbidden, match=text):
        store.put(store.new_locator("s"), VALUES, ABOUT, seconds=SECONDS)
    with pytest.raises(StoreForbidden, match=text):
        store.get(store.new_locator("s"), seconds=SECONDS)


def test_a_mount_that_goes_away_is_told(openbao: OpenBaoServer) -> None:
    """It is not taken for values that are missing."""
    mount = openbao.enable_engine({"version": "2"})
    connection = VaultConnection(openbao.url, TokenMethod(vault_token=SecretText(openbao.admin.token)))
    store = VaultSecretsStore(connection, "d", mount_point=mount)
    locator = store.new_locator("s")
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    openbao.admin.sys.disable_secrets_engine(mount)
    with pytest.raises(StoreForbidden, match=mount):
        store.get(locator, seconds=SECONDS)


def test_too_many_requests(openbao: OpenBaoServer) -> None:
    """A quota's 429 is `Unavailable`, and says so."""
    mount = openbao.enable_engine({"version": "2"})
    connection = VaultConnection(openbao.url, TokenMethod(vault_token=SecretText(openbao.admin.token)))
    store = VaultSecretsStore(connection, "d", mount_point=mount)
    openbao.admin.adapter.post(f"/v1/sys/quotas/rate-limit/{mount}", json={"path": f"{mount}/", "rate": 1, "interval": "1h"})
    assert list(store.scan(seconds=SECONDS)) == []  # all that the quota allows
    with pytest.raises(Unavailable, match="how often"):
        list(store.scan(seconds=SECONDS))


def test_sealed(place: Place) -> None:
    """A sealed server is `Unavailable`, and the error says why."""
    store = place.store()
    with place.server.sealed(), pytest.raises(Unavailable, match="sealed"):
        store.get(store.new_locator("s"), seconds=SECONDS)


def test_an_answer_that_trickles(place: Place) -> None:
    """A call ends in time also when bytes keep coming."""
    relay = Relay(place.server.port)
    store = place.store(url=f"http://127.0.0.1:{relay.port}")
    locator = store.new_locator("s")
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    began = time.monotonic()
    with relay.fault(Fault.TRICKLES), pytest.raises(Unavailable):
        store.get(locator, seconds=0.5)
    assert time.monotonic() - began < 2
    assert store.get(locator, seconds=SECONDS) == VALUES
    relay.stop()


def test_namespaces(openbao: OpenBaoServer) -> None:
    """A store works within a namespace, which belongs to its id."""
    namespace = f"team-{uuid.uuid4().hex}"
    openbao.admin.adapter.post(f"/v1/sys/namespaces/{namespace}", json={})
    mount = openbao.enable_engine({"version": "2"}, namespace)
    method = TokenMethod(vault_token=SecretText(openbao.admin.token))
    store = VaultSecretsStore(VaultConnection(openbao.url, method, vault_namespace=namespace), "d", mount_point=mount)
    locator = store.new_locator("s")
    store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert store.get(locator, seconds=SECONDS) == VALUES
    assert store.store_id == f"vault://127.0.0.1:{openbao.port}/{mount}/strongroom?namespace={namespace}"
    with pytest.raises(StoreForbidden):
        VaultSecretsStore(VaultConnection(openbao.url, method), "d", mount_point=mount).get(locator, seconds=SECONDS)


def test_killed_and_started_again() -> None:
    """Acknowledged puts survive SIGKILL of a real, durable server; meanwhile it is `Unavailable`. TLS needs the right authority."""
    server = DurableOpenBaoServer()
    try:
        method = new_app_role(server, ["root-like"])
        server.admin.sys.create_or_update_acl_policy("root-like", policy("strongroom"))
        store = VaultSecretsStore(VaultConnection(server.url, method, ca_cert=str(server.ca_cert)), "d")
        stranger = VaultSecretsStore(VaultConnection(server.url, method), "d")
        with pytest.raises(Unavailable, match="right one"):
            stranger.get(stranger.new_locator("s"), seconds=SECONDS)
        locators = []
        for number in range(20):
            locators.append(store.new_locator("s"))
            store.put(locators[-1], VALUES | {"number": str(number)}, ABOUT, seconds=SECONDS)
        server.kill()
        with pytest.raises(Unavailable):
            store.get(locators[0], seconds=SECONDS)
        server.start()
        for number, locator in enumerate(locators):
            assert store.get(locator, seconds=SECONDS) == VALUES | {"number": str(number)}
        assert len([each for page in store.scan(seconds=SECONDS) for each in page]) == 20
    finally:
        server.stop()


@pytest.mark.parametrize("locator", ["../../sys/health", "a/b", "a/b/c/d", "a/../b", "", "a/b/%2e%2e", "a/b/c\n", "a/b/c?x=1"])
def test_foreign_locators_lead_nowhere(place: Place, locator: str) -> None:
    """A locator that the store did not make cannot lead out of its prefix."""
    with pytest.raises(ValuesMissing):
        place.store().get(locator, seconds=SECONDS)


@pytest.mark.parametrize(
    "options", [{"mount_point": "a//b"}, {"mount_point": ""}, {"prefix": "../x"}, {"name": "é"}, {"name": "x" * 256}]
)
def test_options_that_will_not_do(options: dict[str, str]) -> None:
    """A mount point, prefix or name that cannot work is refused at once, without asking anybody."""
    connection = VaultConnection("http://127.0.0.1:1", TokenMethod(vault_token=SecretText("x")))
    with pytest.raises(ConfigurationError):
        VaultSecretsStore(connection, "d", **options)


def test_a_name_replaces_the_address() -> None:
    """An operator's name keeps the identity when the address changes."""
    connection = VaultConnection("http://127.0.0.1:1", TokenMethod(vault_token=SecretText("x")))
    assert VaultSecretsStore(connection, "d", name="the-vault").store_id == "the-vault"
    assert VaultSecretsStore(connection, "d").store_id == "vault://127.0.0.1:1/secret/strongroom"


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hvac, which signs for AWS, the error says what to install; nothing else needs it."""
    import sys

    monkeypatch.delitem(sys.modules, "hvac.aws_utils", raising=False)
    monkeypatch.setitem(sys.modules, "hvac", None)
    method = AwsMethod(role="r", aws_access_key_id="x", aws_secret_access_key=SecretText("y"))
    with pytest.raises(MissingExtra) as missing:
        VaultConnection("http://127.0.0.1:1", method).identity(seconds=1)
    assert missing.value.hint == "pip install 'strongroom[vault]'"
