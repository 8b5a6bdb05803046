"""What another user wrote into a component or a stack takes nothing of its user, unless that user approved it.

The cases are made from what flavors and connectors declare: every type of component, all that it can take, by every author, on every
path on which it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.connectors.machine import options_of, takes_identity
from strongroom.db.tables import components, flavors, stacks
from strongroom.errors import ApprovalNeeded, Forbidden, InvalidInput, NotFound, StaleVersion, StrongroomError
from strongroom.flavors import BUILTIN_FLAVORS
from strongroom.metadata.identity import put_member, remove_member
from strongroom.models.approval import Approve, GetReview, Review, RevisionStatus, TakingKind
from strongroom.models.component import Component, CreateComponent, GetComponent, UpdateComponent
from strongroom.models.flavor import Attribute, AttributeKind, AttributeRole, ComponentType, Flavor, RegisterFlavor
from strongroom.models.reference import Need, Reference, ResolveReferences, UseOf
from strongroom.models.run import CreateRun, FinishRun, RunStatus
from strongroom.models.secret import Scope
from strongroom.models.service_account import CreateServiceAccount
from strongroom.models.stack import CreateStack, GetStack, Stack, StackUse, UpdateStack
from strongroom.models.workspace import UpdateWorkspace
from strongroom.operations import approval as of_approval
from strongroom.operations import component as of_component
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as of_service_account
from strongroom.operations import stack as of_stack
from strongroom.operations import workspace as of_workspace
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person

PRIVATE = f"{CANARY}-private"
CONNECTOR, MANAGER = ComponentType.SERVICE_CONNECTOR, ComponentType.SECRETS_MANAGER
LOGINS = (CONNECTOR, MANAGER)
SAMPLES = {
    "project_id": "a-project",
    "vault_addr": "https://vault.example.com",
    "role_arn": "arn:aws:iam::123456789012:role/a-role",
    "target_principal": "trainer@a-project.iam.gserviceaccount.com",
    "path": "s3://bucket/prefix",
    "uri": "registry.example.com",
    "channel": "a-channel",
    "tracking_uri": "https://mlflow.example.com",
}


@dataclass(frozen=True)
class Case:
    """A component that takes something, and what that is."""

    type: ComponentType
    flavor: str
    configuration: tuple[tuple[str, Any], ...]
    kind: TakingKind
    attribute: str = ""
    method: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.type, self.flavor, self.method, self.kind, self.attribute)))


KINDS = {
    AttributeRole.DOCUMENT: TakingKind.FILE,
    AttributeRole.FILE: TakingKind.FILE,
    AttributeRole.PEM: TakingKind.FILE,
    AttributeRole.PLACE: TakingKind.PLACE,
    AttributeRole.PROFILE: TakingKind.FILE,
    AttributeRole.SERVER: TakingKind.FILE,
}


def login_of(flavor: Flavor, method: str) -> tuple[type[Any], type[Any]]:
    connector = importlib.import_module(f"strongroom.connectors.{flavor.name}")
    return connector.Endpoint, connector.METHODS[method]


def methods_of(flavor: Flavor) -> list[str]:
    if flavor.type not in LOGINS or flavor.name == "local":
        return [""]
    return list(importlib.import_module(f"strongroom.connectors.{flavor.name}").METHODS)


def sample(flavor: Flavor, name: str, *, secret: bool) -> str:
    """What is given for an attribute that must be given: for a credential a reference to the workspace's secret, where one may be."""
    if secret:
        return "text" if flavor.type is MANAGER else "{{shared.key}}"
    return SAMPLES.get(name, "text")


def needed(flavor: Flavor, method: str, but: str = "") -> dict[str, str]:
    """The attributes that make such a component whole."""
    given = {each.name: sample(flavor, each.name, secret=each.sensitive) for each in flavor.attributes if each.required}
    if method:
        given = {"auth_method": method}
        for type_ in login_of(flavor, method):
            for field in fields(type_):
                if field.default is MISSING and field.default_factory is MISSING:
                    given[field.name] = sample(flavor, field.name, secret="SecretText" in str(field.type))
        if flavor.type is MANAGER:
            given |= {"aws": {"region": "eu-west-1"}, "azure": {"key_vault_name": "a-vault"}}.get(flavor.name, {})
        if (flavor.name, method) == ("azure", "service-principal") and but != "client_certificate_path":
            given["client_secret"] = sample(flavor, "client_secret", secret=True)
        if (flavor.name, method) == ("vault", "jwt") and but != "jwt_path":
            given["jwt"] = sample(flavor, "jwt", secret=True)
    return given


def roles(flavor: Flavor, method: str) -> Iterator[tuple[str, AttributeRole]]:
    declared = {each.name: each.role for each in flavor.attributes if each.role is not None}
    if method:
        for type_ in login_of(flavor, method):
            declared |= {field.name: field.metadata["machine"] for field in fields(type_) if "machine" in field.metadata}
    yield from declared.items()


