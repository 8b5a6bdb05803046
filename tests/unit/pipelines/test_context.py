"""What a step is told about where it runs."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import StepContext, step
from tests.canary import CANARY

USERNAME = f"{CANARY}-username"
PASSWORD = f"{CANARY}-password"


@pytest.fixture
def tracked(client: Client) -> Client:
    """The active stack has an experiment tracker whose credentials are references."""
    client.create_secret("mlflow_secret", {"username": USERNAME, "password": PASSWORD})
    client.create_component(
        "mlflow",
        type="experiment_tracker",
        flavor="mlflow",
        configuration={
            "tracking_uri": "http://127.0.0.1:1",
            "tracking_username": "{{mlflow_secret.username}}",
            "tracking_password": "{{ mlflow_secret.password }}",
        },
    )
    client.create_stack(
        "tracked", {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "mlflow"}, activate=True
    )
    return client


def test_attributes_are_resolved(tracked: Client) -> None:
    """`context.stack.experiment_tracker.config.tracking_username` is the value; attributes without references are as written."""

    @step
    def look(context: StepContext) -> bool:
        config = context.stack.experiment_tracker.config
        assert config.tracking_username == USERNAME
        assert config["tracking_password"] == PASSWORD
        assert config.tracking_uri == "http://127.0.0.1:1"
        assert config.tracking_token is None
        assert config.tracking_insecure_tls is False
        with pytest.raises(AttributeError, match="the mlflow experiment tracker has no attribute 'username'"):
            _ = config.username
        return True

    @pipeline
    def looking() -> None:
        look()

    assert looking().output("look") is True


def test_the_active_stack_is_that_of_the_run(tracked: Client) -> None:
    """Within a step `Client().active_stack` is the very stack of the context, whichever is active; outside it is one like it."""
    seen: list[Any] = []

    @step
    def look(context: StepContext) -> None:
        seen.append(context.stack)
        assert Client().active_stack is context.stack
        assert Client().active_stack.experiment_tracker is context.stack.experiment_tracker

    @pipeline
    def looking() -> None:
        look()

    looking()
    outside = tracked.active_stack
    assert (outside.id, outside.name) == (seen[0].id, seen[0].name)
    assert outside is not seen[0]
    assert outside.experiment_tracker.config.tracking_username == USERNAME
    assert [component.name for component in outside.components] == ["default", "mlflow", "default"]
    looking.with_options(stack="default")()
    assert (seen[1].name, seen[1].experiment_tracker) == ("default", None)
    assert tracked.active_stack.name == "tracked"


def test_absent_types_are_none(client: Client) -> None:
    """A type that the stack has no component of is None, and what is no type of component is an error that lists them."""
    stack = client.active_stack
    assert stack.orchestrator.name == "default"
    for absent in ("experiment_tracker", "alerter", "container_registry", "model_registry", "model_deployer", "step_operator"):
        assert getattr(stack, absent) is None
    with pytest.raises(AttributeError, match="no 'secret_manager'; it has components: alerter, artifact_store"):
        _ = stack.secret_manager


def test_who_and_where(client: Client) -> None:
    """The context tells the names of run, pipeline and step, as the record has them."""

    @step
    def look(context: StepContext) -> list[str]:
        return [context.run_id, context.run_name, context.pipeline_name, context.step_name]

    @pipeline
    def looking() -> None:
        look()
        look()

    run = looking()
    assert run.output("look_2") == [run.id, run.name, "looking", "look_2"]


def test_settings_are_merged_and_resolved(client: Client) -> None:
    """The run wins over the step, the step over the pipeline; mappings are merged, and nested references are values."""
    client.create_secret("api", {"token": f"{CANARY}-token", "other": f"{CANARY}-other"})

    @step(settings={"api": {"token": "{{api.token}}", "retries": 1}, "hosts": ["a", "{{api.other}}"]})
    def look(context: StepContext) -> None:
        seen.append(context.settings)

    @pipeline(settings={"api": {"retries": 0, "url": "x"}, "level": "pipeline"})
    def looking() -> None:
        look()

    seen: list[dict[str, Any]] = []
    run = looking.with_options(settings={"api": {"retries": 2}})()
    assert seen == [
        {"api": {"token": f"{CANARY}-token", "retries": 2, "url": "x"}, "hosts": ["a", f"{CANARY}-other"], "level": "pipeline"}
    ]
    assert run.steps["look"].settings["api"]["token"] == "{{api.token}}"


def test_nothing_of_it_shows_values(tracked: Client) -> None:
    """Context, stack, components and attributes show no value when they are printed, and cannot be pickled."""

    @step
    def look(context: StepContext) -> str:
        tracker = context.stack.experiment_tracker
        assert tracker.config.tracking_password == PASSWORD
        for thing in (context.stack, tracker.config):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(thing)
        return repr([context, context.stack, tracker, tracker.config, context.stack.components])

    @pipeline
    def looking() -> None:
        look()

    shown = looking().output("look")
    assert CANARY not in shown
    assert "{{ mlflow_secret.password }}" in shown


def test_a_context_is_good_for_its_own_metadata(client: Client) -> None:
    """Each step has metadata of its own; what is no plain data fails the step that gives it."""

    @step
    def note(context: StepContext, number: int) -> None:
        context.log_metadata({"number": number})
        context.log_metadata({"nested": {"list": [1, None, "x"]}})

    @step
    def fail(context: StepContext) -> None:
        context.log_metadata({"object": object()})

    @pipeline
    def noting(wrong: bool = False) -> None:
        note(1)
        note(2)
        if wrong:
            fail()

    run = noting()
    assert run.steps["note"].metadata == {"number": 1, "nested": {"list": [1, None, "x"]}}
    assert run.steps["note_2"].metadata["number"] == 2
    with pytest.raises(Exception, match="'object' of the metadata of step 'fail' is no plain data"):
        noting(wrong=True)
