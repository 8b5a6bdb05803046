"""The operations on workspaces and their members."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.workspace import (
    ActivateWorkspace,
    CreateWorkspace,
    ListMembers,
    ListWorkspaces,
    Member,
    PutMember,
    RemoveMember,
    UpdateWorkspace,
    Workspace,
)
from strongroom.operations.operation import Audited, Operation
from strongroom.operations.permission import Permission

_MEMBER = Audited(target="user", workspace="name", shown=("role",))

ACTIVATE = Operation("workspace.activate", "POST", "/workspaces/{name}/activate", Permission.SELF, ActivateWorkspace, Workspace)
CREATE = Operation(
    "workspace.create",
    "POST",
    "/workspaces",
    Permission.WORKSPACE_MANAGE,
    CreateWorkspace,
    Workspace,
    "/workspaces/{name}",
    audited=Audited(target="name", workspace="name"),
)
LIST = Operation("workspace.list", "GET", "/workspaces", Permission.SELF, ListWorkspaces, Page[Workspace])
LIST_MEMBERS = Operation(
    "workspace.list-members",
    "GET",
    "/workspaces/{name}/members",
    Permission.SELF,
    ListMembers,
    Page[Member],
    audited=Audited(workspace="name"),
)
PUT_MEMBER = Operation(
    "workspace.put-member", "PUT", "/workspaces/{name}/members/{user}", Permission.SELF, PutMember, Member, audited=_MEMBER
)
REMOVE_MEMBER = Operation(
    "workspace.remove-member",
    "DELETE",
    "/workspaces/{name}/members/{user}",
    Permission.SELF,
    RemoveMember,
    type(None),
    audited=_MEMBER,
)
UPDATE = Operation(
    "workspace.update",
    "PATCH",
    "/workspaces/{name}",
    Permission.SELF,
    UpdateWorkspace,
    Workspace,
    audited=Audited(target="name", workspace="name", shown=("shared_cache", "trusts_administrators")),
)

WORKSPACE_OPERATIONS = (ACTIVATE, CREATE, LIST, LIST_MEMBERS, PUT_MEMBER, REMOVE_MEMBER, UPDATE)
