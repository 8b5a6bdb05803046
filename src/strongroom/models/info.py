"""What a deployment says about itself."""

from __future__ import annotations

import msgspec


class GetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Asks what this deployment is and how it is."""


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A secrets store: `role` is primary or backup, `location` names the place, and never a credential.

    `behind` is by how many versions, which are to be copied there; `to_delete` is how many are still to be deleted there.
    """

    type: str
    role: str
    location: str
    healthy: bool
    behind: int = 0
    to_delete: int = 0


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """The version at work, the type of the index's database, and the stores. Nothing secret."""

    version: str
    deployment_id: str
    database: str
    stores: list[StoreInfo]
