"""What tests of the `gcp` secrets store share."""

from __future__ import annotations

import traceback
from typing import Any

import grpc
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from strongroom.connectors.gcp import Endpoint, connect
from strongroom.connectors.gcp_methods import GcpMethod, OAuth2TokenMethod
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.gcp import GcpSecretsStore, Options, open_store
from tests.canary import CANARY
from tests.fakes.secret_manager import PROJECT, SecretManager

ABOUT = About(deployment_id="d", secret_id="s", name="my_Secret", scope="workspace", workspace="Team Ä", version=7)
VALUES = {"username": f"{CANARY}-user", "password": f"{CANARY}-é"}
SECONDS = 20
PRINCIPAL = "strongroom@example.com"
RIGHTS = (
    "secretmanager.secrets.create", "secretmanager.secrets.delete", "secretmanager.secrets.list",
    "secretmanager.versions.access", "secretmanager.versions.add", "secretmanager.versions.destroy",
)  # fmt: skip


def new_store(
    google: SecretManager, deployment_id: str = "d", options: Options | None = None, method: GcpMethod | None = None, **endpoint: Any
) -> GcpSecretsStore:
    """A store with a token of its own."""
    method = method or OAuth2TokenMethod(token=SecretText(google.identity.issue(PRINCIPAL)))
    place = Endpoint(**{"project_id": PROJECT, "endpoint": f"http://{google.address}", **endpoint})
    return open_store(connect(place, method), options or Options(), deployment_id)


def official(google: SecretManager) -> SecretManagerServiceClient:
    """Google's own client, of somebody who may do anything."""
    google.grant("admin@example.com")
    token = google.identity.issue("admin@example.com")

    class Authorized(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            metadata = [*(details.metadata or ()), ("authorization", f"Bearer {token}")]
            return continuation(_Details(details.method, details.timeout, metadata), request)

    channel = grpc.intercept_channel(grpc.insecure_channel(google.address), Authorized())
    return SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))


class _Details(grpc.ClientCallDetails):
    def __init__(self, method: str, timeout: float, metadata: Any) -> None:
        self.method, self.timeout, self.metadata = method, timeout, metadata
        self.credentials = self.wait_for_ready = self.compression = None


def name_of(locator: str) -> str:
    """Google's name of a locator."""
    return f"projects/{PROJECT}/secrets/{locator}"


def put(store: GcpSecretsStore, values: dict[str, str] = VALUES) -> str:
    """The locator of values that lie there."""
    locator = store.new_locator("s")
    store.put(locator, values, ABOUT, seconds=SECONDS)
    return locator


def shows_nothing(error: BaseException | None) -> None:
    """No credential and no value in an error, in what led to it, or in what it would print."""
    assert error is not None
    assert not isinstance(error.__context__, grpc.RpcError)
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!r}{vars(error)}"
        error = error.__context__
    assert CANARY not in shown, "an error shows what it should not"
