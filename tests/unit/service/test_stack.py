"""The rules of stacks, on every database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from strongroom.auth.policy import Role
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, NothingToChange, StrongroomError
from strongroom.models.component import CreateComponent, DeleteComponent
from strongroom.models.flavor import Attribute, ComponentType, Flavor, RegisterFlavor
from strongroom.models.page import Page
from strongroom.models.stack import ActivateStack, CreateStack, DeleteStack, GetStack, ListStacks, Stack, StackUse, UpdateStack
from strongroom.operations import component as component_operations
from strongroom.operations import stack as operations
from strongroom.redaction import MASK
from strongroom.service.wiring import Service
from tests.people import Person, add_person, together

PLAIN = "plain-password-1"  # stored as it is, so no canary
ABSENT = "00000000-0000-7000-8000-000000000000"
TRACKER, STORE, ORCHESTRATOR = ComponentType.EXPERIMENT_TRACKER, ComponentType.ARTIFACT_STORE, ComponentType.ORCHESTRATOR
DEFAULTS = {ORCHESTRATOR: "default", STORE: "default"}


def component(person: Person, name: str, component_type: ComponentType = TRACKER, flavor: str = "mlflow", **attributes: Any) -> str:
    request = CreateComponent(name=name, type=component_type, flavor=flavor, configuration=attributes)
    return person.ask(component_operations.CREATE, request).id


def create(person: Person, name: str, components: dict[ComponentType, str] | None = None, *, activate: bool = False) -> Stack:
    return person.ask(operations.CREATE, CreateStack(name=name, components={**DEFAULTS, **(components or {})}, activate=activate))


def get(person: Person, name: str | None = None) -> Stack:
    return person.ask(operations.GET, GetStack(name=name))


def use(person: Person, name: str | None = None) -> StackUse:
    return person.ask(operations.USE, GetStack(name=name))


def listed(person: Person, **filters: Any) -> Page[Stack]:
    return person.ask(operations.LIST, ListStacks(**filters))


def update(person: Person, stack_id: str, name: str | None = None, **components: str | None) -> Stack:
    parts = {ComponentType(kind): part for kind, part in components.items()}
    return person.ask(operations.UPDATE, UpdateStack(id=stack_id, name=UNSET if name is None else name, components=parts))


def activate(person: Person, name: str) -> Stack:
    return person.ask(operations.ACTIVATE, ActivateStack(name=name))


def delete(person: Person, stack_id: str) -> None:
    person.ask(operations.DELETE, DeleteStack(id=stack_id))


def parts_of(stack: Stack | StackUse) -> list[tuple[str, str]]:
    return [(part.type.value, part.name) for part in stack.components]


def test_the_default_stack_is_there_and_active(alice: Person) -> None:
    """A workspace begins with the stack 'default', which everybody uses who has chosen no other."""
    stack = get(alice)
    assert (stack.name, stack.active, stack.workspace) == ("default", True, "default")
    assert parts_of(stack) == [("artifact_store", "default"), ("orchestrator", "default")]
    assert get(alice, "default") == stack
    assert listed(alice).items == [stack]


def test_a_new_stack_is_as_it_was_given(alice: Person, bob: Person) -> None:
    """What `create` replies, what `get` reads and what `list` shows agree; it is active only for who said so."""
    component(alice, "tracker", tracking_uri="http://tracker")
    made = create(alice, "ml", {TRACKER: "tracker"}, activate=True)
    assert (made.name, made.owner, made.active) == ("ml", "alice", True)
    assert parts_of(made) == [("artifact_store", "default"), ("experiment_tracker", "tracker"), ("orchestrator", "default")]
    assert made == get(alice) == get(alice, "ml") == listed(alice, name="ml").items[0]
    assert get(bob).name == "default"
    assert not get(bob, "ml").active
    assert not create(alice, "other").active


@pytest.mark.parametrize("missing", [ORCHESTRATOR, STORE])
def test_what_a_stack_needs(alice: Person, missing: ComponentType) -> None:
    """Without an orchestrator or an artifact store there is no stack, neither on create nor by an update."""
    rest = {kind: name for kind, name in DEFAULTS.items() if kind is not missing}
    with pytest.raises(InvalidInput, match=f"a stack needs an {missing.words}") as caught:
        alice.ask(operations.CREATE, CreateStack(name="ml", components=rest))
    assert f"--{missing.command}" in (caught.value.hint or "")
    made = create(alice, "ml")
    with pytest.raises(InvalidInput, match=f"a stack needs an {missing.words}"):
        update(alice, made.id, **{missing.value: None})
    assert get(alice, "ml") == made


def test_components_are_named_exactly(alice: Person) -> None:
    """A component that is not there, or of another type, makes no stack; one like it is suggested."""
    component(alice, "tracker")
    for parts, hint in (
        ({TRACKER: "trackr"}, "did you mean tracker?"),
        ({TRACKER: "default"}, "see them with: strongroom experiment-tracker list"),
        ({STORE: "tracker"}, "see them with: strongroom artifact-store list"),
    ):
        with pytest.raises(NotFound) as caught:
            create(alice, "ml", parts)
        assert caught.value.hint == hint
    assert listed(alice).total == 1


@pytest.mark.parametrize("name", ["", "a b", "a.b", "{{a.b}}", "{{a}}", "a" * 256, "\u00e4", "a\n", "\0"], ids=range(9))
def test_bad_names(alice: Person, name: str) -> None:
    """A stack's name has letters, digits, '_' and '-'."""
    made = create(alice, "good")
    for attempt in (lambda: create(alice, name), lambda: update(alice, made.id, name=name)):
        with pytest.raises(InvalidInput, match="the name of the stack"):
            attempt()
    assert listed(alice).total == 2