def taking(flavor: Flavor) -> Iterator[Case]:
    """All that a component of this flavor can take, each by itself."""
    for method in methods_of(flavor):
        for name, role in roles(flavor, method):
            if role not in KINDS:
                continue
            attribute = flavor.attribute(name)
            assert attribute is not None
            value: Any = {"a": "b"} if attribute.kind is AttributeKind.MAPPING else "/a/file"
            if attribute.sensitive and flavor.type is CONNECTOR:
                value = "{{shared.key}}"
            given = {**needed(flavor, method, but=name), name: value}
            yield Case(flavor.type, flavor.name, tuple(given.items()), KINDS[role], name, method)
        for option in options_of(*login_of(flavor, method), {}) if method else ():
            if option.role in KINDS:  # a file that is read although none is named
                given = needed(flavor, method)
                yield Case(flavor.type, flavor.name, tuple(given.items()), KINDS[option.role], option.name, f"{method}-default")
        takes = takes_identity(login_of(flavor, method)[1], {}) if method else flavor.identity_unless is not None
        if takes:
            yield Case(flavor.type, flavor.name, tuple(needed(flavor, method).items()), TakingKind.IDENTITY, "", method)
        if flavor.type is not MANAGER and flavor.attributes:
            given = needed(flavor, method)
            texts = [each.name for each in flavor.attributes if each.kind is AttributeKind.TEXT and each.name != "connector"]
            if method:
                texts = [field.name for type_ in login_of(flavor, method) for field in fields(type_) if "str" in str(field.type)]
            name = next((each for each in given if each in texts), texts[0])
            given[name] = "{{private.key}}"
            yield Case(flavor.type, flavor.name, tuple(given.items()), TakingKind.SECRET, name, method)


CASES = [case for flavor in BUILTIN_FLAVORS for case in taking(flavor)]
OWN_FLAVORS = [Case(kind, "own", (("attribute", "text"),), TakingKind.CODE) for kind in ComponentType if kind is not CONNECTOR]
CONNECTS = {"aws": "s3", "azure": "azure", "gcp": "gcs"}
"""The flavors of artifact stores that name connectors of these flavors."""


