"""Workspaces say whether their members take over results from the cache of each other's runs."""

from alembic import op
from sqlalchemy import Boolean, Column, false

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("workspaces", Column("shared_cache", Boolean, nullable=False, server_default=false()))
