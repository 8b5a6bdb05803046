"""Is it alive, is it ready."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from strongroom.server.encoding import to_json
from strongroom.server.readiness import Readiness
from strongroom.service.wiring import Service


def health_routes(service: Service, readiness: Readiness) -> list[Route]:
    """`/healthz`: this process answers. `/readyz`: reads and writes succeed, and at least one secrets store answers.

    Of secrets stores outside of the database it tells what calls have shown.
    """

    async def alive(request: Request) -> Response:
        request.scope["strongroom.operation"] = "healthz"
        return Response(to_json({"status": "alive"}), media_type="application/json")

    async def ready(request: Request) -> Response:
        request.scope["strongroom.operation"] = "readyz"
        found = await readiness.verdict()
        stores = {each.role: found.index if each.external is None else each.external.is_up for each in service.placements.stores}
        fine = found.reads and found.writes and (any(stores.values()) or not stores)
        body = {
            "status": "ready" if fine else "not ready",
            "index": found.index,
            "reads": found.reads,
            "writes": found.writes,
            "stores": stores,
        }
        return Response(to_json(body), 200 if fine else 503, media_type="application/json")

    return [Route("/healthz", alive), Route("/readyz", ready)]