class World:
    """A workspace with the user who runs things, and others who write them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.alice = add_person(service, "alice")
        self.mallory = add_person(service, "mallory")
        self.admin = add_person(service, "root", role=Role.ADMIN)
        for person in (self.alice, self.mallory, self.admin):
            self.join(person)
        self.mallory.create("shared", {"key": "the team's"})
        self.alice.create("private", {"key": PRIVATE}, Scope.USER)

    def join(self, person: Person) -> None:
        with self.service.deployment.database.write() as connection:
            put_member(connection, person.actor.workspace_id, person.actor.user_id, person.actor.role)

    def component(self, author: Person, case: Case, name: str = "c") -> Component:
        if case.kind is TakingKind.CODE:
            described = Flavor(name="own", type=case.type, source="hostile:Code", attributes=[Attribute("attribute")])
            author.ask(of_component.REGISTER_FLAVOR, RegisterFlavor(flavor=described))
        configuration = dict(case.configuration)
        request = CreateComponent(name=name, type=case.type, flavor=case.flavor, configuration=configuration)
        return author.ask(of_component.CREATE, request)

    def stack(self, author: Person, made: Component, composer: Person | None = None) -> Stack:
        """A stack of this component; for a connector, of an artifact store that names it."""
        kind, name = made.type, made.name
        if kind is CONNECTOR:
            flavor = CONNECTS[made.flavor]
            path = {"s3": "s3://b/p", "azure": "az://c/p", "gcs": "gs://b/p"}[flavor]
            given = {"path": path, "connector": name}
            store = CreateComponent(name="store", type=ComponentType.ARTIFACT_STORE, flavor=flavor, configuration=given)
            kind, name = ComponentType.ARTIFACT_STORE, author.ask(of_component.CREATE, store).name
        parts = {ComponentType.ORCHESTRATOR: "default", ComponentType.ARTIFACT_STORE: "default", kind: name}
        return (composer or author).ask(of_stack.CREATE, CreateStack(name="s", components=parts))

    def review(self, who: Person, **what: Any) -> Review:
        return who.ask(of_approval.REVIEW, GetReview(**what))

    def approve(self, who: Person, **what: Any) -> Review:
        return who.ask(of_approval.APPROVE, Approve(seen=self.review(who, **what).seen, **what))


@pytest.fixture
def world(local_service: Service) -> World:
    return World(local_service)


@pytest.fixture
def everywhere(service: Service) -> World:
    """On each database in turn."""
    return World(service)


def use_stack(world: World, who: Person, stack: Stack, made: Component) -> object:
    return who.ask(of_stack.USE, GetStack(name=stack.name))


def begin_run(world: World, who: Person, stack: Stack, made: Component) -> object:
    run = who.ask(of_run.CREATE, CreateRun(pipeline="p", stack=stack.name, needs=[Need("private", "key"), Need("shared", "key")]))
    return who.ask(of_run.FINISH, FinishRun(id=run.id, status=RunStatus.COMPLETED))


def resolve_for_stack(world: World, who: Person, stack: Stack, made: Component) -> object:
    request = ResolveReferences(references=[Reference("private", "key"), Reference("shared", "key")], use=UseOf(stack.id))
    return who.ask(of_secret.RESOLVE, request)


def use_component(world: World, who: Person, stack: Stack | None, made: Component) -> object:
    return who.ask(of_component.USE, GetComponent(type=made.type, name=made.name))


def resolve_for_component(world: World, who: Person, stack: Stack | None, made: Component) -> object:
    request = ResolveReferences(references=[Reference("private", "key")], use=UseOf(made.id))
    return who.ask(of_secret.RESOLVE, request)


PATHS: tuple[Callable[[World, Person, Any, Component], object], ...] = (
    use_stack,
    begin_run,
    resolve_for_stack,
    use_component,
    resolve_for_component,
)
OF_STACKS = (use_stack, begin_run, resolve_for_stack)


def paths_for(case: Case) -> list[Callable[[World, Person, Any, Component], object]]:
    return [path for path in PATHS if case.type is not CONNECTOR or case.flavor in CONNECTS or path not in OF_STACKS]


def refused(world: World, who: Person, stack: Stack | None, made: Component, case: Case, author: str = "'mallory'") -> None:
    """Every path is refused by an error that names the component, its author and what it would take."""
    for path in paths_for(case):
        with pytest.raises(ApprovalNeeded) as caught:
            path(world, who, stack, made)
        words = f"{caught.value}{caught.value.hint}"
        assert f"{made.type.words} '{made.name}' (revision {made.revision} by {author})" in words
        assert {TakingKind.SECRET: "{{private.key}}", TakingKind.CODE: "hostile:Code"}.get(case.kind, case.attribute) in words
        assert "approve" in str(caught.value.hint)
        assert not holds_canary(words)


def allowed(world: World, who: Person, stack: Stack | None, made: Component, case: Case) -> None:
    for path in paths_for(case):
        path(world, who, stack, made)


@pytest.mark.parametrize("case", [*CASES, *OWN_FLAVORS], ids=str)
def test_what_another_user_wrote_waits_for_an_approval(world: World, case: Case) -> None:
    """Whatever a component takes: its author uses it, another user approves it first, and may use it then, on every path."""
    made = world.component(world.mallory, case)
    has_stack = case.type is not CONNECTOR or case.flavor in CONNECTS
    stack = world.stack(world.mallory, made) if has_stack else None
    if case.kind is not TakingKind.SECRET:
        allowed(world, world.mallory, stack, made, case)
    refused(world, world.alice, stack, made, case)
    what = {"stack": "s"} if has_stack else {"connector": "c"}
    review = world.review(world.alice, **what)
    waiting = next(each for each in review.waiting if each.id == made.id)
    assert (case.kind, case.attribute) in [(each.kind, each.attribute) for each in waiting.takes]
    assert (waiting.author, waiting.number, waiting.changes) == ("mallory", 1, None)
    assert world.approve(world.alice, **what).waiting == []
    allowed(world, world.alice, stack, made, case)
    if case.kind is not TakingKind.SECRET:
        refused(world, world.admin, stack, made, case)  # an approval is its user's


def test_the_cases_cover_every_flavor_and_kind() -> None:
    """Nothing that is declared is left out of the cases."""
    assert {case.kind for case in (*CASES, *OWN_FLAVORS)} == set(TakingKind)
    without = {("orchestrator", "local")}
    assert {(flavor.type.value, flavor.name) for flavor in BUILTIN_FLAVORS} - without <= {(case.type, case.flavor) for case in CASES}


TELLING = ("path", "file", "cert", "profile", "uri", "url", "address", "addr", "folder", "options", "endpoint", "authority", "json")


@pytest.mark.parametrize("flavor", BUILTIN_FLAVORS, ids=lambda flavor: f"{flavor.type}-{flavor.name}")
def test_attributes_of_telling_names_have_a_role(flavor: Flavor) -> None:
    """An attribute whose name speaks of files or addresses says what it means for the machine of its user."""
    declared = {name for method in methods_of(flavor) for name, _ in roles(flavor, method)}
    named = {each.name for each in flavor.attributes if any(part in TELLING for part in each.name.split("_"))}
    assert named - declared <= {"user_account_json", "service_account_json"}  # credentials, which name nothing


HARMLESS = {
    "a tracker": (ComponentType.EXPERIMENT_TRACKER, "mlflow", {"tracking_uri": "https://m", "tracking_token": "{{shared.key}}"}),
    "a registry": (ComponentType.CONTAINER_REGISTRY, "default", {"uri": "r", "username": "u", "password": "{{shared.key}}"}),
    "an alerter": (ComponentType.ALERTER, "slack", {"channel": "c", "slack_token": "{{shared.key}}", "base_url": "https://s"}),
    "an orchestrator": (ComponentType.ORCHESTRATOR, "dask", {"workers": 2}),
    "a store": (ComponentType.ARTIFACT_STORE, "local", {}),
    "a missing secret": (ComponentType.EXPERIMENT_TRACKER, "mlflow", {"tracking_token": "{{nowhere.key}}"}),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_takes_nothing_needs_no_approval(world: World, what: str) -> None:
    """Secrets of the workspace and network addresses are not the user's: such components of others just work."""
    kind, flavor, given = HARMLESS[what]
    case = Case(kind, flavor, tuple(given.items()), TakingKind.SECRET)
    made = world.component(world.mallory, case)
    allowed(world, world.alice, world.stack(world.mallory, made), made, case)


