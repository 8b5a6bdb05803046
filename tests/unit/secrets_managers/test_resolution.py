"""References with both: the centralized store comes first, then the secrets manager of the stack; validation agrees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from strongroom.client import Client
from strongroom.client.transports.acting import acting_transport
from strongroom.config import PREFIX, Settings, ValidationLevel
from strongroom.errors import InvalidInput, NotFound, StepFailed, StrongroomError, Unavailable, Unresolved
from strongroom.pipelines import pipeline
from strongroom.secrets_managers.local import LocalSecretsManager
from strongroom.stacks import SecretsManager
from strongroom.stacks.registration import register_answers, wanted_secrets
from strongroom.stacks.resolution import places_in_stack
from strongroom.stacks.stack import find_manager
from strongroom.stacks.validation import Problem, validate
from strongroom.steps import StepContext, step
from tests.canary import CANARY, holds_canary

MANAGED, WORKSPACE, OWN = f"{CANARY}-managed", f"{CANARY}-workspace", f"{CANARY}-own"


def username(client: Client) -> str | None:
    """What `{{s.user}}` resolves to now, if validation says that it does; None if both say that it does not."""
    problems = problems_of(client)
    config = client.active_stack.experiment_tracker.config
    if problems:
        with pytest.raises(Unresolved, match=re.escape(problems[0].reason)):
            _ = config.tracking_username
        return None
    value = config.tracking_username
    assert isinstance(value, str)
    return value


def problems_of(client: Client, level: ValidationLevel | None = None) -> list[Problem]:
    """What validation has against the active stack."""
    stack = client.get_stack()
    return validate(client, places_in_stack(stack), level, open_manager=lambda: find_manager(client, stack))


def test_the_centralized_store_comes_first(manager: LocalSecretsManager, local_client: Client) -> None:
    """The manager's secret resolves, the workspace's overrides it, the user's both; deleting them falls back step by step."""
    assert username(local_client) is None
    manager.register_secret("s", {"user": MANAGED})
    assert username(local_client) == MANAGED
    local_client.create_secret("s", {"user": WORKSPACE})
    assert username(local_client) == WORKSPACE
    local_client.create_secret("s", {"user": OWN}, scope="user")
    assert username(local_client) == OWN
    local_client.delete_secret("s", scope="user")
    assert username(local_client) == WORKSPACE
    local_client.delete_secret("s", scope="workspace")
    assert username(local_client) == MANAGED
    manager.delete_secret("s")
    assert username(local_client) is None


def test_a_secret_without_the_key_is_no_reason_to_fall_back(manager: LocalSecretsManager, local_client: Client) -> None:
    """A secret that is found without the key is an error, in either place; names are exact."""
    manager.register_secret("S", {"user": MANAGED})
    manager.register_secret("ss", {"user": MANAGED})
    assert username(local_client) is None
    manager.register_secret("s", {"other": MANAGED})
    (problem,) = problems_of(local_client)
    assert "has no key 'user'; its keys are: other" in problem.reason
    assert username(local_client) is None
    assert problems_of(local_client, ValidationLevel.SECRET_EXISTS) == []
    manager.update_secret("s", {"user": MANAGED})
    local_client.create_secret("s", {"elsewhere": WORKSPACE})
    (problem,) = problems_of(local_client)
    assert "its keys are: elsewhere" in problem.reason
    assert username(local_client) is None


def test_a_manager_that_cannot_be_read(manager: LocalSecretsManager, local_client: Client) -> None:
    """Then validation and resolution fail with the reason; what the centralized store has goes on working. NONE asks nobody."""
    manager.path.parent.mkdir(parents=True)
    manager.path.write_text(f"no yaml: {{{CANARY}")
    (problem,) = problems_of(local_client)
    assert "cannot be read" in problem.reason
    assert "secrets manager 'file'" in problem.reason
    assert not holds_canary(f"{problem}")
    assert username(local_client) is None
    assert problems_of(local_client, ValidationLevel.NONE) == []
    local_client.create_secret("s", {"user": WORKSPACE})
    assert username(local_client) == WORKSPACE


def test_no_reference_leads_to_a_manager_of_another_stack(manager: LocalSecretsManager, local_client: Client) -> None:
    """Only the stack that has the secrets manager falls back to it; without one `secrets_manager` is None."""
    manager.register_secret("s", {"user": MANAGED})
    local_client.update_stack("default", components={"experiment_tracker": "tracker"})
    local_client.activate_stack("default")
    assert local_client.active_stack.secrets_manager is None
    assert username(local_client) is None


@pytest.mark.parametrize("attributes", [{"path": "{{s.user}}"}, {"path": "{{ s.user }}"}], ids=["tight", "with blanks"])
def test_attributes_refuse_references(local_client: Client, attributes: dict[str, Any]) -> None:
    """A secrets manager's own attributes are no references: it is where references lead. Nothing is stored."""
    with pytest.raises(InvalidInput, match="is a reference, and a secrets manager takes none"):
        local_client.create_component("m", type="secrets_manager", flavor="local", configuration=attributes)
    assert local_client.list_components("secrets_manager").total == 0


