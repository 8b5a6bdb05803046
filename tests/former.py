"""Turns a deployment into one that a former version made."""

from __future__ import annotations

from sqlalchemy import Connection, select, text, update

from strongroom.config import Settings
from strongroom.crypto import envelope
from strongroom.db.tables import versions
from strongroom.metadata import deployment as rows
from strongroom.metadata.version import FIRST, VersionIndex
from strongroom.service.wiring import Service


def make_former(settings: Settings) -> None:
    """Brings a deployment back to the revision 0013: digests are of values alone, rows of secrets have no marks."""
    service = Service(settings)
    database, index = service.deployment.database, VersionIndex(service.store)
    with database.write() as connection:
        for row in index.after(connection, FIRST, 10_000):
            digest = service.placements.digest(service.placements.fetch(row))
            here = (versions.c.secret_id == row.id, versions.c.number == row.number)
            connection.execute(update(versions).where(*here).values(digest=digest))
        row = rows.find_deployment(connection)
        assert row is not None
        place = b"strongroom digest key\0" + row.id.encode()
        sealed = envelope.seal(service.deployment.keys.keyring, service.deployment.digest_key, place)
        rows.adopt_deployment(connection, row.id, sealed.key_id, sealed.wrapped_key, sealed.sealed)
    service.close()
    database = type(database)(settings.database_url)
    with database.write() as connection:
        set_schema_back(connection)
    database.close()


def set_schema_back(connection: Connection) -> None:
    """Brings the schema back to the revision 0013, as an attacker with the database could."""
    columns = [(table, name) for table in ("flavors", "components", "stacks") for name in ("revision", "author_id")]
    for table, name in (*columns, ("components", "mixed"), ("secrets", "pointer_mark")):
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {name}"))
    for table in ("approvals", "trusted_administrators"):
        connection.execute(text(f"DROP TABLE {table}"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0013'"))


def digests(service: Service) -> list[bytes]:
    """Those of all versions."""
    with service.deployment.database.read() as connection:
        return list(connection.execute(select(versions.c.digest)).scalars())