SECRET = Case(
    ComponentType.EXPERIMENT_TRACKER,
    "mlflow",
    (("tracking_uri", "https://m"), ("tracking_token", "{{private.key}}")),
    TakingKind.SECRET,
    "tracking_token",
)
PLACE = Case(ComponentType.ARTIFACT_STORE, "fsspec", (("path", "ftp://mallory/a"),), TakingKind.PLACE, "path")
FILE = Case(
    CONNECTOR,
    "vault",
    (("auth_method", "jwt"), ("vault_addr", "https://mallory"), ("role", "r"), ("jwt_path", "/etc/shadow")),
    TakingKind.FILE,
    "jwt_path",
)
EXAMPLES = (SECRET, PLACE, FILE, OWN_FLAVORS[0])


def stack_of(world: World, made: Component, author: Person) -> Stack | None:
    return None if made.type is CONNECTOR else world.stack(author, made)


@pytest.mark.parametrize("case", EXAMPLES, ids=str)
def test_ones_own_revision_needs_nothing(everywhere: World, case: Case) -> None:
    """The author of a revision uses it without an approval, in a stack of the author's own composition."""
    made = everywhere.component(everywhere.alice, case)
    allowed(everywhere, everywhere.alice, stack_of(everywhere, made, everywhere.alice), made, case)


@pytest.mark.parametrize("case", EXAMPLES, ids=str)
def test_others_wait_on_every_database(everywhere: World, case: Case) -> None:
    """On every database a revision of another user is refused, approved once, and used then."""
    made = everywhere.component(everywhere.mallory, case)
    stack = stack_of(everywhere, made, everywhere.mallory)
    refused(everywhere, everywhere.alice, stack, made, case)
    everywhere.approve(everywhere.alice, **({"stack": "s"} if stack else {"connector": "c"}))
    allowed(everywhere, everywhere.alice, stack, made, case)


@pytest.mark.parametrize("case", EXAMPLES, ids=str)
def test_a_later_revision_waits_again(everywhere: World, case: Case) -> None:
    """A change by another user, of whatever attribute, ends the approval; the review says what changed."""
    world = everywhere
    made = world.component(world.mallory, case)
    stack = stack_of(world, made, world.mallory)
    what = {"stack": "s"} if stack else {"connector": "c"}
    world.approve(world.alice, **what)
    name, value = dict(case.configuration).copy().popitem()
    changed = f"{value}x" if not str(value).startswith("{{") else "{{ private.key }}"
    world.mallory.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration={name: changed}))
    later = world.mallory.ask(of_component.GET, GetComponent(type=made.type, name=made.name))
    assert (later.revision, later.author) == (2, "mallory")
    refused(world, world.alice, stack, later, case)
    waiting = next(each for each in world.review(world.alice, **what).waiting if each.id == made.id)
    assert waiting.changes is not None
    assert any(line.startswith(f"{name}: ") and changed in line for line in waiting.changes)
    world.approve(world.alice, **what)
    allowed(world, world.alice, stack, later, case)
    world.alice.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration={name: changed}))
    if stack is None:  # hers now
        allowed(world, world.alice, stack, later, case)


