"""Authority is looked at when it is used: for every operation, every way of losing a right, and the moments in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.config import Settings
from strongroom.errors import StrongroomError, Unauthenticated
from strongroom.models.run import FinishRun, RunStatus
from strongroom.models.secret import CreateSecret, Scope
from strongroom.models.service_account import CreateApiKey, CreateServiceAccount, DeleteApiKey, DeleteServiceAccount
from strongroom.models.user import ChangePassword, DeactivateUser, Login, Logout, UpdateUser
from strongroom.models.workspace import RemoveMember
from strongroom.operations import job as of_job
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as of_service_account
from strongroom.operations import user as of_user
from strongroom.operations import workspace as of_workspace
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from strongroom.service.dispatcher import Dispatcher
from strongroom.service.wiring import Service
from tests.accounts import OTHER, PASSWORD, call, log_in
from tests.canary import holds_canary
from tests.example_requests import VALUE, Dispatching, Example, Row, Somebody, begin_run, make_secret, unused
from tests.unit.service.test_changes_and_events import state_of

NEEDING_RIGHTS = [row for row in ALL_OPERATIONS if row.permission is not None]
FOR_RUNS = [row for row in NEEDING_RIGHTS if row.for_runs]


@dataclass
class Stage:
    """A deployment, and somebody who administers server and workspace until `lose` is called."""

    service: Service
    door: Dispatching
    who: Somebody
    lose: Callable[[], object]

    @property
    def actor(self) -> Actor:
        actor: Actor = self.who.handle
        return actor


@pytest.fixture
def door(settings: Settings, quick_passwords: None) -> Iterator[Dispatching]:
    service = Service(settings)
    opened = Dispatching(service)
    opened.add(Role.ADMIN, admin=True)  # so that nobody else is the last one
    yield opened
    service.close()


@pytest.fixture
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing is slow on purpose; these tests are about everything else."""
    from argon2 import PasswordHasher

    from strongroom.auth import passwords as hashing

    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(hashing, "_hasher", lambda: quick)


def root(door: Dispatching) -> Actor:
    actor: Actor = door.root.handle
    return actor


def _user(door: Dispatching) -> Somebody:
    return door.add(Role.ADMIN, admin=True)


