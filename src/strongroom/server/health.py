"""Is it alive, is it ready."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from strongroom.db.engine import Unanswered
from strongroom.errors import StrongroomError
from strongroom.metadata.deployment import find_deployment
from strongroom.server.encoding import to_json
from strongroom.server.pulse import Pulse
from strongroom.service.wiring import Service


def health_routes(service: Service, pulse: Pulse) -> list[Route]:
    """`/healthz`: this process answers. `/readyz`: so do the index, and at least one secrets store as far as calls have shown."""

    async def alive(request: Request) -> Response:
        request.scope["strongroom.operation"] = "healthz"
        return Response(to_json({"status": "alive"}), media_type="application/json")

    def ready(request: Request) -> Response:
        request.scope["strongroom.operation"] = "readyz"
        try:
            pulse.check()
            with service.deployment.database.read() as connection:
                fine = find_deployment(connection) is not None
        except StrongroomError as error:
            if isinstance(error, Unanswered):
                pulse.lost()
            fine = False
        stores = {each.role: fine if each.external is None else each.external.is_up for each in service.placements.stores}
        body = {"status": "ready", "index": fine, "stores": stores}
        fine = fine and (any(stores.values()) or not stores)
        body["status"] = "ready" if fine else "not ready"
        return Response(to_json(body), 200 if fine else 503, media_type="application/json")

    return [Route("/healthz", alive), Route("/readyz", ready)]
