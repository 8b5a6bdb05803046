"""What a component takes of its user, worked out from what its flavor declares. Imports no code of flavors."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from strongroom.connectors.machine import options_of, takes_identity
from strongroom.models.approval import Taking, TakingKind
from strongroom.models.flavor import AttributeRole, ComponentType, Flavor
from strongroom.models.reference import Reference, parse_reference
from strongroom.redaction import MASK
from strongroom.service.connector import METHOD

_BY_LOGIN = (ComponentType.SERVICE_CONNECTOR, ComponentType.SECRETS_MANAGER)
"""The types whose built-in flavors are logins: what their attributes mean is declared in `strongroom.connectors`."""

_KINDS = {
    AttributeRole.DOCUMENT: TakingKind.FILE,
    AttributeRole.FILE: TakingKind.FILE,
    AttributeRole.PEM: TakingKind.FILE,
    AttributeRole.PLACE: TakingKind.PLACE,
    AttributeRole.PROFILE: TakingKind.FILE,
    AttributeRole.SERVER: TakingKind.FILE,
}
_STORE_ADDRESS = "endpoint_url"
"""The attribute of a service connector that says where a store works that names it."""
_OPTIONS = "that it may name"
_HTTP = re.compile(r"https?://[^/\s]", re.ASCII)


def takings_of(flavor: Flavor | None, configuration: Mapping[str, Any], *, for_store: bool = False) -> list[Taking]:
    """All but secrets, which depend on who looks them up: files, code, places and the machine's own identity, in one order.

    `for_store`: an artifact store names this service connector, and works at the connector's address.

    A flavor that is not built in, or not known, is code. An attribute that is a reference may stand for anything that its role
    allows.
    """
    if flavor is None:
        return [Taking(TakingKind.CODE, "a flavor that is not known")]
    if not flavor.builtin:
        return [Taking(TakingKind.CODE, flavor.source)]
    takings = [
        Taking(_KINDS[role], _shown(flavor, name, role, value), name)
        for name, role, value in _roles(flavor, configuration)
        if role in _KINDS and not _is_plain(role, value)
    ]
    if for_store and configuration.get(_STORE_ADDRESS):
        takings.append(Taking(TakingKind.PLACE, _address(configuration[_STORE_ADDRESS]), _STORE_ADDRESS))
    if _takes_identity(flavor, configuration):
        takings.append(Taking(TakingKind.IDENTITY, ""))
    return sorted(takings)


def addresses_of(flavor: Flavor | None, configuration: Mapping[str, Any]) -> list[str]:
    """Where its requests go, as far as its attributes say so, without credentials in them."""
    if flavor is None or not flavor.builtin:
        return []
    wanted = (AttributeRole.ADDRESS, AttributeRole.PLACE, AttributeRole.SERVER)
    return [f"{name}: {_address(value)}" for name, role, value in _roles(flavor, configuration) if role in wanted]


def _roles(flavor: Flavor, configuration: Mapping[str, Any]) -> Iterator[tuple[str, AttributeRole, Any]]:
    """The attributes with a role that such a component uses, by name, with what they hold."""
    types = _login(flavor, configuration)
    if types is not None:
        for option in options_of(*types, configuration):
            yield option.name, option.role, option.value
    for attribute in sorted(flavor.attributes, key=lambda each: each.name):
        if attribute.role is not None and configuration.get(attribute.name):
            yield attribute.name, attribute.role, configuration[attribute.name]


def _login(flavor: Flavor, configuration: Mapping[str, Any]) -> tuple[type[Any], type[Any]] | None:
    """The endpoint and the method of a built-in flavor that logs in somewhere. A method that is not known has no options."""
    if flavor.type not in _BY_LOGIN or flavor.attribute(METHOD) is None:
        return None
    connector = importlib.import_module(f"strongroom.connectors.{flavor.name}")
    method = connector.METHODS.get(configuration.get(METHOD) or connector.DEFAULT_METHOD, connector.Endpoint)
    return connector.Endpoint, method


def _takes_identity(flavor: Flavor, configuration: Mapping[str, Any]) -> bool:
    types = _login(flavor, configuration)
    if types is not None and takes_identity(types[1], configuration):
        return True
    without = flavor.identity_unless
    return without is not None and not any(configuration.get(name) for name in without)


def _is_plain(role: AttributeRole, value: Any) -> bool:
    """Whether what stands there, literally, is none of the things that its role allows."""
    if not isinstance(value, str):
        return False
    if role is AttributeRole.PEM:
        return value.lstrip().startswith("-----BEGIN ")
    if role is AttributeRole.SERVER:
        return _HTTP.match(value) is not None
    return False


def _shown(flavor: Flavor, name: str, role: AttributeRole, value: Any) -> str:
    if role is AttributeRole.DOCUMENT:
        return _OPTIONS
    attribute = flavor.attribute(name)
    if attribute is not None and attribute.sensitive and not (isinstance(value, str) and parse_reference(value)):
        return MASK
    return _address(value)


def _address(value: Any) -> str:
    """The text without a user's name and password in it.

    These end with the last `@` before the first character that ends the host for any client. Shown another host, the user would
    approve what is sent elsewhere.
    """
    text = value if isinstance(value, str) else str(value)
    if parse_reference(text) is not None or "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    end = next((place for place, character in enumerate(rest) if character in "/?#\\"), len(rest))
    return f"{scheme}://{rest[:end].rpartition('@')[2]}{rest[end:]}"


def exchangeable(flavor: Flavor | None, configuration: Mapping[str, Any]) -> list[Reference]:
    """References in attributes that say where requests go, or which file or place is meant: who may change the secret moves these."""
    if flavor is None or not flavor.builtin:
        return []
    found = (parse_reference(value) for _, _, value in _roles(flavor, configuration) if isinstance(value, str))
    return [reference for reference in found if reference is not None]
