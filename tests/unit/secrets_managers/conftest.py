"""A stack whose secrets manager is a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.secrets_managers.local import LocalSecretsManager


@pytest.fixture
def manager(local_client: Client, allow_values_in: Callable[[Path], Path]) -> LocalSecretsManager:
    """The secrets manager of the active stack, which has an experiment tracker with a reference to `s.user`."""
    return make_manager(local_client, allow_values_in)


def make_manager(client: Client, allow_values_in: Callable[[Path], Path]) -> LocalSecretsManager:
    """Makes that stack the active one."""
    client.create_component("file", type="secrets_manager", flavor="local")
    client.create_component("tracker", type="experiment_tracker", flavor="mlflow", configuration={"tracking_username": "{{s.user}}"})
    parts = {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "tracker", "secrets_manager": "file"}
    client.create_stack("managed", parts, activate=True)
    made = client.active_stack.secrets_manager
    assert isinstance(made, LocalSecretsManager)
    allow_values_in(made.path.parent)
    return made
