"""The client's methods on service connectors and the secrets that hold their credentials."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.client.component import ComponentClient
from strongroom.client.secret import SecretClient
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, StrongroomError, StrongroomWarning
from strongroom.models.component import Component, check_plain_name
from strongroom.models.flavor import ComponentType, Flavor, check_configuration
from strongroom.models.reference import find_references, is_near_miss, parse_reference
from strongroom.models.secret import Scope, Secret
from strongroom.redaction import SecretText

if TYPE_CHECKING:
    from strongroom.stacks.service_connector import ServiceConnector

CONNECTOR = ComponentType.SERVICE_CONNECTOR
LABEL = "service-connector"
"""Of a secret that holds the credentials of a connector: the connector's name."""


class ServiceConnectorClient(ComponentClient, SecretClient):
    """Service connectors: register, update, delete, use. They are components; `list_components` and its like know them too."""

    def service_connector(self, name: str) -> ServiceConnector:
        """The service connector of this name at work, in this process: `.connect()`, `.identity()`. `NotFound`.

        Within a step it is one that the run's stack has.
        """
        # The room above is found by name, as the classes of flavors are: nothing here depends on it.
        opened: ServiceConnector = importlib.import_module("strongroom.stacks.stack").open_connector(self, name)
        return opened

    def register_service_connector(
        self, name: str, *, type: str, auth_method: str | None = None, configuration: Mapping[str, Any] | None = None
    ) -> Component:
        """Registers a connector. Credentials in clear become the secret `NAME-credentials` of the workspace, which it refers to.

        `type` is its flavor: `aws`, `azure`, `gcp` or `vault`. `AlreadyExists`, also for that secret; `InvalidInput`. When it fails
        there is neither a connector nor the secret.
        """
        check_plain_name(name, "the service connector")
        flavor = self.get_flavor(CONNECTOR, type)
        given = {**(configuration or {}), **({"auth_method": auth_method} if auth_method else {})}
        secret = f"{name}-credentials"
        attributes, credentials = _parted(flavor, given, secret)
        check_configuration(flavor, attributes)
        if credentials:
            self._create_credentials(name, credentials)
        try:
            return self.create_component(name, type=CONNECTOR, flavor=flavor.name, configuration=attributes)
        except BaseException:
            if credentials:
                self._withdraw(name, secret)
            raise

    def update_service_connector(
        self,
        name: str,
        *,
        configuration: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        new_name: str | None = None,
    ) -> Component:
        """Merges attributes, removes some, renames. Credentials in clear go into the secret that was made for them, or a new one.

        `NotFound`, `AlreadyExists`, `InvalidInput`. When it fails the credentials are what they were. What the connector refers to no
        more stays in its secret, since others may refer to it; a `StrongroomWarning` says so.
        """
        found = self.get_component(CONNECTOR, name)
        own = self.find_credentials(found)
        secret = f"{found.name}-credentials" if own is None else own.name
        attributes, credentials = _parted(self.get_flavor(CONNECTOR, found.flavor), configuration or {}, secret)
        if credentials and own is None:
            self._create_credentials(found.name, credentials)
        elif credentials and own is not None:
            self.update_secret(own.id, add_or_update_values=credentials)
        removed = [remove] if isinstance(remove, str) else list(remove)
        changes = {key: value for key, value in attributes.items() if key not in credentials or found.configuration.get(key) != value}
        if credentials and not (changes or removed or new_name):
            return found
        try:
            changed = self.update_component(CONNECTOR, found.id, configuration=changes, remove=removed, new_name=new_name)
        except BaseException:
            if credentials and own is None:
                self._withdraw(found.name, secret)
            elif credentials and own is not None:
                self.rollback_secret(own.id, own.version)
            raise
        if own is not None and changed.name != found.name:
            self.update_secret(own.id, labels={**own.labels, LABEL: changed.name})
        left = [] if own is None else sorted(_keys_of(own.name, found) - _keys_of(own.name, changed))
        if own is not None and left:
            command = f"strongroom secret update {own.name} -r {' -r '.join(left)}"
            if set(left) >= set(own.keys):
                command = f"strongroom secret delete {own.name}"
            message = f"the secret '{own.name}' still holds {', '.join(left)}; unless something else refers to that: {command}"
            warnings.warn(message, StrongroomWarning, stacklevel=2)
        return changed

    def delete_service_connector(self, name: str, *, with_credentials: bool = False) -> None:
        """Deletes a connector that no component names, and perhaps the secret that was made for it. `NotFound`, `InvalidInput`."""
        found = self.get_component(CONNECTOR, name)
        own = self.find_credentials(found) if with_credentials else None
        self.delete_component(CONNECTOR, found.id)
        if own is not None:
            self.delete_secret(own.id)

    def find_credentials(self, connector: Component) -> Secret | None:
        """The metadata of the secret that was made for this connector's credentials, if it refers to one."""
        for name in dict.fromkeys(reference.name for _, reference in find_references(connector.configuration)):
            try:
                found = self.get_secret_metadata_exactly(name, scope=Scope.WORKSPACE)
            except NotFound:
                continue
            if found.name == name and found.labels.get(LABEL) == connector.name:
                return found
        return None

    def _create_credentials(self, connector: str, credentials: Mapping[str, SecretText]) -> None:
        name = f"{connector}-credentials"
        if self.list_secrets(name=f"equals:{name}", size=1).total:
            raise AlreadyExists(
                f"there is a secret '{name}' already, and the connector's credentials would have to go there",
                hint=f"refer to its keys, {{{{{name}.key}}}}, or rename or delete it",
            )
        description = f"credentials of service connector '{connector}'"
        self.create_secret(name, credentials, description=description, labels={LABEL: connector})

    def _withdraw(self, connector: str, secret: str) -> None:
        """Deletes a secret just made, unless the connector is there after all: the answer may have been lost."""
        try:
            try:
                shown = self.get_component(CONNECTOR, connector).configuration
            except NotFound:
                shown = {}
            if all(reference.name != secret for _, reference in find_references(shown)):
                self.delete_secret(secret, scope=Scope.WORKSPACE)
        except StrongroomError:
            warnings.warn(f"the secret '{secret}' may have been left over", StrongroomWarning, stacklevel=3)


def _keys_of(secret: str, connector: Component) -> set[str]:
    """The keys of the secret that the connector refers to."""
    return {reference.key for _, reference in find_references(connector.configuration) if reference.name == secret}


def _parted(flavor: Flavor, given: Mapping[str, Any], secret: str) -> tuple[dict[str, Any], dict[str, SecretText]]:
    """The attributes with references in place of credentials in clear, and these."""
    attributes, credentials = dict(given), {}
    for attribute in flavor.attributes:
        value = given.get(attribute.name)
        if isinstance(value, SecretText):
            value = value.reveal()
        if not attribute.sensitive or not value:
            continue
        if isinstance(value, Mapping):
            value = msgspec.json.encode(value).decode()
        if not isinstance(value, str):
            raise InvalidInput(f"the attribute '{attribute.name}' takes text")
        if is_near_miss(value):
            raise InvalidInput(
                f"the attribute '{attribute.name}' looks like a reference but is none", hint="a reference is written {{name.key}}"
            )
        if parse_reference(value) is None:
            credentials[attribute.name] = SecretText(value)
            attributes[attribute.name] = f"{{{{{secret}.{attribute.name}}}}}"
    return attributes, credentials