def test_a_flavor_that_another_user_registers_again(everywhere: World) -> None:
    """A user who changes what a custom flavor names is an author of all its components, also of the user's own."""
    world, case = everywhere, OWN_FLAVORS[0]
    made = world.component(world.alice, case)
    stack = world.stack(world.alice, made)
    allowed(world, world.alice, stack, made, case)
    described = Flavor(name="own", type=case.type, source="hostile:Code", attributes=[Attribute("attribute")], description="new")
    world.mallory.ask(of_component.REGISTER_FLAVOR, RegisterFlavor(flavor=described))
    refused(world, world.alice, stack, made, case, author="'alice, mallory'")


def test_the_scope_of_a_secret_changes(everywhere: World) -> None:
    """A revision that takes more than was approved waits again, were it that the user made a secret of that name."""
    world = everywhere
    given = (("tracking_uri", "https://m"), ("tracking_username", "{{private.key}}"), ("tracking_password", "{{shared.key}}"))
    case = Case(ComponentType.EXPERIMENT_TRACKER, "mlflow", given, TakingKind.SECRET)
    made = world.component(world.mallory, case)
    stack = world.stack(world.mallory, made)
    world.approve(world.alice, stack="s")
    allowed(world, world.alice, stack, made, case)
    own = world.alice.create("shared", {"key": f"{PRIVATE}-too"}, Scope.USER)
    refused(world, world.alice, stack, made, case)
    world.alice.delete(own.id)
    allowed(world, world.alice, stack, made, case)


def test_a_component_is_exchanged(everywhere: World) -> None:
    """The composition of a stack is a revision, too: the user who puts something in decides that it is used there."""
    world = everywhere
    stack = world.stack(world.alice, world.component(world.alice, SECRET))
    use_stack(world, world.alice, stack, None)  # type: ignore[arg-type]
    world.component(world.alice, SECRET, "hers-for-tests")
    parts: dict[ComponentType, str | None] = {SECRET.type: "hers-for-tests"}
    world.mallory.ask(of_stack.UPDATE, UpdateStack(id=stack.id, components=parts))
    for path in OF_STACKS:
        with pytest.raises(ApprovalNeeded, match=r"stack 's' \(revision 2 by 'mallory'\) would take"):
            path(world, world.alice, stack, None)  # type: ignore[arg-type]
    waiting = world.review(world.alice, stack="s").waiting
    assert [each.type for each in waiting] == ["stack"]
    world.approve(world.alice, stack="s")
    use_stack(world, world.alice, stack, None)  # type: ignore[arg-type]
    parts = {ComponentType.ALERTER: None, SECRET.type: "c"}
    world.mallory.ask(of_stack.UPDATE, UpdateStack(id=stack.id, components=parts))
    changes = world.review(world.alice, stack="s").waiting[0].changes
    assert changes == ["experiment_tracker: hers-for-tests → c"]


def test_a_secrets_manager_is_the_users_own(everywhere: World) -> None:
    """A reference to what only the stack's secrets manager may have takes it, were the manager the user's own component."""
    world = everywhere
    manager = Case(MANAGER, "local", (), TakingKind.IDENTITY)
    world.component(world.alice, manager, "m")
    case = Case(SECRET.type, "mlflow", (("tracking_token", "{{nowhere.key}}"),), TakingKind.SECRET)
    made = world.component(world.mallory, case)
    parts = {ComponentType.ORCHESTRATOR: "default", ComponentType.ARTIFACT_STORE: "default", MANAGER: "m", case.type: made.name}
    world.alice.ask(of_stack.CREATE, CreateStack(name="s", components=parts))
    with pytest.raises(ApprovalNeeded, match=r"nowhere\.key"):
        world.alice.ask(of_stack.USE, GetStack(name="s"))


def test_what_was_seen_is_approved_and_nothing_else(everywhere: World) -> None:
    """A change between the look and the approval is refused, and approves nothing."""
    world = everywhere
    made = world.component(world.mallory, PLACE)
    stack = world.stack(world.mallory, made)
    seen = world.review(world.alice, stack="s").seen
    world.mallory.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration={"path": "ftp://elsewhere/a"}))
    with pytest.raises(StaleVersion):
        world.alice.ask(of_approval.APPROVE, Approve(seen=seen, stack="s"))
    later = world.alice.ask(of_component.GET, GetComponent(type=made.type, name=made.name))
    refused(world, world.alice, stack, later, PLACE)
    with pytest.raises(StaleVersion):  # nor is another one's review
        world.alice.ask(of_approval.APPROVE, Approve(seen=world.review(world.mallory, stack="s").seen, stack="s"))


