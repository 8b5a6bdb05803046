"""Service connectors at work: a login to a service that others run, whose credentials are secrets."""

from __future__ import annotations

import importlib
import threading
from dataclasses import MISSING, fields
from typing import Any

from strongroom import forking
from strongroom.certificates import certificate_file
from strongroom.config import Settings
from strongroom.connectors.options import build, find_method
from strongroom.errors import ConfigurationError
from strongroom.models.flavor import Attribute, ComponentType, Flavor
from strongroom.models.stack import ComponentUse
from strongroom.stacks.component import Component, Config

LOGIN_SECONDS = 20.0
"""How long a login may take, with all its attempts."""


class ServiceConnector(Component):
    """A login to a service. Its attributes resolve when it connects for the first time.

    The connection renews by itself what expires, from the values that it was made with. Thread-safe.
    """

    type = ComponentType.SERVICE_CONNECTOR

    def __init__(self, use: ComponentUse, config: Config, settings: Settings) -> None:
        super().__init__(use, config, settings)
        self._turn = forking.renewed(self, "_turn", threading.Lock)
        self._connection: Any = None

    def connect(self) -> Any:
        """The connection, the same at each call. Asks nobody but the store that the secrets are in.

        `Unresolved` when a secret is missing; `ConfigurationError`, `MissingExtra`.
        """
        with self._turn:
            if self._connection is None:
                self._connection = self._open()
            return self._connection

    def identity(self) -> str:
        """Who the service takes us for, for people to read: it has been asked. `StoreForbidden`, `Unavailable`, and as `connect`."""
        return str(self.connect().identity(seconds=LOGIN_SECONDS))

    def filesystem_options(self) -> dict[str, Any]:
        """The arguments by which the service's file system of fsspec logs in; what expires is renewed as it is used. As `connect`."""
        raise ConfigurationError(f"{self.title} is for no artifact store", hint="see: strongroom service-connector flavor list")

    def close(self) -> None:
        """Gives the connection back; the next use makes another one."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> Any:
        """A connection of `strongroom.connectors`, to the service that the flavor is called by."""
        connector, endpoint, method = self._built()
        return connector.connect(endpoint, method)

    def _built(self) -> tuple[Any, Any, Any]:
        """The module, the endpoint, and the authentication method."""
        connector = importlib.import_module(f"strongroom.connectors.{self.flavor}")
        options = {name: self.config[name] for name in self.config.given}
        name = options.pop("auth_method", None) or connector.DEFAULT_METHOD
        method, endpoint = build(self.title, [find_method(self.title, connector.METHODS, name), connector.Endpoint], options)
        return connector, endpoint, method


class AwsConnector(ServiceConnector):
    """A login to AWS."""

    flavor = "aws"

    def filesystem_options(self) -> dict[str, Any]:
        """Those of s3fs: a session, and where it works."""
        from strongroom.connectors.aws_session import aio_session

        connection, endpoint = self.connect(), self.config.endpoint_url
        client = {"region_name": connection.region, **({"endpoint_url": endpoint} if endpoint else {})}
        if self.config.ca_cert:
            client["verify"] = certificate_file(self.config.ca_cert)
        return {"session": aio_session(connection), "client_kwargs": client}


class AzureConnector(ServiceConnector):
    """A login to Azure: to its storage, or to a Key Vault if its attributes name one."""

    flavor = "azure"

    def __init__(self, use: ComponentUse, config: Config, settings: Settings) -> None:
        super().__init__(use, config, settings)
        self._tokens: Any = None

    def filesystem_options(self) -> dict[str, Any]:
        """Those of adlfs."""
        with self._turn:
            if self._tokens is None:
                connector, endpoint, method = self._built()
                self._tokens = connector.storage_tokens(endpoint, method)
            return {"credential": self._tokens.sdk_credential()}

    def close(self) -> None:
        """Gives the connections back; the next use makes others."""
        super().close()
        with self._turn:
            if self._tokens is not None:
                self._tokens.close()
            self._tokens = None

    def _open(self) -> Any:
        """To the Key Vault if there is one, else to storage: both say who they are."""
        connector, endpoint, method = self._built()
        of_vault = endpoint.key_vault_name or endpoint.vault_url
        return connector.connect(endpoint, method) if of_vault else connector.storage_tokens(endpoint, method)


class GcpConnector(ServiceConnector):
    """A login to Google Cloud."""

    flavor = "gcp"

    def filesystem_options(self) -> dict[str, Any]:
        """Those of gcsfs."""
        from strongroom.connectors.gcp_credentials import google_credentials

        return {"token": google_credentials(self.connect()), "project": self.config.project_id}


class VaultConnector(ServiceConnector):
    """A login to HashiCorp Vault or OpenBao."""

    flavor = "vault"


def methods_of(flavor: Flavor) -> list[str]:
    """The names of the authentication methods of a built-in flavor, the default one first; none of others."""
    connector = _connector_of(flavor)
    if connector is None:
        return []
    return sorted(connector.METHODS, key=lambda name: name != connector.DEFAULT_METHOD)


def attributes_of_method(flavor: Flavor, name: str | None) -> list[tuple[Attribute, bool]]:
    """The attributes that a connector of this flavor takes with this method, and whether it needs them. `ConfigurationError`."""
    connector = _connector_of(flavor)
    if connector is None:
        return [(attribute, attribute.required) for attribute in flavor.attributes]
    method = find_method(f"the {flavor.name} service connector", connector.METHODS, name or connector.DEFAULT_METHOD)
    needed = {field.name: field.default is MISSING for each in (connector.Endpoint, method) for field in fields(each)}
    return [(attribute, needed[attribute.name]) for attribute in flavor.attributes if attribute.name in needed]


def _connector_of(flavor: Flavor) -> Any:
    """The module of `strongroom.connectors`, or None for a flavor of somebody else's."""
    return importlib.import_module(f"strongroom.connectors.{flavor.name}") if flavor.builtin else None
