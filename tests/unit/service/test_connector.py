"""The rules of service connectors: credentials are references, attributes fit the method, and who is named stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from strongroom.errors import InvalidInput, NotFound, StrongroomError
from strongroom.models.component import Component, CreateComponent, DeleteComponent, GetComponent, UpdateComponent
from strongroom.models.flavor import Attribute, ComponentType, Flavor, RegisterFlavor
from strongroom.models.stack import CreateStack, GetStack, ListStacks, Stack, StackUse, UpdateStack
from strongroom.operations import component as operations
from strongroom.operations import stack as stack_operations
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person, together

CONNECTOR, STORE, ORCHESTRATOR = ComponentType.SERVICE_CONNECTOR, ComponentType.ARTIFACT_STORE, ComponentType.ORCHESTRATOR
VAULT = {"vault_addr": "https://vault.example.com", "vault_token": "{{v.token}}"}
ROLE = "arn:aws:iam::123456789012:role/trainer"


def create(person: Person, name: str, kind: ComponentType, flavor: str, **attributes: Any) -> Component:
    request = CreateComponent(name=name, type=kind, flavor=flavor, configuration=attributes)
    return person.ask(operations.CREATE, request)


def connector(person: Person, name: str, flavor: str = "aws", **attributes: Any) -> Component:
    return create(person, name, CONNECTOR, flavor, **attributes)


def bucket(person: Person, name: str, named: str | None, **attributes: Any) -> Component:
    return create(person, name, STORE, "s3", path="s3://bucket", **({"connector": named} if named else {}), **attributes)


def update(
    person: Person, component: Component, *, name: str | None = None, remove: tuple[str, ...] = (), **attributes: Any
) -> Component:
    request = UpdateComponent(
        id=component.id, name=msgspec.UNSET if name is None else name, configuration=attributes, remove=list(remove)
    )
    return person.ask(operations.UPDATE, request)


def delete(person: Person, component: Component) -> None:
    person.ask(operations.DELETE, DeleteComponent(id=component.id))


def stack(person: Person, name: str, store: str) -> Stack:
    return person.ask(stack_operations.CREATE, CreateStack(name=name, components={ORCHESTRATOR: "default", STORE: store}))


@pytest.mark.parametrize(
    ("flavor", "attributes"),
    [
        ("aws", {}),
        ("aws", {"auth_method": "secret-key", "aws_access_key_id": "AKIA", "aws_secret_access_key": "{{ a.b }}"}),
        ("aws", {"auth_method": "secret-key", "aws_access_key_id": "{{a.id}}", "aws_secret_access_key": "{{a.b}}"}),
        ("aws", {"auth_method": "iam-role", "role_arn": ROLE, "duration_seconds": "900"}),
        ("aws", {"auth_method": "iam-role", "role_arn": "{{a.role}}"}),
        ("aws", {"auth_method": "{{a.b}}"}),
        (
            "aws",
            {
                "auth_method": "federation-token",
                "aws_access_key_id": "AKIA",
                "aws_secret_access_key": "{{a.b}}",
                "policy_arns": '["arn:aws:iam::aws:policy/AmazonS3FullAccess"]',
            },
        ),
        ("azure", {}),
        ("azure", {"auth_method": "access-token", "token": "{{ a.b }}"}),
        ("azure", {"auth_method": "service-principal", "tenant_id": "t", "client_id": "c", "client_secret": "{{a.b}}"}),
        ("gcp", {"project_id": "my-project"}),
        ("gcp", {"project_id": "my-project", "auth_method": "service-account", "service_account_json": "{{a.b}}"}),
        (
            "gcp",
            {
                "project_id": "my-project",
                "auth_method": "impersonation",
                "target_principal": "x@y.iam.gserviceaccount.com",
                "token": "{{a.b}}",
                "delegates": ["d@y.iam.gserviceaccount.com"],
                "lifetime": 600,
            },
        ),
        (
            "gcp",
            {
                "project_id": "my-project",
                "auth_method": "impersonation",
                "target_principal": "x@y.iam.gserviceaccount.com",
                "delegates": ["{{a.b}}"],
            },
        ),
        ("vault", VAULT),
        ("vault", {"vault_addr": "{{a.address}}", "vault_token": "{{a.b}}", "insecure": "true"}),
        ("vault", {"vault_addr": "x", "auth_method": "app-role", "app_role_id": "{{a.c}}", "app_secret_id": "{{a.b}}"}),
    ],
    ids=range(17),
)
def test_attributes_that_fit(alice: Person, flavor: str, attributes: dict[str, Any]) -> None:
    """What a method takes is registered; references stand for whatever they lead to, and are shown as they are written."""
    if attributes.get("auth_method") == "{{a.b}}":  # which method it is has to be known
        with pytest.raises(InvalidInput, match="has no authentication method"):
            connector(alice, "c", flavor, **attributes)
        return
    made = connector(alice, "c", flavor, **attributes)
    shown = alice.ask(operations.GET, GetComponent(type=CONNECTOR, name="c"))
    assert shown.configuration == made.configuration
    assert made.warnings == []
    assert {name: value for name, value in made.configuration.items() if isinstance(value, str)} == {
        name: value for name, value in attributes.items() if isinstance(made.configuration[name], str)
    }


@pytest.mark.parametrize(
    ("flavor", "attributes", "message", "hint"),
    [
        ("vault", {**VAULT, "vault_token": CANARY}, "a connector's credentials are secrets", "vault_token={{name.key}}"),
        ("vault", {**VAULT, "vault_token": "{{a.}}"}, "a connector's credentials are secrets", "create a secret"),
        ("vault", {"vault_addr": "https://x"}, "the authentication method token needs the option 'vault_token'", ""),
        ("vault", {**VAULT, "vault_token": ""}, "needs the option 'vault_token'", ""),
        ("vault", {"vault_token": "{{a.b}}"}, "needs the attribute vault_addr", "--vault_addr"),
        ("vault", {**VAULT, "app_role_id": "r"}, "has no option 'app_role_id'", "vault_token"),
        (
            "vault",
            {**VAULT, "auth_method": "app-rol"},
            "the vault service connector has no authentication method 'app-rol'",
            "app-role",
        ),
        ("vault", {**VAULT, "vault_adr": "x"}, "has no attribute 'vault_adr'", "vault_addr"),
        ("vault", {"vault_addr": "x", "auth_method": "jwt", "role": "r"}, "needs either 'jwt' or 'jwt_path'", ""),
        ("aws", {"auth_method": "iam-role", "role_arn": "trainer"}, "'role_arn' is no ARN", "arn:aws:iam"),
        ("aws", {"auth_method": "iam-role", "role_arn": ROLE, "duration_seconds": 1}, "'duration_seconds'", ""),
        ("aws", {"duration_seconds": "soon"}, "takes a whole number", ""),
        ("aws", {"auth_method": "implicit", "role_arn": ROLE}, "has no option 'role_arn'", ""),
        ("gcp", {"project_id": "my-project", "token": "{{a.b}}"}, "implicit has no option 'token'", ""),
        ("gke", {}, "there is no service connector flavor 'gke'", "gcp"),
    ],
    ids=range(15),
)
def test_attributes_that_do_not_fit(alice: Person, flavor: str, attributes: dict[str, Any], message: str, hint: str) -> None:
    """What no login could use is refused when it is registered or changed, by name; no value is repeated, and nothing is stored."""
    with pytest.raises(StrongroomError) as caught:
        connector(alice, "c", flavor, **attributes)
    assert isinstance(caught.value, InvalidInput | NotFound)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert not holds_canary(f"{caught.value} {caught.value.hint}")
    with pytest.raises(NotFound):
        alice.ask(operations.GET, GetComponent(type=CONNECTOR, name="c"))


def test_updates_follow_the_same_rules(alice: Person) -> None:
    """A change that would leave attributes that do not fit is refused as a whole; a change of method with its attributes is not."""
    made = connector(alice, "c", "vault", **VAULT)
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("credentials are secrets", lambda: update(alice, made, vault_token=CANARY)),
        ("has no option 'vault_token'", lambda: update(alice, made, auth_method="app-role")),
        ("needs the option 'vault_token'", lambda: update(alice, made, remove=("vault_token",))),
    ]
    for message, attempt in attempts:
        with pytest.raises(InvalidInput, match=message):
            attempt()
        assert alice.ask(operations.GET, GetComponent(type=CONNECTOR, name="c")).configuration == made.configuration
    changed = update(
        alice, made, auth_method="userpass", username="u", password="{{v.password}}", remove=("vault_token",), name="renamed"
    )
    assert changed.name == "renamed"
    assert set(changed.configuration) == {"vault_addr", "auth_method", "username", "password"}


def test_custom_flavors(alice: Person) -> None:
    """A connector of somebody's own flavor has secrets for its credentials too; its other attributes are its author's matter."""
    flavor = Flavor(
        name="kafka", type=CONNECTOR, source="mine:Kafka", attributes=[Attribute("host"), Attribute("password", sensitive=True)]
    )
    alice.ask(operations.REGISTER_FLAVOR, RegisterFlavor(flavor=flavor))
    with pytest.raises(InvalidInput, match="credentials are secrets"):
        connector(alice, "c", "kafka", host="x", password=CANARY)
    assert connector(alice, "c", "kafka", host="x", password="{{k.password}}").flavor == "kafka"
    using = Flavor(name="x", type=STORE, source="mine:X", attributes=[Attribute("path")], connector="kafka")
    with pytest.raises(InvalidInput, match="has an attribute 'connector'"):
        alice.ask(operations.REGISTER_FLAVOR, RegisterFlavor(flavor=using))
    using = msgspec.structs.replace(using, attributes=[Attribute("connector", default=None)])
    alice.ask(operations.REGISTER_FLAVOR, RegisterFlavor(flavor=using))
    create(alice, "s", STORE, "x", connector="c")
    with pytest.raises(InvalidInput, match="of the flavor 'kafka'"):
        bucket(alice, "b", "c")


def test_components_name_connectors_that_are_there(alice: Person) -> None:
    """A component names a connector of its workspace and of the right flavor, by its exact name; else nothing is stored."""
    made = connector(alice, "aws")
    connector(alice, "v", "vault", **VAULT)
    for name, message in (
        ("v", "service connector 'v' is of the flavor 'vault'"),
        ("awz", "names a service connector that is not there"),
        ("AWS", "names a service connector that is not there"),
        (made.id, "names a service connector that is not there"),
        ("{{a.b}}", "names a service connector that is not there"),
        ("a\0", "names a service connector that is not there"),
    ):
        with pytest.raises(InvalidInput) as caught:
            bucket(alice, "b", name)
        assert message in caught.value.message
        assert "aws" in str(caught.value.hint)
    plain = bucket(alice, "b", None)
    with pytest.raises(InvalidInput, match="is not there"):
        update(alice, plain, connector="absent")
    assert update(alice, plain, connector="aws").configuration["connector"] == "aws"
    with pytest.raises(InvalidInput, match="has no attribute 'connector'"):
        create(alice, "r", ComponentType.CONTAINER_REGISTRY, "default", uri="x", connector="aws")


def test_the_first_connector_is_suggested(alice: Person) -> None:
    """Where there is no connector at all, the error says how to make one."""
    with pytest.raises(InvalidInput) as caught:
        bucket(alice, "b", "aws")
    assert caught.value.hint == "strongroom service-connector register NAME --type aws"


def test_named_connectors_stay(alice: Person) -> None:
    """A connector that components name is neither deleted nor renamed, and the error names them; its attributes may change."""
    made = connector(alice, "a_s", region="eu-west-1")
    connector(alice, "abs")
    first = bucket(alice, "first", "a_s")
    bucket(alice, "other", "abs", options={"connector": "a_s"})
    second = bucket(alice, "second", "a_s")
    for attempt in (lambda: delete(alice, made), lambda: update(alice, made, name="new")):
        with pytest.raises(InvalidInput, match="named by artifact store 'first', artifact store 'second'") as caught:
            attempt()
        assert "'other'" not in caught.value.message
    update(alice, made, region="us-east-1")
    assert update(alice, made, name="a_s", region="us-east-2").configuration == {"region": "us-east-2"}
    update(alice, first, remove=("connector",))
    delete(alice, second)
    update(alice, made, name="new")
    delete(alice, made)


def test_stacks_show_the_connectors_of_their_components(alice: Person) -> None:
    """A stack, and what it takes to use it, have the connectors that its components name, and no others."""
    connector(alice, "aws", auth_method="secret-key", aws_access_key_id="{{a.id}}", aws_secret_access_key="{{a.b}}")
    connector(alice, "unused")
    bucket(alice, "b", "aws")
    bucket(alice, "plain", None)
    made = stack(alice, "ml", "b")
    assert [each.name for each in made.connectors] == ["aws"]
    assert made.connectors[0].configuration["aws_secret_access_key"] == "{{a.b}}"
    assert [[each.name for each in item.connectors] for item in alice.ask(stack_operations.LIST, ListStacks())] == [[], ["aws"]]
    use: StackUse = alice.ask(stack_operations.USE, GetStack(name="ml"))
    assert [(each.name, each.flavor.name, each.type) for each in use.connectors] == [("aws", "aws", CONNECTOR)]
    assert {part.type for part in use.components} == {ORCHESTRATOR, STORE}
    changed = alice.ask(stack_operations.UPDATE, UpdateStack(id=made.id, components={STORE: "plain"}))
    assert changed.connectors == []


def test_connectors_are_no_parts_of_stacks(alice: Person) -> None:
    """Putting a connector into a stack is refused, and the error says where it belongs."""
    connector(alice, "aws")
    bucket(alice, "b", "aws")
    made = stack(alice, "ml", "b")
    parts = {ORCHESTRATOR: "default", STORE: "b", CONNECTOR: "aws"}
    for attempt in (
        lambda: alice.ask(stack_operations.CREATE, CreateStack(name="x", components=parts)),
        lambda: alice.ask(stack_operations.UPDATE, UpdateStack(id=made.id, components={CONNECTOR: "aws"})),
        lambda: alice.ask(stack_operations.UPDATE, UpdateStack(id=made.id, components={CONNECTOR: None})),
    ):
        with pytest.raises(InvalidInput, match="a stack has no service connectors of its own") as caught:
            attempt()
        assert "--connector=" in str(caught.value.hint)


def test_workspaces_are_apart(alice: Person) -> None:
    """A connector of one workspace is not there for components of another, nor is it suggested."""
    connector(alice, "aws")
    stranger = add_person(alice.service, "zoe", workspace="elsewhere")
    with pytest.raises(InvalidInput) as caught:
        bucket(stranger, "b", "aws")
    assert "there are" not in str(caught.value.hint)
    mine = connector(stranger, "aws")
    bucket(alice, "b", "aws")
    delete(stranger, mine)


def test_naming_and_deleting_at_once(alice: Person) -> None:
    """Of those who name a connector and those who delete it at the same time, one side wins: no component names what is not there."""
    for round_ in range(5):
        made = connector(alice, f"c{round_}")
        outcomes = together(
            2,
            lambda number, made=made, round_=round_: (
                delete(alice, made) if number else bucket(alice, f"b{round_}", f"c{round_}").name
            ),
        )
        assert sorted(outcome is InvalidInput for outcome in outcomes) == [False, True], outcomes
