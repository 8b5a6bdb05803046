"""The application: everything that the server answers, over one open service."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from strongroom.db.patience import hurry_this_thread
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.server.address import networks_of
from strongroom.server.encoding import to_json
from strongroom.server.group_commit import GroupCommit
from strongroom.server.health import health_routes
from strongroom.server.journal import open_journal
from strongroom.server.metrics import CONTENT_TYPE, Metrics
from strongroom.server.middleware import Manners, describe
from strongroom.server.openapi import describe_api, page
from strongroom.server.pulse import HASTE_SECONDS, Pulse
from strongroom.server.refusal import Refusal, error_response
from strongroom.server.routes import ROOT, Api, Pools
from strongroom.server.ui.app import no_such_page, ui_routes
from strongroom.service.placements import Configured
from strongroom.service.wiring import Service

WRITING_THREADS = 16
HASHING_THREADS = 4
READING_THREADS = 4
FETCHING_THREADS = 32


class Front:
    """Hands what lies below the API's root to the API, and all else to the other pages.

    The API's own table of paths decides what is there, by what the path was before it was decoded.
    """

    def __init__(self, api: Api, pages: Starlette) -> None:
        self._api, self._pages = api, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or runs the life of the application."""
        below = scope["type"] == "http" and scope["path"].startswith(f"{ROOT}/")
        await (self._api if below else self._pages)(scope, receive, send)


def build_app(service: Service) -> ASGIApp:
    """The application over an open service, which it closes when it ends."""
    service.deployment.database.checkpoint_in_background()
    log = open_log()
    service.jobs.watch(lambda error: log.warning("jobs that were interrupted wait", reason=describe(error)))
    metrics = Metrics()
    for store in service.placements.stores:
        _follow(store, metrics, log)
    behind = dict.fromkeys((each.role for each in service.placements.stores), 0)

    def observe(store: Configured, behind_by: int, to_delete: int) -> None:
        metrics.store_has(store.role, store.kind, behind_by, to_delete)
        if (behind_by > 0) is not (behind[store.role] > 0):
            log.warning("a secrets store is behind" if behind_by else "a secrets store has caught up", role=store.role, by=behind_by)
        behind[store.role] = behind_by

    service.reconciler.start(lambda error: log.warning("the secrets stores do not follow yet", reason=describe(error)), observe)
    pools = Pools(
        writing=ThreadPoolExecutor(WRITING_THREADS, "writing"),
        hashing=ThreadPoolExecutor(HASHING_THREADS, "hashing"),
        reading=ThreadPoolExecutor(READING_THREADS, "reading"),
        fetching=ThreadPoolExecutor(FETCHING_THREADS, "fetching"),
    )
    pulse = Pulse(service, log)
    trail = GroupCommit(service.trail, service.deployment.database, open_journal(service.trail, log))
    api = Api(service, ALL_OPERATIONS, pools, trail, pulse, log)
    document = to_json(describe_api(ALL_OPERATIONS))
    html = page(ALL_OPERATIONS)

    async def openapi(request: Request) -> Response:
        request.scope["strongroom.operation"] = "openapi"
        return Response(document, media_type="application/json")

    async def docs(request: Request) -> Response:
        request.scope["strongroom.operation"] = "docs"
        return Response(html, media_type="text/html; charset=utf-8")

    def measurements(request: Request) -> Response:
        request.scope["strongroom.operation"] = "metrics"
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        hurry_this_thread(HASTE_SECONDS)
        yield
        await api.close()
        pulse.close()
        for pool in (pools.writing, pools.hashing, pools.reading, pools.fetching):
            pool.shutdown()
        service.close()

    pages = Starlette(
        routes=[
            *health_routes(service, pulse),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/metrics", measurements),
            *ui_routes(api, log),
        ],
        exception_handlers={HTTPException: _not_ours},
        lifespan=lifespan,
    )
    return Manners(Front(api, pages), metrics, log, networks_of(service.deployment.settings.trusted_proxies))


def _follow(store: Configured, metrics: Metrics, log: Any) -> None:
    """Has measurements and log tell whether a secrets store is up."""
    if store.external is None:
        metrics.store_is(store.role, store.kind, up=True)
        return
    told = [True]

    def tell(up: bool) -> None:
        metrics.store_is(store.role, store.kind, up=up)
        if up is not told[0]:
            told[0] = up
            (log.warning if up else log.error)(
                "a secrets store answers again" if up else "a secrets store does not answer", role=store.role
            )

    store.external.breaker.listen(tell)


def open_log() -> Any:
    """A log with one JSON object per line on standard error."""
    return structlog.wrap_logger(structlog.BytesLogger(sys.stderr.buffer), wrapper_class=JsonLog).bind()


class JsonLog(structlog.BoundLoggerBase):
    """Each call is a line. A chain of processors would take several times as long, for every request."""

    def info(self, event: str, **fields: Any) -> None:
        """What happens all the time."""
        self._tell("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What the operator should know."""
        self._tell("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What the operator has to mend."""
        self._tell("error", event, fields)

    def _tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        fields["event"], fields["level"], fields["timestamp"] = event, level, datetime.now(UTC)
        self._logger.msg(to_json(fields))


async def _not_ours(request: Request, error: Exception) -> Response:
    """What Starlette refuses: paths and methods that there are not."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET, HEAD")
        return error_response(Refusal(405, "method_not_allowed", "this path does not take this method", None, {"Allow": allowed}))
    refusal = Refusal(404, "no_such_operation", "there is no such path here", "the API is at /api/v1; see /docs")
    return no_such_page(refusal) if "text/html" in request.headers.get("accept", "") else error_response(refusal)
