"""A deployment whose values are in Google Secret Manager, as variables configure it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.errors import StoreForbidden, Unavailable
from tests.canary import CANARY, holds_canary
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.secret_manager import PROJECT, SecretManager
from tests.integration.gcp import RIGHTS

VALUES = {"user": "reader", "password": f"{CANARY}-é"}


@pytest.fixture
def variables(google: SecretManager, google_identity: GoogleIdentity, local_settings: Settings) -> Mapping[str, str]:
    """As an operator writes them: the credential in one, options of the store in others."""
    key = google_identity.new_service_account("strongroom")
    google.grant(key["client_email"], *RIGHTS)
    named = {
        "CONFIG_PATH": str(local_settings.folder),
        "SECRETS_STORE_TYPE": "gcp",
        "SECRETS_STORE_AUTH_METHOD": "service-account",
        "SECRETS_STORE_AUTH_CONFIG": json.dumps({"project_id": PROJECT, "service_account_json": key}),
        "SECRETS_STORE_ENDPOINT": f"http://{google.address}",
        "SECRETS_STORE_PREFIX": "ml",
        "SECRETS_STORE_REPLICATION": "europe-west3, europe-west4",
        "SECRETS_STORE_LABELS": '{"team": "ml"}',
    }
    return {f"{PREFIX}{name}": text for name, text in named.items()}


def test_a_secret_from_its_creation_to_its_end(google: SecretManager, variables: Mapping[str, str]) -> None:
    """It is created, read, changed and deleted, with as many requests as the guide says."""
    with Client(read_settings(variables)) as client:
        client.create_secret(name="warm-up", values=VALUES)
        google.calls.clear()
        client.create_secret(name="db", values=VALUES)
        assert google.calls == ["CreateSecret", "AddSecretVersion"]
        google.calls.clear()
        assert client.get_secret("db").secret_values == VALUES
        assert google.calls == ["AccessSecretVersion"]
        client.update_secret("db", add_or_update_values={"port": "5432"})
        assert client.get_secret("db").secret_values == {**VALUES, "port": "5432"}
        client.delete_secret("db")


def test_trouble_is_told(google: SecretManager, variables: Mapping[str, str]) -> None:
    """An outage and a missing right are errors of a read that look like what they are, and are over when they are over."""
    with Client(read_settings({**variables, f"{PREFIX}SECRETS_STORE_TIMEOUT": "1"})) as client:
        client.create_secret(name="db", values=VALUES)
        with google.down(), pytest.raises(Unavailable):
            client.get_secret("db")
        with google.forbidden(), pytest.raises(StoreForbidden, match=r"secretmanager\.versions\.access"):
            client.get_secret("db")
        assert client.get_secret("db").secret_values == VALUES


def test_the_store_is_tried_out(google: SecretManager, variables: Mapping[str, str]) -> None:
    """`strongroom server check-stores` does what a store does, and prints the role; neither shows a credential."""
    for words, expected in ((["server", "check-stores"], "strongroom@"), (["server", "check-stores", "--policy"], RIGHTS[-1])):
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        command = [sys.executable, "-m", "strongroom", *words]
        done = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, timeout=60)
        assert not holds_canary(done.stdout + done.stderr), "a credential is shown"
        assert not done.returncode, done.stdout + done.stderr
        assert expected in done.stdout
    assert google.calls.count("DeleteSecret") >= 1
