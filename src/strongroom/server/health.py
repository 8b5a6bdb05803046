"""Is it alive, is it ready."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from strongroom.errors import StrongroomError
from strongroom.metadata.deployment import find_deployment
from strongroom.server.encoding import to_json
from strongroom.service.wiring import Service


def health_routes(service: Service) -> list[Route]:
    """`/healthz`: this process answers. `/readyz`: so does the index, which is where the `sql` store keeps its values."""

    async def alive(request: Request) -> Response:
        request.scope["strongroom.operation"] = "healthz"
        return Response(to_json({"status": "alive"}), media_type="application/json")

    def ready(request: Request) -> Response:
        request.scope["strongroom.operation"] = "readyz"
        try:
            with service.deployment.database.read() as connection:
                fine = find_deployment(connection) is not None
        except StrongroomError:
            fine = False
        body = {"status": "ready" if fine else "not ready", "index": fine}
        return Response(to_json(body), 200 if fine else 503, media_type="application/json")

    return [Route("/healthz", alive), Route("/readyz", ready)]
