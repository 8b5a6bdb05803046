"""Names of private secrets reach nobody but their owners: not by the audit trail, jobs, runs, errors, metrics or the log."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, text, update

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.db.tables import audit_events, sql_values
from strongroom.errors import StrongroomError
from strongroom.models.job import GetJob, VerifySecrets
from strongroom.models.reference import Need, Reference
from strongroom.models.run import RunStatus
from strongroom.models.secret import Scope
from strongroom.operations import audit as of_audit
from strongroom.operations import job as of_job
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from tests.canary import CANARY
from tests.example_requests import Dispatching, Door, Example, OverHttp, Somebody, Thing, begin_run, make_secret, unused

HUSH = "hushhush"


def busy_owner(door: Door) -> tuple[Somebody, list[Thing]]:
    """Does everything that there is to do with private secrets: well, badly, by name, by reference and in runs."""
    owner, other = door.add(Role.EDITOR), door.add(Role.VIEWER).name
    secrets = []
    for operation in [each for each in ALL_OPERATIONS if each.name.startswith("secret.")]:
        for everything in (False, True):
            secret = make_secret(door, owner, Scope.USER, unused(HUSH))
            secrets.append(secret)
            fields = Example(door, owner, operation, secret, other).fields(everything=everything)
            if "scope" in fields or operation is of_secret.CREATE:
                fields["scope"] = Scope.USER
            if operation is of_secret.UPDATE:
                fields |= {"values": {"k": SecretText(f"{CANARY}-new")}, "name": unused(HUSH), "if_version": None}
            door.ask(operation, fields, owner)
    kept = make_secret(door, owner, Scope.USER, unused(HUSH))
    values = {"k": SecretText(CANARY)}
    for operation, fields in (
        (of_secret.CREATE, {"name": kept.name, "values": values, "scope": Scope.USER}),
        (of_secret.GET_BY_NAME, {"name": kept.name}),
        (of_secret.GET_BY_NAME, {"name": kept.name, "version": 99}),
        (of_secret.GET_BY_NAME, {"name": kept.name, "scope": Scope.USER}),
        (of_secret.GET_BY_NAME, {"name": kept.name + "x"}),
        (of_secret.UPDATE, {"id": kept.id, "values": values, "if_version": 1}),
        (of_secret.RESOLVE, {"references": [Reference(kept.name, "k"), Reference(kept.name, "x")]}),
        (of_secret.CHECK, {"references": [Reference(kept.name, "k"), Reference(kept.name + "y", "x")]}),
    ):
        door.ask(operation, fields, owner)
    _, bearer = begin_run(door, owner, Need(kept.name, "k"))
    door.ask(of_secret.RESOLVE, {"references": [Reference(kept.name, "k")]}, bearer)
    door.ask(of_secret.GET_BY_NAME, {"name": kept.name}, bearer)
    gone = make_secret(door, owner, Scope.USER, unused(HUSH))
    door.ask(of_secret.GET_BY_NAME, {"name": gone.name}, owner)
    door.ask(of_secret.RESOLVE, {"references": [Reference(gone.name, "k")]}, owner)
    door.ask(of_secret.DELETE, {"id": gone.id}, owner)
    return owner, [*secrets, kept, gone]


def all_events(door: Door, who: Somebody, **fields: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after = 0
    while page := json.loads(door.ask(of_audit.LIST, {"after": after, "size": 500, **fields}, who).body)["items"]:
        items += page
        after = page[-1]["number"]
    return items


@pytest.mark.parametrize("role", [Role.NONE, Role.ADMIN])
def test_nothing_shows_the_name_to_administrators(door: Door, role: Role) -> None:
    """Every operation, asked by an administrator of the server after a user was busy with private secrets, leaves their names out.

    The trail shows the ids in their place, and who did what stays visible.
    """
    owner, secrets = busy_owner(door)
    who = door.add(role, admin=True)
    for secret in secrets:
        outcome = door.ask(of_secret.GET_BY_NAME, {"name": secret.name.replace(HUSH, "hushhus")}, who)
        assert HUSH not in f"{outcome.message} {outcome.hint}"
    for operation in ALL_OPERATIONS:
        if operation.name.startswith(("user.log", "user.change", "secret.")):
            continue
        for everything in (False, True):
            outcome = door.ask(operation, Example(door, who, operation, user=owner.name).fields(everything=everything), who)
            assert HUSH.encode() not in outcome.body, operation.name
            assert HUSH not in f"{outcome.message} {outcome.hint}", operation.name
    events = all_events(door, who, actor=owner.name)
    assert events
    assert HUSH not in json.dumps(events)
    assert {secret.id for secret in secrets} <= {event["target_id"] for event in events} | {event["target"] for event in events}


def test_no_filter_finds_the_name(door: Door) -> None:
    """A user who guesses a name finds as many events by it as by one that there never was."""
    owner, secrets = busy_owner(door)
    who = door.add(Role.NONE, admin=True)
    for name in {secret.name for secret in secrets}:
        assert all_events(door, who, target=name) == []
        assert all_events(door, who, target=name, actor=owner.name) == []


def test_owners_see_their_names(door: Door) -> None:
    """An administrator who owns private secrets sees their names, and finds events by them."""
    owner = door.add(Role.EDITOR, admin=True)
    secret = make_secret(door, owner, Scope.USER, unused(HUSH))
    door.ask(of_secret.GET_BY_NAME, {"name": secret.name}, owner)
    events = all_events(door, owner, target=secret.name)
    assert {event["operation"] for event in events} >= {"secret.create", "secret.replace"}
    assert {event["target"] for event in events} == {secret.name}


def test_names_of_shared_secrets_stay_visible(door: Door) -> None:
    """Those of a workspace are in the trail by name, also after the secret is gone."""
    who = door.add(Role.EDITOR, admin=True)
    other = door.add(Role.EDITOR)
    secret = make_secret(door, other, Scope.WORKSPACE)
    door.ask(of_secret.RESOLVE, {"references": [Reference(secret.name, "k")]}, other)
    before = all_events(door, who, target=secret.name)
    assert {event["operation"] for event in before} >= {"secret.create", "secret.replace"}
    door.ask(of_secret.DELETE, {"id": secret.id}, other)
    assert all_events(door, who, target=secret.name) == before


def test_a_secret_that_becomes_private(door: Door) -> None:
    """From then on its name is hidden in the events of before, too."""
    who, owner = door.add(Role.NONE, admin=True), door.add(Role.EDITOR)
    secret = make_secret(door, owner, Scope.WORKSPACE, unused(HUSH))
    assert all_events(door, who, target=secret.name)
    assert door.ask(of_secret.UPDATE, {"id": secret.id, "scope": Scope.USER}, owner).status == 200
    assert all_events(door, who, target=secret.name) == []
    assert HUSH not in json.dumps(all_events(door, who, actor=owner.name))


@pytest.fixture
def dispatching(door: Door) -> Dispatching:
    """The service itself, where rows can be changed."""
    if not isinstance(door, Dispatching):
        pytest.skip("rows are changed in the database of this process")
    return door


def test_failures_of_jobs(dispatching: Dispatching) -> None:
    """A verification that finds private secrets damaged shows their ids to others, and their names to the owner."""
    service = dispatching.service
    owner, who = dispatching.add(Role.EDITOR, admin=True), dispatching.add(Role.ADMIN, admin=True)
    secrets = [make_secret(dispatching, owner, Scope.USER, unused(HUSH)) for _ in range(5)]
    shared = make_secret(dispatching, owner, Scope.WORKSPACE)
    with service.deployment.database.write() as connection:
        connection.execute(update(sql_values).values(sealed=b"x" * 80))
    job = service.dispatcher.call(of_job.VERIFY, VerifySecrets(deep=True), who.handle)
    service.jobs.wait()

    def seen_by(somebody: Somebody) -> Any:
        return service.dispatcher.call(of_job.GET, GetJob(id=job.id), somebody.handle).report.failures

    assert HUSH.encode() not in msgspec.json.encode(seen_by(who))
    assert {each.name for each in seen_by(who)} == {shared.name, *(secret.id for secret in secrets)}
    assert {each.name for each in seen_by(owner)} == {shared.name, *(secret.name for secret in secrets)}
    with pytest.raises(StrongroomError):
        dispatching.service.dispatcher.call(of_job.GET, GetJob(id=job.id), Actor.anonymous())


def test_errors_of_runs(door: Door) -> None:
    """What a step's error says of a private secret of its owner is hidden from the other members of the workspace."""
    owner, who = door.add(Role.EDITOR), door.add(Role.ADMIN)
    secret = make_secret(door, owner, Scope.USER, unused(HUSH))
    name = secret.name
    for form in (
        f"there is no key 'x' in '{name}'",
        f"{{{{{name}.x}}}} leads nowhere",
        f'secret "{name}": no',
        f"{{{{ {name}.k }}}}",
    ):
        run, bearer = begin_run(door, owner, Need(name, "k"))
        for status in (RunStatus.RUNNING, RunStatus.FAILED):
            fields = {"id": run.id, "step": "load", "status": status, "error": form if status is RunStatus.FAILED else None}
            assert door.ask(of_run.UPDATE_STEP, fields, bearer).status < 300
        body = door.ask(of_run.GET, {"name": run.id}, who).body
        assert run.id.encode() in body
        assert HUSH.encode() not in body
    door.ask(of_run.FINISH, {"id": run.id, "status": RunStatus.FAILED, "error": f"secret '{name}' is unreadable"}, owner)
    for operation, fields in ((of_run.GET, {"name": run.id}), (of_run.LIST, {})):
        body = door.ask(operation, fields, who).body
        assert run.id.encode() in body
        assert HUSH.encode() not in body
        assert b"unreadable" in body
    assert secret.name.encode() in door.ask(of_run.GET, {"name": run.id}, owner).body


