"""Before any step runs, all references are checked at once; resolving them takes one call."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX
from strongroom.errors import ConfigurationError, InvalidInput, StepFailed, StrongroomWarning, Unresolved
from strongroom.pipelines import pipeline
from strongroom.pipelines.pipeline import Pipeline
from strongroom.steps import StepContext, step
from tests.canary import CANARY


class Work:
    """A pipeline of one step that leaves a trace when it starts, with settings on all levels."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.seen: list[Any] = []
        self.look = lambda context: None

    def pipeline(self, *, of_pipeline: dict[str, Any] | None = None, of_step: dict[str, Any] | None = None) -> Pipeline:
        @step(settings=of_step)
        def train(context: StepContext) -> None:
            self.started.append(context.step_name)
            self.seen.append(self.look(context))

        @pipeline(settings=of_pipeline)
        def training() -> None:
            train()

        return training


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def stack(client: Client) -> Client:
    """The active stack refers to three keys, none of which exists yet."""
    client.create_component(
        "mlflow",
        type="experiment_tracker",
        flavor="mlflow",
        configuration={"tracking_username": "{{mlflow_secret.username}}", "tracking_password": "{{mlflow_secret.password}}"},
    )
    client.create_component(
        "bucket",
        type="artifact_store",
        flavor="fsspec",
        configuration={"path": "memory://validation", "options": {"auth": ["{{storage.token}}"]}},
    )
    client.create_stack(
        "full", {"orchestrator": "default", "artifact_store": "bucket", "experiment_tracker": "mlflow"}, activate=True
    )
    return client


def test_everything_that_is_missing_is_named_at_once(stack: Client, work: Work) -> None:
    """No step starts; the error names every missing pair with its component and attribute, or with whose settings it stands in."""
    stack.create_secret("mlflow_secret", {"username": CANARY})
    train = work.pipeline(of_pipeline={"a": "{{of_pipeline.key}}"}, of_step={"b": {"c": ["{{of_step.key}}"]}})
    with pytest.raises(Unresolved) as caught:
        train.with_options(settings={"d": "{{ of_run.key }}"})()
    assert work.started == []
    assert stack.list_runs().total == 0
    problems = [(one.owner, one.attribute, one.reference, one.reason) for one in caught.value.problems]
    assert problems == [
        ("artifact store 'bucket'", "options.auth[0]", "{{storage.token}}", "there is no secret 'storage'"),
        (
            "experiment tracker 'mlflow'",
            "tracking_password",
            "{{mlflow_secret.password}}",
            "secret 'mlflow_secret' has no key 'password'; its keys are: username",
        ),
        ("the settings of pipeline 'training'", "a", "{{of_pipeline.key}}", "there is no secret 'of_pipeline'"),
        ("the settings of step 'train'", "b.c[0]", "{{of_step.key}}", "there is no secret 'of_step'"),
        ("the settings of this run", "d", "{{of_run.key}}", "there is no secret 'of_run'"),
    ]
    message = str(caught.value)
    assert message.startswith("no step was started: 5 references cannot be resolved on stack 'full': ")
    for problem in caught.value.problems:
        assert str(problem) in message
    remedies = {one.reference: one.remedy for one in caught.value.problems}
    assert remedies == {  # what components refer to is asked for by `strongroom stack register-secrets`
        "{{storage.token}}": "",
        "{{mlflow_secret.password}}": "",
        "{{of_pipeline.key}}": "strongroom secret create of_pipeline -i",
        "{{of_step.key}}": "strongroom secret create of_step -i",
        "{{of_run.key}}": "strongroom secret create of_run -i",
    }
    hints = ["stack register-secrets full", *(f"secret create {name} -i" for name in ("of_pipeline", "of_step", "of_run"))]
    assert caught.value.hint == "; ".join(f"strongroom {hint}" for hint in hints)


def test_components_have_a_remedy(stack: Client, work: Work) -> None:
    """Where components alone refer to what is missing, one command asks for all of it."""
    with pytest.raises(Unresolved) as caught:
        work.pipeline()()
    assert caught.value.hint == "strongroom stack register-secrets full"


def test_near_names_are_suggested(stack: Client, work: Work) -> None:
    """A secret with almost the right name is suggested, and never taken."""
    stack.create_secret("mlflow_secrets", {"username": CANARY, "password": CANARY})
    stack.create_secret("storage", {"token": CANARY})
    with pytest.raises(Unresolved, match=r"there is no secret 'mlflow_secret' \(did you mean mlflow_secrets\?\)"):
        work.pipeline()()
    assert work.started == []


@pytest.mark.parametrize(
    ("level", "problems"),
    [
        ("SECRET_AND_KEY_EXISTS", ["{{storage.token}}", "{{mlflow_secret.password}}"]),
        ("SECRET_EXISTS", ["{{storage.token}}"]),
        ("", ["{{storage.token}}", "{{mlflow_secret.password}}"]),
    ],
)
def test_levels(stack: Client, work: Work, monkeypatch: pytest.MonkeyPatch, level: str, problems: list[str]) -> None:
    """By default secrets and keys have to exist; with SECRET_EXISTS a missing key shows when it is used."""
    stack.create_secret("mlflow_secret", {"username": CANARY})
    monkeypatch.setenv(f"{PREFIX}SECRET_VALIDATION_LEVEL", level)
    with pytest.raises(Unresolved) as caught:
        work.pipeline()()
    assert [problem.reference for problem in caught.value.problems] == problems
    assert work.started == []


