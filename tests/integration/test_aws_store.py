"""The `aws` secrets store keeps its promises, on a fake that is as strict as AWS.

What AWS may refuse or answer is in `test_aws_answers.py`, how the store logs in in `test_aws_login.py`, and what happens when several
write at once and are killed in `test_aws_races.py`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from strongroom.config import StoreSettings
from strongroom.connectors.aws import Endpoint, connect
from strongroom.connectors.aws_methods import SecretKeyMethod, SessionTokenMethod
from strongroom.db.identifiers import new_id
from strongroom.errors import (
    ConfigurationError,
    MissingExtra,
    StoreForbidden,
    ValuesCorrupt,
    ValuesMissing,
)
from strongroom.redaction import SecretText
from strongroom.secrets_stores.aws import AwsSecretsStore, Options, open_store
from strongroom.secrets_stores.base import ReadsMany
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.opening import open_external
from tests.canary import CANARY
from tests.fakes.aws import ACCOUNT, REGION, AwsServer, Credential
from tests.fakes.relay import Fault, Relay
from tests.integration.aws_place import NOTHING, SECONDS, VALUES, about_of, least, put, secret_key, store_at

ATTEMPT = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    """A fake of AWS for one test."""
    server = AwsServer()
    yield server
    server.stop()


@pytest.fixture
def store(aws: AwsServer) -> Iterator[AwsSecretsStore]:
    """A store with the rights of its policy."""
    store = store_at(aws.url, secret_key(aws.add(policy=least())))
    yield store
    store.close()


@pytest.fixture
def sdk(aws: AwsServer) -> Iterator[Any]:
    """The vendor's own client, with another key."""
    credential = aws.add()
    client = boto3.client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=aws.url,
        aws_access_key_id=credential.access_key_id,
        aws_secret_access_key=credential.secret_access_key,
    )
    yield client
    client.close()


class TestAws(SecretsStoreConformance):
    """All of the suite, with no more rights than the policy says."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self, aws: AwsServer) -> Iterator[Harness]:
        """Stores behind a relay that can lose replies."""
        relay = Relay(int(aws.url.rpartition(":")[2]))
        url, key = f"http://127.0.0.1:{relay.port}", aws.add(policy=least())
        other = aws.add(policy=least())

        def open_by_session(deployment_id: str) -> AwsSecretsStore:
            secret = SecretText(other.secret_access_key)
            method = SessionTokenMethod(aws_access_key_id=other.access_key_id, aws_secret_access_key=secret)
            return store_at(url, method, deployment_id)

        def damage(locator: str) -> None:
            name, _, attempt = locator.rpartition("/")
            aws.secrets_manager.secrets[f"strongroom/{name}"].versions[attempt] = {"SecretString": '{"a": {"nested": 1}}'}

        yield Harness(
            open=lambda deployment_id: store_at(url, secret_key(key), deployment_id),
            other_credential=open_by_session,
            unavailable=lambda: aws.answering(500, {"__type": "InternalServiceError", "message": "it failed"}),
            reply_lost=partial(relay.fault, Fault.LOST),
            hanging=aws.hanging,
            forbidden=partial(aws.policy, key, NOTHING),
            damage=damage,
        )
        relay.stop()


def test_other_tools_can_read_it(aws: AwsServer, store: AwsSecretsStore, sdk: Any) -> None:
    """AWSCURRENT is the newest put as plain JSON; older versions are there by their ids; tags say whose it is."""
    first, second = put(store, "s", {"old": "x"}), put(store, "s")
    found = sdk.get_secret_value(SecretId="strongroom/d/s")
    assert json.loads(found["SecretString"]) == VALUES
    assert found["VersionId"] == second.rpartition("/")[2]
    older = sdk.get_secret_value(SecretId="strongroom/d/s", VersionId=first.rpartition("/")[2])
    assert json.loads(older["SecretString"]) == {"old": "x"}
    tags = {each["Key"]: each["Value"] for each in sdk.describe_secret(SecretId="strongroom/d/s")["Tags"]}
    assert tags == {
        "strongroom:deployment_id": "d", "strongroom:secret_id": "s", "strongroom:name": "my_secret",
        "strongroom:scope": "workspace", "strongroom:workspace": "default",
    }  # fmt: skip


def test_values_near_the_limit_are_packed(aws: AwsServer, store: AwsSecretsStore, sdk: Any) -> None:
    """What fits only without JSON's quotes is binary, and comes back the same."""
    values = {"key": "\0" * 65_000}
    locator = put(store, "s", values)
    assert "SecretString" not in sdk.get_secret_value(SecretId="strongroom/d/s")
    assert store.get(locator, seconds=SECONDS) == values


