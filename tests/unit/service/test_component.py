"""The rules of components and flavors, on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from strongroom.auth.policy import Role
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, NothingToChange, StrongroomError
from strongroom.flavors import BUILTIN_FLAVORS
from strongroom.models.component import Component, CreateComponent, DeleteComponent, GetComponent, ListComponents, UpdateComponent
from strongroom.models.flavor import (
    Attribute,
    AttributeKind,
    ComponentType,
    DeleteFlavor,
    Flavor,
    GetFlavor,
    ListFlavors,
    RegisterFlavor,
)
from strongroom.models.page import Page
from strongroom.models.stack import CreateStack, DeleteStack
from strongroom.operations import component as operations
from strongroom.operations import stack as stack_operations
from strongroom.redaction import MASK
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person, together

# What stands in plain text in a sensitive attribute is stored as it is, so these are no canaries: the tables may hold them.
PLAIN, OTHER = "plain-password-1", "plain-password-2"
TRACKER = ComponentType.EXPERIMENT_TRACKER
ABSENT = "00000000-0000-7000-8000-000000000000"
CUSTOM = Flavor(
    name="mine",
    type=ComponentType.ALERTER,
    source="mine:Mine",
    attributes=[Attribute("channel"), Attribute("token", default=None, sensitive=True)],
    description="Mine.",
)


def create(
    person: Person, name: str, component_type: ComponentType = TRACKER, flavor: str = "mlflow", **attributes: Any
) -> Component:
    return person.ask(operations.CREATE, CreateComponent(name=name, type=component_type, flavor=flavor, configuration=attributes))


def get(person: Person, name: str, component_type: ComponentType = TRACKER) -> Component:
    return person.ask(operations.GET, GetComponent(type=component_type, name=name))


def listed(person: Person, **filters: Any) -> Page[Component]:
    return person.ask(operations.LIST, ListComponents(**filters))


def update(person: Person, component_id: str, name: str | None = None, remove: tuple[str, ...] = (), **attributes: Any) -> Component:
    request = UpdateComponent(id=component_id, name=UNSET if name is None else name, configuration=attributes, remove=list(remove))
    return person.ask(operations.UPDATE, request)


def delete(person: Person, component_id: str) -> None:
    person.ask(operations.DELETE, DeleteComponent(id=component_id))


def register_flavor(person: Person, flavor: Flavor) -> Flavor:
    return person.ask(operations.REGISTER_FLAVOR, RegisterFlavor(flavor=flavor))


def without_warnings(component: Component) -> Component:
    return msgspec.structs.replace(component, warnings=UNSET)


def test_a_new_component_is_as_it_was_given(alice: Person) -> None:
    """What `create` replies, what `get` reads by name and id, and what `list` shows agree in every field."""
    before = datetime.now(UTC)
    made = create(alice, "tracker", tracking_uri="http://tracker", tracking_username="{{ ml.user }}", tracking_insecure_tls="true")
    assert (made.name, made.type, made.flavor, made.owner, made.workspace) == ("tracker", TRACKER, "mlflow", "alice", "default")
    assert made.configuration == {
        "tracking_uri": "http://tracker",
        "tracking_username": "{{ ml.user }}",
        "tracking_insecure_tls": True,
    }
    assert made.warnings == []
    assert before.replace(microsecond=0) <= made.created == made.updated <= datetime.now(UTC)
    assert get(alice, "tracker") == get(alice, made.id) == without_warnings(made)
    assert listed(alice, type=TRACKER).items == [without_warnings(made)]


def test_default_components_are_there(alice: Person) -> None:
    """A workspace begins with an orchestrator and an artifact store, both called 'default'."""
    assert [(item.type, item.name, item.flavor, item.configuration) for item in listed(alice)] == [
        (ComponentType.ARTIFACT_STORE, "default", "local", {}),
        (ComponentType.ORCHESTRATOR, "default", "local", {}),
    ]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.READER, Role.EDITOR, Role.ADMIN])
def test_plain_text_is_masked_for_everybody(alice: Person, bob: Person, role: Role) -> None:
    """No reply shows plain text of a sensitive attribute, not even to who wrote it; a warning names it without showing it."""
    made = create(alice, "tracker", tracking_password=PLAIN, tracking_username="{{a.b}}", tracking_uri="http://open")
    changed = update(alice, made.id, tracking_token=OTHER)
    other = bob.as_role(role)
    for reply in (
        made,
        changed,
        get(alice, "tracker"),
        get(other, "tracker"),
        *listed(alice, type=TRACKER),
        *listed(other, type=TRACKER),
    ):
        assert reply.configuration["tracking_password"] == MASK
        assert reply.configuration["tracking_username"] == "{{a.b}}"
        assert reply.configuration["tracking_uri"] == "http://open"
        assert PLAIN not in repr(reply)
        assert OTHER not in repr(reply)
    assert isinstance(made.warnings, list)
    assert ["tracking_password" in text for text in made.warnings] == [True]
    assert isinstance(changed.warnings, list)
    assert ["tracking_token" in text for text in changed.warnings] == [True], "only what was touched is warned about"


def test_names_are_one_per_type(alice: Person) -> None:
    """A name is taken within its type only."""
    create(alice, "ml", tracking_uri="x")
    create(alice, "ml", ComponentType.MODEL_REGISTRY, tracking_uri="x")
    create(alice, "ML")
    with pytest.raises(AlreadyExists, match="experiment tracker 'ml' already exists in workspace 'default'") as caught:
        create(alice, "ml", flavor="wandb")
    assert caught.value.hint == "change it with: strongroom experiment-tracker update ml"
    assert get(alice, "ml").flavor == "mlflow"


@pytest.mark.parametrize(
    "name", ["", "a b", "a.b", "{{a.b}}", "{{a}}", "a" * 256, "\u00e4", "a\n", "\0", "a/b", f"{CANARY}{{{{"], ids=range(11)
)
def test_bad_names(alice: Person, name: str) -> None:
    """A name of letters, digits, '_' and '-' is not asked too much; references are for attributes."""
    made = create(alice, "good")
    for attempt in (lambda: create(alice, name), lambda: update(alice, made.id, name=name)):
        with pytest.raises(InvalidInput, match="the name of the experiment tracker") as caught:
            attempt()
        assert not holds_canary(str(caught.value))
    assert [item.name for item in listed(alice, type=TRACKER)] == ["good"]


def test_what_the_flavor_refuses_is_not_stored(alice: Person) -> None:
    """Unknown flavors, and attributes that are unknown, missing or of the wrong type, store nothing."""
    with pytest.raises(NotFound, match="there is no experiment tracker flavor 'mlfow'") as caught:
        create(alice, "a", flavor="mlfow")
    assert caught.value.hint == "did you mean mlflow?"
    with pytest.raises(NotFound) as caught:
        create(alice, "a", flavor="zzz")
    assert caught.value.hint == "the flavors are: mlflow, wandb"
    with pytest.raises(NotFound, match="no model deployer flavor 'x'") as caught:
        create(alice, "a", ComponentType.MODEL_DEPLOYER, "x")
    assert "no built-in flavor" in (caught.value.hint or "")
    for attributes in ({"tracking_url": "x"}, {"tracking_insecure_tls": "{{a.b}}"}, {"tracking_uri": 5}):
        with pytest.raises(InvalidInput):
            create(alice, "a", **attributes)
    with pytest.raises(InvalidInput, match="needs the attribute tracking_uri"):
        create(alice, "a", ComponentType.MODEL_REGISTRY)
    assert listed(alice).total == 2


def test_look_ups_are_exact(alice: Person) -> None:
    """A component is found by its type and exact name or full id; another one is suggested, never taken."""
    made = create(alice, "tracker")
    for name in ("Tracker", "tracke", "tracker ", "", "\0", "tr%", "tracke_", "\u00e4", "\ud800", made.id[:8], made.id.upper()):
        with pytest.raises(NotFound, match="there is no experiment tracker"):
            get(alice, name)
    for name in ("tracker", made.id):
        with pytest.raises(NotFound):
            get(alice, name, ComponentType.ALERTER)
    with pytest.raises(NotFound) as caught:
        get(alice, "trackr")
    assert caught.value.hint == "did you mean tracker?"
    with pytest.raises(NotFound) as caught:
        get(alice, "zzz")
    assert caught.value.hint == "see them with: strongroom experiment-tracker list"


def test_an_id_leads_to_no_other_component(alice: Person) -> None:
    """A component that somebody calls by the id of another one is not taken for it, neither shown nor deleted."""
    made = create(alice, "tracker")
    trap = create(alice, made.id)
    assert get(alice, made.id).name == "tracker"
    assert update(alice, made.id, tracking_uri="x").name == "tracker"
    delete(alice, made.id)
    assert get(alice, made.id).id == trap.id


def test_workspaces_are_apart(alice: Person, service: Service) -> None:
    """Nothing of one workspace can be seen or changed from another, nor is it suggested there."""
    made = create(alice, "tracker")
    register_flavor(alice, CUSTOM)
    stranger = add_person(service, "zoe", workspace="elsewhere")
    assert listed(stranger).total == 0
    for attempt in (
        lambda: get(stranger, "tracker"),
        lambda: get(stranger, made.id),
        lambda: get(stranger, "trackr"),
        lambda: update(stranger, made.id, name="x"),
        lambda: delete(stranger, made.id),
        lambda: stranger.ask(operations.GET_FLAVOR, GetFlavor(type=CUSTOM.type, name="mine")),
        lambda: stranger.ask(operations.DELETE_FLAVOR, DeleteFlavor(type=CUSTOM.type, name="mine")),
        lambda: create(stranger, "x", CUSTOM.type, "mine", channel="c"),
    ):
        with pytest.raises(NotFound) as caught:
            attempt()
        assert "tracker?" not in (caught.value.hint or "")
    create(stranger, "tracker")
    assert get(alice, "tracker").id == made.id


def test_lists_are_filtered_and_paged(alice: Person) -> None:
    """Pages come by type and name; filters are those of secrets; `%` and `_` are plain characters."""
    for name in ("b_1", "a", "bx1", "B"):
        create(alice, name)
    create(alice, "a", ComponentType.ALERTER, "slack", channel="c")
    everything = listed(alice, size=100)
    assert [(item.type, item.name) for item in everything] == [
        ("alerter", "a"),
        ("artifact_store", "default"),
        ("experiment_tracker", "B"),
        ("experiment_tracker", "a"),
        ("experiment_tracker", "b_1"),
        ("experiment_tracker", "bx1"),
        ("orchestrator", "default"),
    ]
    assert [item.name for item in listed(alice, name="startswith:b_")] == ["b_1"]
    assert [item.name for item in listed(alice, type=TRACKER, name="oneof:a,B")] == ["B", "a"]
    assert [item.name for item in listed(alice, name="contains:%")] == []
    assert listed(alice, flavor="slack").total == 1
    assert listed(alice, flavor="contains:ml", type=TRACKER).total == 4
    second = listed(alice, page=2, size=3)
    assert ([item.name for item in second], second.total, second.total_pages) == (["a", "b_1", "bx1"], 7, 3)
    assert (listed(alice, page=9).items, listed(alice, page=9).total) == ([], 7)
    for page in ({"page": 0}, {"size": 0}, {"size": 1001}):
        with pytest.raises(InvalidInput):
            listed(alice, **page)


def test_updates_merge(alice: Person) -> None:
    """What is given replaces or adds, what is removed goes, the rest stays, also where it is masked; all at once with a new name."""
    made = create(alice, "tracker", tracking_uri="http://one", tracking_password=PLAIN, tracking_username="{{a.b}}")
    changed = update(alice, made.id, name="other", remove=("tracking_username",), tracking_uri="http://two")
    assert (changed.name, changed.id, changed.created, changed.owner) == ("other", made.id, made.created, "alice")
    assert changed.updated > made.updated
    assert changed.configuration == {"tracking_uri": "http://two", "tracking_password": MASK}
    assert get(alice, "other") == without_warnings(changed)
    with pytest.raises(NotFound):
        get(alice, "tracker")
    assert update(alice, made.id, tracking_password="{{a.c}}").configuration["tracking_password"] == "{{a.c}}"


def test_refused_updates_change_nothing(alice: Person) -> None:
    """Every error of an update leaves the component as it was."""
    made = create(alice, "registry", ComponentType.MODEL_REGISTRY, tracking_uri="x")
    create(alice, "taken", ComponentType.MODEL_REGISTRY, tracking_uri="x")
    before = get(alice, made.id, ComponentType.MODEL_REGISTRY)
    attempts: list[tuple[type[StrongroomError], str, Callable[[], object]]] = [
        (NothingToChange, "nothing to change", lambda: update(alice, made.id)),
        (AlreadyExists, "'taken' already exists", lambda: update(alice, made.id, name="taken", tracking_uri="y")),
        (InvalidInput, "no attribute 'tracking_url'", lambda: update(alice, made.id, tracking_url="y")),
        (InvalidInput, "no attribute 'tracking_token' to remove", lambda: update(alice, made.id, remove=("tracking_token",))),
        (InvalidInput, "needs the attribute tracking_uri", lambda: update(alice, made.id, remove=("tracking_uri",))),
        (InvalidInput, "both set and removed", lambda: update(alice, made.id, remove=("tracking_uri",), tracking_uri="y")),
        (InvalidInput, "takes text", lambda: update(alice, made.id, tracking_uri=[])),
        (NotFound, "no component with the id", lambda: update(alice, ABSENT, tracking_uri="y")),
        (NotFound, "no component with the id", lambda: update(alice, "registry", tracking_uri="y")),
        (NotFound, "no component with the id", lambda: update(alice, "\0", tracking_uri="y")),
    ]
    for kind, message, attempt in attempts:
        with pytest.raises(kind, match=message):
            attempt()
    assert get(alice, made.id, ComponentType.MODEL_REGISTRY) == before


def test_deletion(alice: Person) -> None:
    """A deleted component is gone, and its name is free; one that is not there is an error."""
    made = create(alice, "tracker")
    delete(alice, made.id)
    for attempt in (lambda: get(alice, "tracker"), lambda: delete(alice, made.id), lambda: delete(alice, "tracker")):
        with pytest.raises(NotFound):
            attempt()
    assert create(alice, "tracker").id != made.id


def test_components_in_stacks_stay(alice: Person) -> None:
    """A component that a stack has cannot be deleted; the error names all stacks that have it."""
    made = create(alice, "tracker")
    parts = {ComponentType.ORCHESTRATOR: "default", ComponentType.ARTIFACT_STORE: "default", TRACKER: "tracker"}
    stacks = [alice.ask(stack_operations.CREATE, CreateStack(name=name, components=parts)) for name in ("two", "one")]
    with pytest.raises(InvalidInput, match="experiment tracker 'tracker' is part of the stacks one, two"):
        delete(alice, made.id)
    alice.ask(stack_operations.DELETE, DeleteStack(id=stacks[0].id))
    with pytest.raises(InvalidInput, match="is part of the stack 'one'"):
        delete(alice, made.id)
    with pytest.raises(InvalidInput, match="is part of"):
        delete(alice, get(alice, "default", ComponentType.ORCHESTRATOR).id)
    update(alice, made.id, name="renamed")
    alice.ask(stack_operations.DELETE, DeleteStack(id=stacks[1].id))
    delete(alice, made.id)


def test_roles(alice: Person) -> None:
    """Viewers and readers look at components and flavors; only editors write."""
    made = create(alice, "tracker")
    for role in (Role.VIEWER, Role.READER):
        other = alice.as_role(role)
        assert get(other, "tracker").id == made.id
        assert listed(other).total == 3
        for attempt in (
            lambda other=other: create(other, "x"),
            lambda other=other: update(other, made.id, name="x"),
            lambda other=other: delete(other, made.id),
            lambda other=other: register_flavor(other, CUSTOM),
            lambda other=other: other.ask(operations.DELETE_FLAVOR, DeleteFlavor(type=CUSTOM.type, name="mine")),
        ):
            with pytest.raises(Forbidden):
                attempt()
    assert listed(alice).total == 3


def test_of_many_creators_one_wins(alice: Person) -> None:
    """Of several creates of one name at once, one succeeds and the others are told that it exists; renames likewise."""
    outcomes = together(6, lambda number: create(alice, "tracker", tracking_uri=f"http://{number}"))
    winners = [outcome for outcome in outcomes if isinstance(outcome, Component)]
    assert len(winners) == 1
    assert outcomes.count(AlreadyExists) == 5
    assert get(alice, "tracker") == without_warnings(winners[0])
    made = [create(alice, f"t{number}").id for number in range(6)]
    outcomes = together(6, lambda number: update(alice, made[number], name="renamed"))
    assert outcomes.count(AlreadyExists) == 5
    assert listed(alice, name="renamed").total == 1


def test_concurrent_updates_lose_nothing(alice: Person) -> None:
    """Attributes that are set at the same time are all there in the end."""
    made = create(alice, "tracker")
    names = ["tracking_uri", "tracking_username", "tracking_password", "tracking_token", "experiment_name"]
    outcomes = together(5, lambda number: update(alice, made.id, **{names[number]: "{{a.b}}"}))
    assert all(isinstance(outcome, Component) for outcome in outcomes)
    assert get(alice, "tracker").configuration == dict.fromkeys(names, "{{a.b}}")


def test_custom_flavors(alice: Person, bob: Person) -> None:
    """A registered flavor is there for the whole workspace, can be replaced, and checks and masks like a built-in one."""
    assert register_flavor(alice, msgspec.structs.replace(CUSTOM, builtin=True)) == CUSTOM
    assert bob.ask(operations.GET_FLAVOR, GetFlavor(type=CUSTOM.type, name="mine")) == CUSTOM
    made = create(bob, "a", CUSTOM.type, "mine", channel="c", token=PLAIN)
    assert made.configuration == {"channel": "c", "token": MASK}
    with pytest.raises(InvalidInput, match="needs the attribute channel"):
        create(bob, "b", CUSTOM.type, "mine")
    renewed = msgspec.structs.replace(CUSTOM, attributes=[*CUSTOM.attributes, Attribute("tags", AttributeKind.LIST, default=None)])
    register_flavor(bob, renewed)
    assert alice.ask(operations.GET_FLAVOR, GetFlavor(type=CUSTOM.type, name="mine")) == renewed
    assert update(alice, made.id, tags=["x"]).configuration["tags"] == ["x"]
    register_flavor(alice, msgspec.structs.replace(CUSTOM, attributes=[]))
    shown = get(alice, "a", CUSTOM.type)
    assert shown.configuration == {"channel": MASK, "token": MASK, "tags": [MASK]}, "what nobody knows is masked"


def test_lists_of_flavors(alice: Person) -> None:
    """All flavors come on one page, built-in ones first; of one type alone when asked."""
    register_flavor(alice, CUSTOM)
    page = alice.ask(operations.LIST_FLAVORS, ListFlavors())
    assert page.items == [*BUILTIN_FLAVORS, CUSTOM]
    assert (page.total, page.total_pages) == (len(page), 1)
    alerters = alice.ask(operations.LIST_FLAVORS, ListFlavors(type=ComponentType.ALERTER))
    assert [flavor.name for flavor in alerters] == ["slack", "mine"]
    empty = alice.ask(operations.LIST_FLAVORS, ListFlavors(type=ComponentType.STEP_OPERATOR))
    assert (empty.items, empty.total, empty.total_pages) == ([], 0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "slack"}, "is built in"),
        ({"name": "a b"}, "the name of a flavor"),
        ({"name": "{{a.b}}"}, "the name of a flavor"),
        ({"attributes": [Attribute("a"), Attribute("a")]}, "each once"),
        ({"attributes": [Attribute(f"a{number}") for number in range(201)]}, "up to 200 attributes"),
        ({"attributes": [Attribute("a b")]}, "cannot be called"),
        ({"attributes": [Attribute("\u00e4")]}, "cannot be called"),
        ({"attributes": [Attribute("name")]}, "cannot be called"),
        ({"attributes": [Attribute("flavor")]}, "cannot be called"),
        ({"source": "a\nb:C"}, "import path"),
        ({"source": "a" * 513}, "import path"),
        ({"connector": "aws"}, "an attribute 'connector' that is text"),
        ({"connector": "aws", "attributes": [Attribute("connector", AttributeKind.LIST)]}, "an attribute 'connector' that is text"),
        ({"connector": "", "attributes": [Attribute("connector")]}, "the name of a flavor has 1 to 255 characters"),
        ({"connector": "{{a.b}}", "attributes": [Attribute("connector")]}, "cannot be a reference"),
    ],
    ids=range(15),
)
def test_refused_flavors(alice: Person, changes: dict[str, Any], message: str) -> None:
    """A flavor whose name, attributes or source cannot work is not registered."""
    with pytest.raises(StrongroomError, match=message):
        register_flavor(alice, msgspec.structs.replace(CUSTOM, **changes))
    assert len(alice.ask(operations.LIST_FLAVORS, ListFlavors())) == len(BUILTIN_FLAVORS)


def test_flavors_in_use_stay(alice: Person) -> None:
    """A flavor is forgotten when no component uses it; built-in ones never."""
    register_flavor(alice, CUSTOM)
    made = create(alice, "a", CUSTOM.type, "mine", channel="c")
    forget = DeleteFlavor(type=CUSTOM.type, name="mine")
    with pytest.raises(InvalidInput, match="the flavor 'mine' is used by: a"):
        alice.ask(operations.DELETE_FLAVOR, forget)
    with pytest.raises(InvalidInput, match="is built in and stays"):
        alice.ask(operations.DELETE_FLAVOR, DeleteFlavor(type=ComponentType.ALERTER, name="slack"))
    delete(alice, made.id)
    alice.ask(operations.DELETE_FLAVOR, forget)
    with pytest.raises(NotFound) as caught:
        alice.ask(operations.DELETE_FLAVOR, forget)
    assert caught.value.hint == "the flavors are: slack"


def test_many_may_register_one_flavor(alice: Person) -> None:
    """Several who register one flavor at once all succeed: it is known afterwards."""
    outcomes = together(12, lambda _: register_flavor(alice, CUSTOM))
    assert outcomes == [CUSTOM] * 12
    assert alice.ask(operations.GET_FLAVOR, GetFlavor(type=CUSTOM.type, name="mine")) == CUSTOM
