"""The `gcp` secrets store keeps its promises on a fake of Google Secret Manager that speaks its wire format."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import google_crc32c
import grpc
import pytest

from strongroom.connectors.gcp_methods import gcp_method
from strongroom.errors import (
    ConfigurationError,
    MissingExtra,
    StoreForbidden,
    TooLarge,
    Unavailable,
    ValuesCorrupt,
    ValuesMissing,
)
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.gcp import GcpSecretsStore, Options
from tests.canary import CANARY
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.relay import Fault, Relay
from tests.fakes.secret_manager import PROJECT, Failure, SecretManager
from tests.integration.gcp import ABOUT, PRINCIPAL, RIGHTS, SECONDS, VALUES, name_of, new_store, official, put, shows_nothing


class TestGcp(SecretsStoreConformance):
    """All of the suite, with no more rights than the policy has."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self, google: SecretManager, google_identity: GoogleIdentity) -> Iterator[Harness]:
        """Stores behind a relay that can lose replies; each with a token, or with the key of a service account."""
        relay = Relay(google.port)
        endpoint = f"http://127.0.0.1:{relay.port}"
        key = google_identity.new_service_account("other")
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


def test_other_tools_can_read_it(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Google's own client finds plain top-level JSON, and whose it is: in annotations exactly, in labels as far as those go."""
    locator, client = put(gcp_store), official(google)
    found = client.access_secret_version(name=f"{name_of(locator)}/versions/latest")
    assert json.loads(found.payload.data) == VALUES
    secret = client.get_secret(name=name_of(locator))
    assert dict(secret.annotations) == {
        "strongroom_deployment_id": "d", "strongroom_secret_id": "s", "strongroom_name": "my_Secret",
        "strongroom_scope": "workspace", "strongroom_workspace": "Team Ä", "strongroom_version": "7",
    }  # fmt: skip
    assert dict(secret.labels) == {
        "strongroom_deployment_id": "d", "strongroom_secret_id": "s", "strongroom_scope": "workspace", "strongroom_version": "7",
    }  # fmt: skip
    assert "automatic" in secret.replication
    assert not secret.expire_time
    assert not secret.version_destroy_ttl


def test_how_google_is_to_keep_it(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """Locations, a key in each of them, and labels of the operator's arrive at Google."""
    key = "projects/p/locations/{location}/keyRings/r/cryptoKeys/k"
    client = official(google)
    options = Options(replication=("europe-west3", "europe-west4"), kms_key_name=key, labels={"team": "ml", "empty": ""})
    secret = client.get_secret(name=name_of(put(open_gcp_store(options))))
    replicas = secret.replication.user_managed.replicas
    assert [each.location for each in replicas] == ["europe-west3", "europe-west4"]
    keys = [each.customer_managed_encryption.kms_key_name for each in replicas]
    assert keys == [key.replace("{location}", each) for each in options.replication]
    assert secret.labels["team"] == "ml"
    assert secret.labels["empty"] == ""
    secret = client.get_secret(name=name_of(put(open_gcp_store(Options(kms_key_name=key)))))
    assert secret.replication.automatic.customer_managed_encryption.kms_key_name == key.replace("{location}", "global")


def test_values_that_are_too_large_as_json_are_packed(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """65,536 bytes of keys and values fit into Google's 65,536 bytes, whatever JSON would make of them."""
    values = {"key": '"' * 65_533}
    locator = put(gcp_store, values)
    assert len(google.versions(locator)[0][1]) <= 65_536
    assert gcp_store.get(locator, seconds=SECONDS) == values
    with pytest.raises(TooLarge):
        gcp_store.put(gcp_store.new_locator("s"), {"key": "x" * 65_534}, ABOUT, seconds=SECONDS)


def test_the_calls_that_each_operation_costs(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """A read is one request; a put, also a repeated one, two; a deletion one; a scan one for each page."""
    locator = put(gcp_store)
    assert google.calls == ["CreateSecret", "AddSecretVersion"]
    google.calls.clear()
    gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert google.calls == ["CreateSecret", "AccessSecretVersion"]
    google.calls.clear()
    gcp_store.get(locator, seconds=SECONDS)
    assert google.calls == ["AccessSecretVersion"]
    google.calls.clear()
    list(gcp_store.scan(seconds=SECONDS))
    gcp_store.delete(locator, seconds=SECONDS)
    assert google.calls == ["ListSecrets", "DeleteSecret"]
    google.page = 2
    for _ in range(5):
        put(gcp_store)
    google.calls.clear()
    assert [len(page) for page in gcp_store.scan(seconds=SECONDS)] == [2, 2, 1]
    assert google.calls == ["ListSecrets"] * 3


def test_requests_say_where_they_belong(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Each has the header by which Google's front ends find their way."""
    locator = put(gcp_store)
    assert google.params == [f"parent=projects/{PROJECT}", f"parent={name_of(locator)}"]
    gcp_store.get(locator, seconds=SECONDS)
    assert google.params[-1] == f"name={name_of(locator)}/versions/1"


def test_a_put_that_was_cut_off(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Nothing is read where only the secret was made; a scan finds it, and the same put ends what it began."""
    locator = gcp_store.new_locator("s")
    google.before = lambda method: google.fail_next.extend(
        [Failure(grpc.StatusCode.UNAVAILABLE, "")] * (method == "AddSecretVersion")
    )
    with pytest.raises(Unavailable):
        gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    google.before = None
    with pytest.raises(ValuesMissing):
        gcp_store.get(locator, seconds=SECONDS)
    assert [(each.locator, each.about) for page in gcp_store.scan(seconds=SECONDS) for each in page] == [(locator, ABOUT)]
    gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert gcp_store.get(locator, seconds=SECONDS) == VALUES
    assert [state for state, _ in google.versions(locator)] == ["ENABLED"]


@pytest.mark.parametrize("same", [True, False], ids=["the same", "others"])
def test_a_put_that_comes_second_gives_way(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore], same: bool) -> None:
    """Of two puts that add their values at the same time one has the locator; what the other one added is destroyed again."""
    locator, both = open_gcp_store().new_locator("s"), Barrier(2)
    google.before = lambda method: both.wait(SECONDS) and None if method == "AddSecretVersion" else None

    def attempt(number: int) -> int | None:
        values = VALUES if same else VALUES | {"number": str(number)}
        try:
            open_gcp_store().put(locator, values, ABOUT, seconds=SECONDS)
        except ValuesCorrupt:
            return None
        return number

    with ThreadPoolExecutor(2) as pool:
        won = [each for each in pool.map(attempt, range(2)) if each is not None]
    assert len(won) == (2 if same else 1)
    assert open_gcp_store().get(locator, seconds=SECONDS) == (VALUES if same else VALUES | {"number": str(won[0])})
    assert [state for state, _ in google.versions(locator)] == ["ENABLED", "DESTROYED"]


def test_versions_that_somebody_adds_do_not_matter(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Only version 1 is read, and nobody else's version is touched."""
    locator = put(gcp_store)
    edited = {"data": b'{"edited": "x"}', "data_crc32c": google_crc32c.value(b'{"edited": "x"}')}
    official(google).add_secret_version(parent=name_of(locator), payload=edited)
    assert gcp_store.get(locator, seconds=SECONDS) == VALUES
    gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    with pytest.raises(ValuesCorrupt):
        gcp_store.put(locator, {"edited": "x"}, ABOUT, seconds=SECONDS)
    assert [state for state, _ in google.versions(locator)] == ["ENABLED", "ENABLED"]


def test_a_version_that_somebody_disabled(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """It is forbidden, not missing: the values are there, and come back when it is enabled again."""
    locator, client = put(gcp_store), official(google)
    client.disable_secret_version(name=f"{name_of(locator)}/versions/1")
    for call in (lambda: gcp_store.get(locator, seconds=SECONDS), lambda: gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)):
        with pytest.raises(StoreForbidden, match="disabled") as refused:
            call()
        shows_nothing(refused.value)
    client.enable_secret_version(name=f"{name_of(locator)}/versions/1")
    assert gcp_store.get(locator, seconds=SECONDS) == VALUES


def test_a_version_that_somebody_destroyed(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """Its values are missing, and none can be put in their place; the locator can be deleted."""
    locator, client = put(gcp_store), official(google)
    client.destroy_secret_version(name=f"{name_of(locator)}/versions/1")
    with pytest.raises(ValuesMissing):
        gcp_store.get(locator, seconds=SECONDS)
    with pytest.raises(ValuesCorrupt, match="destroyed"):
        gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert [state for state, _ in google.versions(locator)] == ["DESTROYED", "DESTROYED"]
    gcp_store.delete(locator, seconds=SECONDS)
    assert list(gcp_store.scan(seconds=SECONDS)) == []


def test_a_locator_that_is_deleted_during_a_put(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """The put is not acknowledged, and leaves nothing."""
    locator = gcp_store.new_locator("s")
    client = official(google)

    def before(method: str) -> None:
        if method == "AddSecretVersion":
            client.delete_secret(name=name_of(locator))

    google.before = before
    with pytest.raises(Unavailable, match="deleted"):
        gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)
    assert list(gcp_store.scan(seconds=SECONDS)) == []


def test_a_wrong_checksum_is_noticed(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """What arrives otherwise than Google says that it sent it is corrupt."""
    locator = put(gcp_store)
    google.spoil_checksums = True
    with pytest.raises(ValuesCorrupt, match="checksum"):
        gcp_store.get(locator, seconds=SECONDS)


@pytest.mark.parametrize("right", RIGHTS[:-1])
def test_each_right_is_needed_and_named(google: SecretManager, gcp_store: GcpSecretsStore, right: str) -> None:
    """Without one of the policy's permissions the call that needs it is forbidden, and the error names permission and place."""
    kept = put(gcp_store)
    calls: dict[str, Callable[[], object]] = {
        "secretmanager.secrets.create": lambda: put(gcp_store),
        "secretmanager.secrets.delete": lambda: gcp_store.delete(kept, seconds=SECONDS),
        "secretmanager.secrets.list": lambda: list(gcp_store.scan(seconds=SECONDS)),
        "secretmanager.versions.access": lambda: gcp_store.get(kept, seconds=SECONDS),
        "secretmanager.versions.add": lambda: put(gcp_store),
    }
    google.grant(PRINCIPAL, *(each for each in RIGHTS if each != right))
    with pytest.raises(StoreForbidden, match=f"'{right}' at 'projects/{PROJECT}") as refused:
        calls[right]()
    shows_nothing(refused.value)
    google.grant(PRINCIPAL, *RIGHTS)
    calls[right]()


def test_the_right_to_destroy_is_named(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """It is needed where a put has to give way."""
    locator = put(gcp_store)
    official(google).destroy_secret_version(name=f"{name_of(locator)}/versions/1")
    google.grant(PRINCIPAL, *RIGHTS[:-1])
    with pytest.raises(StoreForbidden, match=RIGHTS[-1]):
        gcp_store.put(locator, VALUES, ABOUT, seconds=SECONDS)


def test_the_policy_is_the_rights(open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """What is to be copied is a role with exactly these permissions, and names project and prefix."""
    policy = open_gcp_store(Options(prefix="ml")).policy
    assert tuple(re.findall(r"^- (\S+)$", policy, re.MULTILINE)) == RIGHTS
    assert f"projects/{PROJECT}/roles/strongroom" in policy
    assert "begin with ml-" in policy


def test_the_policy_is_the_one_of_the_guide(gcp_store: GcpSecretsStore) -> None:
    """The role in the guide is the one that the store gives."""
    guide = Path(__file__).parents[2] / "docs" / "guides" / "store-values-in-gcp.md"
    assert gcp_store.policy.replace(PROJECT, "my-project-42") in guide.read_text()


def test_deployments_and_prefixes_are_kept_apart(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """Neither a scan nor a locator leads into another deployment, or to another prefix of the same project."""
    own, other, elsewhere = open_gcp_store(), open_gcp_store(deployment_id="e"), open_gcp_store(Options(prefix="other"))
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
def test_foreign_locators_lead_nowhere(google: SecretManager, gcp_store: GcpSecretsStore, rest: str) -> None:
    """A locator that the store did not make leads to no request."""
    for locator in (f"strongroom-d-{rest}", rest):
        with pytest.raises(ValuesMissing):
            gcp_store.get(locator, seconds=SECONDS)
    assert google.calls == []


def test_locators_fit_whatever_the_prefix_is(open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """The longest prefix with ids as they are in the index."""
    some_id = "0190a5c8-0000-7000-8000-000000000000"
    assert len(open_gcp_store(Options(prefix="p" * 100), deployment_id=some_id).new_locator(some_id)) <= 255


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": ""}, {"prefix": "a/b"}, {"prefix": "x" * 101}, {"prefix": "a\n"}, {"name": "é"}, {"name": "x" * 256},
        {"replication": ("Europe!",)}, {"replication": ("europe-west3", "europe-west3")}, {"kms_key_name": "my-key"},
        {"labels": {"Team": "x"}}, {"labels": {"team": "X"}}, {"labels": {"strongroom_name": "x"}},
        {"labels": {f"label{number}": "x" for number in range(60)}},
    ],
)  # fmt: skip
def test_options_that_will_not_do(open_gcp_store: Callable[..., GcpSecretsStore], options: dict[str, Any]) -> None:
    """What cannot work is refused at once, without asking anybody."""
    with pytest.raises(ConfigurationError):
        open_gcp_store(Options(**options))


def test_the_id_is_the_place(google: SecretManager, open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """Project and prefix, and the address unless it is one of Google's, which all lead to the same place; or the operator's name."""
    assert open_gcp_store().store_id == f"gcp://{google.address}/projects/{PROJECT}/secrets/strongroom"
    for address in ("secretmanager.googleapis.com", "https://secretmanager-mine.p.googleapis.com:443"):
        assert open_gcp_store(endpoint=address).store_id == f"gcp://projects/{PROJECT}/secrets/strongroom"
    assert open_gcp_store(Options(name="the-gcp")).store_id == "the-gcp"
    assert open_gcp_store(Options(prefix="ml"), project_id="another-project").store_id.endswith(
        "/projects/another-project/secrets/ml"
    )


def test_a_deployment_whose_id_is_no_label(open_gcp_store: Callable[..., GcpSecretsStore]) -> None:
    """A scan could never find it."""
    with pytest.raises(ConfigurationError):
        open_gcp_store(deployment_id="Upper Case")


def test_the_identity_is_told_by_whoever_google_takes_it_for(google: SecretManager, google_identity: GoogleIdentity) -> None:
    """It names the account and the project; a credential that Google does not take is an error."""
    key = google_identity.new_service_account("trainer")
    store = new_store(google, method=gcp_method("service-account", {"service_account_json": key}))
    with pytest.raises(StoreForbidden, match=re.escape("secretmanager.secrets.list")):
        store.identity(seconds=SECONDS)
    google.grant(key["client_email"], *RIGHTS)
    assert store.identity(seconds=SECONDS) == f"{key['client_email']} in the project {PROJECT}"
    google_identity.forget(key["client_email"])
    with pytest.raises(StoreForbidden, match="does not take the credential"):
        store.identity(seconds=SECONDS)
    store.close()


@pytest.mark.parametrize("module", ["grpc", "google.auth.exceptions", "google_crc32c"])
def test_the_extra_is_named(google: SecretManager, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Without one of the libraries the error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as missing:
        new_store(google)
    assert missing.value.hint == "pip install 'strongroom[gcp]'"


def test_a_description_that_somebody_changed(google: SecretManager, gcp_store: GcpSecretsStore) -> None:
    """A locator whose description is gone is found without one."""
    locator = put(gcp_store)
    google.change(locator, "strongroom_name", None)
    assert [(each.locator, each.about) for page in gcp_store.scan(seconds=SECONDS) for each in page] == [(locator, None)]