def test_what_is_used_is_as_it_was_read(everywhere: World) -> None:
    """Between reading a stack and using what was read, a change is noticed: nothing is resolved for attributes that are gone."""
    world = everywhere
    harmless = (("tracking_uri", "https://m"), ("tracking_token", "{{shared.key}}"))
    made = world.component(world.mallory, Case(SECRET.type, "mlflow", harmless, TakingKind.SECRET))
    stack = world.stack(world.mallory, made)
    use: StackUse = world.alice.ask(of_stack.USE, GetStack(name="s"))
    alone = world.alice.ask(of_component.USE, GetComponent(type=made.type, name=made.name))
    references = [Reference("shared", "key")]

    def ask() -> Iterator[tuple[Any, Any]]:
        yield of_run.CREATE, CreateRun(pipeline="p", stack="s", stack_state=use.state)
        yield of_secret.RESOLVE, ResolveReferences(references=references, use=UseOf(stack.id, use.state))
        yield of_secret.RESOLVE, ResolveReferences(references=references, use=UseOf(made.id, alone.state))

    for operation, request in ask():
        world.alice.ask(operation, request)
    world.mallory.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration={"tracking_uri": "https://n"}))
    for operation, request in ask():
        with pytest.raises(StaleVersion):
            world.alice.ask(operation, request)
    with pytest.raises(NotFound):
        world.alice.ask(of_secret.RESOLVE, ResolveReferences(references=references, use=UseOf("nothing")))


def test_a_run_that_is_under_way(everywhere: World) -> None:
    """A run token gets no revision that its user has not approved, were it exchanged while the run goes on."""
    world = everywhere
    made = world.component(world.mallory, Case(SECRET.type, "mlflow", (("tracking_token", "{{shared.key}}"),), TakingKind.SECRET))
    world.stack(world.mallory, made)
    run = world.alice.ask(of_run.CREATE, CreateRun(pipeline="p", stack="s", needs=[Need("shared", "key")]))
    bearer = Person(world.service, world.service.identities.authenticate(run.token.reveal()))
    bearer.ask(of_stack.USE, GetStack())
    world.mallory.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration={"tracking_token": "{{private.key}}"}))
    with pytest.raises(ApprovalNeeded):
        bearer.ask(of_stack.USE, GetStack())
    with pytest.raises(Forbidden):
        bearer.ask(of_approval.APPROVE, Approve(seen="", stack="s"))
    bare = world.alice.ask(of_run.CREATE, CreateRun(pipeline="p", stack="s"))  # it may begin: it is granted nothing
    with pytest.raises(ApprovalNeeded):
        Person(world.service, world.service.identities.authenticate(bare.token.reveal())).ask(of_stack.USE, GetStack())


def trust(world: World, *, trusted: bool) -> None:
    world.admin.ask(of_workspace.UPDATE, UpdateWorkspace(name="default", trusts_administrators=trusted))


@pytest.fixture
def with_password(everywhere: World) -> World:
    """The world in which the administrator can log in."""
    with everywhere.service.deployment.database.write() as connection:
        statement = text("INSERT INTO passwords (user_id, hashed, changed) VALUES (:id, 'x', 1)")
        connection.execute(statement, {"id": everywhere.admin.actor.user_id})
    return everywhere


def test_administrators_are_trusted_where_the_workspace_says_so(with_password: World) -> None:
    """Off by default. While it is on, and the author is an administrator of the workspace and can log in, nothing waits."""
    world = with_password
    made = world.component(world.admin, PLACE)
    stack = world.stack(world.admin, made)
    refused(world, world.alice, stack, made, PLACE, author="'root'")
    trust(world, trusted=True)
    allowed(world, world.alice, stack, made, PLACE)
    assert {each.status for each in world.review(world.alice, stack="s").revisions} >= {RevisionStatus.TRUSTED}
    database, root = world.service.deployment.database, world.admin.actor
    with database.write() as connection:
        put_member(connection, root.workspace_id, root.user_id, Role.EDITOR)
    refused(world, world.alice, stack, made, PLACE, author="'root'")
    with database.write() as connection:
        remove_member(connection, root.workspace_id, root.user_id)
    refused(world, world.alice, stack, made, PLACE, author="'root'")
    with database.write() as connection:
        put_member(connection, root.workspace_id, root.user_id, Role.ADMIN)
    allowed(world, world.alice, stack, made, PLACE)
    with database.write() as connection:
        connection.execute(text("DELETE FROM passwords"))
    refused(world, world.alice, stack, made, PLACE, author="'root'")


def test_the_setting_is_the_administrators(with_password: World) -> None:
    """Nobody else turns the trust on, and it goes for no other author."""
    world = with_password
    for person in (world.alice, world.mallory):
        with pytest.raises(Forbidden):
            person.ask(of_workspace.UPDATE, UpdateWorkspace(name="default", trusts_administrators=True))
    trust(world, trusted=True)
    made = world.component(world.mallory, PLACE)
    refused(world, world.alice, world.stack(world.mallory, made), made, PLACE)
    trust(world, trusted=False)
    workspace = world.admin.ask(of_workspace.UPDATE, UpdateWorkspace(name="default", shared_cache=False))
    assert not workspace.trusts_administrators


