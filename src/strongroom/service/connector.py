"""The rules of service connectors: components whose credentials are secrets, and which other components name."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.connectors.options import find_method, fit
from strongroom.errors import ConfigurationError, InvalidInput
from strongroom.flavors import find_builtin
from strongroom.metadata import component as index
from strongroom.metadata.component import ComponentRow
from strongroom.models.flavor import ComponentType, Flavor
from strongroom.models.reference import find_references, parse_reference

CONNECTOR = ComponentType.SERVICE_CONNECTOR
METHOD = "auth_method"


def check_connector(flavor: Flavor, configuration: Mapping[str, Any]) -> None:
    """`InvalidInput` unless all credentials are references, and the attributes are those of the authentication method.

    Imports no library of the service, and asks nobody.
    """
    for attribute in flavor.attributes:
        given = configuration.get(attribute.name)
        if attribute.sensitive and given and (not isinstance(given, str) or parse_reference(given) is None):
            raise InvalidInput(
                f"the attribute '{attribute.name}' is sensitive, and a connector's credentials are secrets",
                hint=f"create a secret and refer to it: {attribute.name}={{{{name.key}}}}",
            )
    if find_builtin(CONNECTOR, flavor.name) is None:
        return
    # References stand for what nobody here knows: no rule of the code looks at them, but that a credential is given or not.
    open_ones = {name for name, value in configuration.items() if _refers(value) and not _is_sensitive(flavor, name)}
    options = {name: _one_way_of_writing(value) if _is_sensitive(flavor, name) else value for name, value in configuration.items()}
    check_login(flavor, options, open_ones)


def check_login(flavor: Flavor, options: Mapping[str, Any], open_ones: Collection[str] = ()) -> None:
    """`InvalidInput` unless the options are those of the service's endpoint and of the authentication method.

    No rule of the code looks at those that are open.
    """
    connector, what = importlib.import_module(f"strongroom.connectors.{flavor.name}"), f"the {flavor.name} {flavor.type.words}"
    given = {name: value for name, value in options.items() if name != METHOD}
    try:
        name = options.get(METHOD) or connector.DEFAULT_METHOD
        types = [find_method(what, connector.METHODS, name), connector.Endpoint]
        parts = fit(f"{what} with the authentication method {name}", types, given)
        for type_, part in zip(types, parts, strict=True):
            if not part.keys() & open_ones:
                type_(**part)
    except ConfigurationError as error:
        hint = error.hint or f"see what it takes: strongroom {flavor.type.command} flavor describe {flavor.name}"
        failure = InvalidInput(error.message, hint=hint)
    else:
        return
    raise failure


def connector_named(flavor: Flavor | None, configuration: Mapping[str, Any]) -> str | None:
    """The name of the connector that a component of this flavor takes its credentials from, or None."""
    name = configuration.get("connector") if flavor is not None and flavor.connector is not None else None
    return name or None


def lock_named_connector(connection: Connection, actor: Actor, flavor: Flavor, name: str) -> None:
    """Sees to it that the connector that a component is about to name is there, and stays. `InvalidInput`."""
    found = index.list_named(connection, actor.workspace_id, CONNECTOR, [name])
    row = index.lock_component(connection, actor.workspace_id, found[0].id) if found else None
    if row is None or row.name != name:
        known = index.names_of_type(connection, actor.workspace_id, CONNECTOR, 20)
        raise InvalidInput(
            "the attribute 'connector' names a service connector that is not there",
            hint=f"there are: {', '.join(known)}"
            if known
            else f"strongroom service-connector register NAME --type {flavor.connector}",
        )
    if row.flavor != flavor.connector:
        raise InvalidInput(
            f"the service connector '{name}' is of the flavor '{row.flavor}'",
            hint=f"the {flavor.name} {flavor.type.words} takes one of the flavor '{flavor.connector}'",
        )


def candidates(connection: Connection, actor: Actor, name: str) -> Sequence[ComponentRow]:
    """Components that may name this connector: those in whose attributes its name stands."""
    rows = index.list_mentioning(connection, actor.workspace_id, msgspec.json.encode(name).decode())
    return [row for row in rows if row.type != CONNECTOR]


def _refers(value: object) -> bool:
    return any(True for _ in find_references(value))


def _one_way_of_writing(value: object) -> object:
    """A reference without the blanks that may stand in it."""
    reference = parse_reference(value) if isinstance(value, str) else None
    return value if reference is None else str(reference)


def _is_sensitive(flavor: Flavor, name: str) -> bool:
    attribute = flavor.attribute(name)
    return attribute is not None and attribute.sensitive
