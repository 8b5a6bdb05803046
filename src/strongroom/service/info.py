"""What a deployment says about itself."""

from __future__ import annotations

import strongroom
from strongroom.auth.actor import Actor
from strongroom.errors import Unavailable
from strongroom.metadata import placement
from strongroom.metadata.deployment import find_deployment
from strongroom.models.info import GetInfo, Info, StoreInfo
from strongroom.service.deployment import Deployment
from strongroom.service.placements import Placements


class InfoService:
    """Says what this deployment is. Thread-safe."""

    def __init__(self, deployment: Deployment, placements: Placements) -> None:
        self._database, self._placements = deployment.database, placements

    def get(self, actor: Actor, request: GetInfo) -> Info:
        """Version, database and stores. `Unavailable` when the index does not answer, and the `sql` store lives there."""
        with self._database.read() as connection:
            row = find_deployment(connection)
            behind, to_delete = placement.behind(connection), placement.to_be_deleted(connection)
        if row is None:
            raise Unavailable("the database was emptied while it was in use", hint="start again")
        stores = [
            StoreInfo(
                type=each.kind,
                role=each.role,
                location=each.store_id,
                healthy=each.external is None or each.external.is_up,
                behind=behind.get(each.store_id, 0),
                to_delete=to_delete.get(each.store_id, 0),
            )
            for each in self._placements.stores
        ]
        return Info(version=strongroom.__version__, deployment_id=row.id, database=self._database.dialect, stores=stores)
