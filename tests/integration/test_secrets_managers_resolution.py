"""References through a secrets manager: the centralized store first, then the stack's manager, and validation agrees."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import Settings, ValidationLevel
from strongroom.errors import StrongroomWarning, Unresolved
from strongroom.pipelines import pipeline
from strongroom.stacks.resolution import places_in_stack
from strongroom.stacks.secrets_manager import SecretsManager
from strongroom.stacks.stack import find_manager
from strongroom.stacks.validation import Problem, validate
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary
from tests.integration.manager_places import Vault, shows_nothing
from tests.integration.stack import WANTED, failing


@pytest.fixture(params=["local_settings", "remote_settings"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of an embedded store, and of a server."""
    settings: Settings = request.getfixturevalue(request.param)
    monkeypatch.setenv("STRONGROOM_CONFIG_PATH", str(settings.folder))
    with Client(settings) as client:
        yield client


@pytest.fixture
def manager(client: Client, vault_place: Vault) -> SecretsManager:
    """A secrets manager in OpenBao, in the active stack; the stack's experiment tracker refers to `s`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrongroomWarning)  # of the token in clear
        client.create_component("m", type="secrets_manager", flavor="vault", configuration=vault_place.attributes)
    client.create_component("t", type="experiment_tracker", flavor="mlflow", configuration={"tracking_username": "{{s.user}}"})
    client.create_stack("tests", {**WANTED, "secrets_manager": "m", "experiment_tracker": "t"}, activate=True)
    manager = client.active_stack.secrets_manager
    assert manager is not None
    return manager


def value(text: str) -> str:
    return f"{CANARY}-{text}"


def resolved(client: Client) -> str:
    """What the tracker's attribute resolves to, in a stack that was just opened."""
    tracker = client.active_stack.experiment_tracker
    assert tracker is not None
    return str(tracker.config.tracking_username)


def problems(client: Client, level: ValidationLevel | None = None) -> list[Problem]:
    """What validation says of the stack."""
    stack = client.get_stack()
    return validate(client, places_in_stack(stack), level, open_manager=lambda: find_manager(client, stack))


def resolves_to(client: Client, text: str) -> None:
    """Validation finds nothing, and resolution gives this."""
    assert problems(client) == []
    assert resolved(client) == value(text)


def does_not_resolve(client: Client, reason: str) -> None:
    """Validation and resolution say the same, for the same reason, and show nothing."""
    (problem,) = problems(client)
    assert reason in problem.reason
    with pytest.raises(Unresolved) as caught:
        resolved(client)
    assert problem.reason in str(caught.value)
    assert "experiment tracker 't', tracking_username" in str(caught.value)
    shows_nothing(caught.value)
    assert not holds_canary(str(problem))


def test_the_order_of_resolution(client: Client, manager: SecretsManager) -> None:
    """The user's own secret, the workspace's, the manager's; each takes the place of the next, and gives it back when it is gone."""
    does_not_resolve(client, "there is no secret 's'")
    manager.register_secret("s", {"user": value("manager")})
    resolves_to(client, "manager")
    client.create_secret("s", {"user": value("workspace")}, scope="workspace")
    resolves_to(client, "workspace")
    client.create_secret("s", {"user": value("own")}, scope="user")
    resolves_to(client, "own")
    client.delete_secret("s", scope="user")
    resolves_to(client, "workspace")
    client.delete_secret("s", scope="workspace")
    resolves_to(client, "manager")
    manager.delete_secret("s")
    does_not_resolve(client, "there is no secret 's'")


def test_a_missing_key_is_no_missing_secret(client: Client, manager: SecretsManager) -> None:
    """Where a secret is found its keys decide: nothing falls back to the next place for a key."""
    manager.register_secret("s", {"password": value("manager")})
    does_not_resolve(client, "secret 's' has no key 'user'; its keys are: password")
    assert problems(client, ValidationLevel.SECRET_EXISTS) == []
    manager.change_secret("s", {"user": value("manager")})
    client.create_secret("s", {"other": value("workspace")})
    does_not_resolve(client, "secret 's' has no key 'user'; its keys are: other")


def test_names_are_exact(client: Client, manager: SecretsManager) -> None:
    """A secret whose name differs in capitals alone is another one."""
    manager.register_secret("S", {"user": value("manager")})
    does_not_resolve(client, "there is no secret 's'")


@pytest.mark.parametrize("fault", ["unavailable", "forbidden"])
def test_a_manager_that_cannot_be_read(client: Client, manager: SecretsManager, vault_place: Vault, fault: str) -> None:
    """What may be in a manager that does not answer has no value, and both say so; what the centralized store has resolves."""
    manager.register_secret("s", {"user": value("manager")})
    with getattr(vault_place, fault)():
        does_not_resolve(client, "it may be in secrets manager 'm', which cannot be read: Vault at")
        assert [problem.remedy for problem in problems(client)] == ["see that the secrets manager can be read from here"]
        assert len(problems(client, ValidationLevel.SECRET_EXISTS)) == 1
        assert problems(client, ValidationLevel.NONE) == []
        client.create_secret("s", {"user": value("workspace")})
        resolves_to(client, "workspace")
    client.delete_secret("s")
    resolves_to(client, "manager")


def test_what_is_no_secret_there(client: Client, manager: SecretsManager, vault_place: Vault) -> None:
    """What somebody else put under the name is told by both, and not shown."""
    full = vault_place.full("strongroom", "component", manager.id.replace("-", ""), "s")
    vault_place.write(full, f'{{"user": {{"nested": "{CANARY}"}}}}')
    does_not_resolve(client, "is no JSON object of texts")


@step
def using(context: StepContext) -> str:
    """A step that meets the values in both ways, and prints them."""
    user = context.stack.experiment_tracker.config.tracking_username
    content: dict[str, Any] = context.stack.secrets_manager.get_secret("s").content
    print(content["user"])
    return f"{user == content['user']} {len(content)}"


@pipeline
def asking() -> None:
    using()


def test_a_run(client: Client, manager: SecretsManager, vault_place: Vault, capfd: pytest.CaptureFixture[str]) -> None:
    """Steps use the manager of their stack, and what they print of it is masked; a run that could not resolve does not start."""
    manager.register_secret("s", {"user": value("manager")})
    assert asking().output("using") == "True 1"
    shown = "".join(capfd.readouterr())
    assert "***" in shown
    assert not holds_canary(shown)
    with vault_place.unavailable(), failing(Unresolved, "no step was started", "see that the secrets manager can be read"):
        asking()
