"""What the chart gives a pod starts a real server, with the stores that the values name.

There is no cluster here: helm renders, the variables are resolved as Kubernetes would (from the rendered Secrets), paths of volumes
become folders of the test, and a server process is started with the arguments of the container.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from strongroom.config import PREFIX, Settings, read_settings
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.deploy.chart import Helm, Rendered, merged
from tests.fakes.aws import ACCOUNT, REGION, AwsServer
from tests.fakes.azure import TENANT, Azure
from tests.fakes.folder_store import ROOT, folder_variables
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.secret_manager import PROJECT, SecretManager
from tests.integration.aws_place import least
from tests.integration.gcp import RIGHTS
from tests.servers.strongroom import PASSWORD, StrongroomServer

Serve = Callable[..., Caller]
STATE = "/var/lib/strongroom"


@pytest.fixture
def serve(
    helm: Helm, postgresql_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Caller]]:
    """Renders the chart with these values and starts the server of a pod; gives its administrator."""
    started: list[StrongroomServer] = []
    assert postgresql_settings.encryption_key is not None
    common = {
        "database": {"url": postgresql_settings.database_url},
        "encryptionKey": {"value": postgresql_settings.encryption_key},
        "admin": {"username": "root", "password": PASSWORD},
        "server": {"workers": 1},
    }

    def start(values: Mapping[str, Any], mounts: Mapping[str, str] | None = None) -> Caller:
        rendered = helm.template(merged(common, values))
        places = {STATE: str(tmp_path / "state"), **(mounts or {})}
        given = {name: _placed(text, places) for name, text in rendered.variables().items()}
        for name, text in given.items():
            if not name.startswith(PREFIX):
                monkeypatch.setenv(name, text)
        scheme, ca_cert = ("https", Path(places["/ca"])) if "/ca" in places else ("http", None)
        variables = {name.removeprefix(PREFIX): text for name, text in given.items() if name.startswith(PREFIX)}
        started.append(StrongroomServer(variables, *_arguments(rendered, places), scheme=scheme, ca_cert=ca_cert))
        return Caller(started[-1], started[-1].connections()).log_in("root")

    yield start
    for server in started:
        log = server.log
        server.stop()
        assert not holds_canary(log)
        assert "Traceback" not in log


def _arguments(rendered: Rendered, places: Mapping[str, str]) -> list[str]:
    """Those of the container, but for the address: a test listens on loopback, at a port that is free."""
    container = rendered.container
    assert container["command"] == ["strongroom", "server", "start"]
    return [_placed(each, places) for each in container["args"] if not each.startswith(("--host=", "--port="))]


def _placed(text: str, places: Mapping[str, str]) -> str:
    for there, here in places.items():
        text = text.replace(there, here)
    return text


def works(admin: Caller, *expected: str) -> None:
    """The server reports these stores as `role:type`, all healthy, and keeps a secret in them."""
    info = admin.call("GET", "/info").data
    assert info["database"] == "postgresql"
    assert [f"{each['role']}:{each['type']}" for each in info["stores"]] == list(expected)
    assert all(each["healthy"] for each in info["stores"])
    secret = admin.create("db", {"password": f"{CANARY}-1"})
    assert admin.call("GET", f"/secrets/{secret['id']}").data["values"] == {"password": f"{CANARY}-1"}


def test_values_in_the_database(serve: Serve) -> None:
    """The default."""
    works(serve({}), "primary:sql")


def test_values_in_vault_with_the_database_as_backup(serve: Serve, vault_variables: dict[str, str]) -> None:
    """On a real OpenBao, with the token in the values."""
    options = {name.removeprefix("SECRETS_STORE_").lower(): text for name, text in vault_variables.items()}
    works(serve({"secretsStore": options, "backupSecretsStore": {"type": "sql"}}), "primary:vault", "backup:sql")


def test_values_in_aws(serve: Serve) -> None:
    """With an access key in `auth_config`, and no more rights than the store's policy."""
    aws = AwsServer()
    try:
        key = aws.add(policy=least())
        store = {
            "type": "aws",
            "auth_method": "secret-key",
            "account_id": ACCOUNT,
            "tags": {"team": "ml"},
            "auth_config": {
                "region": REGION,
                "endpoint_url": aws.url,
                "aws_access_key_id": key.access_key_id,
                "aws_secret_access_key": key.secret_access_key,
            },
        }
        works(serve({"secretsStore": store}), "primary:aws")
    finally:
        aws.stop()


