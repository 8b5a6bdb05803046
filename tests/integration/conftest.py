"""Servers that stack components talk to: real ones where they can be had, fakes of Slack and of container registries.

Passwords and keys are on the servers what they are in the tests: they start with the canary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from tests.canary import CANARY
from tests.environments import NotBuilt, build_environment
from tests.fakes.container_registry import ContainerRegistry
from tests.fakes.slack import SlackServer
from tests.servers.mlflow import MLflowServer
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from strongroom.secrets_stores.gcp import GcpSecretsStore, Options
    from tests.fakes.google_identity import GoogleIdentity
    from tests.fakes.secret_manager import SecretManager
    from tests.integration.manager_places import Aws, Google, KeyVault, Place, Vault
    from tests.servers.openbao import OpenBaoServer


@pytest.fixture(scope="session", autouse=True)
def _quiet_clients() -> Iterator[None]:
    """No client reports its use or its errors to its maker, or asks the machine that it runs on for credentials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("DO_NOT_TRACK", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # another API, by gRPC, which it asks for a minute
        yield


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[MLflowServer]:
    """A real MLflow tracking server. The first run on a machine needs a network, to build the server's environment."""
    try:
        environment = build_environment("mlflow-server")
    except NotBuilt as error:
        pytest.skip(f"the environment of MLflow's server cannot be built: {error}")
    server = MLflowServer(environment, f"{CANARY}-mlflow")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server that speaks S3 and checks signatures. One for many tests: each test creates a bucket of its own."""
    server = S3Server(f"{CANARY}-s3/+")
    yield server
    server.stop()


@pytest.fixture
def google_identity() -> Iterator[GoogleIdentity]:
    """A fake of the servers that Google's tokens come from."""
    from tests.fakes.google_identity import GoogleIdentity

    server = GoogleIdentity()
    yield server
    server.stop()


@pytest.fixture
def google(google_identity: GoogleIdentity) -> Iterator[SecretManager]:
    """A fake of Google Secret Manager, where `PRINCIPAL` may do what the policy says."""
    from tests.fakes.secret_manager import SecretManager
    from tests.integration.gcp import PRINCIPAL, RIGHTS

    server = SecretManager(google_identity)
    server.grant(PRINCIPAL, *RIGHTS)
    yield server
    server.stop()


@pytest.fixture
def open_gcp_store(google: SecretManager) -> Iterator[Callable[..., GcpSecretsStore]]:
    """Opens stores there, and closes them in the end."""
    from tests.integration.gcp import new_store

    stores: list[GcpSecretsStore] = []

    def open_(options: Options | None = None, deployment_id: str = "d", **endpoint: Any) -> GcpSecretsStore:
        stores.append(new_store(google, deployment_id, options, **endpoint))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def gcp_store(open_gcp_store: Callable[..., GcpSecretsStore]) -> GcpSecretsStore:
    """A store of the deployment `d`."""
    return open_gcp_store()


@pytest.fixture
def slack_server() -> Iterator[SlackServer]:
    """A fake of Slack, which takes the token `server.token`."""
    server = SlackServer(f"{CANARY}-xoxb")
    yield server
    server.stop()


@pytest.fixture(params=["basic", "bearer"])
def container_registry(request: pytest.FixtureRequest) -> Iterator[ContainerRegistry]:
    """A fake of a container registry, with each scheme of authentication in turn."""
    server = ContainerRegistry("robot", f"{CANARY}-registry", request.param)
    yield server
    server.stop()


@pytest.fixture
def client(local_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the store that pipelines use here, by the environment."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_settings.folder))
    with Client() as client:
        yield client


@pytest.fixture
def aws_place() -> Iterator[Aws]:
    """AWS, for secrets managers."""
    from tests.integration.manager_places import Aws

    yield from _ended(Aws())


@pytest.fixture
def azure_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    """Key Vault, for secrets managers."""
    from tests.integration.manager_places import KeyVault

    yield from _ended(KeyVault(tmp_path_factory.mktemp("azure")))


@pytest.fixture
def gcp_place() -> Iterator[Google]:
    """Google Secret Manager, for secrets managers."""
    from tests.integration.manager_places import Google

    yield from _ended(Google())


@pytest.fixture
def vault_place(openbao: OpenBaoServer) -> Iterator[Vault]:
    """OpenBao, for secrets managers."""
    from tests.integration.manager_places import Vault

    yield from _ended(Vault(openbao))


@pytest.fixture(params=["aws", "azure", "gcp", "vault"])
def place(request: pytest.FixtureRequest) -> Place:
    """One service after the other, for secrets managers."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def _credentials_stand_in_the_index(local_settings: Settings, allow_values_in: Callable[[Path], Path]) -> None:
    """Attributes of secrets managers are no references: credentials stand in them in clear."""
    allow_values_in(local_settings.folder)


def _ended(place: Any) -> Iterator[Any]:
    yield place
    place.stop()
