"""What AWS, or what is on the way to it, may refuse or answer to the `aws` secrets store."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.db.identifiers import new_id
from strongroom.errors import (
    StoreForbidden,
    StrongroomError,
    Unavailable,
)
from strongroom.secrets_stores.aws import AwsSecretsStore
from tests.canary import CANARY
from tests.fakes.aws import AwsServer
from tests.fakes.relay import Fault, Relay
from tests.integration.aws_place import SECONDS, VALUES, about_of, least, put, secret_key, shows_nothing, store_at


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


def test_many_at_once_without_the_right(aws: AwsServer) -> None:
    """Without the right to batches they come one by one; when AWS limits calls, no more are made."""
    document = least()
    document["Statement"] = document["Statement"][:1]
    store = store_at(aws.url, secret_key(aws.add(policy=document)))
    locators = [put(store, "a"), put(store, "b")]
    assert store.get_many(locators, seconds=SECONDS) == dict.fromkeys(locators, VALUES)
    with aws.answering(400, {"__type": "ThrottlingException", "message": "Rate exceeded"}), aws.counting() as calls:
        found = store.get_many(locators, seconds=SECONDS)
    assert [type(each) for each in found.values()] == [Unavailable] * 2
    assert calls == ["BatchGetSecretValue"]


def test_options_of_new_secrets(aws: AwsServer) -> None:
    """The operator's tags and KMS key are those of the secrets that are made. A key that is disabled is told."""
    store = store_at(aws.url, secret_key(aws.add()), kms_key_id="alias/ml", tags={"team": "ml"}, prefix="a/b")
    locator = put(store, "s")
    secret = aws.secrets_manager.secrets["a/b/d/s"]
    assert secret.kms_key_id == "alias/ml"
    assert {"Key": "team", "Value": "ml"} in secret.tags
    assert store.get(locator, seconds=SECONDS) == VALUES
    aws.secrets_manager.disabled_keys.add("alias/ml")
    for call in (lambda: store.get(locator, seconds=SECONDS), lambda: put(store, "s"), lambda: put(store, "another")):
        with pytest.raises(StoreForbidden, match="KMS key"):
            call()


ACTIONS = [action for statement in least()["Statement"] for action in statement["Action"]]


