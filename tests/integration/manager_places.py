"""Where the tests of secrets managers keep secrets: each service behind a relay, with the vendor's own client beside it."""

from __future__ import annotations

import json
import traceback
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from google.api_core.exceptions import NotFound as GoogleNotFound
from hvac.exceptions import InvalidPath

from strongroom.client import Client
from strongroom.errors import StrongroomWarning
from strongroom.models.secrets_manager import NAME_RULES
from strongroom.stacks.secrets_manager import SecretsManager
from tests.canary import CANARY, holds_canary
from tests.fakes.aws import REGION, AwsServer
from tests.fakes.azure import RIGHTS, TENANT, Azure
from tests.fakes.google_identity import GoogleIdentity
from tests.fakes.relay import Fault, Relay
from tests.fakes.secret_manager import PROJECT, SecretManager
from tests.integration.aws_place import NOTHING
from tests.integration.gcp import PRINCIPAL, official
from tests.integration.stack import WANTED
from tests.servers.openbao import OpenBaoServer

VALUES = {"user": f"{CANARY}-user", "password": f"{CANARY}-pässword"}
OTHERS = {"token": f"{CANARY}-other"}

Outage = Callable[[], AbstractContextManager[None]]


class Place(ABC):
    """A service for one test. The outages are context managers; during `reply_lost` what is asked is done."""

    flavor: str
    attributes: dict[str, Any]
    """What a component has to be told to log in there."""
    requests: Mapping[str, int]
    """By method, the requests that it says it takes, without logins. Those of a manager in the scope `component`."""
    unavailable: Outage
    forbidden: Outage
    hanging: Outage
    relay: Relay

    def reply_lost(self) -> AbstractContextManager[None]:
        """Meanwhile no answer arrives."""
        return self.relay.fault(Fault.LOST)

    @abstractmethod
    def write(self, full: str, text: str, tags: dict[str, str] | None = None) -> None:
        """Somebody else makes a secret of the service, or replaces it, by the vendor's own client."""

    @abstractmethod
    def read(self, full: str) -> str | None:
        """What the vendor's own client finds there."""

    @abstractmethod
    def count(self) -> int:
        """Requests so far."""

    def full(self, *parts: str) -> str:
        """The service's name of a secret."""
        return NAME_RULES[self.flavor].separator.join(parts)

    def stop(self) -> None:
        """Ends what this began."""
        self.relay.stop()


class Aws(Place):
    """The fake of AWS."""

    flavor = "aws"
    requests = MappingProxyType({"find": 1, "list": 1, "register": 1, "update": 2, "change": 3, "delete": 2})

    def __init__(self) -> None:
        self.server = AwsServer()
        self.relay = Relay(int(self.server.address.rpartition(":")[2]))
        url, self.credential = f"http://127.0.0.1:{self.relay.port}", self.server.add()
        self.attributes = {
            "auth_method": "secret-key",
            "region": REGION,
            "endpoint_url": url,
            "sts_endpoint_url": url,
            "aws_access_key_id": self.credential.access_key_id,
            "aws_secret_access_key": self.credential.secret_access_key,
        }
        self.unavailable = partial(self.server.answering, 503, f"{CANARY} is busy".encode())
        self.forbidden = partial(self.server.policy, self.credential, NOTHING)
        self.hanging = self.server.hanging
        other = self.server.add()
        self.sdk = boto3.client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=self.server.url,
            aws_access_key_id=other.access_key_id,
            aws_secret_access_key=other.secret_access_key,
        )

    def write(self, full: str, text: str, tags: dict[str, str] | None = None) -> None:
        if full in self.server.secrets_manager.secrets:
            self.sdk.put_secret_value(SecretId=full, SecretString=text)
        else:
            tagged = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
            self.sdk.create_secret(Name=full, SecretString=text, Tags=tagged)

    def read(self, full: str) -> str | None:
        try:
            return str(self.sdk.get_secret_value(SecretId=full)["SecretString"])
        except (self.sdk.exceptions.ResourceNotFoundException, self.sdk.exceptions.InvalidRequestException):
            return None

    def count(self) -> int:
        return len(self.server.calls)

    def stop(self) -> None:
        super().stop()
        self.sdk.close()
        self.server.stop()


class KeyVault(Place):
    """The fake of Azure."""

    flavor = "azure"
    requests = MappingProxyType({"find": 1, "list": 1, "register": 2, "update": 2, "change": 3, "delete": 2})

    def __init__(self, folder: Path) -> None:
        self.azure = Azure(folder)
        self.relay = Relay(self.azure.vault.port)
        self.application = self.azure.entra.new_application()
        self.attributes = {
            **self.azure.options(vault_url=f"https://127.0.0.1:{self.relay.port}"),
            "auth_method": "service-principal",
            "tenant_id": TENANT,
            "client_id": self.application.client_id,
            "client_secret": self.application.client_secret,
        }
        self.unavailable, self.hanging = self.azure.unavailable, self.azure.hanging
        other, file = self.azure.entra.new_application(), str(self.azure.authority.file)
        credential = ClientSecretCredential(
            TENANT,
            other.client_id,
            other.client_secret,
            authority=self.azure.entra.url,
            disable_instance_discovery=True,
            connection_verify=file,
        )
        self.sdk = SecretClient(self.azure.vault.url, credential, verify_challenge_resource=False, connection_verify=file)

    @contextmanager
    def forbidden(self) -> Iterator[None]:  # type: ignore[override]
        """Meanwhile it has no rights."""
        self.application.rights = frozenset()
        yield
        self.application.rights = RIGHTS

    def write(self, full: str, text: str, tags: dict[str, str] | None = None) -> None:
        self.sdk.set_secret(full, text, tags=tags or {})

    def read(self, full: str) -> str | None:
        try:
            return self.sdk.get_secret(full).value
        except ResourceNotFoundError:
            return None

    def count(self) -> int:
        return len(self.azure.vault.requests)

    def stop(self) -> None:
        super().stop()
        self.sdk.close()
        self.azure.stop()


