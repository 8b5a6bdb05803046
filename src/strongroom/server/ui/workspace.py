"""The pages of workspaces and of their members."""

from __future__ import annotations

from starlette.responses import Response

from strongroom.models.workspace import CreateWorkspace, ListMembers, ListWorkspaces, PutMember, RemoveMember
from strongroom.operations import workspace as of_workspace
from strongroom.server.ui.session import work_in
from strongroom.server.ui.visit import PAGE_SIZE, Visit

ROLES = (
    ("viewer", "sees everything but values"),
    ("reader", "also reads values"),
    ("editor", "also changes secrets and stacks"),
    ("admin", "also manages members"),
)


async def list_members(visit: Visit) -> Response:
    """Who belongs to the workspace that one works in."""
    wanted = ListMembers(name=visit.actor.workspace, page=visit.page_number, size=PAGE_SIZE)
    found = await visit.ask(of_workspace.LIST_MEMBERS, wanted)
    return await visit.page("workspace/members.html", members=found, roles=ROLES)


async def put_member(visit: Visit) -> Response:
    """Gives somebody a role here, whether they had one or not."""
    form = await visit.form()
    wanted = PutMember(name=visit.actor.workspace, user=form.get("user").strip(), role=form.get("role"))
    await visit.ask(of_workspace.PUT_MEMBER, wanted)
    return visit.go_to("/members")


async def remove_member(visit: Visit) -> Response:
    """Takes somebody out."""
    form = await visit.form()
    await visit.ask(of_workspace.REMOVE_MEMBER, RemoveMember(name=visit.actor.workspace, user=form.get("user")))
    return visit.go_to("/members")


async def list_workspaces(visit: Visit) -> Response:
    """The workspaces that one may see."""
    found = await visit.ask(of_workspace.LIST, ListWorkspaces(page=visit.page_number, size=PAGE_SIZE))
    return await visit.page("workspace/list.html", found=found)


async def create_workspace(visit: Visit) -> Response:
    """Makes a workspace and goes there; whoever makes it administers it."""
    form = await visit.form()
    made = await visit.ask(of_workspace.CREATE, CreateWorkspace(name=form.get("name").strip()))
    response = visit.go_to("/members")
    work_in(visit, response, made.name)
    return response


PAGES = (
    ("GET", "/members", list_members, False),
    ("POST", "/members", put_member, False),
    ("POST", "/members/remove", remove_member, False),
    ("GET", "/workspaces", list_workspaces, False),
    ("POST", "/workspaces", create_workspace, False),
)