@pytest.mark.parametrize("action", [each for each in ACTIONS if not each.endswith("BatchGetSecretValue")])
def test_each_right_is_needed_and_named(aws: AwsServer, action: str) -> None:
    """Without one of the policy's actions the call that needs it is forbidden, and the error names the action and the secret."""
    document = least()
    for statement in document["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    key = aws.add(policy=least())
    store = store_at(aws.url, secret_key(key))
    kept, last = [put(store, "s") for _ in range(2)], put(store, "last")
    store.delete(put(store, "gone"), seconds=SECONDS)
    calls: dict[str, Callable[[], object]] = {
        "CreateSecret": lambda: put(store, "new"),
        "TagResource": lambda: put(store, "new"),
        "PutSecretValue": lambda: put(store, "s"),
        "GetSecretValue": lambda: store.get(kept[0], seconds=SECONDS),
        "UpdateSecretVersionStage": lambda: store.delete(kept[0], seconds=SECONDS),
        "DescribeSecret": lambda: store.delete(kept[0], seconds=SECONDS),
        "DeleteSecret": lambda: store.delete(last, seconds=SECONDS),
        "RestoreSecret": lambda: put(store, "gone"),
        "ListSecrets": lambda: list(store.scan(seconds=SECONDS)),
    }
    call = calls[action.partition(":")[2]]
    with aws.policy(key, document):
        with pytest.raises(StoreForbidden) as refused:
            call()
        assert f"'{action}' at 'strongroom/d/" in str(refused.value)
        assert refused.value.hint
    call()


def test_the_policy_is_filled_in() -> None:
    """With prefix, region, account and KMS key as configured; an alias is allowed by its name."""
    document = least(prefix="a/b", account_id="123456789012", kms_key_id="alias/ml")
    assert document["Statement"][0]["Resource"] == "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a/b/*"
    key = document["Statement"][2]
    assert key["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert key["Condition"]["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": "alias/ml"}
    assert key["Condition"]["StringEquals"] == {"kms:ViaService": "secretsmanager.eu-west-1.amazonaws.com"}
    resource = least(kms_key_id="1-2-3")["Statement"][2]["Resource"]
    assert resource == "arn:aws:kms:eu-west-1:*:key/1-2-3"
    assert len(least()["Statement"]) == 2


def test_the_policy_of_the_guide_is_the_least() -> None:
    """It is the store's own, for the region and account of the example."""
    guide = Path(__file__).parents[2] / "docs" / "guides" / "store-values-in-aws.md"
    found = re.search(r"```json\n(.*?)```", guide.read_text(), re.DOTALL)
    assert found
    assert json.loads(found[1]) == least(account_id="123456789012")


TROUBLES: list[tuple[int, dict[str, str] | bytes, type[StrongroomError], str]] = [
    (400, {"__type": "ThrottlingException", "message": CANARY}, Unavailable, "how often"),
    (429, {"__type": "SlowDown", "message": CANARY}, Unavailable, "again in 7 seconds"),
    (503, b"<html>" + CANARY.encode(), Unavailable, "status 503"),
    (500, {"__type": "InternalServiceError", "message": CANARY}, Unavailable, "status 500"),
    (302, {}, Unavailable, "status 302"),
    (200, b"<html>welcome</html>", Unavailable, "does not speak as AWS does"),
    (200, {}, Unavailable, "does not speak as AWS does"),
    (400, {"__type": "AccessDeniedException", "message": f"Access to KMS is not allowed {CANARY}"}, StoreForbidden, "KMS key"),
    (400, {"__type": "com.amazonaws#UnheardOf", "message": CANARY}, StoreForbidden, "UnheardOf"),
    (404, b"not found", StoreForbidden, "404"),
]


@pytest.mark.parametrize(("status", "body", "kind", "text"), TROUBLES, ids=[each[3] for each in TROUBLES])
def test_every_answer_is_understood(
    aws: AwsServer, store: AwsSecretsStore, status: int, body: dict[str, str] | bytes, kind: type[StrongroomError], text: str
) -> None:
    """Whatever AWS, or a proxy on the way, answers to any call is one of the four errors, without a word of what was sent."""
    locator = put(store, "s")
    calls: list[Callable[[], object]] = [
        lambda: store.put(store.new_locator("s"), VALUES, about_of("s"), seconds=SECONDS),
        lambda: store.get(locator, seconds=SECONDS),
        lambda: store.delete(locator, seconds=SECONDS),
        lambda: list(store.scan(seconds=SECONDS)),
    ]
    headers = {"Location": "http://127.0.0.1:1/", "Retry-After": "7"}
    for call in calls:
        with aws.answering(status, body, headers), aws.counting() as asked, pytest.raises(kind, match=text) as raised:
            call()
        assert len(asked) == 1, "an answer like this is not tried again"
        shows_nothing(raised.value)
        assert getattr(raised.value, "retry_after", None) == (7 if "often" in str(raised.value) else None)
    assert store.get(locator, seconds=SECONDS) == VALUES


def test_nothing_listens(aws: AwsServer) -> None:
    """A refused connection is `Unavailable`, and so is a name that does not exist."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = store_at(f"http://127.0.0.1:{taken.getsockname()[1]}", secret_key(aws.add()))
        with pytest.raises(Unavailable, match="out of reach") as raised:
            store.get(store.new_locator("s"), seconds=SECONDS)
        shows_nothing(raised.value)


def test_an_answer_that_trickles(aws: AwsServer) -> None:
    """A call ends in time also when bytes keep coming."""
    relay = Relay(int(aws.url.rpartition(":")[2]))
    store = store_at(f"http://127.0.0.1:{relay.port}", secret_key(aws.add()))
    locator = put(store, "s")
    began = time.monotonic()
    with relay.fault(Fault.TRICKLES), pytest.raises(Unavailable):
        store.get(locator, seconds=0.5)
    assert time.monotonic() - began < 2
    assert store.get(locator, seconds=SECONDS) == VALUES
    relay.stop()


@pytest.mark.parametrize("lost", ["CreateSecret", "PutSecretValue"])
def test_each_lost_reply_of_a_put(aws: AwsServer, store: AwsSecretsStore, lost: str) -> None:
    """Whichever answer is lost, the same put again succeeds, and there is one version."""

    def lose(action: str, who: str) -> None:
        if action == lost:
            aws.after = None
            raise ConnectionError

    secret = new_id()
    locator = store.new_locator(secret)
    aws.after = lose
    with pytest.raises(Unavailable):
        store.put(locator, VALUES, about_of(secret), seconds=SECONDS)
    store.put(locator, VALUES, about_of(secret), seconds=SECONDS)
    assert store.get(locator, seconds=SECONDS) == VALUES
    assert [each.locator for page in store.scan(seconds=SECONDS) for each in page] == [locator]
