"""What all components are: a name, a flavor, and attributes that resolve when they are used."""

from __future__ import annotations

import importlib
from abc import ABC
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from strongroom.config import Settings
from strongroom.credential_text import is_one_line, is_unicode, strip_credential
from strongroom.errors import ConfigurationError, MissingExtra
from strongroom.models.flavor import Attribute, ComponentType, Flavor, masked
from strongroom.models.near import near_names
from strongroom.models.stack import ComponentUse
from strongroom.stacks.resolution import Resolver

if TYPE_CHECKING:
    from strongroom.stacks.service_connector import ServiceConnector


class Config(Mapping[str, Any]):
    """A component's attributes, by name or as attributes: `config.tracking_username`. References give their values, in clear.

    Reading one resolves all references of the run together, once. Attributes that were not given have their defaults. Its repr shows
    attributes as they are written, sensitive ones masked.
    """

    def __init__(self, flavor: Flavor, configuration: Mapping[str, Any], resolver: Resolver) -> None:
        self._flavor, self._configuration, self._resolver = flavor, configuration, resolver

    def __getitem__(self, name: str) -> Any:
        attribute = self._flavor.attribute(name)
        if name in self._configuration:
            value = self._resolver.resolve(self._configuration[name])
            if isinstance(value, str) and attribute is not None and attribute.sensitive and self._flavor.builtin:
                value = self._checked(name, value)
            if value == "" and self._configuration[name] and self._decides_on_login(name):
                raise ConfigurationError(
                    f"the attribute '{name}' of the {self._flavor.name} {self._flavor.type.words} is empty where it is used",
                    hint="look at the secret that it refers to; without the attribute, what this machine has is used",
                )
            return value
        if attribute is None:
            raise KeyError(name)
        return None if attribute.required else attribute.default

    def _decides_on_login(self, name: str) -> bool:
        """Whether the machine's own login would be used where this attribute is empty: that is the user's, and was not agreed to."""
        return self._flavor.type is ComponentType.SERVICE_CONNECTOR or name in (self._flavor.identity_unless or ())

    def _checked(self, name: str, value: str) -> str:
        """A credential without what stands around it. One that a library would stumble over, and then show, is an error."""
        text = strip_credential(value)
        if is_one_line(text) and is_unicode(text):
            return text
        raise ConfigurationError(
            f"the attribute '{name}' of the {self._flavor.name} {self._flavor.type.words} holds a line end or a control character",
            hint="look at the secret that it refers to",
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the {self._flavor.name} {self._flavor.type.words} has no attribute '{name}'") from None

    def __iter__(self) -> Iterator[str]:
        return (attribute.name for attribute in self._flavor.attributes)

    def __len__(self) -> int:
        return len(self._flavor.attributes)

    @property
    def given(self) -> list[str]:
        """The names of the attributes that were given."""
        return list(self._configuration)

    def __repr__(self) -> str:
        return f"Config({masked(self._flavor, self._configuration)})"

    def __reduce__(self) -> Any:
        raise TypeError("a component's attributes are not pickled; they are resolved in the process that uses them")


class Component(ABC):
    """Base of all components; custom flavors derive from the class of their type.

    A subclass says `flavor` (its name) and `attributes` (what it takes). With `service_connector`, such as "aws", its components can
    name a service connector of that flavor in their attribute `connector`, which is added, and have it as `self.connector`. A
    subclass imports what it needs in its methods, with `needed`, so that it can be registered where its package is not installed.
    Making one costs nothing and connects to nothing.
    """

    type: ClassVar[ComponentType]
    flavor: ClassVar[str]
    attributes: ClassVar[tuple[Attribute, ...]] = ()
    service_connector: ClassVar[str | None] = None

    def __init__(self, use: ComponentUse, config: Config, settings: Settings) -> None:
        self.id, self.name, self.config, self.settings = use.id, use.name, config, settings
        self._extra = use.flavor.extra
        self.connector: ServiceConnector | None = None
        """The service connector that its attribute `connector` names; put here by the stack."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def title(self) -> str:
        """How messages call it: `experiment tracker 'mlflow'`."""
        return f"{self.type.words} '{self.name}'"

    def needed(self, module: str) -> ModuleType:
        """Imports a third-party module, or says what to install (`MissingExtra`)."""
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # it is there, and something that it imports is not
            package = f"'strongroom[{self._extra}]'" if self._extra else module.partition(".")[0]
            raise MissingExtra(
                f"{self.title} needs the package {module.partition('.')[0]}, which is not installed", hint=f"pip install {package}"
            ) from None


def load_class(flavor: Flavor) -> type[Component]:
    """The class of a flavor. `ConfigurationError` when it cannot be imported here or is no component of that type."""
    loaded = import_object(flavor.source, f"the {flavor.type.words} flavor '{flavor.name}'")
    if not (isinstance(loaded, type) and issubclass(loaded, Component)) or getattr(loaded, "type", None) is not flavor.type:
        raise ConfigurationError(f"{flavor.source} is no {flavor.type.words} class", hint="register the flavor again")
    return loaded


def import_object(source: str, what: str) -> Any:
    """What `package.module:Name` (or with a dot) names. `ConfigurationError` says whether module or name is missing."""
    module_name, colon, name = source.partition(":")
    if not colon:
        module_name, _, name = source.rpartition(".")
    if not module_name or not name:
        raise ConfigurationError(f"{what} has no proper import path", hint="it is written package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{what} cannot be loaded: there is no module {error.name}",
            hint="install it where it is used, or add its folder to PYTHONPATH",
        ) from None
    except Exception as error:
        # Whatever a module of somebody else raises; it is the cause of what the user is told.
        raise ConfigurationError(
            f"{what} cannot be loaded: importing {module_name} failed ({type(error).__name__})",
            hint="import the module in Python to see why",
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        near = near_names(name, vars(module), 1)
        hint = f"did you mean {near[0]}?" if near else "check the name of the class"
        raise ConfigurationError(f"{what} cannot be loaded: the module {module_name} has no {name}", hint=hint) from None
