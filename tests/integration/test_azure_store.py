"""The `azure` secrets store keeps its promises on a fake of Key Vault that speaks as the real one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from strongroom.connectors.azure import Endpoint, connect
from strongroom.connectors.azure_methods import ServicePrincipalMethod
from strongroom.redaction import SecretText
from strongroom.secrets_stores.azure import AzureSecretsStore, Options, open_store
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from tests.canary import CANARY
from tests.fakes.azure import RIGHTS, TENANT, Application, Azure
from tests.fakes.relay import Fault, Relay

ABOUT = About(deployment_id="d", secret_id="s", name="my_secret", scope="workspace", workspace="default")
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
SECONDS = 20


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A Key Vault and its Entra. Tests use deployments of their own."""
    azure = Azure(tmp_path_factory.mktemp("azure"))
    yield azure
    azure.stop()


def store_of(
    azure: Azure, application: Application | None = None, deployment_id: str = "d", url: str | None = None, **options: object
) -> AzureSecretsStore:
    """A store that logs in by a client secret."""
    application = application or azure.entra.new_application()
    endpoint = Endpoint(
        vault_url=url or azure.vault.url,
        authority=azure.entra.url,
        ca_cert=str(azure.authority.file),
        verify_challenge_resource=False,
        disable_instance_discovery=True,
    )
    method = ServicePrincipalMethod(
        tenant_id=TENANT, client_id=application.client_id, client_secret=SecretText(application.client_secret)
    )
    return open_store(connect(endpoint, method), Options(**options), deployment_id)  # type: ignore[arg-type]


class TestAzure(SecretsStoreConformance):
    """All of the suite."""

    value_prefix = CANARY

    @pytest.fixture
    def azure(self, tmp_path: Path) -> Iterator[Azure]:
        """One of its own for each test."""
        azure = Azure(tmp_path)
        yield azure
        azure.stop()

    @pytest.fixture
    def harness(self, azure: Azure) -> Iterator[Harness]:
        """Stores behind a relay that can lose replies."""
        relay = Relay(azure.vault.port)
        url = f"https://127.0.0.1:{relay.port}"
        application, other = azure.entra.new_application(), azure.entra.new_application()

        @contextmanager
        def forbidden() -> Iterator[None]:
            application.rights = frozenset()
            yield
            application.rights = RIGHTS

        yield Harness(
            open=lambda deployment_id: store_of(azure, application, deployment_id, url),
            other_credential=lambda deployment_id: store_of(azure, other, deployment_id, url),
            unavailable=azure.unavailable,
            reply_lost=partial(relay.fault, Fault.LOST),
            hanging=azure.hanging,
            forbidden=forbidden,
            damage=lambda locator: azure.vault.replace(f"strongroom-{locator}", '{"a": {"nested": 1}}'),
        )
        relay.stop()
