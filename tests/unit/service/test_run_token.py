"""How long run tokens live, and what ends them, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from strongroom.auth.policy import Role
from strongroom.db.tables import run_grants, tokens
from strongroom.errors import Forbidden, InvalidInput, Unauthenticated
from strongroom.models.reference import Need
from strongroom.models.run import CreateRun, FinishRun, PlannedStep, RunStatus, UpdateRunStep
from strongroom.models.secret import GetSecretByName
from strongroom.models.service_account import CreateApiKey, CreateServiceAccount, DeleteApiKey, DeleteServiceAccount
from strongroom.models.user import ChangePassword, DeactivateUser, GetUser, Logout
from strongroom.models.workspace import ActivateWorkspace, CreateWorkspace, PutMember, RemoveMember
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as of_service_account
from strongroom.operations import user as of_user
from strongroom.operations import workspace as of_workspace
from strongroom.redaction import SecretText
from strongroom.service.run import TOKEN_SECONDS
from strongroom.service.wiring import Service
from tests.accounts import PASSWORD, add_user, log_in
from tests.canary import CANARY
from tests.people import Person

VALUE = f"{CANARY}-run-token"


@pytest.fixture
def root(service: Service) -> Person:
    """The administrator, with a secret in the default workspace."""
    person = Person(service, service.local_actor)
    person.create("s", {"k": VALUE, "other": VALUE})
    return person


@pytest.fixture
def ada(root: Person) -> Person:
    """A reader who is logged in."""
    return Person(root.service, add_user(root.service, root.actor, "ada", "reader"))


def bearing(root: Person, token: SecretText) -> Person:
    """Whoever the server takes the bearer of this token for. `Unauthenticated`."""
    return Person(root.service, root.service.identities.authenticate(token.reveal()))


def begin(person: Person, *needs: Need) -> tuple[str, SecretText]:
    """A run's id and its token."""
    steps = [PlannedStep(name="load")]
    run = person.ask(of_run.CREATE, CreateRun(pipeline="p", stack="default", steps=steps, needs=list(needs)))
    assert isinstance(run.token, SecretText)
    return run.id, run.token


def reads(person: Person, token: SecretText) -> bool:
    """Whether the token still reads the granted value."""
    found = bearing(person, token).get_by_name("s")
    return found.secret_values == {"k": VALUE}


def is_dead(person: Person, token: SecretText) -> bool:
    with pytest.raises(Unauthenticated):
        bearing(person, token)
    with person.service.deployment.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(run_grants)).scalar_one() == 0
    return True


def test_a_run_token_reads_what_was_granted_until_the_run_ends(root: Person, ada: Person) -> None:
    """From the start of a run to its end, whatever the end; then it is unknown, and nothing of it is left."""
    for status in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.STOPPED):
        run_id, token = begin(ada, Need("s", "k"))
        assert reads(root, token)
        ada.ask(of_run.FINISH, FinishRun(id=run_id, status=status))
        assert is_dead(root, token)


def test_a_run_token_writes_its_own_record(root: Person, ada: Person) -> None:
    """Steps of the run can be updated with it; the record says that they belong to the run's owner."""
    run_id, token = begin(ada)
    bearing(root, token).ask(of_run.UPDATE_STEP, UpdateRunStep(id=run_id, step="load", status=RunStatus.RUNNING))
    with pytest.raises(Forbidden, match="run token"):
        bearing(root, token).ask(of_run.FINISH, FinishRun(id=run_id, status=RunStatus.COMPLETED))


def test_the_token_itself_is_not_stored(root: Person, ada: Person) -> None:
    """The database has a digest of it. Its id is that of the run, so that the audit trail names the run."""
    run_id, token = begin(ada)
    assert bearing(root, token).actor.token_id == run_id
    with root.service.deployment.database.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.id == run_id)).one()
    assert token.reveal() not in " ".join(map(str, row))
    assert token.reveal().encode() not in row.digest


def test_another_password_ends_runs(root: Person, ada: Person) -> None:
    """Whoever changes their password because somebody else may know it ends their runs' tokens, too."""
    _, token = begin(ada, Need("s", "k"))
    ada.ask(of_user.CHANGE_PASSWORD, ChangePassword(current=SecretText(PASSWORD), new=SecretText(f"{PASSWORD}, a new one")))
    assert is_dead(root, token)


def test_deactivation_ends_runs(root: Person, ada: Person) -> None:
    """A user who may not log in any more has no runs that read."""
    _, token = begin(ada, Need("s", "k"))
    root.ask(of_user.DEACTIVATE, DeactivateUser(id=root.ask(of_user.GET, GetUser(name="ada")).id))
    assert is_dead(root, token)


def test_a_logout_does_not_end_runs(root: Person, ada: Person) -> None:
    """A run goes on when its owner logs out."""
    _, token = begin(ada, Need("s", "k"))
    ada.ask(of_user.LOGOUT, Logout())
    assert reads(root, token)


def test_another_role_counts_at_once(root: Person, ada: Person) -> None:
    """The token of somebody who becomes a viewer, or leaves the workspace, reads no value from then on."""
    _, token = begin(ada, Need("s", "k"))
    root.ask(of_workspace.PUT_MEMBER, PutMember(name="default", user="ada", role="viewer"))
    with pytest.raises(Forbidden, match="secret:read-values"):
        bearing(root, token).get_by_name("s")
    root.ask(of_workspace.REMOVE_MEMBER, RemoveMember(name="default", user="ada"))
    for ask in (bearing(root, token).get_by_name, bearing(root, token).get_metadata_by_name):
        with pytest.raises(Forbidden):
            ask("s")


