"""Replies that are given again when a request is repeated."""

from alembic import op
from sqlalchemy import BigInteger, Column, Index, Integer

from strongroom.db.tables import exact, prose

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "replies",
        Column("id", exact(64), primary_key=True),
        Column("request", exact(64), nullable=False),
        Column("status", Integer),
        Column("body", prose(), nullable=False),
        Column("created", BigInteger, nullable=False),
        Index("ix_replies_created", "created"),
    )
