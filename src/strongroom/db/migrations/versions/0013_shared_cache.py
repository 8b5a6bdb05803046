"""Workspaces say whether their members take over results from the cache of each other's runs."""

from alembic import op
from sqlalchemy import Column, ForeignKey

from strongroom.db.tables import ID, exact

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "shared_caches",
        Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
        sqlite_with_rowid=False,
    )
