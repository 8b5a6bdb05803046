"""What is special to one service, as the secrets managers of the others do not know it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from strongroom.client import Client
from strongroom.errors import AlreadyExists, StoreForbidden, Unavailable
from tests.integration.gcp import PRINCIPAL
from tests.integration.manager_places import OTHERS, VALUES, Aws, Google, KeyVault, Managers, Vault, contents, shows_nothing
from tests.servers.openbao import OpenBaoServer

pytestmark = pytest.mark.usefixtures("_credentials_stand_in_the_index")


def lives(managers: Managers) -> None:
    """All that a manager can do works, in a scope of its own and in the one of all."""
    for scope in ("component", "none"):
        manager = managers.add(f"lives-{scope}", scope=scope)
        for values in (VALUES, OTHERS):
            manager.register_secret("s", values)
            manager.change_secret("s", {"more": ""})
            assert contents(manager) == {"s": {**values, "more": ""}}
            manager.delete_secret("s")
            assert contents(manager) == {}


def test_the_least_rights_in_aws(client: Client, aws_place: Aws) -> None:
    """Those that the guide names are enough."""
    names = ["CreateSecret", "TagResource", "GetSecretValue", "PutSecretValue", "DeleteSecret", "RestoreSecret", "ListSecrets"]
    actions = [f"secretsmanager:{name}" for name in names]
    document: dict[str, Any] = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    with aws_place.server.policy(aws_place.credential, document):
        lives(Managers(client, "aws", aws_place.attributes))


def test_another_emulator_of_aws(client: Client, aws_place: Aws) -> None:
    """moto, which somebody else made by the same documents, understands what is asked, and lists what it should."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        managers = Managers(client, "aws", {**aws_place.attributes, "endpoint_url": url, "sts_endpoint_url": url})
        for scope in ("component", "none"):
            manager = managers.add(scope, scope=scope)
            manager.register_secret("s", VALUES)
            manager.register_secret("t", VALUES)
            with pytest.raises(AlreadyExists):
                manager.register_secret("s", OTHERS)
            manager.update_secret("s", OTHERS)
            assert contents(manager) == {"s": OTHERS, "t": VALUES}
            manager.delete_secret("s")
            assert contents(manager) == {"t": VALUES}
            assert manager.find_secret("s") is None
    finally:
        server.stop()


def test_the_least_rights_in_azure(client: Client, azure_place: KeyVault) -> None:
    """Those that the guide names are enough."""
    azure_place.application.rights = frozenset({"get", "set", "list", "delete", "recover"})
    lives(Managers(client, "azure", azure_place.attributes))


def test_the_least_rights_in_google(client: Client, gcp_place: Google) -> None:
    """Those that the guide names are enough."""
    rights = ["secrets.create", "secrets.delete", "secrets.get", "secrets.list", "versions.access", "versions.add"]
    gcp_place.server.grant(PRINCIPAL, *(f"secretmanager.{right}" for right in rights))
    lives(Managers(client, "gcp", gcp_place.attributes))


def test_the_least_rights_in_vault(client: Client, vault_place: Vault) -> None:
    """Those that the guide names are enough."""
    lives(Managers(client, "vault", vault_place.attributes))


def test_aws_takes_filters_for_beginnings(client: Client, aws_place: Aws) -> None:
    """A tag that only begins as the mark, or a text of another tag, makes nothing a secrets manager's."""
    manager = Managers(client, "aws", aws_place.attributes).add(scope="none")
    aws_place.write("longer", json.dumps(VALUES), {"strongroom_scope_of": "none"})
    aws_place.write("two", json.dumps(VALUES), {"strongroom_scope": "component", "cost": "none-so-far"})
    manager.register_secret("ours", VALUES)
    assert manager.list_secrets() == ["ours"]


def test_aws_keys_of_kms(client: Client, aws_place: Aws) -> None:
    """New secrets are encrypted with the key that is named."""
    manager = Managers(client, "aws", aws_place.attributes).add(kms_key_id="alias/mine", scope="global")
    manager.register_secret("s", VALUES)
    assert aws_place.server.secrets_manager.secrets["strongroom/global/s"].kms_key_id == "alias/mine"


def test_key_vault_is_busy(client: Client, azure_place: KeyVault) -> None:
    """While Key Vault is still deleting, and then recovering, a name is waited for."""
    vault = azure_place.azure.vault
    vault.busy_deleting, vault.busy_recovering = 2, 2
    manager = Managers(client, "azure", azure_place.attributes).add()
    manager.register_secret("s", VALUES)
    manager.delete_secret("s")
    manager.register_secret("s", OTHERS)
    assert contents(manager) == {"s": OTHERS}


def test_key_vault_takes_names_for_one(client: Client, azure_place: KeyVault) -> None:
    """A name that differs in capitals alone is taken, and the message says why."""
    manager = Managers(client, "azure", azure_place.attributes).add()
    manager.register_secret("My-Secret", VALUES)
    with pytest.raises(AlreadyExists, match="'My-Secret', and Key Vault takes both names for one"):
        manager.register_secret("my-secret", OTHERS)
    assert contents(manager) == {"My-Secret": VALUES}


