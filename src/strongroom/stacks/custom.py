"""Custom flavors: classes of users, found by import path or as entry points of installed packages."""

from __future__ import annotations

import inspect
import warnings
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from strongroom.errors import InvalidInput, NotFound, StrongroomError, StrongroomWarning
from strongroom.flavors import CONNECTOR, connector_attribute, find_builtin
from strongroom.models.flavor import Attribute, ComponentType, Flavor
from strongroom.models.near import near_names
from strongroom.stacks.component import Component, import_object

if TYPE_CHECKING:
    from strongroom.client import Client

ENTRY_POINTS = "strongroom.flavors"
"""The group in which packages name the classes of their flavors."""


def describe_class(source: str) -> Flavor:
    """The description of the flavor whose class the import path names. `ConfigurationError`, `InvalidInput`."""
    loaded = import_object(source, "the flavor")
    if not (isinstance(loaded, type) and issubclass(loaded, Component)):
        raise InvalidInput(f"{source} is no component class", hint="derive it from Alerter, ArtifactStore, ... of strongroom.stacks")
    if not isinstance(getattr(loaded, "type", None), ComponentType):
        raise InvalidInput(
            f"{source} does not say what type of component it is",
            hint="derive it from Alerter, ArtifactStore, ... of strongroom.stacks",
        )
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(getattr(loaded, "__abstractmethods__", ())))
        raise InvalidInput(
            f"{source} lacks methods of its type: {missing}", hint="see the docstrings of the class it is derived from"
        )
    if not isinstance(loaded.__dict__.get("flavor"), str):
        raise InvalidInput(f"{source} has no name for its flavor", hint="give the class an attribute: flavor = 'my_flavor'")
    if not isinstance(loaded.attributes, list | tuple) or not all(isinstance(item, Attribute) for item in loaded.attributes):
        raise InvalidInput(
            f"the attributes of {source} are no tuple of Attribute", hint="for example: attributes = (Attribute('channel'),)"
        )
    connects = loaded.service_connector
    if connects is not None and not (isinstance(connects, str) and connects):
        raise InvalidInput(
            f"the service_connector of {source} is no flavor of service connectors", hint="for example: service_connector = 'aws'"
        )
    attributes = list(loaded.attributes)
    if connects is not None and all(item.name != CONNECTOR for item in attributes):
        attributes.append(connector_attribute(connects))
    text = inspect.cleandoc(loaded.__dict__.get("__doc__") or "")
    return Flavor(
        name=loaded.flavor,
        type=loaded.type,
        # where it is defined, unless only another name leads there
        source=source if "." in loaded.__qualname__ else f"{loaded.__module__}:{loaded.__qualname__}",
        attributes=attributes,
        description=text.partition("\n")[0],
        connector=connects,
    )


def installed_flavors(component_type: ComponentType | None = None) -> list[Flavor]:
    """The flavors that installed packages bring as entry points. A `StrongroomWarning` tells of those that cannot be loaded."""
    found = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found.append(describe_class(point.value))
        except StrongroomError as error:
            warnings.warn(
                f"the flavor '{point.name}' of an installed package cannot be used: {error}", StrongroomWarning, stacklevel=2
            )
    return [flavor for flavor in found if component_type in (None, flavor.type)]


def ensure_flavor(client: Client, component_type: ComponentType, name: str) -> None:
    """Registers the flavor of an installed package when it is used for the first time. `NotFound` when nobody knows it."""
    if find_builtin(component_type, name):
        return
    try:
        client.get_flavor(component_type, name)
    except NotFound as error:
        installed = {flavor.name: flavor for flavor in installed_flavors(component_type)}
        if name not in installed:
            near = near_names(name, installed, 1)
            raise (NotFound(error.message, hint=f"did you mean {near[0]}?") if near else error) from None
        client.register_flavor(installed[name])
