"""Signing in and out, the first administrator, and the workspace that one works in."""

from __future__ import annotations

import json
import re

from starlette.responses import RedirectResponse, Response

from strongroom.auth.policy import Role
from strongroom.errors import NotFound, StrongroomError
from strongroom.models.user import Login, Logout, SetUp
from strongroom.models.workspace import ListWorkspaces
from strongroom.operations import user as of_user
from strongroom.operations import workspace as of_workspace
from strongroom.redaction import SecretText
from strongroom.server.ui.visit import SESSION, SESSION_SECONDS, WORKSPACE, Visit, cookie_name, csrf_of, local_path, problem

_IN_COOKIE = re.compile(r"[A-Za-z0-9_.@+-]{1,255}")
"""What a cookie holds as it is; no workspace has another name."""


async def root(visit: Visit) -> Response:
    """The first page."""
    return RedirectResponse("/secrets", 303)


async def show_sign_in(visit: Visit) -> Response:
    """Asks for user name and password."""
    return visit.piece("sign_in.html", next=local_path(visit.request.query_params.get("next", "")), problem=None)


async def sign_in(visit: Visit) -> Response:
    """Begins a session, with a token of its own. With `stay`, for a page whose session has ended: it goes on where it was."""
    form = await visit.form()
    next_path = local_path(form.get("next"))
    try:
        made = await visit.ask(of_user.LOGIN, Login(username=form.get("username"), password=SecretText(form.get("password"))))
    except StrongroomError as error:
        template = "_problem.html" if visit.is_partial else "sign_in.html"
        return visit.piece(template, status=error.status, problem=problem(visit, error), next=next_path)
    if visit.is_partial and form.get("stay"):
        signed_in = {"signed-in": {"csrf": csrf_of(made.access_token.reveal())}}
        response = Response(status_code=204, headers={"HX-Trigger": json.dumps(signed_in)})
    else:
        response = visit.go_to(next_path)
    _remember(visit, response, made.access_token)
    await _find_workspace(visit, response, made.access_token)
    return response


async def _find_workspace(visit: Visit, response: Response, token: SecretText) -> None:
    """Whoever does not belong to the workspace in which they would begin begins in one to which they do."""
    begun = await visit.with_token(token.reveal())
    if begun.actor.role is not Role.NONE:
        return
    workspaces = await begun.ask(of_workspace.LIST, ListWorkspaces())
    own = next((each.name for each in workspaces if each.role is not None), None)
    if own is not None:
        _set(visit, response, WORKSPACE, own)


async def sign_out(visit: Visit) -> Response:
    """Ends the session: its token is dead."""
    await visit.form()
    await visit.ask(of_user.LOGOUT, Logout())
    response = visit.go_to("/sign-in")
    for name in (SESSION, WORKSPACE):
        _set(visit, response, name, "", seconds=0)
    return response


async def show_set_up(visit: Visit) -> Response:
    """The page that the one-time link of a new server leads to."""
    return visit.piece("set_up.html", problem=None, username="")


async def set_up(visit: Visit) -> Response:
    """Makes the first administrator, who is signed in then."""
    form = await visit.form()
    token, name, password = (SecretText(form.get("token")), form.get("username"), SecretText(form.get("password")))
    try:
        made = await visit.ask(of_user.SET_UP, SetUp(token=token, username=name, password=password))
    except StrongroomError as error:
        template = "_problem.html" if visit.is_partial else "set_up.html"
        return visit.piece(template, status=error.status, problem=problem(visit, error), username=name)
    response = visit.go_to("/secrets")
    _remember(visit, response, made.access_token)
    return response


async def choose_workspace(visit: Visit) -> Response:
    """Works in another workspace from now on, in this browser."""
    form = await visit.form()
    name = form.get("workspace")
    if not _IN_COOKIE.fullmatch(name):
        raise NotFound("there is no such workspace")
    response = visit.go_to(local_path(form.get("next")))
    work_in(visit, response, name)
    return response


def work_in(visit: Visit, response: Response, workspace: str) -> None:
    """Has this browser work in the workspace of this name from now on."""
    _set(visit, response, WORKSPACE, workspace)


def _remember(visit: Visit, response: Response, token: SecretText) -> None:
    _set(visit, response, SESSION, token.reveal())


def _set(visit: Visit, response: Response, name: str, text: str, *, seconds: int = SESSION_SECONDS) -> None:
    is_tls = visit.request.url.scheme == "https"
    name = cookie_name(visit.request, name)
    response.set_cookie(name, text, max_age=seconds, path="/", secure=is_tls, httponly=True, samesite="strict")


PAGES = (
    ("GET", "/", root, False),
    ("GET", "/sign-in", show_sign_in, True),
    ("POST", "/sign-in", sign_in, True),
    ("POST", "/sign-out", sign_out, False),
    ("GET", "/set-up", show_set_up, True),
    ("POST", "/set-up", set_up, True),
    ("POST", "/workspace", choose_workspace, False),
)
