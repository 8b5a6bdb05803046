"""The audit trail."""

from alembic import op
from sqlalchemy import BigInteger, Column, Index, Integer

from strongroom.db.tables import blob, exact

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "audit_events",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("actor", exact(255), nullable=False),
        Column("operation", exact(64), nullable=False),
        Column("target", exact(255), nullable=False),
        Column("target_id", exact(255), nullable=False),
        Column("outcome", exact(32), nullable=False),
        Column("facts", blob(), nullable=False),
        Column("mark", blob(32), nullable=False),
        Index("ix_audit_events_target_id", "target_id", "number"),
        Index("ix_audit_events_actor", "actor", "number"),
    )
    op.create_table(
        "audit_head",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, nullable=False),
        Column("mark", blob(32), nullable=False),
        Column("head", blob(32), nullable=False),
    )
