"""Which secrets are private, for what shows names to others than their owners."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, exists, select

from strongroom.db.tables import audit_events, secrets, users

_BATCH = 500


def private_to(connection: Connection, secret_ids: Collection[str]) -> dict[str, str]:
    """By secret, the id of the user that it is private to, or '' for one of a workspace. Those that are gone are left out."""
    ids = sorted(secret_ids)
    found: dict[str, str] = {}
    for start in range(0, len(ids), _BATCH):
        query = select(secrets.c.id, secrets.c.private_to).where(secrets.c.id.in_(ids[start : start + _BATCH]))
        found |= {row.id: row.private_to for row in connection.execute(query)}
    return found


def private_names(connection: Connection, user_ids: Collection[str], names: Collection[str]) -> set[tuple[str, str]]:
    """Which of these users have private secrets of which of these names: pairs of user id and name."""
    if not user_ids or not names:
        return set()
    query = select(secrets.c.private_to, secrets.c.name).where(secrets.c.private_to.in_(user_ids), secrets.c.name.in_(names))
    return {(row.private_to, row.name) for row in connection.execute(query)}


def target_is(name: str, viewer_id: str) -> ColumnElement[bool]:
    """The condition that an event of the audit trail is about this name, as far as the viewer may know it.

    Private secrets of others do not count, also not where the event was recorded while they were not private.
    """
    own = select(secrets.c.id).where(secrets.c.private_to == viewer_id, secrets.c.name == name)
    of_another = exists().where(secrets.c.id == audit_events.c.target_id, secrets.c.private_to.not_in(("", viewer_id)))
    guessed_right = exists().where(
        users.c.name == audit_events.c.actor, users.c.id != viewer_id, secrets.c.private_to == users.c.id, secrets.c.name == name
    )
    without_id = (audit_events.c.target_id == "") & audit_events.c.operation.startswith("secret.", autoescape=True)
    told = (audit_events.c.target == name) & ~of_another & ~(without_id & guessed_right)
    return told | audit_events.c.target_id.in_(own)
