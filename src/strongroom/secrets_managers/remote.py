"""What the secrets managers of services have in common: names by scope, and a connection of `strongroom.connectors`."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom import forking
from strongroom.connectors.deadline import Deadline
from strongroom.connectors.options import build, find_method
from strongroom.errors import AlreadyExists, ValuesCorrupt
from strongroom.models.secret import check_values
from strongroom.models.secrets_manager import OWN_ATTRIBUTES, ManagerScope, ScopedNames, scoped_names
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import Capabilities, check_size
from strongroom.secrets_stores.packing import unpack
from strongroom.stacks.secrets_manager import SecretsManager

SECONDS = 20.0
"""How long one call of a method may take, with a login."""

_NOT_OF_THE_SECRET = {"zenml_schema_name"}
"""What another system writes among the values of its secrets."""


class RemoteSecretsManager(SecretsManager):
    """Logs in when it is used for the first time, by the classes that secrets stores and service connectors log in by.

    What lies under a name and is no JSON object of texts is `ValuesCorrupt`, and neither changed nor, in the scope `none`, deleted.
    """

    capabilities: Capabilities
    seconds = SECONDS
    """May be set."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._turn = forking.renewed(self, "_turn", threading.Lock)
        self._connection: Any = None

    @property
    def names(self) -> ScopedNames:
        """How its secrets are called in the back end."""
        return scoped_names(self.flavor, self.id, self.config)

    @property
    def mark(self) -> tuple[str, str]:
        """The tag or label that secrets are made with, and its text: the scope."""
        names = self.names
        return f"{names.prefix}_scope", names.scope.value

    @property
    def is_shared(self) -> bool:
        """Whether others keep secrets of their own under such names: then its mark tells which ones are a secrets manager's."""
        return self.names.scope is ManagerScope.NONE

    def connect(self) -> Any:
        """The connection, the same at each call; asks nobody. `ConfigurationError`, `MissingExtra`."""
        with self._turn:
            if self._connection is None:
                connector = importlib.import_module(f"strongroom.connectors.{self.flavor}")
                options = {name: self.config[name] for name in self.config.given if name not in {*OWN_ATTRIBUTES, "auth_method"}}
                method = find_method(self.title, connector.METHODS, self.config.auth_method or connector.DEFAULT_METHOD)
                built, endpoint = build(self.title, [method, connector.Endpoint], options)
                self._connection = connector.connect(endpoint, built)
            return self._connection

    def deadline(self) -> Deadline:
        """The time that a call has."""
        return Deadline(self.seconds)

    def check(self, values: Mapping[str, str]) -> None:
        """`InvalidInput` for what can be no secret's values, `TooLarge`."""
        check_values({key: SecretText(text) for key, text in values.items()})
        check_size(values, self.capabilities)

    def encoded(self, values: Mapping[str, str]) -> str:
        """The values as plain JSON. `InvalidInput`, `TooLarge`."""
        self.check(values)
        return msgspec.json.encode(values).decode()

    def decoded(self, name: str, data: str | bytes) -> dict[str, str]:
        """The values again. `ValuesCorrupt`."""
        try:
            values = unpack(data)
        except ValuesCorrupt:
            raise self.odd(name) from None
        return self.without_foreign(values)

    def without_foreign(self, values: Mapping[str, str]) -> dict[str, str]:
        """The values without what another system wrote among them."""
        return {key: text for key, text in values.items() if key not in _NOT_OF_THE_SECRET}

    def is_there(self, name: str) -> bool:
        """Whether there is something to delete under the name. `ValuesCorrupt` for what others may have put there."""
        try:
            return self.find_secret(name) is not None
        except ValuesCorrupt:
            if self.is_shared:
                raise
            return True

    def odd(self, name: str) -> ValuesCorrupt:
        """The error for what is no secret of keys and texts."""
        return ValuesCorrupt(
            f"what lies under the name '{name}' in {self.title} is no JSON object of texts", hint="was it made by others?"
        )

    def taken(self, name: str) -> AlreadyExists:
        """The error for a name that is taken."""
        return AlreadyExists(f"{self.title} has a secret '{name}' already", hint=f"strongroom secrets-manager secret update {name}")
