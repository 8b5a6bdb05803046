"""What a run token opens and what it does not: over every operation, and through every door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from strongroom.auth.policy import Role
from strongroom.db.identifiers import new_id
from strongroom.models.reference import Need, Reference
from strongroom.models.secret import Scope
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import stack as of_stack
from strongroom.operations import user as of_user
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.canary import holds_canary
from tests.example_requests import Door, Example, Outcome, OverHttp, Row, Somebody, Thing, begin_run, make_secret, unused
from tests.security.test_matrix import asked_of_database, shape

SECRET_READS = (of_secret.GET, of_secret.GET_BY_NAME, of_secret.GET_METADATA, of_secret.GET_METADATA_BY_NAME)


@pytest.fixture
def owner(door: Door) -> Somebody:
    """Somebody who may do everything."""
    return door.add(Role.ADMIN, admin=True)


def test_every_operation_that_is_open_to_runs_is_gated(local_service: Service) -> None:
    """The gate knows exactly the operations that the table opens to runs; an operation is closed unless its row says otherwise."""
    assert local_service.gate.operations == {row.name for row in ALL_OPERATIONS if row.for_runs}
    assert all(row.permission is not None for row in ALL_OPERATIONS if row.for_runs)


def test_a_run_token_opens_what_the_table_says(door: Door, owner: Somebody) -> None:
    """Of all operations, the token of an administrator's run opens those for runs, about what it was granted; the rest is refused."""
    other = door.add(Role.VIEWER).name
    wrong = []
    for operation in ALL_OPERATIONS:
        if operation.permission is None:
            continue  # nobody's token is looked at
        for everything in (False,) if operation.for_runs else (False, True):
            secret = make_secret(door, owner, Scope.WORKSPACE)
            run, bearer = begin_run(door, owner, Need(secret.name))
            fields = Example(door, owner, operation, secret, other, run).fields(everything=everything)
            if operation is of_stack.USE:
                fields["name"] = "default"
            outcome = door.ask(operation, fields, bearer)
            done, told = outcome.status < 300, outcome.status == 403 and "run token" in outcome.message
            if not (done if operation.for_runs else told):
                wrong.append((operation.name, everything, outcome.status, outcome.message))
    assert wrong == []


def test_what_was_not_granted_is_like_none_at_all(door: Door, owner: Somebody) -> None:
    """A secret that the run was not granted, one of somebody else, and one that is not there are refused alike, and cost as much."""
    granted = make_secret(door, owner, Scope.WORKSPACE)
    _, bearer = begin_run(door, owner, Need(granted.name, "k"))
    things = [
        make_secret(door, owner, Scope.WORKSPACE),
        make_secret(door, owner, Scope.USER),
        make_secret(door, door.add(Role.EDITOR), Scope.USER),
        Thing(new_id(), unused("s")),
    ]
    for operation in (*SECRET_READS, of_secret.RESOLVE, of_secret.CHECK):
        for everything in (False, True):
            said = []
            for thing in things:
                fields = Example(door, owner, operation, thing).fields(everything=everything)
                if "references" in fields:
                    fields = {"references": [Reference(thing.name, "k"), Reference(thing.name, "absent")]}
                with asked_of_database(door) as count:
                    outcome = door.ask(operation, fields, bearer)
                assert not holds_canary(outcome.body)
                assert outcome.status == (200 if "references" in fields else 403), operation.name
                said.append((shape(outcome, thing), len(count)))
            assert said == said[:1] * len(things), operation.name


def test_a_granted_key_is_given_alone(door: Door, owner: Somebody) -> None:
    """Other keys of the secret are neither in its values nor among its keys, and cannot be resolved."""
    name = unused("s")
    assert door.ask(of_secret.CREATE, {"name": name, "values": {"a": text("1"), "b": text("2"), "c": text("3")}}, owner).status < 300
    secret = Thing(door_id(door, owner, name), name)
    _, bearer = begin_run(door, owner, Need(name, "c"), Need(name, "a"), Need(name, "later"))
    for operation in SECRET_READS:
        data = data_of(door.ask(operation, {"id": secret.id} if "id" in operation.path else {"name": name}, bearer))
        assert data["keys"] == ["a", "c"]
        assert set(data.get("values", {"a": 0, "c": 0})) == {"a", "c"}
    references = [Reference(name, key) for key in ("a", "b", "later", "a")]
    for operation in (of_secret.RESOLVE, of_secret.CHECK):
        items = data_of(door.ask(operation, {"references": references}, bearer))["items"]
        assert [item["status"] for item in items] == ["ok", "not_granted", "no_key", "ok"]
        assert not items[1].get("keys")
        assert items[1].get("secret_id") is None


def test_only_the_current_version_is_read(door: Door, owner: Somebody) -> None:
    """A former value stays closed, also to whom its secret is granted; the current version may be asked for by its number."""
    secret = make_secret(door, owner, Scope.WORKSPACE)
    _, bearer = begin_run(door, owner, Need(secret.name))
    for operation in SECRET_READS:
        about = {"id": secret.id} if "id" in operation.path else {"name": secret.name}
        assert door.ask(operation, {**about, "version": 2}, bearer).status == 200
        for version in (1, 3):
            outcome = door.ask(operation, {**about, "version": version}, bearer)
            assert (outcome.status, "current version" in outcome.message) == (403, True)