@pytest.fixture
def running(manager: LocalSecretsManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSecretsManager]:
    """The secrets manager, in a process whose environment leads to its store."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(manager.settings.folder))
    yield manager
    assert acting_transport() is None


def test_in_steps(running: LocalSecretsManager, local_client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """`context.stack.secrets_manager.get_secret(NAME).content` is the keys and values; a run masks them in its output."""
    running.register_secret("s", {"user": MANAGED})
    running.register_secret("api", {"token": f"{CANARY}-token"})

    @step
    def look(context: StepContext) -> int:
        manager = context.stack.secrets_manager
        content = manager.get_secret("api").content
        assert content == {"token": f"{CANARY}-token"}
        print(f"the token is {content['token']}, the user {context.stack.experiment_tracker.config.tracking_username}")
        return len(content)

    @step
    def fail(context: StepContext, number: int) -> None:
        context.stack.secrets_manager.get_secret("apy")

    @pipeline
    def looking() -> None:
        look()

    @pipeline
    def failing() -> None:
        fail(look())

    assert looking().output("look") == 1
    shown = capfd.readouterr()
    assert "the token is ********, the user ********" in shown.out
    assert not holds_canary(shown.out + shown.err)
    with pytest.raises(StepFailed, match="secrets manager 'file' has no secret 'apy'"):
        failing()


def test_steps_without_one(local_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stack without one it is None."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_client.settings.folder))

    @step
    def look(context: StepContext) -> bool:
        return context.stack.secrets_manager is None

    @pipeline
    def looking() -> None:
        look()

    assert looking().output("look") is True


def test_no_step_begins_without_the_managers_secret(running: LocalSecretsManager, local_client: Client) -> None:
    """A reference that leads nowhere in either place stops the run before its first step, and the error names the remedy."""

    @step
    def look() -> None:
        raise AssertionError

    @pipeline
    def looking() -> None:
        look()

    with pytest.raises(Unresolved, match="no step was started: 1 reference cannot be resolved on stack 'managed'") as caught:
        looking()
    assert caught.value.hint == "strongroom stack register-secrets managed"


def answer(client: Client, answers: dict[str, dict[str, str]]) -> list[str]:
    """Registers the missing secrets of the active stack with these answers."""
    stack = client.get_stack()
    manager = find_manager(client, stack)
    wanted = wanted_secrets(client, stack, manager)
    for secret in wanted:
        secret.answers.update(answers.get(secret.name, {}))
    return list(register_answers(client, wanted, manager))


def test_missing_secrets_are_registered_in_the_manager(manager: LocalSecretsManager, local_client: Client) -> None:
    """`register-secrets` writes to the stack's secrets manager; a secret that the centralized store has is changed there."""
    assert answer(local_client, {"s": {"user": MANAGED}}) == ["Created secret 's' in secrets manager 'file' with: user."]
    assert manager.get_secret("s").content == {"user": MANAGED}
    assert local_client.list_secrets().total == 0
    assert answer(local_client, {"s": {"user": OWN}}) == ["Updated secret 's' in secrets manager 'file' with: user."]
    assert username(local_client) == OWN
    local_client.create_secret("s", {"other": WORKSPACE})
    assert answer(local_client, {"s": {"user": WORKSPACE}}) == ["Updated secret 's' with: user; it is at version 2."]
    assert username(local_client) == WORKSPACE
    assert manager.get_secret("s").content == {"user": OWN}


class OwnManager(SecretsManager):
    """A secrets manager of somebody's own, which keeps one secret, and may be out of reach."""

    flavor = "own"
    kept: ClassVar[dict[str, dict[str, str]]] = {}
    is_down = False

    def find_secret(self, name: str) -> dict[str, str] | None:
        """See the base."""
        if self.is_down:
            raise Unavailable("out of reach")
        return self.kept.get(name)

    def list_secrets(self) -> list[str]:
        """See the base."""
        return sorted(self.kept)

    def register_secret(self, name: str, values: Any) -> None:
        """See the base."""
        self.kept[name] = dict(values)

    def update_secret(self, name: str, values: Any) -> None:
        """See the base."""
        self.kept[name] = dict(values)

    def delete_secret(self, name: str) -> None:
        """See the base."""
        del self.kept[name]


def test_a_flavor_of_ones_own(local_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class by its import path is a flavor like the built-in ones: for steps, references and changes."""
    from strongroom.stacks.custom import describe_class

    monkeypatch.setattr(OwnManager, "kept", {})
    local_client.register_flavor(describe_class(f"{__name__}:OwnManager"))
    local_client.create_component("mine", type="secrets_manager", flavor="own")
    local_client.create_component(
        "tracker", type="experiment_tracker", flavor="mlflow", configuration={"tracking_username": "{{s.user}}"}
    )
    local_client.update_stack("default", components={"secrets_manager": "mine", "experiment_tracker": "tracker"})
    assert username(local_client) is None
    assert answer(local_client, {"s": {"user": MANAGED}}) == ["Created secret 's' in secrets manager 'mine' with: user."]
    assert username(local_client) == MANAGED
    made = local_client.active_stack.secrets_manager
    assert made is not None
    assert made.change_secret("s", {"more": "x"}, ["user"]) == ["more"]
    with pytest.raises(NotFound):
        made.get_secret("t")
    monkeypatch.setattr(OwnManager, "is_down", True)
    (problem,) = problems_of(local_client)
    assert "out of reach" in problem.reason
    assert username(local_client) is None
    with pytest.raises(StrongroomError, match="out of reach"):
        answer(local_client, {})


def test_on_a_server(remote_settings: Settings, allow_values_in: Callable[[Path], Path]) -> None:
    """Logged in to a server it is the same: the file stays on this machine, and the order is the same."""
    from tests.unit.secrets_managers.conftest import make_manager

    with Client(remote_settings) as client:
        manager = make_manager(client, allow_values_in)
        assert username(client) is None
        manager.register_secret("s", {"user": MANAGED})
        assert username(client) == MANAGED
        client.create_secret("s", {"user": WORKSPACE})
        assert username(client) == WORKSPACE
