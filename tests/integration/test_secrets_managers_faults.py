"""What secrets managers make of services that are down, refuse, hang or lose answers: one clear error of ours that shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.errors import AlreadyExists, ConfigurationError, NotFound, StoreForbidden, StrongroomError, Unavailable, ValuesCorrupt
from strongroom.stacks.secrets_manager import SecretsManager
from tests.canary import CANARY, holds_canary
from tests.fakes.azure import RIGHTS
from tests.integration.manager_places import OTHERS, VALUES, Aws, Google, KeyVault, Managers, Place, Vault, shows_nothing
from tests.integration.test_vault_store import new_app_role
from tests.servers.openbao import OpenBaoServer

pytestmark = pytest.mark.usefixtures("_credentials_stand_in_the_index")


@pytest.fixture
def manager(client: Client, place: Place) -> SecretsManager:
    """One of a service, which has a secret `s`."""
    manager = Managers(client, place.flavor, place.attributes).add()
    manager.register_secret("s", VALUES)
    return manager


def asks(manager: SecretsManager) -> Iterator[Callable[[], Any]]:
    """Each of the methods that ask the service."""
    yield lambda: manager.find_secret("s")
    yield lambda: manager.get_secret("s")
    yield lambda: manager.list_secrets()
    yield lambda: manager.register_secret("t", OTHERS)
    yield lambda: manager.update_secret("s", OTHERS)
    yield lambda: manager.change_secret("s", OTHERS)
    yield lambda: manager.delete_secret("s")


@pytest.mark.parametrize(
    ("fault", "error"),
    [("unavailable", Unavailable), ("forbidden", StoreForbidden), ("hanging", Unavailable), ("reply_lost", Unavailable)],
)
@pytest.mark.parametrize("logged_in", [True, False], ids=["logged-in", "new"])
def test_every_fault_has_its_error(
    manager: SecretsManager,
    place: Place,
    fault: str,
    error: type[StrongroomError],
    logged_in: bool,
    client: Client,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each method fails with the same error, in one line, and no value or credential shows. What was there is there afterwards."""
    tried = manager if logged_in else Managers(client, place.flavor, place.attributes).open()
    tried.seconds = 0.3 if fault == "hanging" else 10  # type: ignore[attr-defined]
    with getattr(place, fault)():
        for ask in asks(tried):
            with pytest.raises(error) as caught:
                ask()
            assert type(caught.value) is error
            assert "\n" not in str(caught.value)
            shows_nothing(caught.value)
    assert not holds_canary("".join(capfd.readouterr()) + caplog.text)
    if fault in ("unavailable", "forbidden"):
        assert manager.get_secret("s").content == VALUES
        assert manager.list_secrets() == ["s"]
    else:  # what was asked may have been done
        assert set(manager.list_secrets()) <= {"s", "t"}


def test_a_registration_whose_answer_is_lost(manager: SecretsManager, place: Place) -> None:
    """It may have been done: then the name is taken, with just these values, or free."""
    with place.reply_lost(), pytest.raises(Unavailable):
        manager.register_secret("t", OTHERS)
    found = manager.find_secret("t")
    if found is not None:
        assert found == OTHERS
    elif manager.flavor == "gcp":  # of the two requests only the first was made
        with pytest.raises(AlreadyExists, match="somebody is registering a secret 't'"):
            manager.register_secret("t", OTHERS)
    else:
        manager.register_secret("t", OTHERS)


def test_what_does_not_answer_as_the_service_does(client: Client, aws_place: Aws) -> None:
    """An empty answer with a good status is no secret, no empty list and no success."""
    manager = Managers(client, "aws", aws_place.attributes).add()
    with aws_place.server.answering(200, {}):
        for ask in asks(manager):
            with pytest.raises(Unavailable, match="does not speak as AWS does"):
                ask()


@pytest.mark.parametrize(("flavor", "wrong"), [
    ("aws", {"aws_secret_access_key": f"{CANARY}-wrong"}),
    ("azure", {"client_secret": f"{CANARY}-wrong"}),
    ("gcp", {"token": f"{CANARY}-wrong"}),
    ("vault", {"vault_token": f"{CANARY}-wrong"}),
], ids=["aws", "azure", "gcp", "vault"])  # fmt: skip
def test_wrong_credentials(request: pytest.FixtureRequest, client: Client, flavor: str, wrong: dict[str, str]) -> None:
    """They are told from everything else, and are not shown."""
    place: Place = request.getfixturevalue(f"{flavor}_place")
    manager = Managers(client, flavor, place.attributes).add(**wrong)
    for ask in asks(manager):
        with pytest.raises(StoreForbidden) as caught:
            ask()
        shows_nothing(caught.value)
    assert not holds_canary(repr(manager) + repr(manager.config))


def test_a_place_that_is_wrong(client: Client, vault_place: Vault, azure_place: KeyVault, tmp_path: Path) -> None:
    """A file of certificates that is not there, and an address that will not do, are told when they are used."""
    azure = Managers(client, "azure", azure_place.attributes).add("a", ca_cert=str(tmp_path / "absent.pem"))
    with pytest.raises(ConfigurationError, match="there is no file of certificates"):
        azure.find_secret("s")
    vault = Managers(client, "vault", vault_place.attributes).add("v", vault_addr="http://vault.example.com")
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        vault.find_secret("s")


