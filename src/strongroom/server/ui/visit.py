"""One request of somebody in a browser: who it is, what they ask for, and the page that they get."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from strongroom.auth.actor import Actor
from strongroom.auth.policy import allows
from strongroom.errors import Forbidden, StrongroomError
from strongroom.models.user import Identity
from strongroom.models.workspace import ListWorkspaces
from strongroom.operations import workspace as of_workspace
from strongroom.operations.operation import Operation
from strongroom.operations.permission import Permission
from strongroom.server.encoding import parse_query
from strongroom.server.routes import MAX_ANONYMOUS_BODY_BYTES, MAX_BODY_BYTES, Api, read_body
from strongroom.server.ui.rendering import render

SESSION, WORKSPACE = "strongroom-session", "strongroom-workspace"
_OF_HOST = "__Host-"
"""Browsers take a cookie whose name begins so from this host alone, over TLS. See RFC 6265bis, "The __Host- Prefix"."""

SESSION_SECONDS = 43_200
PAGE_SIZE = 50
"""Rows of a list on one page."""

_MOST_WORKSPACES = 100
"""How many one chooses from in the frame; the page of workspaces leads to all of them."""

BESIDE_THE_FORM = {"HX-Retarget": "#problem", "HX-Reswap": "innerHTML show:top"}
"""Where htmx puts an error, so that what was typed stays."""

T = TypeVar("T")


def cookie_name(request: Request, name: str) -> str:
    """What a cookie is called in this request and its answer: over TLS it is bound to the host."""
    return f"{_OF_HOST}{name}" if request.url.scheme == "https" else name


def cookie_of(request: Request, name: str) -> str:
    """The cookie of this name, or ''."""
    return request.cookies.get(cookie_name(request, name), "")


class Form:
    """The fields of a form, in order. A field may be there several times."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: str = "") -> str:
        """The field of this name, the last one if there are several."""
        return next((text for key, text in reversed(self._pairs) if key == name), default)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All fields, in their order."""
        return self._pairs

    def all(self, name: str) -> list[str]:
        """All fields of this name."""
        return [text for key, text in self._pairs if key == name]


class Visit:
    """A request and, unless it is a stranger's, the actor behind it."""

    def __init__(self, api: Api, request: Request, token: str | None, actor: Actor) -> None:
        self._api, self.request, self.token, self.actor = api, request, token, actor

    async def ask(self, operation: Operation[Any, T], wanted: Any) -> T:
        """What the operation answers to whoever is signed in; it is on record. Raises its error."""
        return await self._api.perform(operation, wanted, self.actor)

    async def with_token(self, token: str) -> Visit:
        """The same request as one of whoever bears this token, in the workspace that the browser has chosen."""
        actor = await self._api.authenticate(token, cookie_of(self.request, WORKSPACE), self.request)
        return Visit(self._api, self.request, token, actor)

    @property
    def identity(self) -> Identity:
        """Who is signed in, in which workspace, with which role."""
        actor = self.actor
        return Identity(id=actor.user_id, name=actor.name, admin=actor.admin, workspace=actor.workspace, role=actor.role)

    async def form(self) -> Form:
        """The fields that were sent. `Forbidden` if they come from another page than ours."""
        body = await read_body(self.request, MAX_ANONYMOUS_BODY_BYTES if self.token is None else MAX_BODY_BYTES)
        form = Form(parse_query(body.decode("ascii", "replace")))
        if self.token is not None:
            given = self.request.headers.get("x-csrf-token") or form.get("csrf")
            if not hmac.compare_digest(given.encode(), self.csrf.encode()):
                raise Forbidden("this form is not one of this session", hint="load the page again")
        return form

    @cached_property
    def csrf(self) -> str:
        """What a form of this session has to carry."""
        return csrf_of(self.token or "")

    def may(self, permission: str) -> bool:
        """Whether to offer what needs this permission; whoever asks for it all the same is refused by the server."""
        return allows(self.actor.role, Permission(permission), server_admin=self.actor.admin)

    @property
    def page_number(self) -> int:
        """Which page of a list is wanted; the first one where the address does not say it rightly."""
        text = self.request.query_params.get("page", "")
        return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 10 else 1

    @property
    def is_partial(self) -> bool:
        """Whether htmx asks for a piece of a page."""
        return "hx-request" in self.request.headers and "hx-boosted" not in self.request.headers

    async def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """A whole page, with the frame around it."""
        frame: dict[str, Any] = {"identity": None}
        if self.token is not None:
            workspaces = await self.ask(of_workspace.LIST, ListWorkspaces(size=_MOST_WORKSPACES))
            names = [each.name for each in workspaces]
            here = [] if self.identity.workspace in names else [self.identity.workspace]  # it is there, however many there are
            frame = {"identity": self.identity, "workspaces": [*here, *names], "more_workspaces": workspaces.total > len(names)}
        return self.piece(template, status=status, **frame, **context)

    def piece(self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any) -> Response:
        """A piece of a page, or a page without its frame."""
        frame: dict[str, Any] = {
            "csrf": self.csrf,
            "path": self.request.url.path,
            "query": self.request.query_params,
            "may": self.may,
        }
        html = render(template, **(frame | context))
        return Response(html, status, dict(headers or {}), "text/html; charset=utf-8")

    async def refused_form(self, error: StrongroomError, template: str, **context: Any) -> Response:
        """Says what is wrong with a form, beside the form: in the page that htmx keeps, else in the page made anew."""
        shown = problem(self, error)
        if self.is_partial:
            return self.piece("_problem.html", status=error.status, headers=BESIDE_THE_FORM, problem=shown)
        return await self.page(template, status=error.status, problem=shown, **context)

    def go_to(self, path: str) -> Response:
        """Sends the browser to another page of ours, after something was done."""
        if self.is_partial:
            return Response(status_code=204, headers={"HX-Redirect": path})
        return RedirectResponse(path, 303)


Handler = Callable[[Visit], Awaitable[Response]]


def csrf_of(token: str) -> str:
    """What the forms of a session carry: nobody who does not know the session's token can make it."""
    return hashlib.sha256(b"strongroom csrf " + token.encode()).hexdigest()


def problem(visit: Visit, error: StrongroomError) -> dict[str, Any]:
    """What a template shows of an error."""
    return {"message": error.message, "hint": error.hint, "status": error.status, "code": error.code}


def local_path(given: str, default: str = "/secrets") -> str:
    """A path of this server that a parameter may lead to; the default for what leads elsewhere."""
    ours = given.startswith("/") and not given.startswith(("//", "/\\")) and given.isprintable() and "\\" not in given
    return quote(given, safe="/?=&%-._~") if ours else default