def test_an_unknown_author_is_another_user(everywhere: World) -> None:
    """Where it is not known who wrote a revision, as in rows of a former version, nobody is its author."""
    world = everywhere
    for case in (PLACE, OWN_FLAVORS[0]):
        made = world.component(world.alice, case, f"c-{case.kind}")
        parts = {ComponentType.ORCHESTRATOR: "default", ComponentType.ARTIFACT_STORE: "default", case.type: made.name}
        stack = world.alice.ask(of_stack.CREATE, CreateStack(name=f"s-{case.kind}", components=parts))
        allowed(world, world.alice, stack, made, case)
        for table in (components, stacks, flavors):
            with world.service.deployment.database.write() as connection:
                connection.execute(table.update().values(author_id=None))
        refused(world, world.alice, stack, made, case, author="an unknown author")


def account(world: World) -> Person:
    made = world.admin.ask(of_service_account.CREATE, CreateServiceAccount(name="ci", role="reader"))
    actor: Actor = msgspec.structs.replace(world.alice.actor, user_id=made.id, name="ci", role=Role.READER)
    return Person(world.service, actor)


def test_an_administrator_approves_for_a_service_account(everywhere: World) -> None:
    """A service account cannot approve, and nobody but administrators of the workspace can for it; for users nobody else can."""
    world = everywhere
    ci, made = account(world), world.component(world.mallory, PLACE)
    stack = world.stack(world.mallory, made)
    refused(world, ci, stack, made, PLACE)
    with pytest.raises(ApprovalNeeded) as caught:
        use_stack(world, ci, stack, made)
    assert "strongroom stack approve s --for ci" in str(caught.value.hint)
    with pytest.raises(Forbidden):
        world.approve(ci, stack="s")
    for person in (world.alice, world.mallory, ci):
        with pytest.raises(Forbidden):
            world.review(person, stack="s", account="ci")
        with pytest.raises(Forbidden):
            person.ask(of_approval.APPROVE, Approve(seen="", stack="s", account="ci"))
    for nobody in ("alice", "nobody", "root"):
        with pytest.raises(NotFound):
            world.review(world.admin, stack="s", account=nobody)
    assert world.approve(world.admin, stack="s", account="ci").waiting == []
    allowed(world, ci, stack, made, PLACE)
    refused(world, world.admin, stack, made, PLACE)


def test_a_service_account_has_its_own_secrets(everywhere: World) -> None:
    """What an administrator approves for an account is what the account would lose, not what the administrator would."""
    world = everywhere
    ci, made = account(world), world.component(world.mallory, SECRET)
    world.stack(world.mallory, made)
    assert world.review(world.admin, stack="s", account="ci").waiting == []
    editor = Person(world.service, msgspec.structs.replace(ci.actor, role=Role.EDITOR))
    editor.create("private", {"key": PRIVATE}, Scope.USER)
    waiting = world.review(world.admin, stack="s", account="ci").waiting
    assert [str(each.takes[0]) for each in waiting] == ["the user-scoped secret {{private.key}}"] * 2


def test_requests_that_name_both(world: World) -> None:
    """A review is of one thing."""
    with pytest.raises(InvalidInput):
        world.review(world.alice, stack="default", connector="c")
    with pytest.raises(NotFound):
        world.review(world.alice, stack="nothing")
    assert world.review(world.alice).name == "default"
    assert world.review(world.alice).waiting == []


def test_the_embedded_store_has_one_user(local_service: Service) -> None:
    """Nothing waits there, whatever author the rows name."""
    world = World(local_service)
    made = world.component(world.mallory, PLACE)
    stack = world.stack(world.mallory, made)
    allowed(world, Person(local_service, local_service.local_actor), stack, made, PLACE)
    assert world.review(Person(local_service, local_service.local_actor), stack="s").waiting == []


def test_approvals_are_on_record(everywhere: World) -> None:
    """The audit trail says who approved what, for whom, and which uses were refused."""
    world = everywhere
    account(world)
    made = world.component(world.mallory, PLACE)
    stack = world.stack(world.mallory, made)
    with pytest.raises(StrongroomError):
        use_stack(world, world.alice, stack, made)
    world.approve(world.alice, stack="s")
    world.approve(world.admin, stack="s", account="ci")
    with world.service.deployment.database.read() as connection:
        rows = connection.execute(text("SELECT facts FROM audit_events ORDER BY number")).scalars().all()
    events: list[Mapping[str, Any]] = [msgspec.json.decode(bytes(row)) for row in rows]
    approvals = [each for each in events if each["operation"] == "approval.approve"]
    assert [(each["actor"], each["target"], each["target_id"]) for each in approvals] == [
        ("alice", "s", stack.id),
        ("root", "s", stack.id),
    ]
    assert "artifact store 'c' revision 1" in approvals[0]["detail"]
    assert "account=ci" in approvals[1]["detail"]


