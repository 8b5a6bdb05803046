"""The client's methods on components and flavors."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from strongroom.client.transports.base import Transport
from strongroom.errors import InvalidInput, StrongroomWarning
from strongroom.models.component import Component, CreateComponent, DeleteComponent, GetComponent, ListComponents, UpdateComponent
from strongroom.models.flavor import ComponentType, DeleteFlavor, Flavor, GetFlavor, ListFlavors, RegisterFlavor
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
from strongroom.models.stack import ComponentUse
from strongroom.operations import component as operations


class ComponentClient:
    """Components: create, get, list, update, delete; and the flavors they are of.

    Text attributes may be references, `{{name.key}}`; they are stored and shown as they are written. A `StrongroomWarning` tells of
    plain text in sensitive attributes, and of text that looks like a reference but is none.
    """

    _transport: Transport

    def create_component(
        self,
        name: str,
        *,
        type: ComponentType | str,
        flavor: str,
        configuration: Mapping[str, Any] | None = None,
    ) -> Component:
        """Registers a component. `AlreadyExists`; `InvalidInput` when the flavor does not take these attributes."""
        request = CreateComponent(name=name, type=component_type(type), flavor=flavor, configuration=_mapping(configuration))
        return _warned(self._transport.call(operations.CREATE, request))

    def get_component(self, type: ComponentType | str, name: str) -> Component:
        """The component of this type and exact name, or id. `NotFound`."""
        return self._transport.call(operations.GET, GetComponent(type=component_type(type), name=name))

    def use_component(self, type: ComponentType | str, name: str) -> ComponentUse:
        """What it takes to use a component by itself: its attributes as stored, unmasked.

        `NotFound`, `Forbidden`, `ApprovalNeeded`.
        """
        return self._transport.call(operations.USE, GetComponent(type=component_type(type), name=name))

    def list_components(
        self,
        type: ComponentType | str | None = None,
        *,
        name: str | None = None,
        flavor: str | None = None,
        page: int = 1,
        size: int = DEFAULT_PAGE_SIZE,
    ) -> Page[Component]:
        """A page of components, by type and name; `name` and `flavor` are filters as for secrets."""
        kind = None if type is None else component_type(type)
        return self._transport.call(operations.LIST, ListComponents(type=kind, name=name, flavor=flavor, page=page, size=size))

    def update_component(
        self,
        type: ComponentType | str,
        name: str,
        *,
        configuration: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        new_name: str | None = None,
    ) -> Component:
        """Merges attributes, removes some, renames; all at once. `NotFound`, `AlreadyExists`, `InvalidInput`."""
        request = UpdateComponent(
            id=self.get_component(type, name).id,
            name=UNSET if new_name is None else new_name,
            configuration=_mapping(configuration),
            remove=[remove] if isinstance(remove, str) else list(remove),
        )
        return _warned(self._transport.call(operations.UPDATE, request))

    def delete_component(self, type: ComponentType | str, name: str) -> None:
        """Deletes a component that is in no stack. `NotFound`, `InvalidInput`."""
        self._transport.call(operations.DELETE, DeleteComponent(id=self.get_component(type, name).id))

    def register_flavor(self, flavor: Flavor) -> Flavor:
        """Makes a custom flavor known, or replaces its description. See `strongroom.stacks.custom` for how to get one of a class."""
        return self._transport.call(operations.REGISTER_FLAVOR, RegisterFlavor(flavor=flavor))

    def get_flavor(self, type: ComponentType | str, name: str) -> Flavor:
        """The flavor of this type and name. `NotFound`."""
        return self._transport.call(operations.GET_FLAVOR, GetFlavor(type=component_type(type), name=name))

    def list_flavors(self, type: ComponentType | str | None = None) -> Page[Flavor]:
        """The flavors of a type, or of all; built-in ones first."""
        return self._transport.call(operations.LIST_FLAVORS, ListFlavors(type=None if type is None else component_type(type)))

    def delete_flavor(self, type: ComponentType | str, name: str) -> None:
        """Forgets a custom flavor that no component uses. `NotFound`, `InvalidInput`."""
        self._transport.call(operations.DELETE_FLAVOR, DeleteFlavor(type=component_type(type), name=name))


def component_type(name: ComponentType | str) -> ComponentType:
    """The type of this name, written with '_' or '-'. `InvalidInput`."""
    try:
        return ComponentType(name.replace("-", "_"))
    except ValueError:
        raise InvalidInput("there is no such type of components", hint=f"the types are: {', '.join(ComponentType)}") from None


def _mapping(configuration: Any) -> dict[str, Any]:
    if configuration is None:
        return {}
    if not isinstance(configuration, Mapping) or not all(isinstance(name, str) for name in configuration):
        raise InvalidInput("a configuration is a mapping of attributes to values")
    return dict(configuration)


def _warned(component: Component) -> Component:
    for text in component.warnings or ():
        warnings.warn(f"{component.type.words} '{component.name}': {text}", StrongroomWarning, stacklevel=3)
    return component