def test_calls(aws: AwsServer, store: AwsSecretsStore) -> None:
    """A read is one call, a put one, the first put of a fresh secret two; a delete two, of the last version four."""
    fresh, old = new_id(), str(uuid.uuid4())
    with aws.counting() as calls:
        first = put(store, fresh)
    assert calls == ["CreateSecret", "PutSecretValue"]
    with aws.counting() as calls:
        put(store, old)
    assert calls == ["PutSecretValue", "CreateSecret", "PutSecretValue"]
    with aws.counting() as calls:
        second = put(store, old)
    assert calls == ["PutSecretValue"]
    with aws.counting() as calls:
        store.get(second, seconds=SECONDS)
    assert calls == ["GetSecretValue"]
    third = put(store, old)
    put(store, old)
    with aws.counting() as calls:
        store.delete(second, seconds=SECONDS)
    assert calls == ["UpdateSecretVersionStage", "DescribeSecret"]
    with aws.counting() as calls:
        store.delete(third, seconds=SECONDS)  # it has AWSPREVIOUS
    assert calls == ["UpdateSecretVersionStage", "DescribeSecret", "UpdateSecretVersionStage"]
    with aws.counting() as calls:
        store.delete(first, seconds=SECONDS)
    assert calls == ["UpdateSecretVersionStage", "DescribeSecret", "DeleteSecret", "DescribeSecret"]
    with aws.counting() as calls:
        list(store.scan(seconds=SECONDS))
    assert calls == ["ListSecrets"]


def test_a_guess_that_was_wrong(aws: AwsServer, store: AwsSecretsStore) -> None:
    """A second version right after the first costs a call more, and loses nothing."""
    secret = new_id()
    first = put(store, secret)
    with aws.counting() as calls:
        second = put(store, secret, {"a": "b"})
    assert calls == ["CreateSecret", "PutSecretValue"]
    assert store.get(first, seconds=SECONDS) == VALUES
    assert store.get(second, seconds=SECONDS) == {"a": "b"}


def test_many_at_once(aws: AwsServer, store: AwsSecretsStore) -> None:
    """Newest versions come 20 in a call; what is not newest, missing or damaged gets what a single get gives."""
    assert isinstance(store, ReadsMany)
    current = [put(store, f"s{number}", {"number": str(number)}) for number in range(45)]
    with aws.counting() as calls:
        found = store.get_many(current, seconds=SECONDS)
    assert calls == ["BatchGetSecretValue"] * 3
    assert found == {locator: {"number": str(number)} for number, locator in enumerate(current)}

    put(store, "s0", {"newer": "x"})
    store.delete(current[1], seconds=SECONDS)
    aws.secrets_manager.secrets["strongroom/d/s2"].versions[current[2].rpartition("/")[2]] = {"SecretString": "[]"}
    never = store.new_locator("s3")
    with aws.counting() as calls:
        mixed = store.get_many([*current[:4], never, "elsewhere"], seconds=SECONDS)
    assert calls.count("BatchGetSecretValue") == 1
    assert mixed[current[0]] == {"number": "0"}
    assert mixed[current[3]] == {"number": "3"}
    assert [type(mixed[each]) for each in (current[1], never, "elsewhere")] == [ValuesMissing] * 3
    assert isinstance(mixed[current[2]], ValuesCorrupt)


def test_versions_past_the_limit_of_labels(aws: AwsServer, store: AwsSecretsStore) -> None:
    """AWS keeps 20 labels of a secret: 18 puts pass, more than are promised; the next is refused, and nothing is lost."""
    locators = [put(store, "s", {"number": str(number)}) for number in range(18)]
    assert (store.capabilities.max_versions or 0) + 6 == len(locators)
    with pytest.raises(StoreForbidden, match="20 labels"):
        put(store, "s")
    assert [store.get(each, seconds=SECONDS)["number"] for each in locators] == [str(number) for number in range(18)]
    store.delete(locators[0], seconds=SECONDS)
    put(store, "s")


