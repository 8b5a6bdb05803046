"""Administration of the embedded store, by whoever holds its database and its key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom.client.transports.local import LocalTransport
from strongroom.config import Settings

if TYPE_CHECKING:
    from strongroom.audit.archive import Summary
    from strongroom.models.job import JobReport
    from strongroom.service.encryption_keys import Rotation
    from strongroom.service.stores import Examination


def examine_stores(settings: Settings, *, take_over: bool = False) -> list[Examination]:
    """How the configured secrets stores show themselves; see `Service.examine_stores`."""
    transport = LocalTransport(settings)
    try:
        return transport.service().examine_stores(take_over=take_over)
    finally:
        transport.close()


def list_deployments(settings: Settings) -> dict[str, list[str] | None]:
    """Which deployments have values in the configured stores; see `service.recovery.list_deployments`."""
    transport = LocalTransport(settings)
    try:
        return transport.service().list_deployments()
    finally:
        transport.close()


def recover(settings: Settings, lost_id: str, progress: Callable[[int, int], object], *, dry_run: bool = False) -> JobReport:
    """Makes the secrets of a lost database anew in that of the settings; see `service.recovery.Recovery.run`."""
    transport = LocalTransport(settings)
    try:
        return transport.service().recover(lost_id, progress, dry_run=dry_run)
    finally:
        transport.close()


def rotate_key(settings: Settings, to: str | None, progress: Callable[[int, int], None]) -> Rotation:
    """Puts a new encryption key in charge; see `service.encryption_keys.rotate`. `to` is `file`, `keyring`, or None to stay."""
    transport = LocalTransport(settings)
    try:
        return transport.service().rotate_key(to, progress)
    finally:
        transport.close()


def archive_audit(settings: Settings, before: datetime, path: Path) -> Summary:
    """Seals the events before this time into a new file, and removes them from the database; see `service.audit_archive`."""
    transport = LocalTransport(settings)
    try:
        return transport.service().archive_audit(before, path)
    finally:
        transport.close()
