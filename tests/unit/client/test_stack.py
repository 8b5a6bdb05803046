"""Components, stacks and references, from Python."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from strongroom.client import Client
from strongroom.client.observers import ValuesRead, observing
from strongroom.client.transports.base import Transport
from strongroom.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    NothingToChange,
    StrongroomError,
    StrongroomWarning,
    Unresolved,
)
from strongroom.models.flavor import ComponentType
from strongroom.models.reference import Reference
from strongroom.models.run import CreateRun, PlannedStep, RunStatus
from strongroom.operations.operation import Operation
from strongroom.stacks.stack import open_stack, within
from tests.canary import CANARY, holds_canary

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"
PLAIN = "plain-password-1"  # stored as it is, so no canary
TRACKER = "experiment_tracker"

Request = TypeVar("Request")
Response = TypeVar("Response")


class Counted:
    """A transport that notes which operations pass through it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.calls: list[str] = []

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        self.calls.append(operation.name)
        return self._transport.call(operation, request)

    def close(self) -> None:
        self._transport.close()


@pytest.fixture
def counted(local_client: Client) -> Counted:
    """What the client asks for."""
    local_client._transport = counted = Counted(local_client._transport)
    return counted


def make_stack(client: Client, name: str = "ml", **attributes: Any) -> None:
    """A stack with an MLflow tracker of these attributes; the active one."""
    client.create_component("tracker", type=TRACKER, flavor="mlflow", configuration=attributes)
    client.create_stack(name, {"orchestrator": "default", "artifact_store": "default", TRACKER: "tracker"}, activate=True)


def test_the_journey_of_a_stack(client: Client) -> None:
    """Components and stacks are made, found, changed, chosen and deleted by name; types are written either way."""
    made = client.create_component(
        "tracker", type="experiment-tracker", flavor="mlflow", configuration={"tracking_uri": "http://one"}
    )
    assert client.get_component(TRACKER, "tracker").id == made.id
    assert [item.name for item in client.list_components(ComponentType.EXPERIMENT_TRACKER)] == ["tracker"]
    client.update_component(TRACKER, "tracker", configuration={"tracking_token": "{{a.b}}"}, remove="tracking_uri", new_name="mlflow")
    assert client.get_component(TRACKER, "mlflow").configuration == {"tracking_token": "{{a.b}}"}
    parts = {"orchestrator": "default", "artifact-store": "default", ComponentType.EXPERIMENT_TRACKER: "mlflow"}
    assert not client.create_stack("ml", parts).active
    assert client.activate_stack("ml").active
    assert client.get_stack() == client.get_stack("ml")
    assert client.list_stacks(name="startswith:m").total == 1
    client.update_stack("ml", components={TRACKER: None}, new_name="plain")
    assert client.get_stack().name == "plain"
    client.delete_component(TRACKER, "mlflow")
    client.activate_stack("default")
    client.delete_stack("plain")
    assert [item.name for item in client.list_stacks()] == ["default"]
    assert client.list_components().total == 2


def test_missing_things_are_key_errors(client: Client) -> None:
    """What is not there is a `KeyError`, whichever way it is asked for."""
    attempts: list[Callable[[], object]] = [
        lambda: client.get_component(TRACKER, "absent"),
        lambda: client.update_component(TRACKER, "absent", new_name="x"),
        lambda: client.delete_component(TRACKER, "absent"),
        lambda: client.get_flavor(TRACKER, "absent"),
        lambda: client.delete_flavor(TRACKER, "absent"),
        lambda: client.get_stack("absent"),
        lambda: client.use_stack("absent"),
        lambda: client.update_stack("absent", new_name="x"),
        lambda: client.delete_stack("absent"),
        lambda: client.activate_stack("absent"),
        lambda: client.get_run("absent"),
        lambda: client.list_secret_usage("absent"),
    ]
    for attempt in attempts:
        with pytest.raises(KeyError):
            attempt()


def test_errors_of_arguments(local_client: Client) -> None:
    """What makes no sense is one of our errors, which repeats no value."""
    client = local_client
    attempts: list[tuple[type[StrongroomError], Callable[[], object]]] = [
        (InvalidInput, lambda: client.create_component("x", type="trackers", flavor="mlflow")),
        (InvalidInput, lambda: client.list_components("")),
        (InvalidInput, lambda: client.create_stack("x", {"tracker": "x"})),
        (InvalidInput, lambda: client.create_component("x", type=TRACKER, flavor="mlflow", configuration=[CANARY])),
        (InvalidInput, lambda: client.create_component("x", type=TRACKER, flavor="mlflow", configuration=CANARY)),
        (InvalidInput, lambda: client.create_component("x", type=TRACKER, flavor="mlflow", configuration={1: CANARY})),
        (
            InvalidInput,
            lambda: client.create_component("x", type=TRACKER, flavor="mlflow", configuration={"tracking_token": [CANARY]}),
        ),
        (InvalidInput, lambda: client.list_runs(status="bogus")),
        (NothingToChange, lambda: client.update_component("orchestrator", "default")),
        (NothingToChange, lambda: client.update_stack("default")),
        (AlreadyExists, lambda: client.create_component("default", type="orchestrator", flavor="local")),
    ]
    for kind, attempt in attempts:
        with pytest.raises(kind) as caught:
            attempt()
        assert not holds_canary(f"{caught.value} {caught.value.hint} {caught.value.__cause__!r} {caught.value.__context__!r}")
    assert client.list_components().total == 2