def _by_logging_out(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    who = _user(door)
    return who, lambda: call(door.service, of_user.LOGOUT, Logout(), who.handle)


def _by_deactivation(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    who = _user(door)
    return who, lambda: call(door.service, of_user.DEACTIVATE, DeactivateUser(id=who.handle.user_id), root(door))


def _by_reset(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    who = _user(door)
    request = UpdateUser(id=who.handle.user_id, password=SecretText(OTHER))
    return who, lambda: call(door.service, of_user.UPDATE, request, root(door))


def _by_another_login(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    """Another login of the user changes the password."""
    who = _user(door)
    other = door.service.identities.authenticate(log_in(door.service, who.name))
    request = ChangePassword(current=SecretText(PASSWORD), new=SecretText(OTHER))
    return who, lambda: call(door.service, of_user.CHANGE_PASSWORD, request, other)


def _by_losing_roles(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    """Out of the workspace, and no administrator of the server."""
    who = _user(door)

    def lose() -> None:
        call(door.service, of_workspace.REMOVE_MEMBER, RemoveMember(name=door.workspace, user=who.name), root(door))
        with door.service.deployment.database.write() as connection:
            from strongroom.metadata.identity import set_admin

            set_admin(connection, who.handle.user_id, False)

    return who, lose


def _account(door: Dispatching) -> tuple[str, Somebody]:
    name = unused("account")
    call(door.service, of_service_account.CREATE, CreateServiceAccount(name=name, role=Role.ADMIN), root(door))
    key = call(door.service, of_service_account.CREATE_KEY, CreateApiKey(service_account=name, name="key"), root(door))
    return name, Somebody(name, Role.ADMIN, False, door.service.identities.authenticate(key.key.reveal()))


def _by_key(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    name, who = _account(door)
    request = DeleteApiKey(service_account=name, name="key")
    return who, lambda: call(door.service, of_service_account.DELETE_KEY, request, root(door))


def _by_account(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    name, who = _account(door)
    return who, lambda: call(door.service, of_service_account.DELETE, DeleteServiceAccount(name=name), root(door))


def _by_lower_role(door: Dispatching) -> tuple[Somebody, Callable[[], object]]:
    _, who = _account(door)

    def lose() -> None:
        with door.service.deployment.database.write() as connection:
            from strongroom.metadata.identity import put_member

            put_member(connection, who.handle.workspace_id, who.handle.user_id, Role.VIEWER)

    return who, lose


WAYS = {
    "logout": _by_logging_out,
    "deactivated": _by_deactivation,
    "password reset": _by_reset,
    "password changed": _by_another_login,
    "roles lost": _by_losing_roles,
    "key deleted": _by_key,
    "account deleted": _by_account,
}
ALL_RIGHTS_LOST = set(WAYS)


def dispatching(service: Service, lose: Callable[[], object], *, after: bool) -> Dispatcher:
    """The dispatcher of the service, in which the right is lost when the handler is about to begin, or when a read has ended."""

    def wrapped(handler: Callable[[Actor, Any], Any]) -> Callable[[Actor, Any], Any]:
        def run(actor: Actor, request: Any) -> Any:
            if after:
                outcome = handler(actor, request)
                in_thread(lose)
                return outcome
            in_thread(lose)
            return handler(actor, request)

        return run

    handlers = {name: wrapped(handler) for name, handler in service.dispatcher._handlers.items()}
    return Dispatcher(handlers, service.gate, service.trail, service.deployment.database, reads_too=False)


def in_thread(act: Callable[[], object]) -> None:
    """As another process would."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(act).result()


def example(door: Dispatching, who: Somebody, operation: Row) -> Any:
    secret = make_secret(door, door.root, Scope.WORKSPACE) if operation.name.startswith("secret.") else None
    fields = Example(door, door.root, operation, secret, door.add(Role.VIEWER).name).fields(everything=operation.method == "PATCH")
    return operation.request(**fields)


def outcome_of(dispatcher: Dispatcher, operation: Row, request: Any, actor: Actor) -> Any:
    """The response or the error."""
    try:
        return dispatcher.call(operation, request, actor)
    except StrongroomError as error:
        return error


@pytest.mark.parametrize("way", WAYS)
def test_what_was_lost_before_a_call_is_used_is_gone(door: Dispatching, way: str) -> None:
    """A call that was authenticated, and whose actor then lost every right, reads and changes nothing, whatever it asks for."""
    wrong = []
    for operation in NEEDING_RIGHTS:
        if operation is of_user.LOGOUT:  # ends what has ended
            continue
        who, lose = WAYS[way](door)
        request = example(door, who, operation)
        lose()
        before = state_of(door.service)
        outcome = outcome_of(door.service.dispatcher, operation, request, who.handle)
        if not isinstance(outcome, StrongroomError) or outcome.status not in (401, 403):
            if not (way == "roles lost" and operation.permission.value == "self"):
                wrong.append((operation.name, type(outcome).__name__))
        elif state_of(door.service) != before:
            wrong.append((operation.name, "changed something"))
    assert wrong == []


@pytest.mark.parametrize("way", ["logout", "deactivated", "account deleted"])
def test_what_is_lost_while_a_call_waits_is_gone(door: Dispatching, way: str) -> None:
    """The right is lost after the call was let in, before its handler looks anywhere; for reads also after it has looked."""
    wrong = []
    for operation in NEEDING_RIGHTS:
        for after in (False, True) if operation.reads else (False,):
            if operation is of_user.LOGOUT:
                continue
            who, lose = WAYS[way](door)
            request = example(door, who, operation)
            dispatcher = dispatching(door.service, lose, after=after)
            outcome = outcome_of(dispatcher, operation, request, who.handle)
            if not isinstance(outcome, StrongroomError):
                wrong.append((operation.name, after, type(outcome).__name__))
    job_that_had_ended = {(of_job.CANCEL.name, False, "Job")}
    assert set(wrong) - job_that_had_ended == set()


def test_a_lower_role_holds_at_once(door: Dispatching) -> None:
    """A call that was let in with a role is made with the role that its actor has when it is used."""
    for operation in (of_secret.GET, of_secret.CREATE, of_secret.UPDATE, of_secret.DELETE):
        who, lose = _by_lower_role(door)
        request = example(door, who, operation)
        dispatcher = dispatching(door.service, lose, after=operation.reads)
        outcome = outcome_of(dispatcher, operation, request, who.handle)
        assert (operation.name, getattr(outcome, "code", outcome)) == (operation.name, "forbidden")
        assert not holds_canary(repr(outcome))


def test_a_run_that_ended_reads_nothing(door: Dispatching) -> None:
    """The token of a run dies with it, also for calls that were let in before."""
    for operation in FOR_RUNS:
        who = _user(door)
        run, bearer = begin_run(door, who)
        secret = make_secret(door, door.root, Scope.WORKSPACE)
        fields = Example(door, who, operation, secret, run=run).fields(everything=False)
        call(door.service, of_run.FINISH, FinishRun(id=run.id, status=RunStatus.COMPLETED), who.handle)
        outcome = outcome_of(door.service.dispatcher, operation, operation.request(**fields), bearer.handle)
        assert isinstance(outcome, Unauthenticated) or getattr(outcome, "code", "") == "forbidden", operation.name


def test_a_login_under_way_opens_no_session_for_who_was_deactivated(door: Dispatching, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password is compared, then the user is deactivated or gets another password: no session, and no way back."""
    from strongroom.service import identity

    compare = identity.fits
    for take_away in (_by_deactivation, _by_reset):
        who, lose = take_away(door)

        def compare_then_lose(hashed: str | None, password: str, lose: Callable[[], object] = lose) -> bool:
            outcome = compare(hashed, password)
            lose()
            return outcome

        monkeypatch.setattr(identity, "fits", compare_then_lose)
        with pytest.raises(Unauthenticated):
            call(door.service, of_user.LOGIN, Login(username=who.name, password=SecretText(PASSWORD)))
        monkeypatch.setattr(identity, "fits", compare)


def test_a_change_of_a_password_under_way_does_not_undo_what_an_administrator_did(
    door: Dispatching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deactivated user stays so, and a reset password stays the one of the reset."""
    from strongroom.service import identity

    compare, third = identity.fits, f"{OTHER}-third"
    for take_away, stays in ((_by_deactivation, None), (_by_reset, OTHER)):
        who, lose = take_away(door)

        def compare_then_lose(hashed: str | None, password: str, lose: Callable[[], object] = lose) -> bool:
            outcome = compare(hashed, password)
            lose()
            return outcome

        monkeypatch.setattr(identity, "fits", compare_then_lose)
        request = ChangePassword(current=SecretText(PASSWORD), new=SecretText(third))
        with pytest.raises(Unauthenticated):
            call(door.service, of_user.CHANGE_PASSWORD, request, who.handle)
        monkeypatch.setattr(identity, "fits", compare)
        for password, works in ((third, False), (PASSWORD, False), (OTHER, stays == OTHER)):
            if works:
                assert log_in(door.service, who.name, password)
            else:
                with pytest.raises(Unauthenticated):
                    log_in(door.service, who.name, password)


def test_a_key_is_not_made_for_an_account_that_ends(door: Dispatching) -> None:
    """Of a key that is made and an account that is deleted at the same time, no key is left that works."""
    for _ in range(8):
        name, _who = _account(door)
        ready = threading.Barrier(2)

        def make(name: str = name, ready: threading.Barrier = ready) -> str | None:
            ready.wait(30)
            try:
                made = call(door.service, of_service_account.CREATE_KEY, CreateApiKey(service_account=name, name="k2"), root(door))
            except StrongroomError:
                return None
            return str(made.key.reveal())

        def end(name: str = name, ready: threading.Barrier = ready) -> None:
            ready.wait(30)
            call(door.service, of_service_account.DELETE, DeleteServiceAccount(name=name), root(door))

        with ThreadPoolExecutor(2) as pool:
            made, ended = pool.submit(make), pool.submit(end)
            ended.result()
            token = made.result()
        if token is not None:
            with pytest.raises(Unauthenticated):
                door.service.identities.authenticate(token)


def test_who_takes_a_right_away_waits_for_a_change_that_uses_it(door: Dispatching) -> None:
    """A change that has made sure of its right is finished before the revoking call is answered, and none comes after."""
    who, lose = _by_deactivation(door)
    began, go_on, order = threading.Event(), threading.Event(), list[str]()
    create = door.service.dispatcher._handlers[of_secret.CREATE.name]

    def slow(actor: Actor, request: Any) -> Any:
        made = create(actor, request)  # the transaction has begun and holds the right
        began.set()
        assert go_on.wait(30)
        order.append("changed")
        return made

    handlers = {**door.service.dispatcher._handlers, of_secret.CREATE.name: slow}
    dispatcher = Dispatcher(handlers, door.service.gate, door.service.trail, door.service.deployment.database, reads_too=False)
    request = CreateSecret(name=unused("s"), values={"k": SecretText(VALUE)})

    def revoke() -> None:
        lose()
        order.append("revoked")

    with ThreadPoolExecutor(2) as pool:
        change = pool.submit(dispatcher.call, of_secret.CREATE, request, who.handle)
        assert began.wait(30)
        revocation = pool.submit(revoke)
        assert not revocation.done()
        go_on.set()
        change.result()
        revocation.result()
    assert order == ["changed", "revoked"]
    assert isinstance(outcome_of(dispatcher, of_secret.CREATE, request, who.handle), Unauthenticated)
