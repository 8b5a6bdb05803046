"""A secrets store that logs in by a service connector, on a real OpenBao."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.errors import ConfigurationError, StoreForbidden, Unreadable
from tests.canary import CANARY, holds_canary
from tests.servers.openbao import OpenBaoServer

PRIMARY = {"SECRETS_STORE_TYPE": "vault", "SECRETS_STORE_CONNECTOR": "vault"}
SQL_BEHIND = {"BACKUP_SECRETS_STORE_TYPE": "sql"}
BEHIND = {"BACKUP_SECRETS_STORE_TYPE": "vault", "BACKUP_SECRETS_STORE_CONNECTOR": "vault"}
VALUES = {"password": f"{CANARY}-password"}


@pytest.fixture
def mount(openbao: OpenBaoServer) -> str:
    """An engine of the test's own."""
    return openbao.enable_engine({"version": "2"})


def token(openbao: OpenBaoServer, mount: str) -> str:
    """A token that may do everything in the engine."""
    return openbao.new_token(f'path "{mount}/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}')


def settings(folder: Path, mount: str, *families: dict[str, str], **more: str) -> Settings:
    """Those of the folder's store with these variables."""
    variables: dict[str, str] = {"CONFIG_PATH": str(folder), **more}
    for family in families:
        variables |= family
        variables |= {name.replace("CONNECTOR", "MOUNT_POINT"): mount for name in family if name.endswith("CONNECTOR")}
    return read_settings({f"{PREFIX}{name}": text for name, text in variables.items()})


@pytest.fixture
def folder(local_settings: Settings) -> Path:
    """The folder of a store whose values are in its database."""
    return local_settings.folder


def register(folder: Path, openbao: OpenBaoServer, value: str, **attributes: Any) -> None:
    """The connector `vault` with this token, as a secret in the database."""
    with Client(settings(folder, "")) as client:
        client.register_service_connector(
            "vault", type="vault", configuration={"vault_addr": openbao.url, "vault_token": value, **attributes}
        )


def stores_of(client: Client, name: str) -> list[str]:
    """The stores that have the current version."""
    return sorted(each.store.partition(":")[0] for each in client.list_secret_versions(name).items[0].placements)


def test_a_primary_store(folder: Path, openbao: OpenBaoServer, mount: str) -> None:
    """Values go to a store that logs in by a connector, whose credential lies in the backup; it can be replaced, and is used next."""
    first, second = token(openbao, mount), token(openbao, mount)
    register(folder, openbao, first)
    with Client(settings(folder, mount, PRIMARY, SQL_BEHIND)) as client:
        client.create_secret("s", VALUES)
        assert stores_of(client, "s") == ["sql", "vault"]
        client.update_service_connector("vault", configuration={"vault_token": second})
    openbao.admin.auth.token.revoke(first)
    with Client(settings(folder, mount, PRIMARY, SQL_BEHIND)) as client:
        assert client.update_secret("s", add_or_update_values={"other": "x"}).version == 2
        assert stores_of(client, "s") == ["sql", "vault"]
        assert client.get_secret("s").secret_values["password"] == VALUES["password"]
    assert openbao.admin.secrets.kv.v2.list_secrets("strongroom", mount_point=mount)["data"]["keys"]


def test_a_backup_store(folder: Path, openbao: OpenBaoServer, mount: str) -> None:
    """A backup logs in by a connector whose credential lies in the primary."""
    register(folder, openbao, token(openbao, mount))
    with Client(settings(folder, mount, BEHIND)) as client:
        client.create_secret("s", VALUES)
        assert stores_of(client, "s") == ["sql", "vault"]


def test_credentials_that_only_the_store_itself_has(folder: Path, openbao: OpenBaoServer, mount: str) -> None:
    """With no other store, a credential that is stored now lies only where it is needed for: the next start says so, and names it."""
    register(folder, openbao, token(openbao, mount))
    alone = settings(folder, mount, PRIMARY)
    with Client(alone) as client:
        client.create_secret("s", VALUES)
        assert stores_of(client, "s") == ["vault"]
    with Client(alone) as client:
        assert client.get_secret("s").secret_values == VALUES
        client.delete_secret("vault-credentials")
        client.create_secret("vault-credentials", {"vault_token": token(openbao, mount)})
    with pytest.raises(ConfigurationError) as caught, Client(alone) as client:
        client.list_secrets()
    assert caught.value.message.startswith(
        "primary secrets store: the service connector 'vault' needs secret 'vault-credentials', which lies in vault:"
    )
    assert "auth_config" in str(caught.value.hint)


def test_what_cannot_be(folder: Path, openbao: OpenBaoServer, mount: str) -> None:
    """Each mistake is an error at the start that names the store's role and what is wrong; no value is shown."""

    def refused(message: str, *families: dict[str, str], kind: type[Exception] = ConfigurationError, **more: str) -> None:
        with pytest.raises(kind) as caught, Client(settings(folder, mount, *families, **more)) as client:
            client.create_secret("s", VALUES)
        assert message in str(caught.value)
        assert not holds_canary(f"{caught.value}{caught.value.hint}")  # type: ignore[attr-defined]

    refused("primary secrets store: the service connector 'vault' of the workspace 'default' is not there", PRIMARY)
    refused("backup secrets store: the service connector 'vault' of the workspace 'default' is not there", BEHIND)
    register(folder, openbao, f"{CANARY}-wrong")
    refused("'auth_method' is set, and the login is that of a service connector", PRIMARY, SECRETS_STORE_AUTH_METHOD="token")
    refused("'vault_token' is set", PRIMARY, SECRETS_STORE_AUTH_CONFIG=f'{{"vault_token": "{CANARY}"}}')
    refused("is one of the flavor 'vault'", {**PRIMARY, "SECRETS_STORE_TYPE": "gcp"})
    refused("has no option 'connector'", {**PRIMARY, "SECRETS_STORE_TYPE": "sql"})
    refused("has no option 'mount_pont'", PRIMARY, SECRETS_STORE_MOUNT_PONT="x")
    refused("does not take the token", PRIMARY, kind=StoreForbidden)
    with Client(settings(folder, "")) as client:
        client.delete_secret("vault-credentials")
        client.create_secret("vault-credentials", {"vault_token": CANARY}, scope="user")
    refused("refers to {{vault-credentials.vault_token}} (vault_token), which the workspace 'default' does not have", PRIMARY)


def test_options_of_the_store_stay(folder: Path, openbao: OpenBaoServer, mount: str) -> None:
    """What the store is told by itself about where it is comes before what the connector says."""
    register(folder, openbao, token(openbao, mount), insecure=False)
    with Client(settings(folder, "")) as client:
        client.update_service_connector("vault", configuration={"vault_addr": "http://127.0.0.1:1"})
    with Client(settings(folder, mount, PRIMARY, SECRETS_STORE_VAULT_ADDR=openbao.url, SECRETS_STORE_PREFIX="team")) as client:
        client.create_secret("s", VALUES)
    assert openbao.admin.secrets.kv.v2.list_secrets("team", mount_point=mount)["data"]["keys"]
    with Client(settings(folder, "")) as client, pytest.raises(Unreadable, match="not configured any more"):
        client.get_secret("s")