def test_google_secrets_without_values(client: Client, gcp_place: Google) -> None:
    """What was cut off between two requests blocks its name for a minute; what others made empty is not touched."""
    manager = Managers(client, "gcp", gcp_place.attributes).add(scope="none")
    project, made = "projects/fake-project-1", {"replication": {"automatic": {}}}
    gcp_place.sdk.create_secret(parent=project, secret_id="theirs", secret=made)
    with pytest.raises(AlreadyExists, match="without a version"):
        manager.register_secret("theirs", VALUES)
    gcp_place.sdk.create_secret(parent=project, secret_id="ours", secret={**made, "labels": {"strongroom_scope": "none"}})
    with pytest.raises(AlreadyExists, match="is registering"):
        manager.register_secret("ours", VALUES)
    for name in ("ours", "theirs"):
        gcp_place.server.age(name, 120)
    manager.register_secret("ours", VALUES)
    with pytest.raises(AlreadyExists, match="without a version"):
        manager.register_secret("theirs", VALUES)
    assert contents(manager) == {"ours": VALUES}


def test_google_versions_that_are_disabled(client: Client, gcp_place: Google) -> None:
    """A secret whose newest version somebody disabled is refused, and its name stays taken."""
    manager = Managers(client, "gcp", gcp_place.attributes).add(scope="global")
    manager.register_secret("s", VALUES)
    gcp_place.sdk.disable_secret_version(name="projects/fake-project-1/secrets/strongroom-global-s/versions/1")
    with pytest.raises(StoreForbidden, match="present state"):
        manager.get_secret("s")
    with pytest.raises(AlreadyExists):
        manager.register_secret("s", VALUES)


def test_google_checksums(client: Client, gcp_place: Google) -> None:
    """What did not arrive as it was is not handed out."""
    manager = Managers(client, "gcp", gcp_place.attributes).add()
    manager.register_secret("s", VALUES)
    gcp_place.server.spoil_checksums = True
    with pytest.raises(Unavailable, match="is not what was sent") as caught:
        manager.get_secret("s")
    shows_nothing(caught.value)


def test_engines_of_vault(client: Client, vault_place: Vault, openbao: OpenBaoServer) -> None:
    """An engine of version 1, one that is not there, and one that went away are told; nothing is written."""
    managers = Managers(client, "vault", vault_place.attributes)
    old = openbao.enable_engine({"version": "1"})
    everything = openbao.new_token('path "*" { capabilities = ["create", "read", "update", "delete", "list"] }')
    manager = managers.add("old", mount_point=old, vault_token=everything)
    with pytest.raises(StoreForbidden, match="is KV version 1"):
        manager.register_secret("s", VALUES)
    assert openbao.admin.list(old) is None
    for name, token in (("absent", everything), ("stranger", vault_place.attributes["vault_token"])):
        manager = managers.add(name, mount_point="absent/engine", vault_token=token)
        with pytest.raises(StoreForbidden, match="no engine of type kv at 'absent/engine'"):
            manager.find_secret("s")
    mount = openbao.enable_engine({"version": "2"})
    manager = managers.add("gone", mount_point=mount, vault_token=everything)
    manager.register_secret("s", VALUES)
    openbao.admin.sys.disable_secrets_engine(mount)
    with pytest.raises(StoreForbidden, match=f"engine.* at '{mount}'"):
        manager.find_secret("s")


def test_what_vault_can_undo(client: Client, vault_place: Vault) -> None:
    """A secret that somebody deleted by Vault's own means is not found, and its name is free; what describes it stays."""
    for scope in ("none", "global"):
        manager = Managers(client, "vault", vault_place.attributes).add(f"m-{scope}", scope=scope)
        full = "s" if scope == "none" else "strongroom/global/s"
        vault_place.write(full, json.dumps(VALUES), {"owner": "team"})
        vault_place.kv.delete_latest_version_of_secret(full, mount_point=vault_place.mount)
        assert manager.find_secret("s") is None
        manager.register_secret("s", OTHERS)
        assert contents(manager) == {"s": OTHERS}
        about = vault_place.kv.read_secret_metadata(full, mount_point=vault_place.mount)["data"]
        assert about["custom_metadata"]["owner"] == "team"
        vault_place.kv.delete_latest_version_of_secret(full, mount_point=vault_place.mount)
        assert manager.list_secrets() == ([] if scope == "none" else ["s"])


def test_namespaces_of_vault(client: Client, vault_place: Vault, openbao: OpenBaoServer) -> None:
    """The attribute for a namespace of Vault's leads there; the scope's namespace is another thing."""
    name = f"n{uuid.uuid4().hex}"
    openbao.admin.sys.create_namespace(path=name)
    mount = openbao.enable_engine({"version": "2"}, namespace=name)
    managers = Managers(client, "vault", {"vault_addr": openbao.url, "vault_token": openbao.admin.token, "mount_point": mount})
    manager = managers.add(vault_namespace=name, scope="namespace", namespace="team")
    manager.register_secret("s", VALUES)
    assert contents(manager) == {"s": VALUES}