def test_warnings_point_at_the_caller(local_client: Client) -> None:
    """Plain text in a sensitive attribute, and a near miss, warn the line that wrote it; what stays unchanged warns no more."""
    with pytest.warns(StrongroomWarning) as caught:
        local_client.create_component(
            "tracker", type=TRACKER, flavor="mlflow", configuration={"tracking_password": PLAIN, "tracking_uri": "{{a}}"}
        )
    assert {warning.filename for warning in caught} == {__file__}
    texts = sorted(str(warning.message) for warning in caught)
    assert [text.startswith("experiment tracker 'tracker': the attribute 'tracking_") for text in texts] == [True, True]
    assert not any(PLAIN in text for text in texts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        local_client.update_component(TRACKER, "tracker", configuration={"tracking_uri": "http://x"})
        local_client.get_component(TRACKER, "tracker")
    with pytest.warns(StrongroomWarning, match="tracking_token"):
        local_client.update_component(TRACKER, "tracker", configuration={"tracking_token": PLAIN})


def test_attributes_resolve_when_they_are_used(local_client: Client, counted: Counted) -> None:
    """Opening a stack reads no secret; the first attribute resolves all references of the stack in one call, and no other does."""
    make_stack(local_client, tracking_uri="http://tracker", tracking_username="{{ ml.user }}", tracking_password="{{ml.pass.word}}")
    local_client.create_secret("ml", {"user": ONE, "pass.word": TWO})
    counted.calls.clear()
    stack = local_client.active_stack
    tracker = stack.experiment_tracker
    assert tracker is not None
    assert stack.experiment_tracker is tracker
    assert stack.alerter is None
    assert [component.name for component in stack.components] == ["default", "tracker", "default"]
    assert stack.artifact_store.config.path is None
    assert repr(stack) == "ActiveStack('ml': artifact_store 'default', experiment_tracker 'tracker', orchestrator 'default')"
    assert counted.calls == ["stack.use"]
    assert tracker.config.tracking_uri == "http://tracker"
    assert tracker.config.tracking_insecure_tls is False, "what was not given has its default"
    assert counted.calls == ["stack.use"]
    right = [
        tracker.config.tracking_username == ONE,
        tracker.config["tracking_password"] == TWO,
        dict(tracker.config)["tracking_password"] == TWO,
    ]
    assert right == [True] * 3
    assert counted.calls == ["stack.use", "secret.resolve"]
    with pytest.raises(AttributeError, match="the mlflow experiment tracker has no attribute 'tracking_url'"):
        _ = tracker.config.tracking_url
    with pytest.raises(AttributeError, match="a stack has no 'tracker'"):
        _ = stack.tracker
    with pytest.raises(KeyError):
        _ = tracker.config["tracking_url"]


def test_many_threads_resolve_once(local_client: Client, counted: Counted) -> None:
    """Threads that use a stack's attributes at the same time share one call, and observers hear of each value."""
    make_stack(local_client, tracking_username="{{ml.user}}", tracking_password="{{ml.password}}")
    local_client.create_secret("ml", {"user": ONE, "password": TWO})
    tracker = local_client.active_stack.experiment_tracker
    assert tracker is not None
    counted.calls.clear()
    heard: list[ValuesRead] = []
    right: list[bool] = []
    ready = threading.Barrier(8)

    def use() -> None:
        ready.wait(60)
        right.append(tracker.config.tracking_username == ONE and tracker.config.tracking_password == TWO)

    with observing(heard.append):
        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert right == [True] * 8
    assert counted.calls == ["secret.resolve"]
    assert sorted(key for read in heard for key in read.values) == ["password", "user"]
    assert not holds_canary(repr(heard))


def test_a_stack_shows_and_carries_no_value(local_client: Client) -> None:
    """Neither `repr` nor `pickle` nor a copy of a stack or its attributes gives a value away, also after it was read."""
    with pytest.warns(StrongroomWarning):
        make_stack(local_client, tracking_username="{{ml.user}}", tracking_password=PLAIN)
    local_client.create_secret("ml", {"user": ONE})
    stack = local_client.active_stack
    tracker = stack.experiment_tracker
    assert tracker is not None
    right = tracker.config.tracking_username == ONE
    assert right
    assert repr(tracker.config) == "Config({'tracking_username': '{{ml.user}}', 'tracking_password': '********'})"
    assert repr(tracker) == "MLflowTracker('tracker')"
    assert not holds_canary(f"{stack!r} {stack} {tracker!r} {tracker.config!s}")
    for thing in (stack, tracker.config, tracker):
        for carry in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                carry(thing)


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (None, "there is no secret 'ml'"),
        ("mll", "did you mean mll?"),
        ("ml", "secret 'ml' has no key 'user'; its keys are: other"),
    ],
    ids=range(3),
)
def test_what_does_not_resolve(local_client: Client, secret: str | None, reason: str) -> None:
    """An attribute whose reference leads nowhere is an error that names both, and why; other attributes are there."""
    make_stack(local_client, tracking_uri="http://tracker", tracking_username="{{ml.user}}", tracking_token="{{fine.k}}")
    local_client.create_secret("fine", {"k": ONE})
    if secret:
        local_client.create_secret(secret, {"other": TWO})
    tracker = local_client.active_stack.experiment_tracker
    assert tracker is not None
    assert tracker.config.tracking_uri == "http://tracker"
    with pytest.raises(Unresolved) as caught:
        _ = tracker.config.tracking_username
    assert str(caught.value).startswith("{{ml.user}} (experiment tracker 'tracker', tracking_username) has no value: ")
    assert reason in str(caught.value)
    assert not holds_canary(str(caught.value))
    right = tracker.config.tracking_token == ONE
    assert right


