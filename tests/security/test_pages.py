"""No page of a list is larger than its limit, whatever others have put into its items."""

from __future__ import annotations

import pytest

from strongroom.errors import TooLarge
from strongroom.models import page as pages
from strongroom.models.component import CreateComponent, ListComponents
from strongroom.models.flavor import ComponentType
from strongroom.models.secret import CreateSecret, ListSecrets
from strongroom.models.stack import CreateStack, ListStacks
from strongroom.operations import component as of_component
from strongroom.operations import secret as of_secret
from strongroom.operations import stack as of_stack
from strongroom.redaction import SecretText
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
