"""The rules of secrets managers, the deprecated components that keep secrets by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strongroom.errors import InvalidInput
from strongroom.flavors import find_builtin
from strongroom.models.flavor import ComponentType, Flavor
from strongroom.models.secrets_manager import NAME_RULES, ManagerScope, scope_of, scoped_names
from strongroom.service.connector import check_login

_OWN = frozenset({"scope", "namespace", "prefix", "kms_key_id", "mount_point"})
"""Attributes that are none of the login's."""


def check_secrets_manager(flavor: Flavor, component_id: str, configuration: Mapping[str, Any]) -> None:
    """`InvalidInput` unless the scope is one that the flavor has, and the login's attributes are those of its method.

    A flavor of somebody's own has the rules of its class. Asks nobody.
    """
    if find_builtin(ComponentType.SECRETS_MANAGER, flavor.name) is None:
        return
    if flavor.name not in NAME_RULES:
        if scope_of(configuration.get("scope"), ManagerScope.NONE) is not ManagerScope.NONE:
            raise InvalidInput(f"the {flavor.name} secrets manager has no scopes", hint="leave --scope out, or give --scope=none")
        return
    scoped_names(flavor.name, component_id, configuration)
    check_login(flavor, {name: value for name, value in configuration.items() if name not in _OWN})
