"""Any sequence of operations of two users, against a model in plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from strongroom.config import Settings
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, NothingToChange, StaleVersion, StrongroomError
from strongroom.models.secret import Scope
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.people import Person, add_person

KEPT = 3
NAMES = st.sampled_from(["a", "b", "c"])
SCOPES = st.sampled_from(Scope)
KEYS = st.sampled_from(["k", "l", "m"])
TEXTS = st.integers(0, 3)  # the values are made from these, so that no example that is printed shows one
USERS = st.sampled_from([0, 1])
VALUES = st.dictionaries(KEYS, TEXTS, max_size=3)
CHANGES = st.one_of(st.none(), st.dictionaries(KEYS, st.one_of(st.none(), TEXTS), max_size=3))
VERSIONS = st.integers(0, 6)
WHICH = st.integers(0, 8)


def text(number: int) -> str:
    return f"{CANARY}-{number}"


@dataclass
class Model:
    """One secret as it should be."""

    id: str
    name: str
    scope: Scope
    owner: int
    versions: dict[int, dict[str, str]]
    current: int = 1
    last: int = 1
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> int | None:
        return self.owner if self.scope is Scope.USER else None

    @property
    def values(self) -> dict[str, str]:
        return self.versions[self.current]


class SecretMachine(RuleBasedStateMachine):
    """Two users in a workspace of their own, so that runs on one database do not meet."""

    numbers = itertools.count()

    def __init__(self, service: Service) -> None:
        super().__init__()
        number = next(self.numbers)
        first = add_person(service, f"first{number}", workspace=f"workspace{number}")
        second = add_person(service, f"second{number}")
        actor = msgspec.structs.replace(second.actor, workspace_id=first.actor.workspace_id, workspace=first.actor.workspace)
        self.people: list[Person] = [first, replace(second, actor=actor)]
        self.model: dict[str, Model] = {}

        self.deleted = "00000000-0000-7000-8000-000000000000"

    def pick(self, which: int) -> str:
        """One of the secrets that are there, or now and then the one that was deleted last."""
        ids = sorted(self.model)
        return ids[which % len(ids)] if ids and which < 8 else self.deleted

    def visible(self, user: int, secret_id: str) -> Model | None:
        found = self.model.get(secret_id)
        return found if found is not None and found.namespace in (None, user) else None

    def taken(self, name: str, namespace: int | None, but: str = "") -> bool:
        return any(each.name == name and each.namespace == namespace and each.id != but for each in self.model.values())

    def fails(self, expected: set[type[StrongroomError]], attempt: Callable[[], Any]) -> None:
        """One of the expected errors is raised; that nothing has changed is checked by the invariants."""
        with pytest.raises(tuple(expected)) as caught:
            attempt()
        assert type(caught.value) in expected

    @rule(user=USERS, name=NAMES, scope=SCOPES, values=VALUES)
    def create(self, user: int, name: str, scope: Scope, values: dict[str, int]) -> None:
        texts = {key: text(number) for key, number in values.items()}
        expected: set[type[StrongroomError]] = set() if values else {InvalidInput}
        if self.taken(name, user if scope is Scope.USER else None):
            expected.add(AlreadyExists)
        if expected:
            self.fails(expected, lambda: self.people[user].create(name, texts, scope))
            return
        made = self.people[user].create(name, texts, scope)
        assert made.id not in self.model
        self.model[made.id] = Model(made.id, name, scope, user, {1: texts})

    @rule(
        user=USERS,
        which=WHICH,
        changes=CHANGES,
        name=st.one_of(st.none(), NAMES),
        scope=st.one_of(st.none(), SCOPES),
        description=st.one_of(st.none(), st.sampled_from(["", "d", "e"])),
        labels=st.one_of(st.none(), st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2)),
        if_version=st.one_of(st.none(), st.none(), VERSIONS),
    )
    def update(
        self,
        user: int,
        which: int,
        changes: dict[str, int | None] | None,
        name: str | None,
        scope: Scope | None,
        description: str | None,
        labels: dict[str, str] | None,
        if_version: int | None,
    ) -> None:
        secret_id = self.pick(which)
        given: dict[str, Any] = {"name": name, "scope": scope, "description": description, "labels": labels}
        fields = {key: value for key, value in given.items() if value is not None}
        texts = None if changes is None else {key: None if number is None else text(number) for key, number in changes.items()}
        known = self.visible(user, secret_id)
        expected: set[type[StrongroomError]] = set()
        if not fields and not changes:
            expected.add(NothingToChange)
        if known is None:
            expected.add(NotFound)
        else:
            values = dict(known.values)
            for key, value in (texts or {}).items():
                if value is not None:
                    values[key] = value
                elif values.pop(key, None) is None:
                    expected.add(InvalidInput)
            if not values or (scope is Scope.USER and known.owner != user):
                expected.add(InvalidInput)
            if if_version is not None and if_version != known.current:
                expected.add(StaleVersion)
            namespace = known.namespace if scope is None else (known.owner if scope is Scope.USER else None)
            if self.taken(name or known.name, namespace, secret_id):
                expected.add(AlreadyExists)
        if expected:
            self.fails(expected, lambda: self.people[user].update(secret_id, texts, if_version=if_version, **fields))
            return
        assert known is not None
        changed = self.people[user].update(secret_id, texts, if_version=if_version, **fields)
        known.name, known.scope = name or known.name, scope or known.scope
        known.description = known.description if description is None else description
        known.labels = known.labels if labels is None else labels
        if list(values.items()) != list(known.values.items()):
            former, known.last = known.current, known.last + 1
            known.current = known.last
            known.versions[known.current] = values
            for number in [number for number in known.versions if number <= known.last - KEPT and number != former]:
                del known.versions[number]
        assert (changed.version, changed.keys, changed.name, changed.scope) == (known.current, list(values), known.name, known.scope)
        assert (changed.description, changed.labels) == (known.description, known.labels)

    @rule(which=WHICH, key=KEYS, number=TEXTS)
    def set_one_value(self, which: int, key: str, number: int) -> None:
        known = self.model.get(self.pick(which))
        if known is not None:
            self.update(known.owner, which, {key: number}, None, None, None, None, None)

    @rule(which=WHICH, back=st.integers(1, KEPT))
    def go_back(self, which: int, back: int) -> None:
        known = self.model.get(self.pick(which))
        if known is not None:
            self.rollback(known.owner, which, known.last - back)

    @rule(user=USERS, which=WHICH, version=VERSIONS)
    def rollback(self, user: int, which: int, version: int) -> None:
        secret_id = self.pick(which)
        known = self.visible(user, secret_id)
        if known is None or version not in known.versions:
            self.fails({NotFound}, lambda: self.people[user].rollback(secret_id, version))
        elif version == known.current:
            self.fails({NothingToChange}, lambda: self.people[user].rollback(secret_id, version))
        else:
            assert self.people[user].rollback(secret_id, version).version == version
            known.current = version

    @rule(user=USERS, which=WHICH)
    def delete(self, user: int, which: int) -> None:
        secret_id = self.pick(which)
        if self.visible(user, secret_id) is None:
            self.fails({NotFound}, lambda: self.people[user].delete(secret_id))
        else:
            self.people[user].delete(secret_id)
            del self.model[secret_id]
            self.deleted = secret_id

    @rule(user=USERS, which=WHICH, version=st.one_of(st.none(), VERSIONS))
    def get(self, user: int, which: int, version: int | None) -> None:
        secret_id = self.pick(which)
        known = self.visible(user, secret_id)
        if known is None or (version is not None and version not in known.versions):
            self.fails({NotFound}, lambda: self.people[user].get(secret_id, version))
        else:
            read = self.people[user].get(secret_id, version)
            wanted = known.current if version is None else version
            assert (read.version, read.secret_values) == (wanted, known.versions[wanted])

    @rule(user=USERS, name=NAMES, scope=st.one_of(st.none(), SCOPES))
    def get_by_name(self, user: int, name: str, scope: Scope | None) -> None:
        order = [user, None] if scope is None else [user if scope is Scope.USER else None]
        found = [each for namespace in order for each in self.model.values() if (each.name, each.namespace) == (name, namespace)]
        if found:
            read = self.people[user].get_by_name(name, scope)
            assert (read.id, read.secret_values) == (found[0].id, found[0].values)
        else:
            self.fails({NotFound}, lambda: self.people[user].get_by_name(name, scope))

    @rule(user=USERS, which=WHICH)
    def history(self, user: int, which: int) -> None:
        secret_id = self.pick(which)
        known = self.visible(user, secret_id)
        if known is None:
            self.fails({NotFound}, lambda: self.people[user].versions(secret_id))
        else:
            listed = [(each.version, each.current, each.keys) for each in self.people[user].versions(secret_id)]
            assert listed == [
                (number, number == known.current, list(known.versions[number])) for number in sorted(known.versions)[::-1]
            ]

    @rule(user=USERS, label=st.sampled_from(["x=1", "y=2"]))
    def list_by_label(self, user: int, label: str) -> None:
        wanted = [
            each.id for each in self.model.values() if self.visible(user, each.id) and label in map("=".join, each.labels.items())
        ]
        assert [secret.id for secret in self.people[user].list(label=[label], size=1000)] == sorted(wanted)

    @invariant()
    def each_user_sees_what_the_model_says(self) -> None:
        for user, person in enumerate(self.people):
            page = person.list(size=1000)
            seen = [(each.id, each.name, each.scope, each.version, each.keys, each.description, each.labels) for each in page]
            wanted = [
                (each.id, each.name, each.scope, each.current, list(each.values), each.description, each.labels)
                for each in sorted(self.model.values(), key=lambda each: each.id)
                if self.visible(user, each.id)
            ]
            assert seen == wanted
            assert page.total == len(wanted)

    def teardown(self) -> None:
        for each in self.model.values():
            owner = self.people[each.owner]
            for number, values in each.versions.items():
                assert owner.get(each.id, number).secret_values == values


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_any_sequence_of_operations(settings: Settings) -> None:
    """Whatever two users do in whatever order, results, errors, lists and histories are those of the model."""
    _run(settings, 60, 40)


@pytest.mark.parametrize("settings", ["postgresql", "mariadb"], indirect=True)
def test_any_sequence_of_operations_on_servers(settings: Settings) -> None:
    """The same on the other databases."""
    _run(settings, 8, 40)


def _run(settings: Settings, examples: int, steps: int) -> None:
    service = Service(replace(settings, keep_versions=KEPT))
    try:
        run_state_machine_as_test(
            lambda: SecretMachine(service), settings=hypothesis_settings(max_examples=examples, stateful_step_count=steps)
        )
    finally:
        service.close()