def test_a_later_secret_of_the_name_is_not_covered(door: Door, owner: Somebody) -> None:
    """A grant is for the secret that had the name when the run began: one that takes its place, or lies over it, stays closed."""
    secret = make_secret(door, owner, Scope.WORKSPACE)
    _, bearer = begin_run(door, owner, Need(secret.name))
    make_secret(door, owner, Scope.USER, secret.name)
    assert door.ask(of_secret.GET_BY_NAME, {"name": secret.name}, bearer).status == 403
    resolved = data_of(door.ask(of_secret.RESOLVE, {"references": [Reference(secret.name, "k")]}, bearer))["items"]
    assert [item["status"] for item in resolved] == ["not_granted"]
    assert door.ask(of_secret.GET, {"id": secret.id}, bearer).status == 200
    assert door.ask(of_secret.DELETE, {"id": secret.id}, owner).status in (200, 204)
    assert door.ask(of_secret.GET, {"id": secret.id}, bearer).status == 404


def test_a_run_is_granted_what_its_owner_sees(door: Door, owner: Somebody) -> None:
    """Somebody else's private secret is not granted by its name; one's own private one is, before the workspace's."""
    other = door.add(Role.EDITOR)
    name = unused("s")
    make_secret(door, other, Scope.USER, name)
    _, bearer = begin_run(door, owner, Need(name))
    assert door.ask(of_secret.GET_BY_NAME, {"name": name}, bearer).status == 403
    make_secret(door, owner, Scope.WORKSPACE, name)
    own = make_secret(door, owner, Scope.USER, name)
    _, bearer = begin_run(door, owner, Need(name))
    assert data_of(door.ask(of_secret.GET_BY_NAME, {"name": name}, bearer))["id"] == own.id


def test_no_run_is_named_like_an_id(door: Door, owner: Somebody) -> None:
    """A name that looks like an id is refused, however it is spelled; and a run token reads its own run by either of its names."""
    victim, _ = begin_run(door, owner)
    for name in (victim.id, victim.id.upper(), new_id()):
        fields = {"pipeline": "training", "stack": "default", "name": name}
        assert door.ask(of_run.CREATE, fields, owner).status == 422
    own, bearer = begin_run(door, owner)
    for name in (own.id, own.name):
        assert data_of(door.ask(of_run.GET, {"name": name}, bearer))["id"] == own.id
    assert door.ask(of_run.GET, {"name": victim.id}, bearer).status == 403


def test_other_runs_and_stacks_are_closed(door: Door, owner: Somebody) -> None:
    """A run token neither reads nor writes the record of another run of the same owner, nor uses another stack."""
    run, bearer = begin_run(door, owner)
    other, _ = begin_run(door, owner)
    update = {"step": "load", "status": "running"}
    refused: list[tuple[Row, dict[str, Any]]] = [
        (of_run.GET, {"name": other.id}),
        (of_run.GET, {"name": other.name}),
        (of_run.GET, {"name": "absent"}),
        (of_run.UPDATE_STEP, {"id": other.id, **update}),
        (of_run.RECORD_READS, {"id": other.id, "reads": []}),
        (of_secret.RESOLVE, {"references": [], "run_id": other.id}),
        (of_stack.USE, {"name": "another"}),
    ]
    for operation, fields in refused:
        outcome = door.ask(operation, fields, bearer)
        assert (operation.name, outcome.status, "run token" in outcome.message) == (operation.name, 403, True)
    assert door.ask(of_run.GET, {"name": run.name}, bearer).status == 200
    assert door.ask(of_stack.USE, {"name": None}, bearer).status == 200


def test_who_a_run_token_is(door: Door, owner: Somebody) -> None:
    """It is the run's owner, in the run's workspace, without the administration of the server."""
    _, bearer = begin_run(door, owner)
    data = data_of(door.ask(of_user.WHO_AM_I, {}, bearer))
    assert (data["name"], data["admin"], data["workspace"], data["role"]) == (owner.name, False, door.workspace, "admin")


def test_the_token_is_shown_once(door: Door, owner: Somebody) -> None:
    """Neither the record of a run nor a list of runs has a token, whoever asks."""
    run, bearer = begin_run(door, owner)
    for operation, fields, who in (
        (of_run.GET, {"name": run.id}, owner),
        (of_run.GET, {"name": run.id}, bearer),
        (of_run.LIST, {}, owner),
    ):
        outcome = door.ask(operation, fields, who)
        assert outcome.status == 200
        assert b"srr_" not in outcome.body
        assert b"token" not in outcome.body


def test_a_kept_reply_is_not_given_to_a_run(admin: Any) -> None:
    """A run token gets no reply that its owner's request with an idempotency key left behind, and a run's own reply is never kept."""
    door = OverHttp(admin)
    owner = door.add(Role.EDITOR)
    _, bearer = begin_run(door, owner)
    fields = {"name": unused("s"), "values": {"k": "v"}}
    assert owner.handle.call("POST", "/secrets", fields, Idempotency_Key="one").status == 201
    assert bearer.handle.call("POST", "/secrets", fields, Idempotency_Key="one").status == 403
    answer = owner.handle.call("POST", "/runs", {"pipeline": "p", "stack": "default"}, Idempotency_Key="two")
    assert (answer.status, "kept nowhere" in answer.error["hint"]) == (422, True)


def text(value: str) -> Any:
    """A value as a door takes it."""
    return SecretText(value)


def data_of(outcome: Outcome) -> Any:
    assert outcome.status < 300, outcome
    return json.loads(outcome.body)


def door_id(door: Door, who: Somebody, name: str) -> str:
    found: str = data_of(door.ask(of_secret.GET_METADATA_BY_NAME, {"name": name}, who))["id"]
    return found