def test_the_workspace_is_that_of_the_run(root: Person, ada: Person) -> None:
    """Whatever workspace the owner chooses later, and whatever the request names, a run reads in its own."""
    _, token = begin(ada, Need("s", "k"))
    root.ask(of_workspace.CREATE, CreateWorkspace(name="elsewhere"))
    root.ask(of_workspace.PUT_MEMBER, PutMember(name="elsewhere", user="ada", role="admin"))
    ada.ask(of_workspace.ACTIVATE, ActivateWorkspace(name="elsewhere"))
    assert reads(root, token)
    authenticate = root.service.identities.authenticate
    assert authenticate(token.reveal(), "default").role is Role.READER
    assert authenticate(token.reveal(), "elsewhere").role is Role.NONE


def test_a_key_ends_the_runs_that_were_begun_with_it(root: Person) -> None:
    """Deleting a leaked API key ends what was made with it, and nothing that was made with another one."""
    root.ask(of_service_account.CREATE, CreateServiceAccount(name="ci", role="reader"))
    keys = {
        name: root.ask(of_service_account.CREATE_KEY, CreateApiKey(service_account="ci", name=name)).key
        for name in ("leaked", "other")
    }
    begun = {name: begin(bearing(root, key), Need("s", "k"))[1] for name, key in keys.items()}
    root.ask(of_service_account.DELETE_KEY, DeleteApiKey(service_account="ci", name="leaked"))
    with pytest.raises(Unauthenticated):
        bearing(root, begun["leaked"])
    assert reads(root, begun["other"])
    root.ask(of_service_account.DELETE, DeleteServiceAccount(name="ci"))
    assert is_dead(root, begun["other"])


def test_a_key_that_is_gone_begins_no_run(root: Person) -> None:
    """A request that was let in just before its key was deleted leaves neither a run nor a token."""
    root.ask(of_service_account.CREATE, CreateServiceAccount(name="ci", role="reader"))
    key = root.ask(of_service_account.CREATE_KEY, CreateApiKey(service_account="ci", name="k")).key
    ci = bearing(root, key)
    root.ask(of_service_account.DELETE_KEY, DeleteApiKey(service_account="ci", name="k"))
    with pytest.raises(Unauthenticated):
        begin(ci)
    assert root.service.dispatcher.call(of_run.LIST, of_run.LIST.request(), root.actor).total == 0


def test_a_token_ends_after_a_week_or_with_its_key(root: Person, ada: Person) -> None:
    """A run that nobody ends leaves no token behind; one that was begun with an API key ends no later than the key would have."""
    root.ask(of_service_account.CREATE, CreateServiceAccount(name="ci", role="reader"))
    with time_machine.travel(start := datetime(2020, 1, 1, tzinfo=UTC), tick=False) as clock:
        soon = CreateApiKey(service_account="ci", name="soon", expires_at=start + timedelta(hours=1))
        _, short = begin(bearing(root, root.ask(of_service_account.CREATE_KEY, soon).key), Need("s", "k"))
        _, token = begin(bearing(root, SecretText(log_in(root.service, "ada"))), Need("s", "k"))
        clock.shift(3599)
        assert reads(root, short)
        clock.shift(1)
        with pytest.raises(Unauthenticated):
            bearing(root, short)
        clock.move_to(start + timedelta(seconds=TOKEN_SECONDS - 1))
        assert reads(root, token)
        clock.shift(1)
        with pytest.raises(Unauthenticated):
            bearing(root, token)
        bearing(root, SecretText(log_in(root.service, "ada")))  # drops the rows of all that have expired
        assert is_dead(root, token)


def test_runs_that_nobody_ended_leave_nothing(root: Person) -> None:
    """Whoever begins a run drops the tokens of their former runs that have expired, with their grants, and no others."""
    with time_machine.travel(datetime(2020, 1, 1, tzinfo=UTC), tick=False) as clock:
        begin(root, Need("s", "k"))
        clock.shift(TOKEN_SECONDS - 1)
        second, _ = begin(root, Need("s", "k"))
        clock.shift(1)
        third, _ = begin(root, Need("s", "k"))
        with root.service.deployment.database.read() as connection:
            assert set(connection.execute(select(tokens.c.id)).scalars()) == {second, third}
            assert set(connection.execute(select(run_grants.c.run_id)).scalars()) == {second, third}


@pytest.mark.parametrize("impossible", ["", "x" * 256, "\u00e4", "a\0b"])
def test_needs_that_make_no_sense(root: Person, impossible: str) -> None:
    """A key that no secret can have is refused, and no run is begun. A name that no secret has is no error: nothing is granted."""
    with pytest.raises(InvalidInput):
        begin(root, Need("s", impossible))
    _, token = begin(root, Need("absent"), Need("\u00e4\0"), Need("", "k"))
    assert bearing(root, token).actor.run is not None
    with pytest.raises(Forbidden):
        bearing(root, token).ask(of_secret.GET_BY_NAME, GetSecretByName(name="s"))


def test_the_same_need_twice(root: Person) -> None:
    """A key that several references lead to, and all keys besides, are granted as one would expect."""
    _, token = begin(root, Need("s", "k"), Need("s", "k"), Need("s"), Need("s"))
    assert set(bearing(root, token).get_by_name("s").secret_values) == {"k", "other"}
