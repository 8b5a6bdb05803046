"""The client's methods on stacks and references."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET

from strongroom.client.component import component_type
from strongroom.client.observers import ValuesRead, tell
from strongroom.client.transports.base import Transport
from strongroom.config import Settings
from strongroom.models.flavor import ComponentType
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
from strongroom.models.reference import CheckedReferences, CheckReferences, Reference, ResolvedReferences, ResolveReferences, UseOf
from strongroom.models.stack import ActivateStack, CreateStack, DeleteStack, GetStack, ListStacks, Stack, StackUse, UpdateStack
from strongroom.operations import secret as secret_operations
from strongroom.operations import stack as operations

if TYPE_CHECKING:
    from strongroom.stacks.stack import ActiveStack


class StackClient:
    """Stacks: create, get, list, update, delete, activate; and what references lead to."""

    _transport: Transport
    settings: Settings

    @property
    def active_stack(self) -> ActiveStack:
        """The active stack, ready to use: `active_stack.experiment_tracker.config.tracking_username` is the attribute, resolved.

        Within a step it is the stack of the run.
        """
        # The room above is found by name, as the classes of flavors are: nothing here depends on it.
        opened: ActiveStack = importlib.import_module("strongroom.stacks.stack").open_stack(self)
        return opened

    def create_stack(self, name: str, components: Mapping[ComponentType | str, str], *, activate: bool = False) -> Stack:
        """Registers a stack of existing components, type to name. `AlreadyExists`, `NotFound`, `InvalidInput`."""
        parts = {component_type(kind): part for kind, part in components.items()}
        return self._transport.call(operations.CREATE, CreateStack(name=name, components=parts, activate=activate))

    def get_stack(self, name: str | None = None) -> Stack:
        """The stack of exactly this name; without one, the active stack. `NotFound`."""
        return self._transport.call(operations.GET, GetStack(name=self._chosen(name)))

    def use_stack(self, name: str | None = None) -> StackUse:
        """What it takes to use a stack: its components' attributes as stored, unmasked. `NotFound`, `Forbidden`, `ApprovalNeeded`."""
        return self._transport.call(operations.USE, GetStack(name=self._chosen(name)))

    def list_stacks(self, *, name: str | None = None, page: int = 1, size: int = DEFAULT_PAGE_SIZE) -> Page[Stack]:
        """A page of stacks, by name; `name` is a filter as for secrets."""
        return self._transport.call(operations.LIST, ListStacks(name=name, page=page, size=size))

    def update_stack(
        self, name: str, *, components: Mapping[ComponentType | str, str | None] | None = None, new_name: str | None = None
    ) -> Stack:
        """Puts components in by name, takes them out (None), renames; all at once."""
        request = UpdateStack(
            id=self.get_stack(name).id,
            name=UNSET if new_name is None else new_name,
            components={component_type(kind): part for kind, part in (components or {}).items()},
        )
        return self._transport.call(operations.UPDATE, request)

    def delete_stack(self, name: str) -> None:
        """Deletes a stack; its components stay. `NotFound`, `InvalidInput` for the default and the active one."""
        self._transport.call(operations.DELETE, DeleteStack(id=self.get_stack(name).id))

    def activate_stack(self, name: str) -> Stack:
        """Makes a stack one's active one. `NotFound`."""
        return self._transport.call(operations.ACTIVATE, ActivateStack(name=name))

    def check_references(self, references: Iterable[Reference]) -> CheckedReferences:
        """Says what references lead to, without values and without the right to read them."""
        return self._transport.call(secret_operations.CHECK, CheckReferences(references=list(references)))

    def resolve_references(
        self, references: Iterable[Reference], *, run_id: str | None = None, use: UseOf | None = None
    ) -> ResolvedReferences:
        """Reads the values of references in one snapshot; what leads nowhere says so in its item.

        With `use`, they stand in that stack or component. `ApprovalNeeded`, `StaleVersion`.
        """
        request = ResolveReferences(references=list(references), run_id=run_id, use=use)
        resolved = self._transport.call(secret_operations.RESOLVE, request)
        for item in resolved.items:
            if item.value is not UNSET and item.secret_id is not None and item.version is not None:
                tell(ValuesRead(item.secret_id, item.name, item.version, {item.key: item.value}, recorded=run_id is not None))
        return resolved

    def _chosen(self, name: str | None) -> str | None:
        return name if name is not None else self.settings.active_stack
