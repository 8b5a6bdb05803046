"""A fake of AWS and stores on it, for the tests of the `aws` secrets store."""

from __future__ import annotations

import json
import traceback
from typing import Any

from strongroom.connectors.aws import Endpoint, connect
from strongroom.connectors.aws_methods import AwsMethod, SecretKeyMethod
from strongroom.errors import StrongroomError
from strongroom.redaction import SecretText
from strongroom.secrets_stores.aws import AwsSecretsStore, Options, open_store
from strongroom.secrets_stores.base import About, SecretsStore
from tests.canary import CANARY
from tests.fakes.aws import REGION, Credential

NOTHING: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
SECONDS = 20


def secret_key(credential: Credential) -> SecretKeyMethod:
    """The method with this key."""
    secret = SecretText(credential.secret_access_key)
    return SecretKeyMethod(aws_access_key_id=credential.access_key_id, aws_secret_access_key=secret)


def store_at(url: str, method: AwsMethod, deployment_id: str = "d", **options: Any) -> AwsSecretsStore:
    """A store of the fake at this address."""
    endpoint = Endpoint(region=REGION, endpoint_url=url, sts_endpoint_url=url)
    return open_store(connect(endpoint, method), Options(**options), deployment_id)


def least(**options: Any) -> dict[str, Any]:
    """What the store says that it needs, as a document."""
    method = SecretKeyMethod(aws_access_key_id="x", aws_secret_access_key=SecretText("x"))
    document: dict[str, Any] = json.loads(store_at("http://127.0.0.1:1", method, **options).policy)
    return document


def about_of(secret_id: str) -> About:
    """Of a secret of the deployment `d`."""
    return About(deployment_id="d", secret_id=secret_id, name="my_secret", scope="workspace", workspace="default")


def put(store: SecretsStore, secret_id: str, values: dict[str, str] = VALUES) -> str:
    """Puts values as a new version; the locator."""
    locator = store.new_locator(secret_id)
    store.put(locator, values, about_of(secret_id), seconds=SECONDS)
    return locator


def shows_nothing(error: BaseException | None) -> None:
    """Neither the error nor what it hangs on holds the canary, or is one of the SDK's."""
    while error is not None:
        assert isinstance(error, StrongroomError), f"{type(error)} hangs on"
        text = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert CANARY not in text, "an error shows a value or a credential"
        error = error.__context__
