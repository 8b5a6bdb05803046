"""A stack ready to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from strongroom.errors import NotFound, printable
from strongroom.models.flavor import STACK_TYPES, ComponentType
from strongroom.models.reference import UseOf
from strongroom.models.stack import ComponentUse, Stack, StackUse
from strongroom.stacks.component import Component, Config, load_class
from strongroom.stacks.resolution import Resolver, places_in, places_in_stack

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.stacks.alerter import Alerter
    from strongroom.stacks.artifact_store import ArtifactStore
    from strongroom.stacks.container_registry import ContainerRegistry
    from strongroom.stacks.experiment_tracker import ExperimentTracker
    from strongroom.stacks.model_registry import ModelRegistry
    from strongroom.stacks.secrets_manager import SecretsManager
    from strongroom.stacks.service_connector import ServiceConnector


class ActiveStack:
    """A stack's components by type: `stack.experiment_tracker`, None where it has none of that type.

    Making one reads no secret: attributes resolve when they are used. Not to be pickled.
    """

    if TYPE_CHECKING:
        alerter: Alerter | None
        artifact_store: ArtifactStore
        container_registry: ContainerRegistry | None
        experiment_tracker: ExperimentTracker | None
        model_registry: ModelRegistry | None
        secrets_manager: SecretsManager | None

    def __init__(self, client: Client, use: StackUse, resolver: Resolver) -> None:
        self.id, self.name, self._use = use.id, use.name, use
        self._client, self._resolver = client, resolver
        self._uses = {component.type: component for component in use.components}
        self._components: dict[ComponentType, Component] = {}
        self._connector_uses = {connector.name: connector for connector in use.connectors}
        self._connectors: dict[str, ServiceConnector] = {}
        if ComponentType.SECRETS_MANAGER in self._uses:
            resolver.fall_back_to(lambda: self.secrets_manager)

    def component(self, component_type: ComponentType) -> Component | None:
        """The component of this type, made when it is first asked for. `ConfigurationError` when its class cannot be loaded."""
        use = self._uses.get(component_type)
        if use is None:
            return None
        if component_type not in self._components:
            made = self._made(use)
            if use.flavor.connector is not None and use.configuration.get("connector"):
                made.connector = self.connector(use.configuration["connector"])
            self._components[component_type] = made
        return self._components[component_type]

    def connector(self, name: str) -> ServiceConnector:
        """The service connector of this name, if a component names it; the same one for all that do. `NotFound`."""
        if name not in self._connector_uses:
            raise NotFound(
                f"no component of stack '{self.name}' names a service connector '{printable(name)}'",
                hint=f"they name: {', '.join(self._connector_uses) or 'none'}",
            )
        if name not in self._connectors:
            self._connectors[name] = cast("ServiceConnector", self._made(self._connector_uses[name]))
        return self._connectors[name]

    def _made(self, use: ComponentUse) -> Component:
        return load_class(use.flavor)(use, Config(use.flavor, use.configuration, self._resolver), self._client.settings)

    @property
    def components(self) -> list[Component]:
        """All components, by type."""
        return [component for kind in self._uses if (component := self.component(kind)) is not None]

    def for_client(self, client: Client) -> ActiveStack:
        """The same stack, whose references this client resolves, when they are used."""
        return ActiveStack(client, self._use, _resolver(client, self._use))

    def __getattr__(self, name: str) -> Any:
        if name not in STACK_TYPES:
            raise AttributeError(f"a stack has no '{name}'; it has components: {', '.join(STACK_TYPES)}")
        return self.component(ComponentType(name))

    def __repr__(self) -> str:
        return f"ActiveStack({self.name!r}: {', '.join(f'{kind} {use.name!r}' for kind, use in self._uses.items())})"

    def __reduce__(self) -> Any:
        raise TypeError("a stack is not pickled; every process opens its own")


_current: ContextVar[ActiveStack | None] = ContextVar("current_stack", default=None)


@contextmanager
def within(stack: ActiveStack) -> Iterator[None]:
    """Within the block, in this thread, this is the active stack."""
    token = _current.set(stack)
    try:
        yield
    finally:
        _current.reset(token)


def open_connector(client: Client, name: str) -> ServiceConnector:
    """The service connector of this name. For a thread that works for a run: one that the run's stack has.

    `NotFound`, `ApprovalNeeded`.
    """
    current = _current.get()
    if current is not None:
        return current.connector(name)
    use = client.use_component(ComponentType.SERVICE_CONNECTOR, name)
    places = places_in(f"{use.type.words} '{use.name}'", use.configuration)
    resolver = Resolver(client, places, use=UseOf(use.id, use.state))
    return cast("ServiceConnector", load_class(use.flavor)(use, Config(use.flavor, use.configuration, resolver), client.settings))


def find_manager(client: Client, stack: Stack) -> SecretsManager | None:
    """The stack's secrets manager at work, if it has one. `Forbidden` for who may not use stacks."""
    if all(component.type is not ComponentType.SECRETS_MANAGER for component in stack.components):
        return None
    return open_stack(client, stack.name).secrets_manager


def _resolver(client: Client, use: StackUse) -> Resolver:
    return Resolver(client, places_in_stack(use), use=UseOf(use.id, use.state))


def open_stack(client: Client, name: str | None = None) -> ActiveStack:
    """The stack of this name, else the one of the run that this thread works for, else the active one.

    `NotFound`, `ApprovalNeeded`.
    """
    current = _current.get()
    if name is None and current is not None:
        return current
    use = client.use_stack(name)
    return ActiveStack(client, use, _resolver(client, use))
