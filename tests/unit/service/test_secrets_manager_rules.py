"""What a secrets manager may be told: what does not fit is refused in one line with a hint, and nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.errors import InvalidInput, NotFound
from strongroom.models.component import Component, CreateComponent, GetComponent, ListComponents, UpdateComponent
from strongroom.models.flavor import ComponentType
from strongroom.operations import component as operations
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person

MANAGER = ComponentType.SECRETS_MANAGER
LOGINS: dict[str, dict[str, Any]] = {
    "local": {},
    "aws": {"region": "eu-west-1"},
    "azure": {"key_vault_name": "my-vault"},
    "gcp": {"project_id": "my-project"},
    "vault": {"vault_addr": "https://vault.example.com", "auth_method": "kubernetes", "role": "trainer"},
}
SERVICES = [flavor for flavor in LOGINS if flavor != "local"]


@pytest.fixture
def local_alice(local_service: Service) -> Person:
    """An editor, of an embedded store: no rule depends on the database."""
    return add_person(local_service, "alice")


@pytest.fixture
def _credentials_stand_in_the_index(folder: Path, allow_values_in: Callable[[Path], Path]) -> None:
    allow_values_in(folder)


def create(person: Person, flavor: str, **attributes: Any) -> Component:
    configuration = {key: text for key, text in {**LOGINS.get(flavor, {}), **attributes}.items() if text is not None}
    return person.ask(operations.CREATE, CreateComponent(name="m", type=MANAGER, flavor=flavor, configuration=configuration))


def update(person: Person, component: Component, remove: tuple[str, ...] = (), **attributes: Any) -> Component:
    return person.ask(
        operations.UPDATE, UpdateComponent(id=component.id, name=msgspec.UNSET, configuration=attributes, remove=list(remove))
    )


def get(person: Person) -> Component:
    return person.ask(operations.GET, GetComponent(type=MANAGER, name="m"))


def is_refused(error: BaseException, message: str, hint: str | None) -> None:
    assert isinstance(error, InvalidInput | NotFound)
    assert message in error.message
    assert "\n" not in error.message
    assert hint is None or (error.hint and hint in error.hint)
    assert not holds_canary(f"{error!r}{error.hint}{error.__context__!r}")


GOOD: list[tuple[str, dict[str, Any]]] = [
    *((flavor, {}) for flavor in LOGINS),
    *((flavor, {"scope": scope}) for flavor in SERVICES for scope in ("none", "global", "component")),
    *((flavor, {"scope": "namespace", "namespace": "team1"}) for flavor in SERVICES),
    *((flavor, {"scope": "global", "prefix": "zenml"}) for flavor in SERVICES),
    *((flavor, {"component_id": component_id}) for flavor in SERVICES
      for component_id in ("0" * 32, f"{'0' * 8}-0000-0000-0000-{'a' * 12}")),
    ("local", {"scope": "none", "path": "~/secrets.yaml"}),
    ("aws", {"region": None}),
    ("aws", {"auth_method": "secret-key", "aws_access_key_id": "AKIA", "aws_secret_access_key": CANARY, "kms_key_id": "alias/mine"}),
    ("aws", {"auth_method": "iam-role", "role_arn": "arn:aws:iam::123456789012:role/r", "region": None}),
    ("azure", {"key_vault_name": None, "vault_url": "https://my-vault.vault.azure.net"}),
    ("gcp", {"auth_method": "oauth2-token", "token": CANARY}),
    ("vault", {"mount_point": "kv/team-1"}),
]  # fmt: skip


@pytest.mark.usefixtures("_credentials_stand_in_the_index")
@pytest.mark.parametrize(("flavor", "attributes"), GOOD, ids=range(len(GOOD)))
def test_what_fits_is_registered(local_alice: Person, flavor: str, attributes: dict[str, Any]) -> None:
    """Each flavor with each of its scopes; credentials in clear are warned of, and masked."""
    made = create(local_alice, flavor, **attributes)
    found = get(local_alice)
    assert found.configuration == made.configuration
    assert not holds_canary(msgspec.json.encode(found))
    has_credential = CANARY in attributes.values()
    assert len(made.warnings or []) == has_credential


BAD: list[tuple[str, dict[str, Any], str, str | None]] = [
    # Scopes.
    *((flavor, {"scope": "team"}, "no such scope", "component, global, namespace, none") for flavor in SERVICES),
    *((flavor, {"scope": "Global"}, "no such scope", "one of") for flavor in SERVICES),
    *((flavor, {"scope": "namespace"}, "needs a namespace", "--namespace") for flavor in SERVICES),
    *((flavor, {"scope": "namespace", "namespace": ""}, "needs a namespace", "--namespace") for flavor in SERVICES),
    *((flavor, {"scope": scope, "namespace": "team"}, "no meaning in the scope", "--scope=namespace")
      for flavor in SERVICES for scope in ("none", "global", "component")),
    *((flavor, {"namespace": "team"}, "no meaning in the scope 'component'", "--scope=namespace") for flavor in SERVICES),
    ("local", {"scope": "global"}, "has no scopes", "--scope"),
    ("local", {"scope": "component"}, "has no scopes", "--scope"),
    ("local", {"scope": "team"}, "no such scope", "one of"),
    ("local", {"namespace": "team"}, "no attribute 'namespace'", ""),
    ("local", {"prefix": "team"}, "no attribute 'prefix'", ""),
    # Namespaces, prefixes, ids.
    *((flavor, {"scope": "namespace", "namespace": namespace}, "up to 63", "namespace")
      for flavor in SERVICES for namespace in ("a/b", "a b", "ä", "../x", "x" * 64, "a.b", "a\n")),
    *(("azure", {"scope": "namespace", "namespace": namespace}, "small letters and digits", "") for namespace in ("A", "a_b", "a-b")),
    ("gcp", {"scope": "namespace", "namespace": "a-b"}, "letters, digits and '_'", ""),
    *((flavor, {"scope": "global", "prefix": prefix}, "up to 40", "")
      for flavor in SERVICES for prefix in ("A", "a-b", "a/b", "1a", "_a", "x" * 41, "a\n", "../a")),
    ("azure", {"scope": "global", "prefix": "a_b"}, "small letters and digits, a letter first", "leave it out"),
    *((flavor, {"component_id": identifier}, "is to be an id", "leave it out")
      for flavor in SERVICES for identifier in ("x", "0" * 31, "A" * 32, "../" + "0" * 32)),
    *((flavor, {"scope": "global", "component_id": "0" * 32}, "no meaning in the scope 'global'", "--scope=component")
      for flavor in SERVICES),
    # Attributes.
    *((flavor, {"scop": "none"}, "no attribute 'scop'", "did you mean") for flavor in LOGINS),
    *((flavor, {"scope": "{{a.b}}"}, "reference", "") for flavor in LOGINS),
    *((flavor, {"scope": "namespace", "namespace": "{{a.b}}"}, "reference", "") for flavor in SERVICES),
    ("local", {"path": "{{a.b}}"}, "reference", ""),
    ("vault", {"auth_method": None, "role": None, "vault_token": "{{ a.b }}"}, "reference", ""),
    ("vault", {"vault_addr": "{{a.b}}"}, "reference", ""),
    ("aws", {"auth_method": "federation-token", "aws_access_key_id": "A", "aws_secret_access_key": CANARY,
             "policy_arns": ["arn", "{{a.b}}"]}, "reference", ""),
    ("vault", {"vault_addr": None}, "vault_addr", ""),
    ("gcp", {"project_id": None}, "project_id", ""),
    ("azure", {"key_vault_name": None}, "either 'key_vault_name' or 'vault_url'", "--key_vault_name"),
    ("azure", {"vault_url": "https://x.vault.azure.net"}, "either 'key_vault_name' or 'vault_url'", ""),
    ("aws", {"region": None, "auth_method": "secret-key", "aws_access_key_id": "A", "aws_secret_access_key": CANARY},
     "'region'", "eu-west-1"),
    ("vault", {"mount_point": "../sys"}, "'mount_point'", "vault secrets list"),
    ("vault", {"mount_point": "/kv/"}, "'mount_point'", ""),
    # Logins.
    ("aws", {"auth_method": "secret_key"}, "no authentication method 'secret_key'", "did you mean 'secret-key'"),
    ("aws", {"auth_method": "secret-key"}, "needs the option 'aws_access_key_id'", ""),
    ("aws", {"aws_secret_access_key": CANARY}, "no option 'aws_secret_access_key'", ""),
    ("azure", {"auth_method": "service-principal", "client_id": "c", "tenant_id": "t"}, "client_secret", ""),
    ("gcp", {"auth_method": "service-account"}, "service_account_json", ""),
    ("vault", {"auth_method": "token", "role": None}, "vault_token", ""),
    ("vault", {"vault_token": CANARY}, "no option 'vault_token'", ""),
    ("vault", {"auth_method": "jwt", "jwt": CANARY, "jwt_path": "/x", "insecure": "perhaps"}, "'insecure' takes true or false", None),
    ("consul", {}, "no secrets manager flavor 'consul'", ""),
]  # fmt: skip


@pytest.mark.parametrize(("flavor", "attributes", "message", "hint"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_refused(
    local_alice: Person, flavor: str, attributes: dict[str, Any], message: str, hint: str | None
) -> None:
    """In one line that names what is wrong, with a hint, and without what was given where that may be a credential."""
    with pytest.raises((InvalidInput, NotFound)) as caught:
        create(local_alice, flavor, **attributes)
    is_refused(caught.value, message, hint)
    assert local_alice.ask(operations.LIST, ListComponents(type=MANAGER)).total == 0


UPDATES: list[tuple[str, dict[str, Any], tuple[str, ...], str]] = [
    ("vault", {"scope": "team"}, (), "no such scope"),
    ("vault", {"scope": "namespace"}, (), "needs a namespace"),
    ("vault", {"namespace": "team"}, (), "no meaning"),
    ("vault", {"prefix": "A"}, (), "up to 40"),
    ("vault", {"vault_addr": "{{a.b}}"}, (), "reference"),
    ("vault", {"auth_method": "token"}, (), "no option 'role'"),
    ("vault", {}, ("role",), "role"),
    ("vault", {}, ("vault_addr",), "vault_addr"),
    ("vault", {"mount_point": "a b"}, (), "mount_point"),
    ("azure", {}, ("key_vault_name",), "either"),
    ("azure", {"prefix": "a_b"}, (), "up to 40"),
    ("local", {"scope": "global"}, (), "has no scopes"),
]


@pytest.mark.parametrize(("flavor", "attributes", "remove", "message"), UPDATES, ids=range(len(UPDATES)))
def test_updates_keep_the_rules(
    local_alice: Person, flavor: str, attributes: dict[str, Any], remove: tuple[str, ...], message: str
) -> None:
    """A change that would make something of it that could not be registered is refused, and changes nothing."""
    made = create(local_alice, flavor)
    with pytest.raises(InvalidInput) as caught:
        update(local_alice, made, remove, **attributes)
    is_refused(caught.value, message, "")
    assert get(local_alice).configuration == made.configuration


@pytest.mark.usefixtures("_credentials_stand_in_the_index")
def test_what_may_be_changed(local_alice: Person) -> None:
    """Another scope, another method, and another name."""
    made = create(local_alice, "vault")
    update(local_alice, made, scope="namespace", namespace="team")
    update(local_alice, made, ("namespace", "role"), scope="global", auth_method="token", vault_token=CANARY)
    renamed = local_alice.ask(operations.UPDATE, UpdateComponent(id=made.id, name="other", configuration={}, remove=[]))
    assert renamed.name == "other"
    assert renamed.configuration["scope"] == "global"
    assert not holds_canary(msgspec.json.encode(renamed))


@pytest.mark.parametrize("name", ["{{a.b}}", "", "a b", "m" * 300])
def test_names_of_components(local_alice: Person, name: str) -> None:
    """A name is a name of components, on registration and when it is changed."""
    with pytest.raises(InvalidInput):
        local_alice.ask(operations.CREATE, CreateComponent(name=name, type=MANAGER, flavor="local", configuration={}))
    made = create(local_alice, "local")
    with pytest.raises(InvalidInput):
        local_alice.ask(operations.UPDATE, UpdateComponent(id=made.id, name=name, configuration={}, remove=[]))
    assert get(local_alice).name == "m"