def test_look_ups_are_exact(alice: Person, service: Service) -> None:
    """Stacks are found by exact name, within the workspace; another one is suggested, never taken."""
    made = create(alice, "ml")
    stranger = add_person(service, "zoe", workspace="elsewhere")
    for person, name in [(alice, name) for name in ("ML", "m", "ml ", "", "\0", "m%", "\ud800", made.id)] + [(stranger, "ml")]:
        for look in (get, use, activate):
            with pytest.raises(NotFound, match="there is no stack"):
                look(person, name)
    with pytest.raises(NotFound) as caught:
        get(alice, "mll")
    assert caught.value.hint == "did you mean ml?"
    with pytest.raises(NotFound) as caught:
        get(stranger, "mll")
    assert caught.value.hint == "see them with: strongroom stack list"
    for attempt in (lambda: update(stranger, made.id, name="x"), lambda: delete(stranger, made.id)):
        with pytest.raises(NotFound, match="no stack with the id"):
            attempt()
    assert listed(stranger).total == 0


def test_lists_are_filtered_and_paged(alice: Person) -> None:
    """Pages come by name, with the components of each stack."""
    component(alice, "tracker")
    for name in ("b_1", "a", "bx1"):
        create(alice, name, {TRACKER: "tracker"})
    page = listed(alice, size=3)
    assert ([item.name for item in page], page.total, page.total_pages) == (["a", "b_1", "bx1"], 4, 2)
    assert all(len(item.components) == 3 for item in page)
    assert [item.name for item in listed(alice, page=2, size=3)] == ["default"]
    assert listed(alice, page=9).items == []
    assert [item.name for item in listed(alice, name="startswith:b_")] == ["b_1"]
    with pytest.raises(InvalidInput):
        listed(alice, size=0)


def test_updates(alice: Person) -> None:
    """Components are put in, replaced and taken out, the rest stays, all at once with a new name; the stack stays active."""
    for name in ("one", "two"):
        component(alice, name)
    component(alice, "models", ComponentType.MODEL_REGISTRY, tracking_uri="x")
    made = create(alice, "ml", {TRACKER: "one"}, activate=True)
    changed = update(alice, made.id, name="renamed", experiment_tracker="two", model_registry="models")
    assert parts_of(changed) == [
        ("artifact_store", "default"),
        ("experiment_tracker", "two"),
        ("model_registry", "models"),
        ("orchestrator", "default"),
    ]
    assert (changed.id, changed.name, changed.active, changed.created) == (made.id, "renamed", True, made.created)
    assert changed.updated > made.updated
    assert get(alice) == changed
    assert parts_of(update(alice, made.id, experiment_tracker=None, alerter=None)) == [
        ("artifact_store", "default"),
        ("model_registry", "models"),
        ("orchestrator", "default"),
    ]


