"""The pages as routes: who is asking, what the browser may do with the answer, and what becomes of errors."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from strongroom.errors import ConfigurationError, Forbidden, StrongroomError, Unauthenticated
from strongroom.server.middleware import describe
from strongroom.server.routes import Api
from strongroom.server.ui import audit, run, secret, service_account, session, stack, store, user, workspace
from strongroom.server.ui.rendering import render
from strongroom.server.ui.visit import BESIDE_THE_FORM, SESSION, WORKSPACE, Handler, Visit, cookie_of, problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""Of pages: nothing from elsewhere, nothing inline, in no frame."""

PAGES = (
    *session.PAGES,
    *secret.PAGES,
    *stack.PAGES,
    *run.PAGES,
    *store.PAGES,
    *workspace.PAGES,
    *service_account.PAGES,
    *user.PAGES,
    *audit.PAGES,
)
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def ui_routes(api: Api, log: Any) -> Sequence[Route]:
    """All pages, and the files that they use."""
    return [Route(f"/static/{name}", _file(name), name=f"static {name}") for name in _static()] + [
        Route(path, _endpoint(api, log, handler, f"ui {method} {path}", strangers), methods=[method])
        for method, path, handler, strangers in PAGES
    ]


def no_such_page(error: StrongroomError) -> Response:
    """What a browser is shown where there is no page."""
    shown = {"message": error.message, "hint": error.hint, "status": error.status, "code": error.code}
    html = render("error.html", csrf="", path="", query={}, identity=None, problem=shown)
    return Response(html, error.status, {"Content-Security-Policy": POLICY}, "text/html; charset=utf-8")


def _static() -> dict[str, bytes]:
    folder = files("strongroom.server.ui") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES}


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Sends a file, packed to who takes it so. Pages are never packed: their length would tell about the values in them."""
    plain = _static()[name]
    forms = {"": plain, "gzip": gzip.compress(plain, 9, mtime=0)}
    tags = {form: f'"{hashlib.sha256(content).hexdigest()[:20]}"' for form, content in forms.items()}
    manners = {"Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'none'", "Vary": "Accept-Encoding"}

    async def send(request: Request) -> Response:
        request.scope["strongroom.operation"] = "ui static"
        form = "gzip" if "gzip" in request.headers.get("accept-encoding", "") else ""
        headers = {**manners, "ETag": tags[form], **({"Content-Encoding": form} if form else {})}
        if request.headers.get("if-none-match") == tags[form]:
            return Response(status_code=304, headers=headers)
        return Response(forms[form], headers=headers, media_type=_TYPES[name.rpartition(".")[2]])

    return send


def _endpoint(api: Api, log: Any, handler: Handler, name: str, strangers: bool) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        request.scope["strongroom.operation"] = name
        visit: Visit | None = None
        try:
            _check_origin(request)
            visit = await _visit(api, request, strangers)
            response = await handler(visit)
        except Unauthenticated as error:
            response = _sign_in(visit or Visit(api, request, None, await api.authenticate(None, "", request)), error)
        except StrongroomError as error:
            if isinstance(error, ConfigurationError):
                log.error("misconfigured", error=describe(error))  # noqa: TRY400 - it is no traceback that is logged
            response = await _refused(visit or Visit(api, request, None, await api.authenticate(None, "", request)), error)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "same-origin"  # without a referrer, browsers do not tell a form's origin either
        return response

    return answer


async def _visit(api: Api, request: Request, strangers: bool) -> Visit:
    """Who is asking, by the cookie of the session. Pages for strangers ask nobody."""
    token = cookie_of(request, SESSION)
    if strangers:
        return Visit(api, request, None, await api.authenticate(None, "", request))
    if not token:
        raise Unauthenticated("sign in first")
    return Visit(api, request, token, await api.authenticate(token, cookie_of(request, WORKSPACE), request))


def _check_origin(request: Request) -> None:
    """A form comes from a page of this server: browsers say so."""
    if request.method in ("GET", "HEAD"):
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    ours = f"{request.url.scheme}://{request.url.netloc}"
    if site not in (None, "same-origin", "none") or (site is None and origin not in (None, ours)):
        raise Forbidden("this form was sent by a page of another site")


def _sign_in(visit: Visit, error: StrongroomError) -> Response:
    """Where a session has ended: to the page that begins one. A form that was being filled in stays where it is."""
    if visit.is_partial:
        headers = {"HX-Retarget": "#dialog", "HX-Reswap": "innerHTML"}
        return visit.piece("_session_ended.html", status=401, headers=headers)
    if visit.request.method == "GET":
        url = visit.request.url
        wanted = f"{url.path}?{url.query}" if url.query else url.path
        return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}" if wanted != "/" else "/sign-in", 303)
    return visit.piece("sign_in.html", status=401, problem=problem(visit, error), next="/secrets")


async def _refused(visit: Visit, error: StrongroomError) -> Response:
    shown = problem(visit, error)
    if isinstance(error, ConfigurationError):
        shown |= {"message": "the server is not set up rightly", "hint": "its log says what is wrong"}
    if visit.is_partial:
        return visit.piece("_problem.html", status=error.status, headers=BESIDE_THE_FORM, problem=shown)
    try:
        return await visit.page("error.html", status=error.status, problem=shown)
    except StrongroomError:
        return visit.piece("error.html", status=error.status, identity=None, problem=shown)
