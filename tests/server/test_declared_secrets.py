"""Steps that declare the secrets which they read act with their run's token, on the embedded store and at a server alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.errors import Forbidden, InvalidInput, StepFailed, StrongroomError, Unauthenticated, Unresolved
from strongroom.models.audit_event import AuditEvent
from strongroom.models.secret import Scope
from strongroom.pipelines import pipeline
from strongroom.pipelines.pipeline import Pipeline
from strongroom.redaction import MASK
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary


@pytest.fixture(params=["embedded", "server"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of what pipelines use here, with two secrets."""
    fixture = "local_settings" if request.param == "embedded" else "remote_settings"
    settings: Settings = request.getfixturevalue(fixture)
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(settings.folder))
    monkeypatch.setenv(f"{PREFIX}AUDIT", "all")
    with Client() as client:
        client.create_secret("api", {"user": f"{CANARY}-user", "password": f"{CANARY}-password"})
        client.create_secret("other", {"k": f"{CANARY}-other"})
        yield client


def running(look: Callable[[Client], Any], **options: Any) -> Any:
    """What a step with these options sees through a client of its own."""
    seen: list[Any] = []

    @step(enable_cache=False, **options)
    def work() -> None:
        with Client() as inner:
            seen.append(look(inner))

    Pipeline(work, name="one")()
    return seen[0]


def error_of(look: Callable[[Client], Any], **options: Any) -> BaseException:
    with pytest.raises(StepFailed) as caught:
        running(look, **options)
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


def keys(name: str) -> Callable[[Client], list[str]]:
    return lambda client: list(client.get_secret(name).secret_values)


def test_a_declared_secret_is_read(client: Client) -> None:
    """All its keys by its name, or the keys that are declared alone; by its id, too."""
    assert running(keys("api"), secrets=["api"]) == ["user", "password"]
    assert running(keys("api"), secrets=["api.password"]) == ["password"]
    assert running(keys("api"), secrets=["api.password", "api.user", "other"]) == ["user", "password"]
    secret_id = client.get_secret_metadata("api").id
    assert running(keys(secret_id), secrets=["api.user"]) == ["user"]
    assert running(lambda inner: inner.get_secret_metadata("api").keys, secrets=["api.user"]) == ["user"]


@pytest.mark.parametrize("name", ["other", "absent", "0198c0de"])
def test_what_is_not_declared_is_refused(client: Client, name: str) -> None:
    """Whether there is such a secret or not, the step is told the same, and how to declare it."""
    error = error_of(keys(name), secrets=["api"])
    assert isinstance(error, Forbidden)
    assert "was not granted" in str(error)
    assert "@step(secrets=" in str(error.hint)


def test_who_declares_nothing_reads_as_the_user(client: Client) -> None:
    """On this machine, in the process of whoever began the run, a step may use their client as before."""
    assert running(keys("other")) == ["k"]
    assert running(lambda inner: inner.list_secrets().total) == 2


def test_who_declares_none_reads_none(client: Client) -> None:
    """An empty list is a declaration."""
    assert isinstance(error_of(keys("api"), secrets=[]), Forbidden)


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda inner: inner.list_secrets(),
        lambda inner: inner.create_secret("new", {"k": f"{CANARY}-new"}),
        lambda inner: inner.delete_secret("api"),
        lambda inner: inner.list_secret_versions("api"),
        lambda inner: inner.list_runs(),
        lambda inner: inner.get_stack(),
    ],
)
def test_a_step_that_declares_does_nothing_else(client: Client, forbidden: Callable[[Client], Any]) -> None:
    """Neither lists nor writes are open to it."""
    error = error_of(forbidden, secrets=["api"])
    assert isinstance(error, Forbidden)
    assert "run token" in str(error)
    assert client.list_secrets().total == 2


def test_clients_that_were_there_before_act_for_the_run(client: Client) -> None:
    """A client that was opened outside has no more rights within the step, and its own again afterwards."""
    assert isinstance(error_of(lambda inner: client.get_secret("other"), secrets=["api"]), Forbidden)
    assert client.get_secret("other").secret_values


def test_a_pipeline_declares_for_its_steps(client: Client) -> None:
    """What a pipeline declares is granted besides what its steps declare, also of a pipeline within another one."""
    seen: list[list[str]] = []

    @step(enable_cache=False)
    def plain(name: str) -> None:
        seen.append(keys(name)(Client()))

    @step(enable_cache=False, secrets=["api.user"])
    def declaring(name: str) -> None:
        seen.append(keys(name)(Client()))

    @pipeline(secrets=["other"])
    def inner() -> None:
        plain("other")
        declaring("api")

    @pipeline
    def outer() -> None:
        inner()

    inner()
    outer()
    assert seen == [["k"], ["user"]] * 2


def test_options_of_a_step_keep_what_it_declares(client: Client) -> None:
    """`with_options` keeps the declaration unless another one is given."""

    @step(secrets=["api.user"], enable_cache=False)
    def work() -> None:
        assert keys("api")(Client()) == ["user"]

    Pipeline(work.with_options(name="renamed"), name="one")()
    with pytest.raises(StepFailed):
        Pipeline(work.with_options(secrets=["api"]), name="one")()


