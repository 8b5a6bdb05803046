"""Journals stay known after they are collected, under a seal; events of the outbox are found by the id that they had there."""

from alembic import op
from sqlalchemy import Column, Integer, text

from strongroom.db.tables import blob, exact

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("audit_journals", Column("state", Integer))
    op.add_column("audit_journals", Column("seal", blob(32)))
    op.add_column("audit_events", Column("entry", exact(36)))
    condition = text("entry IS NOT NULL")
    op.create_index("ix_audit_events_entry", "audit_events", ["entry"], sqlite_where=condition, postgresql_where=condition)
