"""What stores are behind by, leases, and jobs."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer

from strongroom.db.tables import exact, prose

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "copies",
        Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
        Column("secret_id", exact(36), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("created", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leases",
        Column("name", exact(64), primary_key=True),
        Column("holder", exact(36), nullable=False),
        Column("until", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "jobs",
        Column("id", exact(36), primary_key=True),
        Column("kind", exact(32), nullable=False),
        Column("status", exact(16), nullable=False),
        Column("owner_id", exact(36), ForeignKey("users.id"), nullable=False),
        Column("state", prose(), nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("updated", BigInteger, nullable=False),
        Index("ix_jobs_owner_id", "owner_id"),
        sqlite_with_rowid=False,
    )
