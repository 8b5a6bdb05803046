"""The pages of secrets."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from strongroom.models.secret import GetSecret, ListSecrets, ListSecretVersions, Scope
from strongroom.operations import secret as of_secret
from strongroom.server.ui.visit import Visit

PAGE = 50


async def list_secrets(visit: Visit) -> Response:
    """Those that one may see, a page at a time; the search is for a part of the name."""
    query = visit.request.query_params
    search, scope = query.get("search", "").strip(), query.get("scope", "")
    number = int(query.get("page", "1")) if query.get("page", "1").isdecimal() else 1
    wanted = ListSecrets(
        name=f"contains:{search}" if search else None,
        scope=Scope(scope) if scope in list(Scope) else None,
        sort_by=query.get("sort", "asc:name"),
        page=number,
        size=PAGE,
    )
    found = await visit.ask(of_secret.LIST, wanted)
    context: dict[str, Any] = {"secrets": found, "search": search, "scope": scope, "sort": wanted.sort_by}
    if visit.is_partial:
        return visit.piece("secret/_table.html", **context)
    return await visit.page("secret/list.html", **context)


async def show_secret(visit: Visit) -> Response:
    """Everything about a secret but its values."""
    secret_id = visit.request.path_params["id"]
    found = await visit.ask(of_secret.GET_METADATA, GetSecret(id=secret_id))
    versions = await visit.ask(of_secret.LIST_VERSIONS, ListSecretVersions(id=secret_id))
    return await visit.page("secret/show.html", secret=found, versions=list(versions))


PAGES = (
    ("GET", "/secrets", list_secrets, False),
    ("GET", "/secrets/{id}", show_secret, False),
)
