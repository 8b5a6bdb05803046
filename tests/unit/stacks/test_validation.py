"""Validation: everything that would not resolve, told at once, without values and without the right to read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import pytest

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.client import Client
from strongroom.config import Settings, ValidationLevel
from strongroom.errors import Forbidden, InvalidInput
from strongroom.models.reference import Reference
from strongroom.operations.operation import Operation
from strongroom.service.wiring import Service
from strongroom.stacks.registration import register_answers, wanted_secrets
from strongroom.stacks.resolution import Place, places_in, places_in_stack
from strongroom.stacks.validation import Problem, unresolved, validate
from tests.canary import CANARY, holds_canary

VALUE = f"{CANARY}-value"
NONE, SECRET, KEY = ValidationLevel.NONE, ValidationLevel.SECRET_EXISTS, ValidationLevel.SECRET_AND_KEY_EXISTS

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass
class AsActor:
    """A transport that asks as somebody, and notes what."""

    service: Service
    actor: Actor
    calls: list[str]

    def call(self, operation: Operation[Request, Response], request: Request) -> Response:
        self.calls.append(operation.name)
        return self.service.dispatcher.call(operation, request, self.actor)

    def close(self) -> None:
        pass


def client_as(service: Service, settings: Settings, role: Role) -> tuple[Client, list[str]]:
    """A client of somebody with this role, and the operations that it asks for."""
    client, calls = Client(settings), list[str]()
    client._transport = AsActor(service, msgspec.structs.replace(service.deployment.local_actor, role=role), calls)
    return client, calls


@pytest.fixture
def places(local_client: Client) -> list[Place]:
    """References in a stack and in settings: one that resolves, twice; one without its key; one without its secret."""
    local_client.create_secret("ml", {"user": VALUE})
    local_client.create_component(
        "tracker",
        type="experiment_tracker",
        flavor="mlflow",
        configuration={"tracking_username": "{{ml.user}}", "tracking_password": "{{ml.password}}", "tracking_uri": "plain"},
    )
    local_client.create_stack("s", {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "tracker"})
    found = places_in_stack(local_client.get_stack("s"))
    return [*found, *places_in("the settings of step 'train'", {"env": [{"A": "{{mll.token}}"}, "{{ ml.user }}"]})]


def test_places(places: list[Place]) -> None:
    """Every reference is found with its owner and its path, in order, also where it stands twice."""
    assert [(place.owner, place.attribute, str(place.reference)) for place in places] == [
        ("experiment tracker 'tracker'", "tracking_username", "{{ml.user}}"),
        ("experiment tracker 'tracker'", "tracking_password", "{{ml.password}}"),
        ("the settings of step 'train'", "env[0].A", "{{mll.token}}"),
        ("the settings of step 'train'", "env[1]", "{{ml.user}}"),
    ]


@pytest.mark.parametrize(
    ("level", "wanted"), [(NONE, []), (SECRET, ["{{mll.token}}"]), (KEY, ["{{ml.password}}", "{{mll.token}}"])], ids=range(3)
)
@pytest.mark.parametrize("as_setting", [True, False])
def test_levels(
    places: list[Place], local_service: Service, local_settings: Settings, level: ValidationLevel, wanted: list[str], as_setting: bool
) -> None:
    """The level says what counts as a problem; it is the setting's unless one is given. With NONE nothing is asked."""
    setting = level if as_setting else KEY
    client, calls = client_as(local_service, replace(local_settings, secret_validation_level=setting), Role.READER)
    problems = validate(client, places, None if as_setting else level)
    assert [problem.reference for problem in problems] == wanted
    assert calls == ([] if level is NONE else ["secret.check"])


def test_problems_in_words(places: list[Place], local_client: Client) -> None:
    """Each problem names where the reference stands and why it has no value; the error lists them all and says what to do."""
    problems = validate(local_client, places)
    assert [str(problem) for problem in problems] == [
        "{{ml.password}} (experiment tracker 'tracker', tracking_password): secret 'ml' has no key 'password'; its keys are: user",
        "{{mll.token}} (the settings of step 'train', env[0].A): there is no secret 'mll' (did you mean ml?)",
    ]
    error = unresolved("s", problems)
    assert str(error) == f"2 references cannot be resolved on stack 's': {problems[0]}; {problems[1]}"
    assert error.hint == "strongroom stack register-secrets s; strongroom secret create mll -i"
    assert error.problems == problems
    assert str(unresolved("s", problems[:1], "no step was started: ")).startswith("no step was started: 1 reference cannot")


def test_secrets_exist_for_those_who_may_only_list(places: list[Place], local_service: Service, local_settings: Settings) -> None:
    """Neither level needs the right to read values, nor says anything of it: a viewer gets the answers that a reader gets."""
    client, calls = client_as(local_service, local_settings, Role.VIEWER)
    reader, _ = client_as(local_service, local_settings, Role.READER)
    for level, expected in ((SECRET, 1), (KEY, 2), (NONE, 0)):
        problems = validate(client, places, level)
        assert len(problems) == expected
        assert problems == validate(reader, places, level)
    assert set(calls) == {"secret.check"}
    with pytest.raises(Forbidden):
        client.resolve_references([Reference("ml", "user")])


def test_nothing_to_validate(local_service: Service, local_settings: Settings) -> None:
    """Without references nothing is asked."""
    client, calls = client_as(local_service, local_settings, Role.VIEWER)
    assert validate(client, []) == []
    assert calls == []


def test_wanted_secrets(places: list[Place], local_client: Client) -> None:
    """What a stack refers to is grouped by secret, with what exists; answers make secrets or add to them, and never show."""
    local_client.update_component("experiment_tracker", "tracker", configuration={"tracking_token": "{{new.token}}"})
    wanted = wanted_secrets(local_client, local_client.get_stack("s"))
    assert [(secret.name, secret.keys, set(secret.existing)) for secret in wanted] == [
        ("ml", ["user", "password"], {"user"}),
        ("new", ["token"], set()),
    ]
    for secret in wanted:
        secret.answers = {key: VALUE for key in secret.keys if key not in secret.existing}
    assert not holds_canary(repr(wanted))
    done = list(register_answers(local_client, wanted))
    assert done == ["Updated secret 'ml' with: password; it is at version 2.", "Created secret 'new' with: token."]
    assert validate(local_client, places_in_stack(local_client.get_stack("s"))) == []
    assert list(register_answers(local_client, wanted_secrets(local_client, local_client.get_stack("s")))) == []


def test_reserved_names_cannot_be_wanted(local_client: Client) -> None:
    """A reference that can never lead anywhere is an error before anybody is asked for its value."""
    for number, reference in enumerate(("{{name.key}}", "{{s.name}}")):
        local_client.create_component(
            f"a{number}", type="alerter", flavor="slack", configuration={"channel": "c", "slack_token": reference}
        )
        local_client.update_stack("default", components={"alerter": f"a{number}"})
        stack = local_client.get_stack("default")
        assert [problem.reference for problem in validate(local_client, places_in_stack(stack))] == [reference]
        with pytest.raises(InvalidInput, match="cannot be called 'name'"):
            wanted_secrets(local_client, stack)


def test_problems_compare() -> None:
    """Problems are plain data."""
    assert Problem("o", "a", "{{b.c}}", "why") == Problem("o", "a", "{{b.c}}", "why")
