"""The operations on components and their flavors."""

from __future__ import annotations

from strongroom.models.component import Component, CreateComponent, DeleteComponent, GetComponent, ListComponents, UpdateComponent
from strongroom.models.flavor import DeleteFlavor, Flavor, GetFlavor, ListFlavors, RegisterFlavor
from strongroom.models.page import Page
from strongroom.models.stack import ComponentUse
from strongroom.operations.operation import Audited, Operation
from strongroom.operations.permission import Permission

_NEW = Audited(target="name", shown=("type", "flavor"))

CREATE = Operation(
    "component.create",
    "POST",
    "/components",
    Permission.STACK_WRITE,
    CreateComponent,
    Component,
    "/components/{type}/{name}",
    audited=_NEW,
)
DELETE = Operation("component.delete", "DELETE", "/components/{id}", Permission.STACK_WRITE, DeleteComponent, type(None))
DELETE_FLAVOR = Operation(
    "flavor.delete",
    "DELETE",
    "/flavors/{type}/{name}",
    Permission.STACK_WRITE,
    DeleteFlavor,
    type(None),
    audited=Audited(shown=("type",)),
)
GET = Operation("component.get", "GET", "/components/{type}/{name}", Permission.STACK_READ, GetComponent, Component)
GET_FLAVOR = Operation("flavor.get", "GET", "/flavors/{type}/{name}", Permission.STACK_READ, GetFlavor, Flavor)
LIST = Operation("component.list", "GET", "/components", Permission.STACK_READ, ListComponents, Page[Component])
LIST_FLAVORS = Operation("flavor.list", "GET", "/flavors", Permission.STACK_READ, ListFlavors, Page[Flavor])
REGISTER_FLAVOR = Operation(
    "flavor.register", "POST", "/flavors", Permission.STACK_WRITE, RegisterFlavor, Flavor, "/flavors/{type}/{name}", audited=_NEW
)
UPDATE = Operation("component.update", "PATCH", "/components/{id}", Permission.STACK_WRITE, UpdateComponent, Component)
USE = Operation("component.use", "GET", "/components/{type}/{name}/use", Permission.STACK_USE, GetComponent, ComponentUse)

COMPONENT_OPERATIONS = (CREATE, DELETE, DELETE_FLAVOR, GET, GET_FLAVOR, LIST, LIST_FLAVORS, REGISTER_FLAVOR, UPDATE, USE)
