"""Service connectors at work: a login to a service that others run, whose credentials are secrets."""

from __future__ import annotations

import importlib
import threading
from dataclasses import MISSING, fields
from typing import Any

from strongroom.config import Settings
from strongroom.connectors.options import build, find_method
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
        self._turn = threading.Lock()
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

    def close(self) -> None:
        """Gives the connection back; the next use makes another one."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> Any:
        """A connection of `strongroom.connectors`, to the service that the flavor is called by."""
        connector = importlib.import_module(f"strongroom.connectors.{self.flavor}")
        options = {name: self.config[name] for name in self.config.given}
        name = options.pop("auth_method", None) or connector.DEFAULT_METHOD
        method, endpoint = build(self.title, [find_method(self.title, connector.METHODS, name), connector.Endpoint], options)
        return connector.connect(endpoint, method)


class AwsConnector(ServiceConnector):
    """A login to AWS."""

    flavor = "aws"


class AzureConnector(ServiceConnector):
    """A login to Azure."""

    flavor = "azure"


class GcpConnector(ServiceConnector):
    """A login to Google Cloud."""

    flavor = "gcp"


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