def test_pages_measurements_and_the_log(admin: Any) -> None:
    """The page of the trail, in every language of filters that it has, the metrics and the log have no name of a private secret."""
    door = OverHttp(admin)
    busy_owner(door)
    who = door.add(Role.ADMIN, admin=True)
    for path in ("/metrics", "/healthz", "/readyz"):
        assert HUSH.encode() not in who.handle.call("GET", path, root="").body
    assert HUSH not in admin.server.log


def test_events_of_a_former_version(dispatching: Dispatching) -> None:
    """Events that do not say of which scope a secret was are shown by name only while the secret is there and shared."""
    service = dispatching.service
    who, owner = dispatching.add(Role.NONE, admin=True), dispatching.add(Role.EDITOR)
    made = {
        name: make_secret(dispatching, owner, scope, unused(stem))
        for name, scope, stem in (("private", Scope.USER, HUSH), ("gone", Scope.USER, HUSH), ("shared", Scope.WORKSPACE, "shared"))
    }
    dispatching.ask(of_secret.DELETE, {"id": made["gone"].id}, owner)
    service.audit.list(who.handle, of_audit.LIST.request())  # all events are in the chain
    with service.deployment.database.write() as connection:
        for row in connection.execute(select(audit_events.c.number, audit_events.c.facts)).all():
            facts = json.loads(bytes(row.facts))
            facts.pop("scope", None)
            columns = {"facts": json.dumps(facts).encode(), "target": facts["target"]}
            connection.execute(update(audit_events).where(audit_events.c.number == row.number).values(**columns))
        assert connection.execute(text("SELECT count(*) FROM audit_events")).scalar_one() > 3
    events = all_events(dispatching, who, actor=owner.name)
    assert HUSH not in json.dumps(events)
    assert made["shared"].name in {event["target"] for event in events}
    assert all_events(dispatching, who, target=made["private"].name) == []
