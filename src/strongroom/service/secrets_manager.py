"""The rules of secrets managers, the deprecated components that keep secrets by themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from strongroom.errors import InvalidInput
from strongroom.flavors import find_builtin
from strongroom.models.flavor import ComponentType, Flavor
from strongroom.models.secrets_manager import NAME_RULES, OWN_ATTRIBUTES, ManagerScope, scope_of, scoped_names
from strongroom.service.connector import check_login

_FINDS_A_REGION = ("implicit", "iam-role")
"""Methods by which the SDK may find the region where it is used."""


def check_secrets_manager(flavor: Flavor, own_id: str, configuration: Mapping[str, Any]) -> None:
    """`InvalidInput` unless the scope is one that the flavor has, and the login's attributes are those of its method.

    A flavor of somebody's own has the rules of its class. Asks nobody.
    """
    if find_builtin(ComponentType.SECRETS_MANAGER, flavor.name) is None:
        return
    if flavor.name not in NAME_RULES:
        if scope_of(configuration.get("scope"), ManagerScope.NONE) is not ManagerScope.NONE:
            raise InvalidInput(f"the {flavor.name} secrets manager has no scopes", hint="leave --scope out, or give --scope=none")
        return
    scoped_names(flavor.name, own_id, configuration)
    check_login(flavor, {name: value for name, value in configuration.items() if name not in OWN_ATTRIBUTES})
    _check_place(flavor.name, configuration)


def _check_place(flavor: str, configuration: Mapping[str, Any]) -> None:
    """What a connector of the flavor may lack, and a place for secrets may not."""
    if flavor == "azure" and bool(configuration.get("key_vault_name")) == bool(configuration.get("vault_url")):
        raise InvalidInput("the azure secrets manager needs either 'key_vault_name' or 'vault_url'", hint="give --key_vault_name=...")
    method = configuration.get("auth_method")
    if flavor == "aws" and not configuration.get("region") and method and method not in _FINDS_A_REGION:
        raise InvalidInput("the aws secrets manager needs the attribute 'region' with this method", hint="such as --region=eu-west-1")
    mount = configuration.get("mount_point")
    if mount and not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", mount, re.ASCII):
        raise InvalidInput(
            "the attribute 'mount_point' takes letters, digits, '_' and '-', with '/' between", hint="as 'vault secrets list' says it"
        )