def test_expired_logins_are_renewed(client: Client, vault_place: Vault, openbao: OpenBaoServer) -> None:
    """When the token is dead, the manager logs in again by its role, and goes on."""
    role = new_app_role(openbao, [vault_place.policy_name])
    login = {"auth_method": "app-role", "app_role_id": role.app_role_id, "app_secret_id": role.app_secret_id.reveal()}
    attributes = {key: text for key, text in vault_place.attributes.items() if key != "vault_token"} | login
    manager = Managers(client, "vault", attributes).add()
    manager.register_secret("s", VALUES)
    openbao.admin.sys.revoke_prefix("auth/approle/login")
    assert manager.get_secret("s").content == VALUES
    openbao.admin.sys.revoke_prefix("auth/approle/login")
    manager.change_secret("s", OTHERS)
    assert manager.get_secret("s").content == VALUES | OTHERS


def test_near_names_take_no_right_of_their_own(client: Client, vault_place: Vault) -> None:
    """Who may read and not list is told that there is no such secret, without names like it."""
    manager = Managers(client, "vault", vault_place.attributes).add()
    manager.register_secret("secret", VALUES)
    rights = vault_place.rights.replace('"list"', '"read"')
    vault_place.server.admin.sys.create_or_update_acl_policy(vault_place.policy_name, rights)
    with pytest.raises(NotFound) as caught:
        manager.get_secret("secre")
    assert caught.value.hint == "strongroom secrets-manager secret list"


def test_marks_that_vault_refuses(client: Client, vault_place: Vault) -> None:
    """Where a secret may not be marked, none is written."""
    manager = Managers(client, "vault", vault_place.attributes).add(scope="none")
    rights = vault_place.rights.replace(
        'metadata/*" { capabilities = ["create", "read", "update"', 'metadata/*" { capabilities = ["read"'
    )
    vault_place.server.admin.sys.create_or_update_acl_policy(vault_place.policy_name, rights)
    with pytest.raises(StoreForbidden, match="'update'"):
        manager.register_secret("s", VALUES)
    assert vault_place.read("s") is None


def test_a_right_to_recover(client: Client, azure_place: KeyVault) -> None:
    """Where a deleted secret may not be recovered, the message names the right; the name stays deleted."""
    manager = Managers(client, "azure", azure_place.attributes).add()
    manager.register_secret("s", VALUES)
    manager.delete_secret("s")
    azure_place.application.rights = RIGHTS - {"recover"}
    with pytest.raises(StoreForbidden, match="right to 'recover' secrets") as caught:
        manager.register_secret("s", OTHERS)
    assert "secrets/recover/action" in str(caught.value.hint)
    shows_nothing(caught.value)
    assert manager.find_secret("s") is None


def test_a_name_that_cannot_be_replaced(client: Client, aws_place: Aws) -> None:
    """When AWS restores a deleted secret and then refuses its new values, it is deleted again."""
    manager = Managers(client, "aws", aws_place.attributes).add(scope="none")
    manager.register_secret("s", VALUES)
    manager.delete_secret("s")
    actions = [
        f"secretsmanager:{each}" for each in ("CreateSecret", "TagResource", "RestoreSecret", "DeleteSecret", "GetSecretValue")
    ]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    with aws_place.server.policy(aws_place.credential, document), pytest.raises(StoreForbidden, match="PutSecretValue") as caught:
        manager.register_secret("s", OTHERS)
    shows_nothing(caught.value)
    assert manager.find_secret("s") is None
    manager.register_secret("s", OTHERS)
    assert manager.get_secret("s").content == OTHERS


def test_a_google_secret_that_gets_no_values(client: Client, gcp_place: Google) -> None:
    """When Google takes the name and then refuses the values, the name is free again."""
    from tests.integration.gcp import PRINCIPAL

    manager = Managers(client, "gcp", gcp_place.attributes).add()
    server = gcp_place.server
    everything = set(server.granted[PRINCIPAL])
    server.granted[PRINCIPAL] = everything - {"secretmanager.versions.add"}
    with pytest.raises(StoreForbidden, match=r"versions\.add"):
        manager.register_secret("s", VALUES)
    server.granted[PRINCIPAL] = everything
    assert manager.list_secrets() == []
    manager.register_secret("s", VALUES)
    assert manager.get_secret("s").content == VALUES


def test_bytes_that_are_no_text(client: Client, gcp_place: Google) -> None:
    """What is not UTF-8 is corrupt, and the error does not hold it."""
    manager = Managers(client, "gcp", gcp_place.attributes).add(scope="global")
    manager.register_secret("s", VALUES)
    gcp_place.server.damage("strongroom-global-s", f'{{"a": "{CANARY}'.encode() + b'\xff"}')
    with pytest.raises(ValuesCorrupt) as caught:
        manager.get_secret("s")
    shows_nothing(caught.value)
