"""References become values: lazily, in the process that uses them, all of a run in one call and one snapshot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from strongroom import forking
from strongroom.errors import Unresolved
from strongroom.models.reference import (
    CheckedReference,
    Need,
    Reference,
    ReferenceStatus,
    ResolvedReference,
    UseOf,
    find_references,
    parse_reference,
)
from strongroom.models.stack import Stack, StackUse

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.stacks.secrets_manager import SecretsManager


@dataclass(frozen=True)
class Place:
    """Where a reference stands: `owner` is `experiment tracker 'mlflow'` or `the settings of step 'train'`."""

    owner: str
    attribute: str
    reference: Reference


@dataclass(frozen=True)
class Declared:
    """A secret that somebody declared to read: `owner` is `step 'train'`."""

    owner: str
    need: Need


def places_in(owner: str, tree: Any) -> list[Place]:
    """The references in a component's attributes or in settings."""
    return [Place(owner, path, reference) for path, reference in find_references(tree)]


def places_in_stack(stack: Stack | StackUse) -> list[Place]:
    """The references in the attributes of a stack's components, and of the service connectors that these name."""
    found: list[Place] = []
    for component in (*stack.components, *stack.connectors):
        found += places_in(f"{component.type.words} '{component.name}'", component.configuration)
    return found


def reason(item: CheckedReference | ResolvedReference) -> str:
    """Why a reference has no value, in words."""
    if item.status is ReferenceStatus.NO_SECRET:
        near = f" (did you mean {' or '.join(item.near)}?)" if item.near else ""
        return f"there is no secret '{item.name}'{near}"
    if item.status is ReferenceStatus.NO_KEY:
        return f"secret '{item.name}' has no key '{item.key}'; its keys are: {', '.join(item.keys)}"
    message = item.message if isinstance(item, ResolvedReference) else None
    return message or f"secret '{item.name}' cannot be read"


_ABSENT = (ReferenceStatus.NO_SECRET, ReferenceStatus.NOT_GRANTED)
"""A run is granted what there is when it begins."""

Use = Callable[[ResolvedReference], None]
OpenManager = Callable[[], "SecretsManager | None"]


class Resolver:
    """Holds the values of a fixed set of references, read together when the first of them is used. Thread-safe.

    What the centralized store has no secret for is looked up in the stack's secrets manager, if it has one. `on_use` hears of each
    reference whose value is handed out, before that happens. `use` is the stack or the component that the references stand in: the
    server refuses the values where it may not be used. With a run's token the server knows that from when the run began.
    """

    def __init__(
        self,
        client: Client,
        places: Sequence[Place],
        *,
        use: UseOf | None,
        run_id: str | None = None,
        on_use: Use | None = None,
    ) -> None:
        self._client, self._run_id, self._on_use, self._use = client, run_id, on_use, use
        self._places = list(places)
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._open_manager: OpenManager | None = None
        self._items: dict[Reference, ResolvedReference] | None = None

    @property
    def has_read(self) -> bool:
        """Whether it has asked for the values, and needs nobody any more."""
        return self._items is not None

    def fall_back_to(self, open_manager: OpenManager) -> None:
        """From now on this gives the secrets manager, whose own attributes are no references. It is opened if it is needed."""
        self._open_manager = open_manager

    def resolve(self, tree: Any) -> Any:
        """The tree with all references in it replaced by their values. `Unresolved` when one of them has none."""
        if isinstance(tree, str):
            reference = parse_reference(tree)
            return tree if reference is None else self._value(reference)
        if isinstance(tree, Mapping):
            return {key: self.resolve(item) for key, item in tree.items()}
        if isinstance(tree, list | tuple):
            return [self.resolve(item) for item in tree]
        return tree

    def _value(self, reference: Reference) -> str:
        with self._lock:
            if self._items is None:
                wanted = list(dict.fromkeys(place.reference for place in self._places))
                resolved = self._client.resolve_references(wanted, run_id=self._run_id, use=self._use)
                self._items = dict(zip(wanted, resolved.items, strict=True)) | self._managed(wanted, resolved.items)
            item = self._items[reference]
        if item.value is UNSET:
            where = [f"{place.owner}, {place.attribute}" for place in self._places if place.reference == reference]
            raise Unresolved(
                f"{reference} ({'; '.join(where)}) has no value: {reason(item)}", hint=f"strongroom secret list --name {item.name}"
            )
        if self._on_use is not None:
            self._on_use(item)
        return item.value.reveal()

    def _managed(self, wanted: Sequence[Reference], items: Sequence[ResolvedReference]) -> dict[Reference, ResolvedReference]:
        """What the secrets manager has for references whose secret the centralized store does not have."""
        absent = [reference for reference, item in zip(wanted, items, strict=True) if item.status in _ABSENT]
        return manager_items(self._open_manager, absent)


def manager_items(open_manager: OpenManager | None, absent: Sequence[Reference]) -> dict[Reference, ResolvedReference]:
    """What a secrets manager says of references whose secret the centralized store does not have, of those that it knows."""
    manager = open_manager() if open_manager is not None and absent else None
    if manager is None:
        return {}
    from strongroom.stacks.secrets_manager import looked_up

    return {reference: item for reference, item in looked_up(manager, absent).items() if item.status is not ReferenceStatus.NO_SECRET}
