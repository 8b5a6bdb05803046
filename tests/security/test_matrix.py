"""Who may do what: every role with every operation, as the table of permissions says; and what stays hidden from everybody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import fields as fields_of
from sqlalchemy import text

from strongroom.auth.policy import PERMISSIONS, SERVER_PERMISSIONS, Role
from strongroom.db.identifiers import new_id
from strongroom.models.secret import Scope
from strongroom.operations import audit as of_audit
from strongroom.operations import job as of_job
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import user as of_user
from strongroom.operations import workspace as of_workspace
from strongroom.operations.all import ALL_OPERATIONS
from tests.canary import holds_canary
from tests.example_requests import (
    EXAMPLES,
    PLAIN,
    Dispatching,
    Door,
    Example,
    Outcome,
    OverHttp,
    Row,
    Somebody,
    Thing,
    made,
    make_secret,
)
from tests.statements import statements

PEOPLE: dict[str, tuple[Role, bool]] = {
    **{role.value: (role, False) for role in Role},
    "server admin": (Role.NONE, True),
    "server admin and admin": (Role.ADMIN, True),
}

# What the table leaves to the operations, since it depends on the workspace or the run that they name.
FURTHER: dict[str, frozenset[str]] = {
    of_workspace.ACTIVATE.name: frozenset({"server admin"}),  # sees it and does not belong to it
    of_workspace.PUT_MEMBER.name: frozenset({"viewer", "reader", "editor"}),
    of_workspace.REMOVE_MEMBER.name: frozenset({"viewer", "reader", "editor"}),
    of_workspace.UPDATE.name: frozenset({"viewer", "reader", "editor"}),
}

# Those that end what the others need come last.
IN_ORDER = sorted(ALL_OPERATIONS, key=lambda row: row is of_user.LOGOUT)
FORMS = (False, True)
"""Without the optional fields, and with all of them."""


def person(door: Door, kind: str) -> Somebody:
    role, admin = PEOPLE[kind]
    return door.add(role, admin=admin)


def allowed(kind: str, operation: Row) -> bool:
    """What the table says."""
    role, admin = PEOPLE[kind]
    permission = operation.permission
    return permission is None or permission in PERMISSIONS[role] or (admin and permission in SERVER_PERMISSIONS)


def is_turned_away(outcome: Outcome) -> bool:
    """Whether somebody was refused for who they are, and not for a wrong set-up token."""
    return outcome.status == 403 or (outcome.status == 401 and "set-up" not in outcome.message)


def test_every_field_has_an_example() -> None:
    """What these tests send is made from what the operations declare; examples of fields that there are not are none, either."""
    known = {each.name for row in ALL_OPERATIONS for each in fields_of(row.request)}
    special = {f"{row.name}.{each.name}" for row in ALL_OPERATIONS for each in fields_of(row.request)}
    assert known - {name.rpartition(".")[2] for name in EXAMPLES} == set()
    assert set(EXAMPLES) - known - special == set()


@pytest.mark.parametrize("kind", PEOPLE)
def test_each_role_may_do_what_the_table_says(door: Door, kind: str) -> None:
    """Every operation is refused to a role exactly where the table does not allow it, whatever the form of the request."""
    who, other = person(door, kind), door.add(Role.VIEWER).name
    wrong = []
    for operation in IN_ORDER:
        for everything in FORMS[: 1 if operation is of_user.LOGOUT else 2]:
            fields = Example(door, who, operation, user=other).fields(everything=everything)
            outcome = door.ask(operation, fields, who)
            expected = not allowed(kind, operation) or kind in FURTHER.get(operation.name, ())
            if is_turned_away(outcome) != expected or outcome.status >= 500:
                wrong.append((operation.name, everything, outcome.status, outcome.message))
    assert wrong == []


def test_what_is_allowed_is_done(door: Door) -> None:
    """The requests of these tests are good ones: whoever may do everything gets no error for any of them."""
    who, other = person(door, "server admin and admin"), door.add(Role.VIEWER).name
    failed = []
    for operation in IN_ORDER:
        secret = make_secret(door, who, Scope.WORKSPACE) if operation is of_secret.UPDATE else None
        # A change without its optional fields is none.
        fields = Example(door, who, operation, secret, other).fields(everything=operation.method == "PATCH")
        outcome = door.ask(operation, fields, who)
        cannot = (operation is of_user.SET_UP and isinstance(door, OverHttp)) or operation in (
            of_job.BACK_UP,
            of_job.RESTORE,
            of_audit.ACKNOWLEDGE,
        )
        is_busy = operation is of_job.VERIFY and outcome.status == 409  # with one that another request has begun
        if outcome.status >= 300 and not cannot and not is_busy:
            failed.append((operation.name, outcome.status, outcome.message))
    assert failed == []


def test_without_a_token_there_is_nothing(admin: Any) -> None:
    """Over HTTP every operation that needs a permission is refused before anything is looked at."""
    door = OverHttp(admin)
    who = door.add(Role.ADMIN)
    nobody = replace(who, handle=replace(who.handle, token=None))
    for operation in ALL_OPERATIONS:
        outcome = door.ask(operation, Example(door, who, operation, user=who.name).fields(everything=False), nobody)
        if operation.permission is not None:
            assert (operation.name, outcome.status, outcome.code) == (operation.name, 401, "unauthenticated")
        else:
            assert outcome.status != 403, operation.name


@pytest.mark.parametrize("kind", PEOPLE)
def test_each_role_with_secrets_of_each_scope(door: Door, kind: str) -> None:
    """Secrets of the workspace and one's own take what the role allows; somebody else's private one is refused alike or absent."""
    who, other = person(door, kind), door.add(Role.EDITOR)
    wrong = []
    for operation in (row for row in ALL_OPERATIONS if row.name.startswith("secret.")):
        for whose, owner, scope in (
            ("the workspace's", other, Scope.WORKSPACE),
            ("one's own", who, Scope.USER),
            ("another's", other, Scope.USER),
        ):
            example = Example(door, who, operation, make_secret(door, owner, scope))
            fields = example.fields(everything=False)
            if operation is of_secret.UPDATE:
                fields["description"] = "changed"
            outcome = door.ask(operation, fields, who)
            if not allowed(kind, operation):
                expected = {403}
            elif operation is of_secret.CREATE:  # into the workspace, where only the first one takes the name
                expected = {409} if scope is Scope.WORKSPACE else {200, 201}
            elif whose == "another's" and not {"id", "name"}.isdisjoint(fields):
                expected = {404}
            else:
                expected = {200, 204}
            if outcome.status not in expected:
                wrong.append((operation.name, whose, outcome.status, outcome.message))
    assert wrong == []


@pytest.mark.parametrize("kind", ["viewer", "none", "server admin"])
def test_no_reply_shows_a_value_to_who_may_not_read_it(door: Door, kind: str) -> None:
    """Neither values nor what stands in sensitive attributes comes back, whatever is asked for, sent or refused."""
    who, other = person(door, kind), door.add(Role.VIEWER).name
    for operation in IN_ORDER:
        for everything in FORMS[: 1 if operation is of_user.LOGOUT else 2]:
            own = make_secret(door, who, Scope.USER) if everything and operation.name.startswith("secret.") else None
            fields = Example(door, who, operation, own, other).fields(everything=everything)
            outcome = door.ask(operation, fields, who)
            texts = (outcome.body.decode(), outcome.message, outcome.hint or "")
            found = any(holds_canary(text) or PLAIN in text for text in texts)
            assert not found, f"{operation.name} shows a value"


MASKS = (
    re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"),
    re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"),
    re.compile(r"sr[a-z]_[\w-]{43}"),
    re.compile(r'(?<="name":")[\w-]+(?=","pipeline":)'),  # each run of these tests has a name of its own
)


def shape(outcome: Outcome, thing: Thing) -> tuple[int, str, str, str | None, str]:
    """What is said, without the id and the name that were asked for, other ids, times, and tokens."""

    def plain(text: str) -> str:
        text = text.replace(thing.id, "ID").replace(thing.name, "NAME")
        for mask in MASKS:
            text = mask.sub("*", text)
        return text

    hint = None if outcome.hint is None else plain(outcome.hint)
    return outcome.status, outcome.code, plain(outcome.message), hint, plain(outcome.body.decode())


@pytest.mark.parametrize("kind", [kind for kind in PEOPLE if kind != "none"])
def test_a_hidden_secret_is_like_none_at_all(door: Door, kind: str) -> None:
    """Every operation says the same of somebody else's private secret as of an absent one: status, code, message, hint, body.

    Where the service itself is asked, both take as many statements in the database. Nothing changes the hidden ones.
    """
    owner, who = door.add(Role.EDITOR), person(door, kind)
    make_secret(door, who, Scope.USER, "plan_a")  # a name to mean instead
    wrong, hidden_ones, told = [], [], set()
    for number, operation in enumerate(IN_ORDER):
        for everything in FORMS[: 1 if operation is of_user.LOGOUT else 2]:
            name = f"plan_{number}{'e' if everything else ''}"
            absent, said = Thing(new_id(), f"{name}q"), []
            example = Example(door, who, operation, absent, owner.name)
            example.fields(everything=everything)
            if not example.about_secret:
                continue
            hidden = make_secret(door, owner, Scope.USER, f"{name}x")
            for thing in (absent, hidden):
                fields = Example(door, who, operation, thing, owner.name).fields(everything=everything)
                with asked_of_database(door) as count:
                    outcome = door.ask(operation, fields, who)
                said.append((shape(outcome, thing), None if operation in COUNTED_ELSEWHERE else len(count)))
                if operation is of_secret.CREATE and outcome.status < 300:
                    again = made(door, of_secret.GET_METADATA_BY_NAME, {"name": thing.name}, who)
                    assert door.ask(of_secret.DELETE, {"id": again.id}, who).status in (200, 204)
            hidden_ones.append(hidden)
            told.add(operation.name)
            if said[0] != said[1]:
                wrong.append((operation.name, everything, *said))
    assert wrong == []
    assert told >= {row.name for row in ALL_OPERATIONS if row.name.startswith("secret.")}
    for hidden in hidden_ones:
        assert b'"version":2,' in door.ask(of_secret.GET_METADATA, {"id": hidden.id}, owner).body


# It writes down reads of what is gone, but not those of what is hidden.
COUNTED_ELSEWHERE = {of_run.RECORD_READS}


@contextmanager
def asked_of_database(door: Door) -> Iterator[list[str]]:
    """The statements that the database is given meanwhile, where that can be seen."""
    if not isinstance(door, Dispatching):
        yield []
        return
    with door.service.deployment.database.write() as connection:  # so that nothing is remembered
        connection.execute(text("UPDATE deployment SET created = created"))
    with statements(door.service.deployment.database) as seen:
        yield seen


@pytest.mark.parametrize("kind", ["viewer", "editor", "server admin and admin"])
def test_no_filter_finds_a_hidden_secret(door: Door, kind: str) -> None:
    """Lists by a part of the id or of the name, which is also how the command line finds ids by their beginning, stay empty."""
    owner, who = door.add(Role.EDITOR), person(door, kind)
    hidden = make_secret(door, owner, Scope.USER, "plan_x")
    for fields in (
        {"id": f"startswith:{hidden.id[:30]}"},
        {"id": f"endswith:{hidden.id[-6:]}"},
        {"id": f"oneof:{hidden.id}"},
        {"name": "startswith:plan"},
        {"name": "contains:lan_"},
        {"owner": owner.name},
        {"scope": Scope.USER},
        {},
    ):
        outcome = door.ask(of_secret.LIST, fields, who)
        assert outcome.status == 200
        assert b'"total":0' in outcome.body, fields


@pytest.mark.parametrize("kind", ["viewer", "admin", "server admin and admin"])
def test_no_run_shows_a_hidden_secret(door: Door, kind: str) -> None:
    """The record of somebody's run names the private secrets that it read to nobody else."""
    owner, who = door.add(Role.EDITOR), person(door, kind)
    example = Example(door, owner, of_run.RECORD_READS, hidden := make_secret(door, owner, Scope.USER, "plan_x"))
    assert door.ask(of_run.RECORD_READS, example.fields(everything=False), owner).status < 300
    for operation, fields in ((of_run.GET, {"name": example.run.id}), (of_run.GET, {"name": example.run.name}), (of_run.LIST, {})):
        outcome = door.ask(operation, fields, who)
        assert outcome.status == 200
        assert example.run.id.encode() in outcome.body
        assert hidden.id.encode() not in outcome.body
        assert b"plan_x" not in outcome.body
    assert hidden.id.encode() in door.ask(of_run.GET, {"name": example.run.id}, owner).body


def test_the_record_of_a_run_does_not_tell_hidden_from_absent(door: Door) -> None:
    """Who claims to have read a secret learns nothing from the record of the run."""
    owner, who = door.add(Role.EDITOR), door.add(Role.EDITOR)
    hidden = make_secret(door, owner, Scope.USER)
    shown = []
    for thing in (Thing(new_id(), hidden.name), hidden):
        example = Example(door, who, of_run.RECORD_READS, thing)
        door.ask(of_run.RECORD_READS, example.fields(everything=False), who)
        outcome = door.ask(of_run.GET, {"name": example.run.id}, who)
        shown.append(outcome.body.count(b'"secret_id"'))
    assert shown[0] == shown[1]