def test_all_that_is_missing_is_told_at_once(client: Client) -> None:
    """Before any step, in one list with the references that lead nowhere: a bare name needs the secret, name.key the key, too."""
    started = []

    @step(secrets=["absent", "api", "api.missing", "absent.key"], settings={"token": "{{gone.token}}"})
    def work() -> None:
        started.append(1)

    with pytest.raises(Unresolved) as caught:
        Pipeline(work, name="one")()
    assert [(problem.owner, problem.attribute, problem.reference, problem.reason) for problem in caught.value.problems] == [
        ("the settings of step 'work'", "token", "{{gone.token}}", "there is no secret 'gone'"),
        ("step 'work'", "secrets", "absent", "there is no secret 'absent'"),
        ("step 'work'", "secrets", "api.missing", "secret 'api' has no key 'missing'; its keys are: user, password"),
        ("step 'work'", "secrets", "absent.key", "there is no secret 'absent'"),
    ]
    assert "strongroom secret create absent -i" in str(caught.value.hint)
    assert "strongroom secret update api -i" in str(caught.value.hint)
    assert started == []


@pytest.mark.parametrize("declared", [["a b"], ["api."], [".k"], ["name"], ["{{api.user}}"], [3], "api"])
def test_what_cannot_be_declared(declared: Any) -> None:
    """A text that names no possible secret, and a text where a list belongs, are refused where they are written."""

    def work() -> None:
        """Nothing."""

    for declare in (step, pipeline):
        with pytest.raises(InvalidInput, match="declares"):
            declare(secrets=declared)(work)


def test_references_are_resolved_for_the_run(client: Client) -> None:
    """Settings and components are resolved with the run's token, without being declared once more; the record names the step."""
    seen = []

    @step(settings={"token": "{{api.user}}"}, secrets=["other"])
    def work(context: StepContext) -> None:
        assert context.settings == {"token": f"{CANARY}-user"}
        assert keys("other")(Client()) == ["k"]
        seen.append(error_of_call(lambda: Client().get_secret("api", version=2)))

    run = Pipeline(lambda: work(), name="one")()
    reads = {(each.secret, each.key, each.step) for each in client.get_run(run.id).reads or ()}
    assert reads == {("api", "user", "work"), ("other", "k", "work")}
    assert isinstance(seen[0], Forbidden)
    usage = client.list_secret_usage("other")
    assert [(each.run, each.step, each.key) for each in usage] == [(run.name, "work", "k")]


def error_of_call(call: Callable[[], Any]) -> BaseException:
    with pytest.raises(StrongroomError) as caught:
        call()
    return caught.value


def test_the_token_ends_with_the_run_and_is_never_shown(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that prints its run's token prints a mask, the record has none, and whoever kept it reads nothing after the run."""
    from strongroom.client.transports.acting import acting_transport

    kept = []

    @step(secrets=["api"])
    def work() -> int:
        transport = acting_transport()
        assert transport is not None
        token = transport._token.reveal() if not callable(transport._token) else transport._token().reveal()
        kept.append((Client.over(transport, client.settings), token))
        print(f"the token is {token}")
        return 1

    run = Pipeline(work, name="one")()
    going_on, token = kept[0]
    assert token.startswith("srr_")
    captured = capsys.readouterr()
    assert f"the token is {MASK}" in captured.out
    assert token not in captured.out + captured.err
    assert token not in repr(client.get_run(run.id)) + repr(run.record)
    assert isinstance(error_of_call(lambda: going_on.get_secret("api")), Unauthenticated)


def test_the_audit_trail_names_the_run(client: Client) -> None:
    """Events of a run's token have the run's owner as actor and the run's id as token; refused ones are there, too."""
    assert running(keys("api"), secrets=["api"]) == ["user", "password"]
    error_of(keys("other"), secrets=["api"])
    runs = [run.id for run in client.list_runs()]

    def of_token(each: AuditEvent) -> bool:
        return each.token_id in runs and each.operation == "secret.get-by-name"

    events = [each for each in client.list_audit_events(size=1000) if of_token(each)]
    address = "" if client.transport.server is None else "127.0.0.1"
    assert {(each.target, each.outcome, each.actor, each.address) for each in events} == {
        ("api", "ok", "default", address),
        ("other", "forbidden", "default", address),
    }


def test_two_runs_at_once_keep_to_their_own(client: Client) -> None:
    """Runs in several threads of a process each read what they declared, and nothing of each other."""
    ready = threading.Barrier(2)
    outcomes: dict[str, Any] = {}

    def one(own: str, foreign: str) -> None:
        def look(inner: Client) -> list[str]:
            ready.wait(60)
            found = keys(own)(inner)
            assert isinstance(error_of_call(lambda: inner.get_secret(foreign)), Forbidden)
            ready.wait(60)
            return found

        outcomes[own] = running(look, secrets=[own])

    threads = [threading.Thread(target=one, args=names) for names in (("api", "other"), ("other", "api"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"api": ["user", "password"], "other": ["k"]}


def test_values_are_masked_as_ever(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """What a step reads with its run's token is kept out of its output."""
    assert running(lambda inner: print(inner.get_secret("api").secret_values["user"]), secrets=["api"]) is None
    captured = capsys.readouterr()
    assert not holds_canary(captured.out)
    assert MASK in captured.out


def test_ones_own_private_secret_is_granted(client: Client) -> None:
    """A declared name leads where it leads for whoever begins the run: their user scope first."""
    client.create_secret("api", {"mine": f"{CANARY}-mine"}, scope=Scope.USER)
    assert running(keys("api"), secrets=["api"]) == ["mine"]