def test_no_validation(client: Client, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NONE steps start, and the one that uses what is missing fails with where it stands."""
    monkeypatch.setenv(f"{PREFIX}SECRET_VALIDATION_LEVEL", "NONE")
    train = work.pipeline(of_step={"token": "{{missing.key}}"})
    assert train().status == "completed"
    work.look = lambda context: context.settings
    with pytest.raises(StepFailed, match="was not granted this when it began") as caught:
        train()
    assert isinstance(caught.value.__cause__, Unresolved)
    assert "the settings of step 'train', token" in str(caught.value)
    assert work.started == ["train", "train"]


@pytest.fixture
def unvalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    """References are not validated by whatever is opened from now on."""
    monkeypatch.setenv(f"{PREFIX}SECRET_VALIDATION_LEVEL", "NONE")


def test_no_validation_asks_nothing(unvalidated: None, calls: Counter[str], work: Work) -> None:
    """With NONE the server is not even asked."""
    work.pipeline(of_step={"token": "{{missing.key}}"})()
    assert work.started == ["train"]
    assert calls["secret.check"] == calls["secret.resolve"] == 0


def test_another_level_is_an_error(client: Client, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that does not exist is a readable error, and nothing starts."""
    monkeypatch.setenv(f"{PREFIX}SECRET_VALIDATION_LEVEL", "KEY_EXISTS")
    with pytest.raises(ConfigurationError, match="is one of NONE, SECRET_EXISTS, SECRET_AND_KEY_EXISTS"):
        work.pipeline()()
    assert work.started == []


@pytest.fixture
def registered(stack: Client) -> Client:
    """Everything that the stack refers to is there."""
    stack.create_secret("mlflow_secret", {"username": f"{CANARY}-username", "password": f"{CANARY}-password"})
    stack.create_secret("storage", {"token": f"{CANARY}-storage"})
    return stack


@pytest.fixture
def plain_store(registered: Client) -> Client:
    """An artifact store without references, so that nothing but steps uses them."""
    registered.update_stack("full", components={"artifact_store": "default"})
    return registered


def test_one_call_resolves_everything(plain_store: Client, work: Work, calls: Counter[str]) -> None:
    """However many attributes and settings a run uses in however many steps, their references are read in one call."""

    def look(context: StepContext) -> object:
        config = context.stack.experiment_tracker.config
        return config.tracking_username, config.tracking_password, context.settings, Client().active_stack.experiment_tracker.config

    work.look = look

    @step
    def another(context: StepContext) -> str:
        assert context.stack.experiment_tracker.config.tracking_password == f"{CANARY}-password"
        return context.step_name

    train = work.pipeline(of_step={"token": "{{storage.token}}"})

    @pipeline
    def both() -> None:
        train()
        another()

    both()
    assert work.seen[0][2] == {"token": f"{CANARY}-storage"}
    assert calls["secret.resolve"] == 1
    assert calls["secret.check"] == 1


def test_nothing_used_nothing_read(plain_store: Client, work: Work, calls: Counter[str]) -> None:
    """A run that uses no reference resolves none, and its record says that it read nothing."""
    run = work.pipeline()()
    assert work.started == ["train"]
    assert calls["secret.resolve"] == 0
    assert run.record.reads == []


def test_no_references_nothing_asked(client: Client, work: Work, calls: Counter[str]) -> None:
    """A run without any reference asks nothing about secrets."""
    work.pipeline()()
    assert not [name for name in calls if name.startswith("secret.")]


def test_one_snapshot(plain_store: Client, work: Work) -> None:
    """A value that changes in the course of a run is for this run what it was at the first use, with all others of that moment."""
    passwords = []

    def look(context: StepContext) -> None:
        config = context.stack.experiment_tracker.config
        username = config.tracking_username
        changes = {"username": f"{CANARY}-username-2", "password": f"{CANARY}-password-2"}
        Client().update_secret("mlflow_secret", add_or_update_values=changes)
        passwords.append((username, config.tracking_password, context.stack.experiment_tracker.config.tracking_username))

    work.look = look
    train = work.pipeline()
    run = train()
    train()
    assert passwords[0] == (f"{CANARY}-username", f"{CANARY}-password", f"{CANARY}-username")
    assert passwords[1] == (f"{CANARY}-username-2", f"{CANARY}-password-2", f"{CANARY}-username-2")
    assert {read.version for read in run.record.reads if read.secret == "mlflow_secret"} == {1}


def test_components_need_references_too(registered: Client, work: Work) -> None:
    """An attribute of the artifact store is resolved as well, when the first output is stored."""
    registered.update_component("artifact_store", "bucket", configuration={"options": {"use_listings_cache": "{{storage.token}}"}})

    @step
    def give() -> int:
        return 1

    @pipeline
    def giving() -> None:
        give()

    run = giving()
    assert run.output("give") == 1
    read = {(read.secret, read.key, read.step) for read in run.record.reads}
    assert read == {
        ("storage", "token", "give"),
        ("mlflow_secret", "username", None),  # resolved together with it, and handed to no step
        ("mlflow_secret", "password", None),
    }


def test_near_misses_are_warned_of(client: Client, work: Work) -> None:
    """Text in settings that looks like a reference but is none gets a warning that names the place; it stays text."""
    work.look = lambda context: context.settings
    with pytest.warns(StrongroomWarning, match="the settings of step 'train': 'token' looks like a reference but is plain text"):
        work.pipeline(of_step={"token": "{{missing}}"})()
    assert work.seen == [{"token": "{{missing}}"}]


def test_a_step_that_wants_a_tracker(client: Client, work: Work) -> None:
    """A step that wants a tracker that the stack does not have is refused before any step starts."""

    @step(experiment_tracker="mlflow")
    def tracked() -> None: ...

    @pipeline
    def tracking() -> None:
        work.pipeline()()
        tracked()

    message = "no step was started: step 'tracked' wants the experiment tracker 'mlflow', and stack 'default' has none"
    with pytest.raises(InvalidInput, match=message):
        tracking()
    assert work.started == []