def test_deleted_versions_keep_no_label(aws: AwsServer, store: AwsSecretsStore, sdk: Any) -> None:
    """So that AWS can forget them. AWSCURRENT goes to the newest that is left; what has labels stays when AWS forgets the rest."""
    first, second, third = (put(store, "s", {"number": number}) for number in "123")
    store.delete(third, seconds=SECONDS)
    assert json.loads(sdk.get_secret_value(SecretId="strongroom/d/s")["SecretString"]) == {"number": "2"}
    store.delete(first, seconds=SECONDS)
    aws.secrets_manager.forget_unlabelled()
    assert list(aws.secrets_manager.secrets["strongroom/d/s"].versions) == [second.rpartition("/")[2]]
    assert store.get(second, seconds=SECONDS) == {"number": "2"}
    with pytest.raises(ValuesMissing):
        store.get(third, seconds=SECONDS)


def test_what_was_deleted_stays_deleted(aws: AwsServer, store: AwsSecretsStore) -> None:
    """A put that comes after the delete of its locator is refused rather than acknowledged and not there."""
    put(store, "s")
    locator = put(store, "s")
    store.delete(locator, seconds=SECONDS)
    with pytest.raises(ValuesCorrupt, match="deleted"):
        store.put(locator, VALUES, about_of("s"), seconds=SECONDS)
    with pytest.raises(ValuesCorrupt, match="deleted"):
        store.put(locator, {"other": "x"}, about_of("s"), seconds=SECONDS)


def test_the_last_delete_schedules_the_deletion(aws: AwsServer) -> None:
    """A secret without versions goes, within the window that the operator wants; a later put brings it back."""
    store = store_at(aws.url, secret_key(aws.add()), recovery_window_days=10)
    first, second = put(store, "s"), put(store, "s")
    store.delete(second, seconds=SECONDS)
    secret = aws.secrets_manager.secrets["strongroom/d/s"]
    assert secret.deleted is None
    store.delete(first, seconds=SECONDS)
    secret = aws.secrets_manager.secrets["strongroom/d/s"]
    assert secret.deleted is not None
    assert timedelta(days=9) < secret.deleted - secret.changed < timedelta(days=11)
    assert list(store.scan(seconds=SECONDS)) == []
    third = put(store, "s")
    assert store.get(third, seconds=SECONDS) == VALUES
    with pytest.raises(ValuesMissing):
        store.get(first, seconds=SECONDS)


@pytest.mark.parametrize("locator", ["../../x", "a/b", "a/b/c", f"a/../{ATTEMPT}", "", f"a/b/{ATTEMPT}\n", f"a/b/{'x' * 65}"])
def test_foreign_locators_lead_nowhere(store: AwsSecretsStore, aws: AwsServer, locator: str) -> None:
    """A locator that the store did not make cannot lead out of its prefix; nobody is asked."""
    for call in (store.get, store.delete):
        with pytest.raises(ValuesMissing):
            call(locator, seconds=SECONDS)
    assert aws.calls == []


def test_what_lies_beside_is_not_scanned(aws: AwsServer, store: AwsSecretsStore, sdk: Any) -> None:
    """Other names below the prefix, and versions without our label, are not taken for locators; nor are they deleted."""
    locator = put(store, "s")
    for name in ("strongroom/d/s/more", "strongroom/d-2/s", "strongroom/d/odd.name"):
        sdk.create_secret(Name=name)
        sdk.put_secret_value(SecretId=name, SecretString="x", VersionStages=["strongroom-mine"])
    sdk.put_secret_value(SecretId="strongroom/d/s", SecretString="edited by hand")
    found = [each for page in store.scan(seconds=SECONDS) for each in page]
    assert [each.locator for each in found] == [locator]
    assert found[0].about == about_of("s")
    assert store.get(locator, seconds=SECONDS) == VALUES
    assert not any(secret.deleted for secret in aws.secrets_manager.secrets.values())


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": "a//b"}, {"prefix": ""}, {"prefix": "a b"}, {"prefix": "x" * 201}, {"name": "é"}, {"name": "x" * 256},
        {"recovery_window_days": 0}, {"recovery_window_days": 31}, {"account_id": "12"}, {"tags": {"aws:x": "y"}},
        {"tags": {"strongroom:name": "y"}}, {"tags": {"a": "x" * 257}}, {"tags": {"a": "%"}}, {"tags": {"": "x"}},
        {"tags": {f"k{number}": "x" for number in range(41)}},
    ],
)  # fmt: skip
def test_options_that_will_not_do(options: dict[str, Any]) -> None:
    """What cannot work is refused at once, without asking anybody. Deletion without a window is not on offer."""
    with pytest.raises(ConfigurationError):
        least(**options)


