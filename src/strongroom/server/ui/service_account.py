"""The pages of service accounts and of their API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from msgspec import UNSET
from starlette.responses import Response

from strongroom.errors import InvalidInput
from strongroom.models.service_account import (
    CreateApiKey,
    CreateServiceAccount,
    DeleteApiKey,
    DeleteServiceAccount,
    ListApiKeys,
    ListServiceAccounts,
)
from strongroom.operations import service_account as of_service_account
from strongroom.server.ui.visit import PAGE_SIZE, Visit
from strongroom.server.ui.workspace import ROLES


async def list_service_accounts(visit: Visit) -> Response:
    """The service accounts of the workspace that one works in."""
    wanted = ListServiceAccounts(page=visit.page_number, size=PAGE_SIZE)
    found = await visit.ask(of_service_account.LIST, wanted)
    return await visit.page("service_account/list.html", accounts=found, roles=ROLES)


async def create_service_account(visit: Visit) -> Response:
    """Adds one, and shows it."""
    form = await visit.form()
    wanted = CreateServiceAccount(name=form.get("name").strip(), role=form.get("role"))
    made = await visit.ask(of_service_account.CREATE, wanted)
    return visit.go_to(f"/service-accounts/{quote(made.name)}")


async def show_service_account(visit: Visit) -> Response:
    """A service account with its API keys, without what is secret of them."""
    return await visit.page("service_account/show.html", **await _context(visit))


async def delete_service_account(visit: Visit) -> Response:
    """Ends a service account with all its API keys."""
    form = await visit.form()
    name = visit.request.path_params["name"]
    if form.get("typed").strip() != name:
        raise InvalidInput("nothing was deleted: what you typed is not the name", hint=f"type {name}")
    await visit.ask(of_service_account.DELETE, DeleteServiceAccount(name=name))
    return visit.go_to("/service-accounts")


async def create_key(visit: Visit) -> Response:
    """Makes an API key, and shows it in this answer alone."""
    form = await visit.form()
    wanted = CreateApiKey(
        service_account=visit.request.path_params["name"], name=form.get("name").strip(), expires_at=_day(form.get("expires"))
    )
    made = await visit.ask(of_service_account.CREATE_KEY, wanted)
    key = "" if made.key is UNSET else made.key.reveal()
    context = await _context(visit)
    if visit.is_partial:
        return visit.piece("service_account/_keys.html", **context, made=made, key=key)
    return await visit.page("service_account/show.html", **context, made=made, key=key)


async def delete_key(visit: Visit) -> Response:
    """Ends an API key, at once."""
    form = await visit.form()
    name = visit.request.path_params["name"]
    await visit.ask(of_service_account.DELETE_KEY, DeleteApiKey(service_account=name, name=form.get("name")))
    return visit.go_to(f"/service-accounts/{quote(name)}")


async def _context(visit: Visit) -> dict[str, Any]:
    name = visit.request.path_params["name"]
    keys = await visit.ask(of_service_account.LIST_KEYS, ListApiKeys(service_account=name))
    return {"name": name, "keys": list(keys)}


def _day(given: str) -> datetime | None:
    """The beginning of a day in UTC; None for no day."""
    if not given:
        return None
    try:
        return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput("a key expires on a day", hint="for example 2027-01-31") from None


PAGES = (
    ("GET", "/service-accounts", list_service_accounts, False),
    ("POST", "/service-accounts", create_service_account, False),
    ("GET", "/service-accounts/{name}", show_service_account, False),
    ("POST", "/service-accounts/{name}/delete", delete_service_account, False),
    ("POST", "/service-accounts/{name}/keys", create_key, False),
    ("POST", "/service-accounts/{name}/keys/delete", delete_key, False),
)
