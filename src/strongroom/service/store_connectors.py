"""Secrets stores that log in by a service connector.

The credentials of the connector are secrets themselves, so they have to lie where they can be read before that store is open: in the
database, or in the other store if that has a login of its own. They are read when the deployment is opened, by nobody's request.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import msgspec

from strongroom.config import PREFIX, Settings, StoreSettings
from strongroom.connectors.machine import Refusal, Role, find_refusal, names_with
from strongroom.connectors.options import find_method
from strongroom.credential_text import strip_credential
from strongroom.errors import ConfigurationError, StrongroomError, printable
from strongroom.metadata import component as components
from strongroom.metadata import deployment as rows
from strongroom.metadata.deployment import DEFAULT
from strongroom.metadata.placement import PRESENT
from strongroom.metadata.secret import SecretIndex, SecretRow
from strongroom.models.flavor import ComponentType
from strongroom.models.reference import find_references, parse_reference
from strongroom.secrets_stores.opening import OTHER_NAMES, type_of
from strongroom.secrets_stores.sql import STORE_ID, SqlSecretsStore
from strongroom.service.component import decode_configuration
from strongroom.service.connector import METHOD
from strongroom.service.deployment import Deployment
from strongroom.service.placements import ConfiguredStore, Placements

_OPTION = "connector"
_KINDS = ("aws", "azure", "gcp", "vault")

Open = Callable[[Settings, str], Sequence[ConfiguredStore]]


def with_connectors(deployment: Deployment, sql: SqlSecretsStore, settings: Settings, open_stores: Open) -> Settings:
    """The settings with what connectors give in place of their names. `open_stores` opens the stores that need none, for a moment.

    `ConfigurationError` names the store, the connector and the secret.
    """
    primary, backup = settings.secrets_store, settings.backup_secrets_store
    if not (_names_one(primary) or _names_one(backup)):
        return settings
    if _names_one(primary):
        other = None if backup is None or _names_one(backup) or backup.type == "sql" else backup
        plain = replace(settings, secrets_store=StoreSettings("sql"), backup_secrets_store=other)
    else:
        plain = replace(settings, backup_secrets_store=None)
    stores = list(open_stores(plain, deployment.id))
    if all(store.store_id != STORE_ID for store in stores):
        stores.append(ConfiguredStore("database", "sql", 10, None))
    placements = Placements(deployment.database, sql, deployment.digest_key, deployment.id, stores)
    try:
        if _names_one(primary):
            primary = _with_connector(deployment, sql, placements, "primary", primary)
        if backup is not None and _names_one(backup):
            backup = _with_connector(deployment, sql, placements, "backup", backup)
    finally:
        placements.close()
    return replace(settings, secrets_store=primary, backup_secrets_store=backup)


def _names_one(store: StoreSettings | None) -> bool:
    return store is not None and OTHER_NAMES.get(store.type, store.type) in _KINDS and _OPTION in dict(store.options)


def _with_connector(
    deployment: Deployment, sql: SqlSecretsStore, placements: Placements, role: str, store: StoreSettings
) -> StoreSettings:
    options, kind = dict(store.options), type_of(store)
    name = options.pop(_OPTION)
    connector = importlib.import_module(f"strongroom.connectors.{kind}")
    of_endpoint = {field.name for field in fields(connector.Endpoint)}
    of_methods = {field.name for method in connector.METHODS.values() for field in fields(method)} - of_endpoint
    for kept in (Role.FILE, Role.ADDRESS):  # what is this machine's is set here, not in the database
        of_methods -= names_with(kept, connector.METHODS.values())
    both = [METHOD] if store.auth_method else sorted(of_methods & options.keys())
    if both:
        raise ConfigurationError(
            f"{role} secrets store: '{both[0]}' is set, and the login is that of a service connector",
            hint=f"unset it, or '{_OPTION}'",
        )
    try:
        attributes = _attributes(deployment, sql, placements, kind, name)
        method = attributes.pop(METHOD, None)
        method_type = find_method(f"the {kind} service connector", connector.METHODS, method or connector.DEFAULT_METHOD)
        folders = deployment.settings.connector_folders
        _check_machine(role, name, find_refusal(connector.Endpoint, method_type, attributes, options, folders))
    except StrongroomError as error:
        raise ConfigurationError(f"{role} secrets store: {error.message}", hint=error.hint) from None
    taken = {key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in attributes.items()}
    return StoreSettings(store.type, method, store.timeout, tuple(sorted({**taken, **options}.items())))


def _check_machine(role: str, name: str, refusal: Refusal | None) -> None:
    """`ConfigurationError` if the connector takes something of this machine that the settings do not allow: editors write it."""
    if refusal is None:
        return
    family = f"{PREFIX}{'BACKUP_' if role == 'backup' else ''}SECRETS_STORE_"
    remedies = [f"set {family}{refusal.option.upper()}"] if refusal.is_settable else []
    remedies += [f"add its folder to {PREFIX}CONNECTOR_FOLDERS"] if refusal.is_file else []
    raise ConfigurationError(
        f"the service connector '{name}' {refusal.what} ({refusal.option}), and that is not taken from the database",
        hint=", or ".join(remedies) or f"set {family}AUTH_METHOD and {family}AUTH_CONFIG instead of {family}CONNECTOR",
    )


def _attributes(deployment: Deployment, sql: SqlSecretsStore, placements: Placements, kind: str, name: str) -> dict[str, Any]:
    """The connector's attributes, with values in place of references: those of the workspace's secrets, not of anybody's own."""
    with deployment.database.snapshot() as connection:
        identity = rows.local_identity(connection, DEFAULT)
        assert identity is not None, "opened databases have a default workspace"
        found = components.list_named(connection, identity.workspace_id, ComponentType.SERVICE_CONNECTOR, [name])
        if not found or found[0].flavor != kind:
            which = f"is one of the flavor '{found[0].flavor}'" if found else "is not there"
            raise ConfigurationError(
                f"the service connector '{printable(name)}' of the workspace '{DEFAULT}' {which}",
                hint=f"register one of the flavor '{kind}' while {PREFIX}SECRETS_STORE_CONNECTOR is unset",
            )
        configuration = decode_configuration(found[0].configuration)
        names = [reference.name for _, reference in find_references(configuration)]
        secrets = SecretIndex(sql, deployment.binding).find_by_names(
            connection, identity.workspace_id, [""], list(dict.fromkeys(names))
        )
    values = {each.name: _read(placements, each, name) for each in secrets.values()}
    return {attribute: _resolved(given, attribute, name, values) for attribute, given in configuration.items()}


def _read(placements: Placements, row: SecretRow, name: str) -> dict[str, str]:
    known = {store.store_id for store in placements.stores}
    places = {each.store_id for each in row.placements if each.state == PRESENT}
    if not places & known:
        raise ConfigurationError(
            f"the service connector '{name}' needs secret '{row.name}', which lies in {', '.join(sorted(places)) or 'no store'}: "
            "it cannot be read before that is open",
            hint="start with auth_config instead, and with a store of type sql as the backup; then: strongroom secret backup",
        )
    return placements.read(row, lambda: None)[1]


def _resolved(given: Any, attribute: str, name: str, values: Mapping[str, Mapping[str, str]]) -> Any:
    if isinstance(given, list):
        return [_resolved(each, attribute, name, values) for each in given]
    reference = parse_reference(given) if isinstance(given, str) else None
    if reference is None:
        return given
    if reference.key not in values.get(reference.name, {}):
        raise ConfigurationError(
            f"the service connector '{name}' refers to {reference} ({attribute}), which the workspace '{DEFAULT}' does not have",
            hint=f"strongroom secret create {reference.name} -i",
        )
    return strip_credential(values[reference.name][reference.key])