def test_the_id_is_the_location() -> None:
    """Region and prefix; the account where it is given; the host where it is not AWS's own; or the operator's name."""
    method = SecretKeyMethod(aws_access_key_id="x", aws_secret_access_key=SecretText("x"))

    def store_id(url: str | None = None, **options: Any) -> str:
        return open_store(connect(Endpoint(region=REGION, endpoint_url=url), method), Options(**options), "d").store_id

    assert store_id() == "aws://eu-west-1/strongroom"
    assert store_id("https://vpce-1.secretsmanager.eu-west-1.vpce.amazonaws.com") == "aws://eu-west-1/strongroom"
    assert store_id("http://127.0.0.1:4566", prefix="a") == "aws://eu-west-1.127.0.0.1:4566/a"
    assert store_id("https://amazonaws.com.example.com") == "aws://eu-west-1.amazonaws.com.example.com/strongroom"
    assert store_id(account_id="123456789012") == "aws://123456789012.eu-west-1/strongroom"
    assert store_id(name="ours") == "ours"


def test_it_opens_as_settings_describe_it(aws: AwsServer) -> None:
    """Options of the method, the address and the store, all as texts."""
    key = aws.add(policy=least(prefix="ml"))
    options = {
        "region": REGION, "endpoint_url": aws.url, "aws_access_key_id": key.access_key_id, "prefix": "ml",
        "aws_secret_access_key": key.secret_access_key, "tags": '{"team": "ml"}', "recovery_window_days": "8",
    }  # fmt: skip
    store = open_external(StoreSettings(type="aws", auth_method="secret-key", options=tuple(options.items())), "d")
    locator = put(store, "s")
    assert store.get(locator, seconds=SECONDS) == VALUES
    store.delete(locator, seconds=SECONDS)
    assert {"Key": "team", "Value": "ml"} in aws.secrets_manager.secrets["ml/d/s"].tags
    store.close()


def test_a_credential_of_another_account(aws: AwsServer) -> None:
    """Where the account is part of the identity, values do not go into another one."""
    key = secret_key(aws.add())
    put(store_at(aws.url, key, account_id=ACCOUNT), "s")
    other = store_at(aws.url, key, account_id="000000000000")
    with pytest.raises(StoreForbidden, match="000000000000"):
        put(other, new_id())
    assert len(aws.secrets_manager.secrets["strongroom/d/s"].versions) == 1
    assert sum(len(secret.versions) for secret in aws.secrets_manager.secrets.values()) == 1


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3 the error says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra) as missing:
        least()
    assert missing.value.hint == "pip install 'strongroom[aws]'"


def test_moto_understands_it_too() -> None:
    """The same on somebody else's idea of AWS, as far as it goes: one version of a secret."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        store = store_at("http://{}:{}".format(*server.get_host_and_port()), secret_key(Credential("AKIAX", "x")))
        locator = put(store, "s")
        put(store, "t")
        assert store.get(locator, seconds=SECONDS) == VALUES
        with pytest.raises(ValuesMissing):
            store.get(store.new_locator("s"), seconds=SECONDS)
        found = {each.locator: each for page in store.scan(seconds=SECONDS) for each in page}
        assert len(found) == 2
        assert found[locator].about == about_of("s")
        store.delete(locator, seconds=SECONDS)
        with pytest.raises(ValuesMissing):
            store.get(locator, seconds=SECONDS)
        assert store.identity(seconds=SECONDS).startswith("arn:aws:")
    finally:
        server.stop()
