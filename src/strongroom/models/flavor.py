"""Flavors: the kinds of components there are, and the attributes that each takes."""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.errors import InvalidInput, printable
from strongroom.models.near import near_names
from strongroom.models.reference import find_references, is_near_miss, parse_reference, walk_texts
from strongroom.redaction import MASK

MAX_CONFIGURATION_BYTES = 65_536
"""All attributes of one component together, in bytes of JSON."""

MAX_NESTING = 32
"""How deep lists and mappings of one attribute may lie in each other."""


class ComponentType(enum.StrEnum):
    """What a component is for. A stack has at most one of each, and no service connectors: its components name those."""

    ALERTER = "alerter"
    ARTIFACT_STORE = "artifact_store"
    CONTAINER_REGISTRY = "container_registry"
    EXPERIMENT_TRACKER = "experiment_tracker"
    MODEL_DEPLOYER = "model_deployer"
    MODEL_REGISTRY = "model_registry"
    ORCHESTRATOR = "orchestrator"
    SECRETS_MANAGER = "secrets_manager"
    SERVICE_CONNECTOR = "service_connector"
    STEP_OPERATOR = "step_operator"

    @property
    def words(self) -> str:
        """The type in words."""
        return self.value.replace("_", " ")

    @property
    def command(self) -> str:
        """The type as a word on the command line."""
        return self.value.replace("_", "-")


STACK_TYPES = tuple(kind for kind in ComponentType if kind is not ComponentType.SERVICE_CONNECTOR)
"""What a stack can have one of, each."""


class AttributeKind(enum.StrEnum):
    """What values an attribute takes. Texts, alone or nested in lists and mappings, may be references."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LIST = "list"
    MAPPING = "mapping"
    NUMBER = "number"
    TEXT = "text"


_TYPES: dict[AttributeKind, Any] = {
    AttributeKind.BOOLEAN: bool,
    AttributeKind.INTEGER: int,
    AttributeKind.LIST: list[Any],
    AttributeKind.MAPPING: dict[str, Any],
    AttributeKind.NUMBER: int | float,
    AttributeKind.TEXT: str,
}
_ARTICLES = {AttributeKind.BOOLEAN: "true or false", AttributeKind.INTEGER: "a whole number", AttributeKind.TEXT: "text"}


class AttributeRole(enum.StrEnum):
    """What an attribute means for the component's user."""

    ADDRESS = "address"
    """Where requests go. Shown, and nothing that the user has."""
    DOCUMENT = "document"
    """A structure that may name files and programs."""
    FILE = "file"
    """The path of a file."""
    PEM = "pem"
    """A certificate or key, or the path of a file with it."""
    PLACE = "place"
    """Where pickled objects, code or the token of a run go to and come from."""
    PROFILE = "profile"
    """A name in configuration files of the machine's user, which may name further files and programs."""
    SERVER = "server"
    """An address by http or https; any other may lead to files or code of the machine."""


class Attribute(msgspec.Struct, frozen=True):
    """One attribute of a flavor. Without a `default` it has to be given; a default of None means that it may be absent.

    `sensitive` ones are masked where they are shown, and plain text in them is warned about. `role` says what it means for the
    machine of the component's user; service connectors have theirs in `strongroom.connectors`.
    """

    name: str
    kind: AttributeKind = AttributeKind.TEXT
    default: Any | UnsetType = UNSET
    sensitive: bool = False
    description: str = ""
    role: AttributeRole | None = None

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is UNSET


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of component. `source` is the import path of its class; `extra` names what to install to use it.

    Registering a component needs this description alone: neither the class nor what it imports. `connector` is the flavor of the
    service connectors whose credentials such a component can use; it names one in its attribute `connector`. A component for which
    none of `identity_unless` is given works with what the machine of its user has: logins, variables, files; with None it never does.
    """

    name: str
    type: ComponentType
    source: str
    attributes: list[Attribute] = []
    description: str = ""
    extra: str | None = None
    connector: str | None = None
    builtin: bool = False
    identity_unless: list[str] | None = None

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of this name, or None."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)


class RegisterFlavor(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a custom flavor known to the workspace, or replaces its description."""

    flavor: Flavor