@pytest.fixture
def google_identity() -> Iterator[GoogleIdentity]:
    """A fake of where Google's tokens come from."""
    server = GoogleIdentity()
    yield server
    server.stop()


def test_values_in_google(serve: Serve, google_identity: GoogleIdentity) -> None:
    """With the key of a service account as an object, and labels and locations as YAML has them."""
    google = SecretManager(google_identity)
    try:
        key = google_identity.new_service_account("strongroom")
        google.grant(key["client_email"], *RIGHTS)
        store = {
            "type": "gcp",
            "auth_method": "service-account",
            "endpoint": f"http://{google.address}",
            "replication": ["europe-west3", "europe-west4"],
            "labels": {"team": "ml"},
            "auth_config": {"project_id": PROJECT, "service_account_json": key},
        }
        works(serve({"secretsStore": store}), "primary:gcp")
    finally:
        google.stop()


def test_values_in_azure(serve: Serve, tmp_path: Path) -> None:
    """With an application's secret, and a certificate of an authority of one's own from `extraCA`."""
    azure = Azure(tmp_path)
    try:
        application = azure.entra.new_application()
        place = azure.options()
        ca_cert = place.pop("ca_cert")
        store = {
            "type": "azure",
            "auth_method": "service-principal",
            "ca_cert": "/etc/strongroom/ca/ca.crt",
            **place,
            "auth_config": {
                "tenant_id": TENANT,
                "client_id": application.client_id,
                "client_secret": application.client_secret,
            },
        }
        mounts = {"/etc/strongroom/ca/ca.crt": str(ca_cert)}
        works(serve({"secretsStore": store, "extraCA": {"secret": "our-ca"}}, mounts), "primary:azure")
    finally:
        azure.stop()


def test_values_in_a_custom_store(serve: Serve, allow_values_in: Callable[[Path], Path], tmp_path: Path) -> None:
    """Its code is in a volume, its options are in the values."""
    variables = folder_variables(allow_values_in(tmp_path / "values"))
    options = {name.removeprefix("SECRETS_STORE_").lower(): text for name, text in variables.items()}
    values = {"secretsStore": options, "customCode": {"configMap": {"name": "my-store"}}}
    code = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(ROOT)]))
    works(serve(values, {"/opt/custom": code}), "primary:custom")


def test_credentials_in_secrets_of_an_operator(serve: Serve, helm: Helm) -> None:
    """The option arrives under the same name as if it stood in the values."""
    values = {
        "database": {"existingSecret": {"name": "db", "key": "uri"}},
        "encryptionKey": {"existingSecret": {"name": "key"}},
        "admin": {"existingSecret": {"name": "admin"}},
        "secretsStore": {
            "type": "vault",
            "existingSecrets": {"auth_config": {"name": "vault", "key": "json"}},
        },
    }
    rendered = helm.template(values)
    assert not rendered.of_kind("Secret")
    login = json.dumps({"vault_token": f"{CANARY}-token", "vault_addr": "https://vault:8200"})
    others = {
        "db": {"uri": "postgresql://db/strongroom"},
        "key": {"encryption-key": f"{CANARY}-key"},
        "admin": {"username": "root", "password": f"{CANARY}-admin"},
        "vault": {"json": login},
    }
    settings = read_settings(rendered.variables(others))
    assert settings.database_url == "postgresql://db/strongroom"
    assert settings.encryption_key == f"{CANARY}-key"
    assert (settings.admin_username, settings.admin_password) == ("root", f"{CANARY}-admin")
    assert dict(settings.secrets_store.options) == json.loads(login)


def test_tls_in_the_server_itself(serve: Serve, tmp_path: Path) -> None:
    """With a certificate from a Secret, the server speaks TLS."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    admin = serve(
        {"server": {"tls": {"enabled": True, "secretName": "server-tls"}}},
        {"/etc/strongroom/tls": str(tmp_path), "/ca": str(tmp_path / "ca.pem")},
    )
    works(admin, "primary:sql")
