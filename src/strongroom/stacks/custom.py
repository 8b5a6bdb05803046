"""Custom flavors: classes of users, found by import path or as entry points of installed packages."""

from __future__ import annotations

import difflib
import inspect
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from strongroom.errors import InvalidInput, NotFound
from strongroom.flavors import find_builtin
from strongroom.models.flavor import ComponentType, Flavor
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
    if not isinstance(getattr(loaded, "type", None), ComponentType) or inspect.isabstract(loaded):
        raise InvalidInput(f"{source} does not say what type of component it is, or lacks its methods")
    if not isinstance(loaded.__dict__.get("flavor"), str):
        raise InvalidInput(f"{source} has no name for its flavor", hint="give the class an attribute: flavor = 'my_flavor'")
    text = inspect.cleandoc(loaded.__dict__.get("__doc__") or "")
    return Flavor(
        name=loaded.flavor,
        type=loaded.type,
        source=f"{loaded.__module__}:{loaded.__qualname__}",
        attributes=list(loaded.attributes),
        description=text.partition("\n")[0],
    )


def installed_flavors(component_type: ComponentType | None = None) -> list[Flavor]:
    """The flavors that installed packages bring as entry points."""
    found = [describe_class(point.value) for point in entry_points(group=ENTRY_POINTS)]
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
            near = difflib.get_close_matches(name, installed, 1)
            raise (NotFound(error.message, hint=f"did you mean {near[0]}?") if near else error) from None
        client.register_flavor(installed[name])