def test_an_author_answers_for_what_is_kept(everywhere: World) -> None:
    """A user who changes one attribute of a revision that waits for them is not its only author; one who changes all of them is."""
    world = everywhere
    case = Case(ComponentType.ARTIFACT_STORE, "s3", (("path", "s3://mallory/a"), ("key", "{{shared.key}}")), TakingKind.PLACE, "path")
    made = world.component(world.mallory, case)
    world.stack(world.alice, made)

    def change(**attributes: str) -> None:
        world.alice.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration=attributes))

    change(key="{{ shared.key }}")
    with pytest.raises(ApprovalNeeded, match="revision 2 by 'alice and others'"):
        world.alice.ask(of_stack.USE, GetStack(name="s"))
    change(key="{{shared.key}}")  # also the second time
    with pytest.raises(ApprovalNeeded):
        world.alice.ask(of_component.USE, GetComponent(type=made.type, name=made.name))
    change(path="s3://alice/a", key="{{shared.key}}")
    world.alice.ask(of_stack.USE, GetStack(name="s"))
    world.mallory.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration={"path": "s3://mallory/a"}))
    world.approve(world.alice, stack="s")
    change(key="{{ shared.key }}")  # of a revision that she approved
    world.alice.ask(of_stack.USE, GetStack(name="s"))


def test_a_connector_that_says_where_a_store_works(everywhere: World) -> None:
    """The address of a connector is a place where outputs go, where an artifact store names it; by itself it takes nothing."""
    world = everywhere
    login = {"auth_method": "secret-key", "aws_access_key_id": "id", "aws_secret_access_key": "{{shared.key}}"}
    case = Case(CONNECTOR, "aws", tuple({**login, "region": "eu-west-1"}.items()), TakingKind.SECRET)
    made = world.component(world.mallory, case)
    world.stack(world.alice, made)
    world.alice.ask(of_stack.USE, GetStack(name="s"))
    changed = {"endpoint_url": "https://mallory.example.com"}
    world.mallory.ask(of_component.UPDATE, UpdateComponent(id=made.id, configuration=changed))
    world.alice.ask(of_component.USE, GetComponent(type=CONNECTOR, name=made.name))
    with pytest.raises(ApprovalNeeded, match=r"https://mallory\.example\.com \(endpoint_url\)"):
        world.alice.ask(of_stack.USE, GetStack(name="s"))


HOSTS = {
    "http://user:pw@host/x@y": "http://host/x@y",
    "http://a@b@host/": "http://host/",
    "http://host?x=@trusted/": "http://host?x=@trusted/",
    "http://host#@trusted/": "http://host#@trusted/",
    "http://host\\@trusted/": "http://host\\@trusted/",
    "http://host/@trusted": "http://host/@trusted",
    "tcp://host:8786@x?@y": "tcp://x?@y",
    "http://host": "http://host",
}


@pytest.mark.parametrize("written", HOSTS)
def test_hosts_are_shown_as_clients_see_them(world: World, written: str) -> None:
    """An `@` behind the host hides it from no one who approves; a user's name and password are left out."""
    made = world.component(
        world.mallory,
        Case(SECRET.type, "mlflow", (("tracking_uri", written), ("tracking_token", "{{private.key}}")), TakingKind.SECRET),
    )
    world.stack(world.mallory, made)
    [revision] = [each for each in world.review(world.alice, stack="s").revisions if each.id == made.id]
    assert f"tracking_uri: {HOSTS[written]}" in revision.addresses


def test_an_address_in_a_secret_is_approved_as_it_is(everywhere: World) -> None:
    """Who changes the secret that an address refers to moves what is sent there: that waits for an approval again."""
    world = everywhere
    world.mallory.create("place", {"url": "https://team"})
    case = Case(SECRET.type, "mlflow", (("tracking_uri", "{{place.url}}"), ("tracking_token", "{{private.key}}")), TakingKind.SECRET)
    world.stack(world.mallory, world.component(world.mallory, case))
    world.approve(world.alice, stack="s")
    use: StackUse = world.alice.ask(of_stack.USE, GetStack(name="s"))
    world.mallory.update(world.mallory.get_by_name("place").id, {"url": "https://elsewhere"})
    with pytest.raises(ApprovalNeeded):
        world.alice.ask(of_stack.USE, GetStack(name="s"))
    with pytest.raises((ApprovalNeeded, StaleVersion)):
        world.alice.ask(of_run.CREATE, CreateRun(pipeline="p", stack="s", stack_state=use.state))
    world.approve(world.alice, stack="s")
    world.alice.ask(of_stack.USE, GetStack(name="s"))
