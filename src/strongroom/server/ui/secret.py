"""The pages of secrets: the list, one secret with its versions and usage, and what is done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from strongroom.errors import InvalidInput, NotFound, StaleVersion
from strongroom.models.run import ListSecretUsage
from strongroom.models.secret import (
    DeleteSecret,
    GetSecret,
    ListSecrets,
    ListSecretVersions,
    RollbackSecret,
    Scope,
    Secret,
    SecretVersion,
)
from strongroom.operations import secret as of_secret
from strongroom.redaction import SecretText
from strongroom.server.ui import secret_form
from strongroom.server.ui.rendering import with_query
from strongroom.server.ui.visit import BESIDE_THE_FORM, Visit, problem

PAGE = 50
FEW_USES = 10
FILTERS = ("search", "scope", "owner", "label")


@dataclass(frozen=True)
class VersionRow:
    """A version, and how its keys differ from those of the next older one that is kept; None where there is none."""

    version: SecretVersion
    added: list[str] | None
    removed: list[str] | None


async def list_secrets(visit: Visit) -> Response:
    """Those that one may see, a page at a time; search and owner are parts of names."""
    query = visit.request.query_params
    given = {name: query.get(name, "").strip() for name in FILTERS}
    sort = query.get("sort") or "asc:name"
    wanted = ListSecrets(
        name=f"contains:{given['search']}" if given["search"] else None,
        scope=Scope(given["scope"]) if given["scope"] in list(Scope) else None,
        owner=f"contains:{given['owner']}" if given["owner"] else None,
        label=[given["label"]] if given["label"] else [],
        sort_by=sort,
        page=visit.page_number,
        size=PAGE,
    )
    found = await visit.ask(of_secret.LIST, wanted)
    shown = {name: text for name, text in {**given, "sort": "" if sort == "asc:name" else sort}.items() if text}
    context: dict[str, Any] = {"secrets": found, "given": given, "sort": sort, "query": shown, "path": "/secrets"}
    if visit.is_partial:
        address = with_query("/secrets", shown, page=visit.page_number if visit.page_number > 1 else None)
        return visit.piece("secret/_table.html", headers={"HX-Replace-Url": address}, **context)
    return await visit.page("secret/list.html", **context)


async def show_secret(visit: Visit) -> Response:
    """Everything about a secret but its values."""
    secret_id = visit.request.path_params["id"]
    found = await visit.ask(of_secret.GET_METADATA, GetSecret(id=secret_id))
    versions = await visit.ask(of_secret.LIST_VERSIONS, ListSecretVersions(id=secret_id))
    uses = await visit.ask(of_secret.LIST_USAGE, ListSecretUsage(id=secret_id, size=FEW_USES))
    return await visit.page("secret/show.html", secret=found, versions=_compared(list(versions)), uses=uses)


async def list_usage(visit: Visit) -> Response:
    """Which runs read which version and key, newest first."""
    secret_id = visit.request.path_params["id"]
    found = await visit.ask(of_secret.GET_METADATA, GetSecret(id=secret_id))
    uses = await visit.ask(of_secret.LIST_USAGE, ListSecretUsage(id=secret_id, page=visit.page_number, size=PAGE))
    return await visit.page("secret/usage.html", secret=found, uses=uses)


async def reveal(visit: Visit) -> Response:
    """One value, of one key, for the page to show for a while. Without a script it is a page of its own."""
    key, secret, value = await _value(visit)
    context: dict[str, Any] = {"secret": secret, "key": key, "value": value.reveal()}
    if visit.is_partial:
        return visit.piece("secret/_value.html", **context)
    return await visit.page("secret/value.html", **context)


async def copy(visit: Visit) -> Response:
    """The same as plain text, which the script puts into the clipboard without showing it."""
    _, _, value = await _value(visit)
    return Response(value.reveal(), media_type="text/plain; charset=utf-8")


async def _value(visit: Visit) -> tuple[str, Secret, SecretText]:
    """The value that the form asks for: of the current version, whatever it was when the page was made."""
    key = (await visit.form()).get("key")
    secret = await visit.ask(of_secret.GET, GetSecret(id=visit.request.path_params["id"]))
    if not secret.values or key not in secret.values:
        raise NotFound("the secret has no such key any more", hint="load the page again")
    return key, secret, secret.values[key]


async def show_new(visit: Visit) -> Response:
    """An empty form."""
    return await visit.page("secret/new.html", fields=secret_form.EMPTY, problem=None)


async def create(visit: Visit) -> Response:
    """Makes a secret of what was typed. Reading a long text that was pasted would hold up the event loop."""
    form = await visit.form()
    try:
        made = await visit.ask(of_secret.CREATE, await asyncio.to_thread(secret_form.wanted, form))
    except secret_form.REFUSALS as error:
        fields = secret_form.typed(form)
        return await visit.refused_form(error, "secret/new.html", fields=fields)
    return visit.go_to(f"/secrets/{made.id}")


async def recognise_pasted(visit: Visit) -> Response:
    """Says which keys a pasted text has; the values stay where they are."""
    text = (await visit.form()).get("paste")
    problem = None
    keys: list[str] = []
    try:
        keys = list(await asyncio.to_thread(secret_form.pasted, text))
    except InvalidInput as error:
        problem = error
    return visit.piece("secret/_pasted.html", keys=keys, problem=problem)


async def show_edit(visit: Visit) -> Response:
    """A form with everything but the values."""
    secret = await visit.ask(of_secret.GET_METADATA, GetSecret(id=visit.request.path_params["id"]))
    return await visit.page("secret/edit.html", secret=secret, fields=secret_form.fields_of(secret), problem=None)


async def edit(visit: Visit) -> Response:
    """Changes what was typed; what was left alone stays, whatever others made of it meanwhile."""
    secret_id = visit.request.path_params["id"]
    form = await visit.form()
    try:
        await visit.ask(of_secret.UPDATE, await asyncio.to_thread(secret_form.change, secret_id, form))
    except secret_form.REFUSALS as error:
        secret = await visit.ask(of_secret.GET_METADATA, GetSecret(id=secret_id))
        if isinstance(error, StaleVersion):
            others = await _changes_of_others(visit, secret, secret_form.version_of(form))
            if visit.is_partial:
                context: dict[str, Any] = {"problem": problem(visit, error), "secret": secret, "others": others}
                return visit.piece("secret/_stale.html", status=error.status, headers=BESIDE_THE_FORM, **context)
        return await visit.refused_form(error, "secret/edit.html", secret=secret, fields=secret_form.typed(form, secret))
    return visit.go_to(f"/secrets/{secret_id}")


async def _changes_of_others(visit: Visit, secret: Secret, since: int | None) -> dict[str, Any]:
    """By whom the version is that stands in the way, and which keys differ from those that the form was made for.

    To tell, both versions are read, which is on record; no value leaves this function.
    """
    versions = await visit.ask(of_secret.LIST_VERSIONS, ListSecretVersions(id=secret.id))
    current = next(each for each in versions if each.current)
    differ: dict[str, str] | None = None
    try:
        before = (await visit.ask(of_secret.GET, GetSecret(id=secret.id, version=since))).secret_values
        after = (await visit.ask(of_secret.GET, GetSecret(id=secret.id, version=current.version))).secret_values
    except NotFound:  # the older one is not kept any more
        pass
    else:
        differ = {key: "removed" for key in before if key not in after}
        differ |= {key: "added" if key not in before else "changed" for key in after if before.get(key) != after[key]}
    return {"current": current, "differ": differ}


async def roll_back(visit: Visit) -> Response:
    """Makes an older version the current one."""
    secret_id = visit.request.path_params["id"]
    number = secret_form.number((await visit.form()).get("version"))
    await visit.ask(of_secret.ROLLBACK, RollbackSecret(id=secret_id, version=number or 0))
    return visit.go_to(f"/secrets/{secret_id}")


async def ask_delete(visit: Visit) -> Response:
    """Asks for the name before anything is deleted."""
    secret = await visit.ask(of_secret.GET_METADATA, GetSecret(id=visit.request.path_params["id"]))
    return await visit.page("secret/delete.html", secret=secret, problem=None)


async def delete(visit: Visit) -> Response:
    """Deletes the secret whose name was typed."""
    form = await visit.form()
    secret = await visit.ask(of_secret.GET_METADATA, GetSecret(id=visit.request.path_params["id"]))
    if form.get("name").strip() != secret.name:
        error = InvalidInput("that is not the name of this secret", hint="nothing was deleted; type the name as it stands above")
        return await visit.refused_form(error, "secret/delete.html", secret=secret)
    await visit.ask(of_secret.DELETE, DeleteSecret(id=secret.id))
    return visit.go_to("/secrets")


def _compared(versions: Sequence[SecretVersion]) -> list[VersionRow]:
    rows = []
    for place, version in enumerate(versions):
        if place + 1 == len(versions):
            rows.append(VersionRow(version, None, None))
            continue
        older = versions[place + 1].keys
        added, removed = [key for key in version.keys if key not in older], [key for key in older if key not in version.keys]
        rows.append(VersionRow(version, added, removed))
    return rows


PAGES = (
    ("GET", "/secrets", list_secrets, False),
    ("POST", "/secrets", create, False),
    ("GET", "/secrets/new", show_new, False),
    ("POST", "/secrets/paste", recognise_pasted, False),
    ("GET", "/secrets/{id}", show_secret, False),
    ("GET", "/secrets/{id}/usage", list_usage, False),
    ("POST", "/secrets/{id}/reveal", reveal, False),
    ("POST", "/secrets/{id}/copy", copy, False),
    ("GET", "/secrets/{id}/edit", show_edit, False),
    ("POST", "/secrets/{id}/edit", edit, False),
    ("POST", "/secrets/{id}/rollback", roll_back, False),
    ("GET", "/secrets/{id}/delete", ask_delete, False),
    ("POST", "/secrets/{id}/delete", delete, False),
)
