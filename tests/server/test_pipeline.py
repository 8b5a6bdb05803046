"""Pipelines whose secrets, stacks and records are at a server."""

from __future__ import annotations

import pytest

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.pipelines import pipeline
from strongroom.steps import StepContext, step
from tests.canary import CANARY


@step
def read(context: StepContext) -> int:
    """Use a component and a secret."""
    tracker = context.stack.experiment_tracker.config
    assert (tracker.tracking_username, tracker.tracking_password) == ("u", f"{CANARY}-shared")
    assert Client().get_secret("own").secret_values == {"k": f"{CANARY}-own"}
    print(f"a careless step prints {CANARY}-own")
    return 1


@pipeline
def reading() -> None:
    """One step."""
    read()


def test_a_pipeline_runs_with_a_server(remote_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stack, references, secrets and the run's record all come from there; values are masked in what it prints."""
    monkeypatch.setenv("STRONGROOM_CONFIG_PATH", str(remote_settings.folder))
    with Client() as client:
        client.create_secret("tracking", {"user": "u", "password": f"{CANARY}-shared"})
        client.create_secret("own", {"k": f"{CANARY}-own"}, scope="user")
        client.create_component(
            "mlflow",
            type="experiment_tracker",
            flavor="mlflow",
            configuration={
                "tracking_uri": "http://127.0.0.1:9",
                "tracking_username": "{{tracking.user}}",
                "tracking_password": "{{tracking.password}}",
            },
        )
        parts = {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "mlflow"}
        client.create_stack("s", parts, activate=True)
        assert client.get_stack().name == "s"
        assert reading().output("read") == 1
        (run,) = client.list_runs()
        reads = client.get_run(run.name).reads
        assert isinstance(reads, list)
        used = {(each.secret, each.key, each.step) for each in reads}
        assert used == {("tracking", "user", "read"), ("tracking", "password", "read"), ("own", "k", "read")}
