"""The operations on stacks."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.stack import ActivateStack, CreateStack, DeleteStack, GetStack, ListStacks, Stack, StackUse, UpdateStack
from strongroom.operations.operation import Audited, Operation
from strongroom.operations.permission import Permission

ACTIVATE = Operation("stack.activate", "POST", "/stacks/by-name/{name}/activate", Permission.STACK_READ, ActivateStack, Stack)
CREATE = Operation(
    "stack.create",
    "POST",
    "/stacks",
    Permission.STACK_WRITE,
    CreateStack,
    Stack,
    "/stacks/by-name/{name}",
    audited=Audited(target="name"),
)
DELETE = Operation("stack.delete", "DELETE", "/stacks/{id}", Permission.STACK_WRITE, DeleteStack, type(None))
GET = Operation("stack.get", "GET", "/stacks/by-name/{name}", Permission.STACK_READ, GetStack, Stack)
LIST = Operation("stack.list", "GET", "/stacks", Permission.STACK_READ, ListStacks, Page[Stack])
UPDATE = Operation("stack.update", "PATCH", "/stacks/{id}", Permission.STACK_WRITE, UpdateStack, Stack)
USE = Operation("stack.use", "GET", "/stacks/by-name/{name}/use", Permission.STACK_USE, GetStack, StackUse, for_runs=True)

STACK_OPERATIONS = (ACTIVATE, CREATE, DELETE, GET, LIST, UPDATE, USE)
