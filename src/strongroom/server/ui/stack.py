"""The pages of stacks and of their components."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from strongroom.errors import NotFound
from strongroom.models.approval import Approve, GetReview
from strongroom.models.component import Component, DeleteComponent, GetComponent, ListComponents
from strongroom.models.flavor import ComponentType
from strongroom.models.stack import ActivateStack, GetStack, ListStacks
from strongroom.operations import approval as of_approval
from strongroom.operations import component as of_component
from strongroom.operations import stack as of_stack
from strongroom.server.ui.attributes import lines, looked_up
from strongroom.server.ui.visit import PAGE_SIZE, Visit


async def list_stacks(visit: Visit) -> Response:
    """All stacks of the workspace, by name."""
    query = visit.request.query_params
    search = query.get("search", "").strip()
    wanted = ListStacks(name=f"contains:{search}" if search else None, page=visit.page_number, size=PAGE_SIZE)
    found = await visit.ask(of_stack.LIST, wanted)
    if visit.is_partial:
        return visit.piece("stack/_table.html", stacks=found, search=search)
    return await visit.page("stack/list.html", stacks=found, search=search)


async def show_stack(visit: Visit) -> Response:
    """A stack with its components' attributes, and what their references lead to."""
    found = await visit.ask(of_stack.GET, GetStack(name=visit.request.path_params["name"]))
    parts = [*found.components, *found.connectors]
    shown = await looked_up(visit, {part.id: lines(part.configuration) for part in parts})
    broken = sum(not line.resolves for group in shown.values() for line in group if line.reference is not None)
    references = sum(line.reference is not None for group in shown.values() for line in group)
    has_manager = any(part.type is ComponentType.SECRETS_MANAGER for part in parts)
    review = await visit.ask(of_approval.REVIEW, GetReview(stack=found.name, account=_account(visit)))
    return await visit.page(
        "stack/show.html",
        stack=found,
        lines=shown,
        broken=broken,
        references=references,
        has_manager=has_manager,
        review=review,
    )


def _account(visit: Visit) -> str | None:
    """The service account whose approvals are looked at; None for one's own."""
    return visit.request.query_params.get("account", "").strip() or None


async def approve_stack(visit: Visit) -> Response:
    """Approves what waited on the page of a stack when it was shown."""
    form = await visit.form()
    name, account = visit.request.path_params["name"], form.get("account") or None
    await visit.ask(of_approval.APPROVE, Approve(seen=form.get("seen"), stack=name, account=account))
    return visit.go_to(f"/stacks/{quote(name)}" + (f"?account={quote(account)}" if account else ""))


async def approve_connector(visit: Visit) -> Response:
    """Approves what waited on the page of a service connector when it was shown."""
    form = await visit.form()
    name, account = visit.request.path_params["name"], form.get("account") or None
    await visit.ask(of_approval.APPROVE, Approve(seen=form.get("seen"), connector=name, account=account))
    return visit.go_to(f"/components/service_connector/{quote(name)}")


async def activate_stack(visit: Visit) -> Response:
    """Makes a stack one's active one."""
    await visit.form()
    await visit.ask(of_stack.ACTIVATE, ActivateStack(name=visit.request.path_params["name"]))
    return visit.go_to("/stacks")


async def list_components(visit: Visit) -> Response:
    """The components of the workspace, service connectors among them, by type and name."""
    query = visit.request.query_params
    search, kind = query.get("search", "").strip(), query.get("type", "")
    wanted = ListComponents(
        type=ComponentType(kind) if kind in list(ComponentType) else None,
        name=f"contains:{search}" if search else None,
        page=visit.page_number,
        size=PAGE_SIZE,
    )
    found = await visit.ask(of_component.LIST, wanted)
    context: dict[str, Any] = {"components": found, "search": search, "type": kind, "types": list(ComponentType)}
    if visit.is_partial:
        return visit.piece("stack/_components.html", **context)
    return await visit.page("stack/components.html", **context)


async def show_component(visit: Visit) -> Response:
    """A component with its attributes, and what their references lead to."""
    found = await _component(visit)
    shown = await looked_up(visit, {found.id: lines(found.configuration)})
    review = None
    if found.type is ComponentType.SERVICE_CONNECTOR:  # others are approved with their stack
        review = await visit.ask(of_approval.REVIEW, GetReview(connector=found.name))
    return await visit.page("stack/component.html", component=found, lines=shown[found.id], review=review)


async def delete_component(visit: Visit) -> Response:
    """Deletes a component that no stack has."""
    await visit.form()
    found = await _component(visit)
    await visit.ask(of_component.DELETE, DeleteComponent(id=found.id))
    return visit.go_to(f"/components?type={found.type.value}")


async def _component(visit: Visit) -> Component:
    kind, name = visit.request.path_params["type"], visit.request.path_params["name"]
    if kind not in list(ComponentType):
        raise NotFound("there is no such type of component", hint="see them all under Components")
    found: Component = await visit.ask(of_component.GET, GetComponent(type=ComponentType(kind), name=name))
    return found


PAGES = (
    ("GET", "/stacks", list_stacks, False),
    ("GET", "/stacks/{name}", show_stack, False),
    ("POST", "/stacks/{name}/activate", activate_stack, False),
    ("POST", "/stacks/{name}/approve", approve_stack, False),
    ("GET", "/components", list_components, False),
    ("GET", "/components/{type}/{name}", show_component, False),
    ("POST", "/components/service_connector/{name}/approve", approve_connector, False),
    ("POST", "/components/{type}/{name}/delete", delete_component, False),
)