def test_nested_references_resolve(local_client: Client) -> None:
    """References in lists and mappings become values there; everything else stays."""
    local_client.create_secret("s3", {"k": ONE})
    local_client.create_component(
        "bucket",
        type="artifact_store",
        flavor="s3",
        configuration={"path": "s3://b", "options": {"a": ["{{s3.k}}", {"b": "{{ s3.k }}"}], "c": 5, "{{s3.k}}": "x"[:0]}},
    )
    local_client.update_stack("default", components={"artifact_store": "bucket"})
    options = local_client.active_stack.artifact_store.config.options
    right = options == {"a": [ONE, {"b": ONE}], "c": 5, "{{s3.k}}": ""}
    assert right


def test_the_setting_names_the_active_stack(local_client: Client) -> None:
    """`STRONGROOM_ACTIVE_STACK` overrules the choice for this process, and is no choice itself."""
    make_stack(local_client)
    local_client.activate_stack("default")
    with Client(replace(local_client.settings, active_stack="ml")) as other:
        assert other.get_stack().name == "ml"
        assert other.active_stack.name == "ml"
        assert other.use_stack().name == "ml"
        assert other.get_stack("default").active
        assert open_stack(other, "default").name == "default"
    assert local_client.active_stack.name == "default"
    with Client(replace(local_client.settings, active_stack="absent")) as other:
        with pytest.raises(NotFound, match="there is no stack 'absent'"):
            other.get_stack()
        with pytest.raises(NotFound, match="there is no stack 'absent'"):
            _ = other.active_stack


def test_within_a_run_its_stack_is_the_active_one(local_client: Client) -> None:
    """Code that works for a run gets the run's stack, in that thread alone; another one by name."""
    make_stack(local_client)
    stack = open_stack(local_client, "default")
    with within(stack):
        assert local_client.active_stack is stack
        assert open_stack(local_client, "ml").name == "ml"
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(local_client.active_stack.name))
        thread.start()
        thread.join()
        assert found == ["ml"]
    assert local_client.active_stack.name == "ml"


def test_observers_hear_of_resolved_values(local_client: Client) -> None:
    """Whoever watches hears of each value before the caller gets it, and whether it is on record."""
    local_client.create_secret("s", {"k": ONE})
    run = local_client.create_run(CreateRun(pipeline="p", stack="default", steps=[PlannedStep(name="a")]))
    heard: list[ValuesRead] = []
    with observing(heard.append):
        local_client.resolve_references([Reference("s", "k"), Reference("s", "l"), Reference("t", "k")])
        local_client.resolve_references([Reference("s", "k")], run_id=run.id)
        local_client.check_references([Reference("s", "k")])
    assert [(read.secret, read.version, list(read.values), read.recorded) for read in heard] == [
        ("s", 1, ["k"], False),
        ("s", 1, ["k"], True),
    ]
    assert [item.run for item in local_client.list_secret_usage("s")] == [run.name]
    local_client.update_run_step(run.id, "a", RunStatus.RUNNING)
    local_client.update_run_step(run.id, "a", RunStatus.COMPLETED, cache_key="key")
    local_client.finish_run(run.id, RunStatus.COMPLETED)
    assert local_client.find_cached_step("key").run_id == run.id
    assert [item.status for item in local_client.list_runs(status="completed", pipeline="p")] == ["completed"]
