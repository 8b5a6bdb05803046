"""Opens the secrets store that settings describe.

Each type but `custom` is two modules of one name: `connectors.X` with its methods of authentication, its endpoint and `connect`, and
`secrets_stores.X` with the options of the store and `open_store`. Only those of the configured type are loaded.
"""

from __future__ import annotations

import difflib
import importlib

from strongroom.config import StoreSettings
from strongroom.connectors.options import build, find_method
from strongroom.errors import ConfigurationError, printable
from strongroom.secrets_stores.base import SecretsStore

TYPES = ("aws", "azure", "custom", "gcp", "none", "sql", "vault")
OTHER_NAMES = {"hashicorp": "vault"}


def type_of(settings: StoreSettings) -> str:
    """The type's own name, or `ConfigurationError`."""
    kind = OTHER_NAMES.get(settings.type, settings.type)
    if kind not in TYPES:
        near = difflib.get_close_matches(settings.type, [*TYPES, *OTHER_NAMES], 1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of: {', '.join(TYPES)}"
        raise ConfigurationError(f"there is no type '{printable(settings.type)}' of secrets stores", hint=hint)
    if kind in ("none", "sql"):
        for name in ("auth_method", *(option for option, _ in settings.options)):
            if name != "auth_method" or settings.auth_method:
                raise ConfigurationError(f"a secrets store of type {kind} has no option '{printable(name)}'", hint="unset it")
    return kind


def open_external(settings: StoreSettings, deployment_id: str) -> SecretsStore:
    """A store outside of the database, for one deployment. Asks no back end. `ConfigurationError`, `MissingExtra`."""
    kind = type_of(settings)
    if kind == "custom":
        from strongroom.secrets_stores.custom import open_custom

        if settings.auth_method:
            raise ConfigurationError("a secrets store of type custom has no option 'auth_method'", hint="unset it")
        return open_custom(dict(settings.options), deployment_id)
    connector = importlib.import_module(f"strongroom.connectors.{kind}")
    module = importlib.import_module(f"strongroom.secrets_stores.{kind}")
    name = settings.auth_method or connector.DEFAULT_METHOD
    method_type = find_method(f"a secrets store of type {kind}", connector.METHODS, name)
    what = f"a secrets store of type {kind} with the authentication method {name}"
    method, endpoint, own = build(what, [method_type, connector.Endpoint, module.Options], dict(settings.options))
    store: SecretsStore = module.open_store(connector.connect(endpoint, method), own, deployment_id)
    return store
