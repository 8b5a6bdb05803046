"""A stack ready to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from strongroom.models.flavor import ComponentType
from strongroom.models.stack import StackUse
from strongroom.stacks.component import Component, Config, load_class
from strongroom.stacks.resolution import Resolver, places_in_stack

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.stacks.alerter import Alerter
    from strongroom.stacks.artifact_store import ArtifactStore
    from strongroom.stacks.container_registry import ContainerRegistry
    from strongroom.stacks.experiment_tracker import ExperimentTracker
    from strongroom.stacks.model_registry import ModelRegistry


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

    def __init__(self, client: Client, use: StackUse, resolver: Resolver) -> None:
        self.id, self.name = use.id, use.name
        self._client, self._resolver = client, resolver
        self._uses = {component.type: component for component in use.components}
        self._components: dict[ComponentType, Component] = {}

    def component(self, component_type: ComponentType) -> Component | None:
        """The component of this type, made when it is first asked for. `ConfigurationError` when its class cannot be loaded."""
        use = self._uses.get(component_type)
        if use is None:
            return None
        if component_type not in self._components:
            config = Config(use.flavor, use.configuration, self._resolver)
            self._components[component_type] = load_class(use.flavor)(use, config, self._client.settings)
        return self._components[component_type]

    @property
    def components(self) -> list[Component]:
        """All components, by type."""
        return [component for kind in self._uses if (component := self.component(kind)) is not None]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in list(ComponentType):
            raise AttributeError(f"a stack has no '{name}'; it has components: {', '.join(ComponentType)}")
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


def open_stack(client: Client, name: str | None = None) -> ActiveStack:
    """The stack of this name, else the one of the run that this thread works for, else the active one. `NotFound`."""
    current = _current.get()
    if name is None and current is not None:
        return current
    use = client.use_stack(name)
    return ActiveStack(client, use, Resolver(client, places_in_stack(use)))
