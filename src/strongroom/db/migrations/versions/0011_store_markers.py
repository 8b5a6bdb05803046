"""The markers by which secrets stores tell places and databases apart."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey

from strongroom.db.tables import exact

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "store_markers",
        Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
        Column("locator", exact(255), primary_key=True),
        Column("database", exact(64), nullable=False),
        Column("created", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