def test_refused_updates_change_nothing(alice: Person) -> None:
    """Every error of an update leaves the stack as it was."""
    component(alice, "tracker")
    made = create(alice, "ml", {TRACKER: "tracker"})
    create(alice, "taken")
    default = get(alice, "default")
    attempts: list[tuple[type[StrongroomError], str, Callable[[], object]]] = [
        (NothingToChange, "nothing to change", lambda: update(alice, made.id)),
        (AlreadyExists, "stack 'taken' already exists", lambda: update(alice, made.id, name="taken", experiment_tracker=None)),
        (NotFound, "no experiment tracker 'zzz'", lambda: update(alice, made.id, name="new", experiment_tracker="zzz")),
        (NotFound, "no stack with the id", lambda: update(alice, ABSENT, name="new")),
        (NotFound, "no stack with the id", lambda: update(alice, "ml", name="new")),
        (NotFound, "no stack with the id", lambda: update(alice, "\0", name="new")),
        (InvalidInput, "the default stack keeps its name", lambda: update(alice, default.id, name="new")),
    ]
    for kind, message, attempt in attempts:
        with pytest.raises(kind, match=message):
            attempt()
    assert get(alice, "ml") == made
    assert get(alice, "default") == default
    assert parts_of(update(alice, default.id, experiment_tracker="tracker"))[1] == ("experiment_tracker", "tracker")


def test_deletion(alice: Person) -> None:
    """A deleted stack is gone, its components stay, its name is free."""
    component(alice, "tracker")
    made = create(alice, "ml", {TRACKER: "tracker"})
    delete(alice, made.id)
    for attempt in (lambda: get(alice, "ml"), lambda: delete(alice, made.id), lambda: delete(alice, "ml")):
        with pytest.raises(NotFound):
            attempt()
    assert create(alice, "ml", {TRACKER: "tracker"}).id != made.id


def test_the_default_and_the_active_stack_stay(alice: Person, bob: Person) -> None:
    """Nobody deletes the default stack, or their own active one; the hint says what to do."""
    made = create(alice, "ml", activate=True)
    for person in (alice, bob):
        with pytest.raises(InvalidInput, match="the default stack stays"):
            delete(person, get(person, "default").id)
    with pytest.raises(InvalidInput, match="is your active one") as caught:
        delete(alice, made.id)
    assert caught.value.hint == "choose another one first: strongroom stack set default"
    activate(alice, "default")
    delete(alice, made.id)


def test_whose_stack_is_deleted_falls_back(alice: Person, bob: Person) -> None:
    """Whoever used a stack that somebody else deletes uses the default one, also when a new one gets its name."""
    made = create(alice, "ml", activate=True)
    delete(bob, made.id)
    assert (get(alice).name, get(alice).active) == ("default", True)
    assert use(alice).name == "default"
    create(bob, "ml")
    assert get(alice).name == "default"


def test_everybody_has_an_active_stack_of_their_own(alice: Person, bob: Person) -> None:
    """Choosing a stack changes nothing for others; who may only look may choose, too."""
    create(alice, "ml")
    viewer = bob.as_role(Role.VIEWER)
    assert activate(viewer, "ml").active
    assert get(bob).name == "ml"
    assert [item.name for item in listed(bob) if item.active] == ["ml"]
    assert [item.name for item in listed(alice) if item.active] == ["default"]
    with pytest.raises(NotFound):
        activate(bob, "absent")
    assert get(bob).name == "ml"


def test_what_it_takes_to_use_a_stack(alice: Person) -> None:
    """`use` gives attributes as they are stored, with the flavors; everything else masks plain text."""
    flavor = Flavor(name="mine", type=ComponentType.ALERTER, source="mine:Mine", attributes=[Attribute("token", sensitive=True)])
    alice.ask(component_operations.REGISTER_FLAVOR, RegisterFlavor(flavor=flavor))
    component(alice, "tracker", tracking_password=PLAIN, tracking_username="{{a.b}}")
    component(alice, "mine", ComponentType.ALERTER, "mine", token=PLAIN)
    made = create(alice, "ml", {TRACKER: "tracker", ComponentType.ALERTER: "mine"}, activate=True)
    found = use(alice)
    assert found == use(alice, "ml")
    assert (found.id, found.name) == (made.id, "ml")
    by_type = {part.type: part for part in found.components}
    assert by_type[TRACKER].configuration == {"tracking_password": PLAIN, "tracking_username": "{{a.b}}"}
    assert by_type[TRACKER].flavor.name == "mlflow"
    assert by_type[ComponentType.ALERTER].flavor == flavor
    for shown in (made, get(alice), listed(alice, name="ml").items[0], activate(alice, "ml"), update(alice, made.id, name="x")):
        configurations = {part.type: part.configuration for part in shown.components}
        assert configurations[TRACKER] == {"tracking_password": MASK, "tracking_username": "{{a.b}}"}
        assert configurations[ComponentType.ALERTER] == {"token": MASK}
        assert PLAIN not in repr(shown)