class Google(Place):
    """The fake of Google Secret Manager."""

    flavor = "gcp"
    requests = MappingProxyType({"find": 1, "list": 1, "register": 2, "update": 2, "change": 3, "delete": 1})

    def __init__(self) -> None:
        self.identity = GoogleIdentity()
        self.server = SecretManager(self.identity)
        self.server.grant(PRINCIPAL)
        self.relay = Relay(self.server.port)
        self.attributes = {
            "auth_method": "oauth2-token",
            "project_id": PROJECT,
            "endpoint": f"http://localhost:{self.relay.port}",
            "token": self.identity.issue(PRINCIPAL),
        }
        self.unavailable, self.forbidden, self.hanging = self.server.down, self.server.forbidden, self.server.hanging
        self.sdk = official(self.server)
        self._project = f"projects/{PROJECT}"

    def write(self, full: str, text: str, tags: dict[str, str] | None = None) -> None:
        name = f"{self._project}/secrets/{full}"
        if self.read(full) is None:
            made = {"replication": {"automatic": {}}, "labels": tags or {}}
            self.sdk.create_secret(parent=self._project, secret_id=full, secret=made)
        self.sdk.add_secret_version(parent=name, payload={"data": text.encode(), "data_crc32c": _checksum(text.encode())})

    def read(self, full: str) -> str | None:
        try:
            return self.sdk.access_secret_version(name=f"{self._project}/secrets/{full}/versions/latest").payload.data.decode()
        except GoogleNotFound:
            return None

    def count(self) -> int:
        return len(self.server.calls)

    def stop(self) -> None:
        super().stop()
        self.server.stop()
        self.identity.stop()


class Vault(Place):
    """An engine of its own of a real OpenBao."""

    flavor = "vault"
    requests = MappingProxyType({"find": 1, "list": 1, "register": 1, "update": 2, "change": 2, "delete": 2})

    def __init__(self, server: OpenBaoServer) -> None:
        self.server = server
        self.mount = server.enable_engine({"version": "2"})
        self.relay = Relay(server.port)
        self.rights = (
            f'path "{self.mount}/data/*" {{ capabilities = ["create", "read", "update"] }}\n'
            f'path "{self.mount}/metadata/*" {{ capabilities = ["create", "read", "update", "delete", "list"] }}'
        )
        token = server.new_token(self.rights)
        (self.policy_name,) = set(server.admin.lookup_token(token)["data"]["policies"]) - {"default"}
        self.attributes = {"vault_addr": f"http://127.0.0.1:{self.relay.port}", "vault_token": token, "mount_point": self.mount}
        self.unavailable, self.hanging = server.sealed, server.paused
        self.kv = server.admin.secrets.kv.v2

    @contextmanager
    def forbidden(self) -> Iterator[None]:  # type: ignore[override]
        """Meanwhile its policy is about something else."""
        policies = self.server.admin.sys
        policies.create_or_update_acl_policy(self.policy_name, 'path "nowhere" { capabilities = ["read"] }')
        yield
        policies.create_or_update_acl_policy(self.policy_name, self.rights)

    def write(self, full: str, text: str, tags: dict[str, str] | None = None) -> None:
        data = json.loads(text)
        self.kv.create_or_update_secret(full, data if isinstance(data, dict) else {"text": data}, mount_point=self.mount)
        if tags:
            self.kv.update_metadata(full, custom_metadata=tags, mount_point=self.mount)

    def read(self, full: str) -> str | None:
        try:
            found = self.kv.read_secret_version(full, mount_point=self.mount, raise_on_deleted_version=True)
        except InvalidPath:
            return None
        return json.dumps(found["data"]["data"])

    def count(self) -> int:
        return self.relay.requests


class Managers:
    """Secrets managers of a client, in a place."""

    def __init__(self, client: Client, flavor: str, attributes: dict[str, Any]) -> None:
        self.client, self.flavor, self.attributes = client, flavor, attributes

    def add(self, name: str = "one", **attributes: Any) -> SecretsManager:
        """Registers one, makes it part of a stack, and opens that."""
        configuration = {**self.attributes, **attributes}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StrongroomWarning)  # of credentials in clear
            self.client.create_component(name, type="secrets_manager", flavor=self.flavor, configuration=configuration)
        self.client.create_stack(name, {**WANTED, "secrets_manager": name}, activate=True)
        return self.open()

    def open(self) -> SecretsManager:
        """That of the active stack, made anew."""
        manager = self.client.active_stack.secrets_manager
        assert manager is not None
        return manager


def contents(manager: SecretsManager) -> dict[str, dict[str, str]]:
    """All that there is."""
    return {name: manager.get_secret(name).content for name in manager.list_secrets()}


def shows_nothing(error: BaseException | None) -> None:
    """No value and no credential in an error, in what led to it, and in what a traceback would show."""
    assert error is not None
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!r}{vars(error)}"
        error = error.__context__
    assert not holds_canary(shown), "an error shows what it should not"


def _checksum(data: bytes) -> int:
    import google_crc32c

    return int(google_crc32c.value(data))
