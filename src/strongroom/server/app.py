"""The application: everything that the server answers, over one open service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from strongroom.db.patience import hurry_this_thread
from strongroom.models.near import leave_this_thread
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.server.address import networks_of
from strongroom.server.database_watch import DatabaseWatch
from strongroom.server.encoding import to_json
from strongroom.server.group_commit import GroupCommit
from strongroom.server.health import health_routes
from strongroom.server.heartbeat import Heartbeat
from strongroom.server.journal import open_journal, open_journal_later
from strongroom.server.log import open_log
from strongroom.server.metrics import CONTENT_TYPE, Metrics
from strongroom.server.middleware import Manners, describe
from strongroom.server.openapi import describe_api, page
from strongroom.server.pulse import HASTE_SECONDS, Pulse
from strongroom.server.readiness import Readiness
from strongroom.server.refusal import Refusal, error_response
from strongroom.server.routes import Api, Pools
from strongroom.server.signals import let_go_soon
from strongroom.server.ui.app import no_such_page, ui_routes
from strongroom.service.chaining import Chaining
from strongroom.service.placements import ConfiguredStore
from strongroom.service.wiring import Service

WRITING_THREADS = 16
HASHING_THREADS = 4
READING_THREADS = 4
FETCHING_THREADS = 32


def build_app(service: Service, heartbeat: Heartbeat) -> ASGIApp:
    """The application over an open service, which it closes when it ends. Its event loop gives the worker's sign of life."""
    service.deployment.database.checkpoint_in_background()
    log = open_log()
    service.jobs.watch(lambda error: log.warning("jobs that were interrupted wait", reason=describe(error)))
    metrics = Metrics()
    for store in service.placements.stores:
        _follow(store, metrics, log)
    behind = dict.fromkeys((each.role for each in service.placements.stores), 0)

    def observe(store: ConfiguredStore, behind_by: int, to_delete: int) -> None:
        metrics.store_has(store.role, store.kind, behind_by, to_delete)
        if (behind_by > 0) is not (behind[store.role] > 0):
            log.warning("a secrets store is behind" if behind_by else "a secrets store has caught up", role=store.role, by=behind_by)
        behind[store.role] = behind_by

    service.reconciler.start(lambda error: log.warning("the secrets stores do not follow yet", reason=describe(error)), observe)
    chaining = Chaining(service.trail)
    chaining.start(lambda error: log.warning("events of the audit trail wait for their place", reason=describe(error)))
    database_watch = DatabaseWatch(service.deployment.database, log)
    pools = Pools(
        writing=ThreadPoolExecutor(WRITING_THREADS, "writing"),
        hashing=ThreadPoolExecutor(HASHING_THREADS, "hashing"),
        reading=ThreadPoolExecutor(READING_THREADS, "reading"),
        fetching=ThreadPoolExecutor(FETCHING_THREADS, "fetching"),
    )
    pulse = Pulse(service, log)
    trail = GroupCommit(service.trail, service.deployment.database, open_journal(service.trail, log))
    readiness = Readiness(service, trail, pulse)
    api = Api(service, ALL_OPERATIONS, pools, trail, pulse, log)
    document = to_json(describe_api(ALL_OPERATIONS))
    html = page(ALL_OPERATIONS)

    async def openapi(request: Request) -> Response:
        request.scope["strongroom.operation"] = "openapi"
        return Response(document, media_type="application/json")

    async def docs(request: Request) -> Response:
        request.scope["strongroom.operation"] = "docs"
        return Response(html, media_type="text/html; charset=utf-8")

    async def measurements(request: Request) -> Response:
        request.scope["strongroom.operation"] = "metrics"
        metrics.count()
        return Response(await run_in_threadpool(metrics.render), media_type=CONTENT_TYPE)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        hurry_this_thread(HASTE_SECONDS)
        leave_this_thread()
        let_go_soon()
        heartbeat.follow_loop()
        opening = None if trail.has_journal else asyncio.ensure_future(open_journal_later(service.trail, log, trail.use))
        yield
        heartbeat.leave_loop()
        if opening is not None:
            opening.cancel()
        await readiness.close()
        await api.close()
        pulse.close()
        for pool in (pools.writing, pools.hashing, pools.reading, pools.fetching):
            pool.shutdown()
        database_watch.close()
        chaining.close()
        service.close()

    pages = Starlette(
        routes=[
            *health_routes(service, readiness),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/metrics", measurements),
            *ui_routes(api, log),
        ],
        exception_handlers={HTTPException: _not_ours},
        lifespan=lifespan,
    )
    pages.router.redirect_slashes = False  # it would redirect to wherever the header Host says
    trusted = networks_of(service.deployment.settings.trusted_proxies)
    return Manners(pages, metrics, log, trusted, api.answer)


def _follow(store: ConfiguredStore, metrics: Metrics, log: Any) -> None:
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


async def _not_ours(request: Request, error: Exception) -> Response:
    """What Starlette refuses: paths and methods that there are not."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET, HEAD")
        return error_response(Refusal(405, "method_not_allowed", "this path does not take this method", None, {"Allow": allowed}))
    refusal = Refusal(404, "no_such_operation", "there is no such path here", "the API is at /api/v1; see /docs")
    return no_such_page(refusal) if "text/html" in request.headers.get("accept", "") else error_response(refusal)
