"""No page of a list is larger than its limit, whatever others have put into its items."""

from __future__ import annotations

import msgspec
import pytest

from strongroom.errors import InvalidInput, StaleVersion, TooLarge
from strongroom.models import page as pages
from strongroom.models.component import CreateComponent, ListComponents
from strongroom.models.flavor import ComponentType
from strongroom.models.run import CreateRun, GetRun, PlannedStep, Run, RunStatus, UpdateRunStep
from strongroom.models.secret import CreateSecret, ListSecrets
from strongroom.models.stack import CreateStack, ListStacks
from strongroom.operations import component as of_component
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import stack as of_stack
from strongroom.redaction import SecretText
from strongroom.service import run as runs
from strongroom.service.wiring import Service
from tests.accounts import call


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 20_000)


def test_components_and_stacks(service: Service) -> None:
    """A page that holds too much is refused, and a smaller one given, on every database."""
    actor = service.local_actor
    for number in range(3):
        name = f"store{number}"
        configuration = {"path": "/" + "x" * 9_000}
        wanted = CreateComponent(name=name, type=ComponentType.ARTIFACT_STORE, flavor="local", configuration=configuration)
        call(service, of_component.CREATE, wanted, actor)
        parts = {ComponentType.ARTIFACT_STORE: name, ComponentType.ORCHESTRATOR: "default"}
        call(service, of_stack.CREATE, CreateStack(name=name, components=parts), actor)
    for operation, kind in ((of_component.LIST, ListComponents), (of_stack.LIST, ListStacks)):
        with pytest.raises(TooLarge, match="20000 bytes"):
            call(service, operation, kind(size=1_000), actor)
        assert len(call(service, operation, kind(size=2), actor)) == 2


def test_secrets(local_service: Service) -> None:
    """Names of keys and descriptions count."""
    actor = local_service.local_actor
    for number in range(60):
        values = {f"{key}-{'k' * 200}": SecretText("v") for key in range(3)}
        call(local_service, of_secret.CREATE, CreateSecret(name=f"s{number}", values=values), actor)
    with pytest.raises(TooLarge, match="20000 bytes"):
        call(local_service, of_secret.LIST, ListSecrets(size=1_000), actor)
    assert len(call(local_service, of_secret.LIST, ListSecrets(size=20), actor)) == 20


def test_a_run_is_bounded_whatever_its_steps_record(local_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose steps record as much as they are let, in metadata and errors, again and again, is as large as the limits say.

    The number of steps is one of them, since each of them may always record a little. No step is recorded twice.
    """
    most, steps, small = 50_000, 40, runs._SMALL
    monkeypatch.setattr(runs, "MAX_RUN_CHARACTERS", most)
    monkeypatch.setattr(runs, "MAX_STEPS", steps)
    actor = local_service.local_actor

    def create(number: int) -> Run:
        planned = [PlannedStep(name=f"s{each}") for each in range(number)]
        run: Run = call(local_service, of_run.CREATE, CreateRun(pipeline="p", stack="default", steps=planned), actor)
        return run

    with pytest.raises(InvalidInput, match=f"at most {steps} steps"):
        create(steps + 1)
    run = create(steps)
    refused = again = 0
    for number in range(steps):
        begin = UpdateRunStep(id=run.id, step=f"s{number}", status=RunStatus.RUNNING)
        call(local_service, of_run.UPDATE_STEP, begin, actor)
        for size in (30_000, 16_000, 5_000, small - 100, 1):
            for fields in ({"metadata": {"x": "y" * size}}, {"error": "y" * size, "metadata": {}}):
                status = RunStatus.COMPLETED if number % 2 else RunStatus.FAILED
                try:
                    call(
                        local_service, of_run.UPDATE_STEP, UpdateRunStep(id=run.id, step=f"s{number}", status=status, **fields), actor
                    )
                except TooLarge:
                    refused += 1
                except StaleVersion:
                    again += 1
    assert refused
    assert again
    shown = msgspec.json.encode(call(local_service, of_run.GET, GetRun(name=run.id), actor))
    assert len(shown) < most + steps * (small + 500)