class GetFlavor(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a flavor by type and name."""

    type: ComponentType
    name: str


class ListFlavors(msgspec.Struct, frozen=True, kw_only=True):
    """The flavors of a type, or of all: built-in ones first."""

    type: ComponentType | None = None


class DeleteFlavor(msgspec.Struct, frozen=True, kw_only=True):
    """Forgets a custom flavor that no component uses."""

    type: ComponentType
    name: str


def check_configuration(flavor: Flavor, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with texts turned into what the attributes take, or `InvalidInput` that repeats no value.

    Lists and mappings may be given as JSON text, numbers and booleans as text. Attributes that are not given stay away.
    """
    known = [attribute.name for attribute in flavor.attributes]
    for name in configuration:
        if name not in known:
            near = near_names(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it takes: {', '.join(known) or 'no attributes'}"
            raise InvalidInput(f"the {flavor.name} {flavor.type.words} has no attribute '{printable(str(name))}'", hint=hint)
    missing = [attribute.name for attribute in flavor.attributes if attribute.required and attribute.name not in configuration]
    if missing:
        options = " ".join(f"--{name}=..." for name in missing)
        raise InvalidInput(
            f"the {flavor.name} {flavor.type.words} needs {'the attribute' if len(missing) == 1 else 'the attributes'} "
            + ", ".join(missing),
            hint=f"give {options}",
        )
    checked = {
        attribute.name: _check_value(attribute, configuration[attribute.name])
        for attribute in flavor.attributes
        if attribute.name in configuration
    }
    if flavor.type is ComponentType.SECRETS_MANAGER and (found := next(find_references(checked), None)):
        raise InvalidInput(
            f"the attribute '{printable(found[0])}' is a reference, and a secrets manager takes none: it is where references lead",
            hint="give the value itself, or use an authentication method that needs none",
        )
    if len(msgspec.json.encode(checked)) > MAX_CONFIGURATION_BYTES:
        raise InvalidInput(f"the attributes take more than {MAX_CONFIGURATION_BYTES} bytes", hint="keep large texts in a secret")
    return checked


def _check_value(attribute: Attribute, value: Any) -> Any:
    name, kind = attribute.name, attribute.kind
    if isinstance(value, str) and kind is not AttributeKind.TEXT:
        if parse_reference(value) is not None:
            raise InvalidInput(
                f"the attribute '{name}' takes {_wanted(kind)} and cannot be a reference", hint="only texts can refer to a secret"
            )
        if kind in (AttributeKind.LIST, AttributeKind.MAPPING):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise InvalidInput(f"the attribute '{name}' takes {_wanted(kind)}", hint="write it in JSON") from None
    try:
        converted = msgspec.convert(value, _TYPES[kind], strict=False)
        msgspec.json.encode(converted)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError):
        converted = None  # those errors quote the value: ours is raised outside of them
    if converted is None or (isinstance(value, bool) and kind is not AttributeKind.BOOLEAN):
        raise InvalidInput(f"the attribute '{name}' takes {_wanted(kind)}")
    if not _is_plain(converted, MAX_NESTING):
        raise InvalidInput(
            f"the attribute '{name}' takes {_wanted(kind)} of what JSON can write, nested {MAX_NESTING} deep at most"
            if kind in (AttributeKind.LIST, AttributeKind.MAPPING)
            else f"the attribute '{name}' takes {_wanted(kind)}"
        )
    return converted


def _is_plain(item: Any, depth: int) -> bool:
    """Whether JSON writes this and reads it again as it was. (NaN would come back as null.)"""
    if isinstance(item, dict):
        return depth > 0 and all(isinstance(key, str) and _is_plain(entry, depth - 1) for key, entry in item.items())
    if isinstance(item, list | tuple):
        return depth > 0 and all(_is_plain(entry, depth - 1) for entry in item)
    return item is None or isinstance(item, str | int) or (isinstance(item, float) and math.isfinite(item))


def _wanted(kind: AttributeKind) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


def masked(flavor: Flavor | None, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as it may be shown: texts and numbers in sensitive attributes are masked, references stay as written.

    Without the flavor nobody knows what is sensitive: then all of them are masked.
    """

    def hide(item: Any) -> Any:
        if isinstance(item, str):
            return item if parse_reference(item) or not item else MASK
        if isinstance(item, Mapping):
            return {key: hide(entry) for key, entry in item.items()}
        if isinstance(item, list | tuple):
            return [hide(entry) for entry in item]
        return item if item is None or isinstance(item, bool) else MASK

    open_names = {attribute.name for attribute in flavor.attributes if not attribute.sensitive} if flavor else set()
    return {name: item if name in open_names else hide(item) for name, item in configuration.items()}


_REFER = "better create a secret and refer to it: {{name.key}}"
_BETTER = {ComponentType.SECRETS_MANAGER: "better use an authentication method that finds its credentials by itself"}


def configuration_warnings(flavor: Flavor, configuration: Mapping[str, Any]) -> list[str]:
    """What whoever registers this should know: plain text in sensitive attributes, and texts that are almost references."""
    found = []
    for path, text in walk_texts(dict(configuration)):
        attribute = flavor.attribute(path.split(".")[0].split("[")[0])
        shown = printable(path)
        if is_near_miss(text):
            found.append(f"the attribute '{shown}' looks like a reference but is plain text; a reference is written {{{{name.key}}}}")
        elif attribute is not None and attribute.sensitive and text and parse_reference(text) is None:
            found.append(
                f"the attribute '{shown}' is sensitive and holds plain text, stored as it is; " + _BETTER.get(flavor.type, _REFER)
            )
    return found
