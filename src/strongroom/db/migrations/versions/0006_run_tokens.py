"""Tokens of runs, and what they read."""

from alembic import op
from sqlalchemy import Column, ForeignKey

from strongroom.db.tables import exact

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("tokens") as batch:  # SQLite adds constraints to a table by making it anew
        batch.add_column(Column("issuer_id", exact(36)))
        batch.create_foreign_key("fk_tokens_issuer_id", "tokens", ["issuer_id"], ["id"], ondelete="CASCADE")
    op.create_index("ix_tokens_issuer_id", "tokens", ["issuer_id"])
    op.create_table(
        "run_grants",
        Column("run_id", exact(36), ForeignKey("tokens.id", ondelete="CASCADE"), primary_key=True),
        Column("secret_id", exact(36), primary_key=True),
        Column("key_name", exact(255), primary_key=True),
        sqlite_with_rowid=False,
    )
