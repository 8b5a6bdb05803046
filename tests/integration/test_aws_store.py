"""The `aws` secrets store keeps its promises, on a fake that is as strict as AWS. How it logs in is in `test_aws_login.py`, what happens
when several write and are killed in `test_aws_races.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
import pytest

from strongroom.connectors.aws import Endpoint, connect
from strongroom.connectors.aws_methods import AwsMethod, SecretKeyMethod, SessionTokenMethod
from strongroom.redaction import SecretText
from strongroom.secrets_stores.aws import AwsSecretsStore, Options, open_store
from strongroom.secrets_stores.base import About, SecretsStore
from strongroom.secrets_stores.conformance import SECONDS as PATIENCE
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from tests.canary import CANARY
from tests.fakes.aws import REGION, AwsServer, Credential
from tests.fakes.relay import Fault, Relay

NOTHING: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
SECONDS = 20


@pytest.fixture
def aws() -> Iterator[AwsServer]:
    """A fake of AWS for one test."""
    server = AwsServer()
    yield server
    server.stop()


def secret_key(credential: Credential) -> SecretKeyMethod:
    """The method with this key."""
    secret = SecretText(credential.secret_access_key)
    return SecretKeyMethod(aws_access_key_id=credential.access_key_id, aws_secret_access_key=secret)


def store_at(url: str, method: AwsMethod, deployment_id: str = "d", **options: Any) -> AwsSecretsStore:
    """A store of the fake at this address."""
    return open_store(
        connect(Endpoint(region=REGION, endpoint_url=url, sts_endpoint_url=url), method), Options(**options), deployment_id
    )


def least(**options: Any) -> dict[str, Any]:
    """What the store says that it needs, as a document."""
    method = SecretKeyMethod(aws_access_key_id="x", aws_secret_access_key=SecretText("x"))
    document: dict[str, Any] = json.loads(store_at("http://127.0.0.1:1", method, **options).policy)
    return document


def about_of(secret_id: str) -> About:
    """Of a secret of the deployment `d`."""
    return About(deployment_id="d", secret_id=secret_id, name="my_secret", scope="workspace", workspace="default")


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


def put(store: SecretsStore, secret_id: str, values: dict[str, str] = VALUES) -> str:
    """Puts values as a new version; the locator."""
    locator = store.new_locator(secret_id)
    store.put(locator, values, about_of(secret_id), seconds=SECONDS)
    return locator


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

    def test_puts_side_by_side(self, store: SecretsStore, about: About) -> None:
        """Puts of one secret from many threads do not disturb each other: as many as the store keeps versions."""

        def put(number: int) -> bool:
            locator = store.new_locator(about.secret_id)
            store.put(locator, self.values(str(number)), about, seconds=PATIENCE)
            return bool(store.get(locator, seconds=PATIENCE) == self.values(str(number)))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(put, range(store.capabilities.max_versions or 24)))
