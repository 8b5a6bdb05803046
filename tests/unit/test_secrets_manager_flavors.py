"""The flavors of secrets managers say what their code takes."""

from __future__ import annotations

import pytest

from strongroom.flavors import BUILTIN_FLAVORS
from strongroom.models.flavor import Attribute, ComponentType, Flavor
from strongroom.models.secrets_manager import DEFAULT_PREFIX, NAME_RULES, OWN_ATTRIBUTES, ManagerScope, scoped_names
from strongroom.secrets_managers.remote import RemoteSecretsManager
from strongroom.stacks.component import load_class
from strongroom.stacks.secrets_manager import SecretsManager

MANAGERS = [flavor for flavor in BUILTIN_FLAVORS if flavor.type is ComponentType.SECRETS_MANAGER]
CONNECTORS = {flavor.name: flavor for flavor in BUILTIN_FLAVORS if flavor.type is ComponentType.SERVICE_CONNECTOR}
REMOTE = [flavor for flavor in MANAGERS if flavor.name != "local"]
OWN = {"aws": {"kms_key_id"}, "azure": set(), "gcp": set(), "vault": {"mount_point"}}


def by_name(flavor: Flavor) -> dict[str, Attribute]:
    return {attribute.name: attribute for attribute in flavor.attributes}


def test_there_are_five() -> None:
    """A file, and each service that strongroom can log in to."""
    assert [flavor.name for flavor in MANAGERS] == ["local", "aws", "azure", "gcp", "vault"]
    assert {flavor.name for flavor in REMOTE} == set(NAME_RULES) == set(CONNECTORS)
    assert all("Deprecated" in flavor.description for flavor in MANAGERS)


@pytest.mark.parametrize("flavor", REMOTE, ids=lambda flavor: flavor.name)
def test_attributes_are_those_of_the_code(flavor: Flavor) -> None:
    """The login's are those of the connector, the same in kind, need and secrecy; the others are known to be none of the login's."""
    login = by_name(CONNECTORS[flavor.name])
    attributes = by_name(flavor)
    own = {"scope", "namespace", "component_id", "prefix", *OWN[flavor.name]}
    assert set(attributes) == own | set(login)
    assert own <= OWN_ATTRIBUTES
    assert not OWN_ATTRIBUTES & set(login)
    assert {name: attributes[name] for name in login} == login
    assert not any(attributes[name].sensitive or attributes[name].required for name in own)
    assert flavor.extra == CONNECTORS[flavor.name].extra


@pytest.mark.parametrize("flavor", REMOTE, ids=lambda flavor: flavor.name)
def test_defaults_are_those_of_the_code(flavor: Flavor) -> None:
    """What the descriptions call the default is what is taken."""
    attributes = by_name(flavor)
    names = scoped_names(flavor.name, "0-1", {})
    assert names.scope == attributes["scope"].default == ManagerScope.COMPONENT
    assert names.prefix == DEFAULT_PREFIX
    assert f"(default: {DEFAULT_PREFIX})" in attributes["prefix"].description
    assert all(scope.value in attributes["scope"].description for scope in ManagerScope)
    assert names.inner == "01"


@pytest.mark.parametrize("flavor", MANAGERS, ids=lambda flavor: flavor.name)
def test_classes_are_of_their_flavors(flavor: Flavor) -> None:
    """The class of each flavor is called by its name, and is a secrets manager."""
    loaded = load_class(flavor)
    assert loaded.flavor == flavor.name
    assert issubclass(loaded, SecretsManager)
    assert issubclass(loaded, RemoteSecretsManager) == (flavor.name != "local")
    assert loaded.__doc__


def test_the_local_flavor() -> None:
    """It takes a scope that says that it has none, and a path."""
    (local,) = (flavor for flavor in MANAGERS if flavor.name == "local")
    assert {name: attribute.default for name, attribute in by_name(local).items()} == {"scope": "none", "path": None}