def test_roles(alice: Person) -> None:
    """Viewers look and choose; readers use as well; only editors write."""
    made = create(alice, "ml")
    viewer, reader = alice.as_role(Role.VIEWER), alice.as_role(Role.READER)
    assert get(viewer, "ml") == get(reader, "ml")
    assert listed(viewer).total == 2
    assert use(reader, "ml").name == "ml"
    with pytest.raises(Forbidden, match="stack:use"):
        use(viewer, "ml")
    for person in (viewer, reader):
        for attempt in (
            lambda person=person: create(person, "x"),
            lambda person=person: update(person, made.id, name="x"),
            lambda person=person: delete(person, made.id),
        ):
            with pytest.raises(Forbidden, match="stack:write"):
                attempt()


def test_of_many_creators_one_wins(alice: Person) -> None:
    """Of several creates of one name at once, one succeeds and the others are told that it exists; renames likewise."""
    outcomes = together(8, lambda _: create(alice, "ml"))
    assert sum(isinstance(outcome, Stack) for outcome in outcomes) == 1
    assert outcomes.count(AlreadyExists) == 7
    made = [create(alice, f"s{number}").id for number in range(6)]
    outcomes = together(6, lambda number: update(alice, made[number], name="renamed"))
    assert sum(isinstance(outcome, Stack) for outcome in outcomes) == 1
    assert outcomes.count(AlreadyExists) == 5
    assert listed(alice).total == 8


def test_one_may_choose_in_two_places(alice: Person) -> None:
    """Somebody who chooses stacks in several places at once ends with one of them, and gets no error."""
    for number in range(6):
        create(alice, f"s{number}")
    outcomes = together(6, lambda number: activate(alice, f"s{number}"))
    assert [isinstance(outcome, Stack) and outcome.name for outcome in outcomes] == [f"s{number}" for number in range(6)]
    assert get(alice).name.startswith("s")
    assert sum(item.active for item in listed(alice)) == 1
    outcomes = together(6, lambda number: create(alice, f"t{number}", activate=True))
    assert all(isinstance(outcome, Stack) for outcome in outcomes)


def test_concurrent_updates_lose_nothing(alice: Person) -> None:
    """A rename and components put in at the same time are all there in the end."""
    kinds = [TRACKER, ComponentType.MODEL_REGISTRY, ComponentType.ALERTER]
    for kind, flavor in zip(kinds, ("mlflow", "mlflow", "slack"), strict=True):
        component(alice, "part", kind, flavor, **({"channel": "c"} if flavor == "slack" else {"tracking_uri": "x"}))
    for round_ in range(3):
        made = create(alice, f"before{round_}")

        def change(number: int, made: Stack = made, round_: int = round_) -> Stack:
            if number == 3:
                return update(alice, made.id, name=f"after{round_}")
            return update(alice, made.id, **{kinds[number].value: "part"})

        assert all(isinstance(outcome, Stack) for outcome in together(4, change))
        assert {part.type for part in get(alice, f"after{round_}").components} == {ORCHESTRATOR, STORE, *kinds}


def test_creating_and_deleting_at_once(alice: Person, bob: Person) -> None:
    """Who puts a component into a stack while somebody deletes it is told that it is gone, or the other that it is in use."""
    for round_ in range(5):
        part = component(alice, "part")

        def change(number: int, part: str = part, round_: int = round_) -> object:
            if number == 0:
                return alice.ask(component_operations.DELETE, DeleteComponent(id=part))
            return create(bob, f"s{round_}", {TRACKER: "part"})

        deleted, made = together(2, change)
        assert (deleted, made) == (None, NotFound) or (deleted is InvalidInput and isinstance(made, Stack)), (deleted, type(made))
        if isinstance(made, Stack):
            delete(bob, made.id)
            alice.ask(component_operations.DELETE, DeleteComponent(id=part))


def test_choosing_and_deleting_at_once(alice: Person, bob: Person) -> None:
    """Who chooses a stack that somebody is deleting is told that it is gone, or falls back to the default one."""
    for round_ in range(5):
        made = create(alice, f"s{round_}")

        def change(number: int, made: Stack = made) -> object:
            return delete(alice, made.id) if number == 0 else activate(bob, made.name)

        deleted, chosen = together(2, change)
        assert deleted is None
        assert chosen is NotFound or isinstance(chosen, Stack)
        assert get(bob).name == "default"
