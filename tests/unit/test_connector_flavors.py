"""The flavors of service connectors say what the code that logs in takes."""

from __future__ import annotations

import importlib
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest

from strongroom.flavors import BUILTIN_FLAVORS
from strongroom.models.flavor import AttributeKind, ComponentType, Flavor
from strongroom.redaction import SecretText
from strongroom.stacks.component import load_class
from strongroom.stacks.service_connector import attributes_of_method, methods_of

CONNECTORS = [flavor for flavor in BUILTIN_FLAVORS if flavor.type is ComponentType.SERVICE_CONNECTOR]
KINDS: dict[Any, AttributeKind] = {
    bool: AttributeKind.BOOLEAN,
    int: AttributeKind.INTEGER,
    tuple[str, ...]: AttributeKind.LIST,
    **dict.fromkeys((str, str | None, SecretText, SecretText | None), AttributeKind.TEXT),
}


def test_there_is_one_for_each_service() -> None:
    """Each service that strongroom can log in to has its flavor."""
    assert [flavor.name for flavor in CONNECTORS] == ["aws", "azure", "gcp", "vault"]


@pytest.mark.parametrize("flavor", CONNECTORS, ids=lambda flavor: flavor.name)
def test_attributes_are_those_of_the_code(flavor: Flavor) -> None:
    """The attributes are the fields of endpoint and authentication methods, of the same kinds; credentials are sensitive."""
    connector = importlib.import_module(f"strongroom.connectors.{flavor.name}")
    types = [connector.Endpoint, *connector.METHODS.values()]
    hints = {field.name: get_type_hints(each)[field.name] for each in types for field in fields(each)}
    attributes = {attribute.name: attribute for attribute in flavor.attributes if attribute.name != "auth_method"}
    assert set(attributes) == set(hints)
    needed = {field.name for field in fields(connector.Endpoint) if field.default is MISSING}
    assert {name for name, attribute in attributes.items() if attribute.required} == needed
    defaults = {field.name: field.default for field in fields(connector.Endpoint)}
    for name, attribute in attributes.items():
        assert attribute.kind is KINDS[hints[name]], name
        assert attribute.sensitive == (hints[name] in (SecretText, SecretText | None)), name
        assert attribute.required or attribute.default == (defaults[name] if attribute.kind is AttributeKind.BOOLEAN else None), name


@pytest.mark.parametrize("flavor", CONNECTORS, ids=lambda flavor: flavor.name)
def test_methods_are_named(flavor: Flavor) -> None:
    """The description of `auth_method` names all methods, the default one first; each tells what it takes."""
    methods = methods_of(flavor)
    attribute = flavor.attribute("auth_method")
    assert attribute is not None
    words = attribute.description.replace(",", "").split()
    assert next(word for word in words if word in methods) == methods[0]
    assert set(methods) <= set(words)
    assert words[words.index(methods[0]) + 1] == "(default)"
    for method in methods:
        assert {attribute.name for attribute, needed in attributes_of_method(flavor, method) if needed} <= {
            attribute.name for attribute in flavor.attributes
        }


@pytest.mark.parametrize("flavor", CONNECTORS, ids=lambda flavor: flavor.name)
def test_classes_are_of_their_flavors(flavor: Flavor) -> None:
    """The class of each flavor is called by its name."""
    assert load_class(flavor).flavor == flavor.name


def test_who_can_use_one() -> None:
    """A flavor that can use a connector has the attribute that names it; the connector is of a flavor that there is."""
    users = {(flavor.type.value, flavor.name): flavor.connector for flavor in BUILTIN_FLAVORS if flavor.connector}
    assert users == {("artifact_store", "s3"): "aws", ("artifact_store", "gcs"): "gcp", ("artifact_store", "azure"): "azure"}
    for flavor in BUILTIN_FLAVORS:
        assert (flavor.attribute("connector") is not None) == (flavor.connector is not None)
    assert {flavor.connector for flavor in BUILTIN_FLAVORS if flavor.connector} <= {flavor.name for flavor in CONNECTORS}
