"""Users who log in, members, service accounts and tokens."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer

from strongroom.db.tables import blob, exact

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "passwords",
        Column("user_id", exact(36), ForeignKey("users.id"), primary_key=True),
        Column("hashed", exact(255), nullable=False),
        Column("changed", BigInteger, nullable=False),
    )
    op.create_table(
        "service_accounts",
        Column("user_id", exact(36), ForeignKey("users.id"), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), nullable=False),
        Column("deleted", Boolean(name="deleted"), nullable=False),
        Index("ix_service_accounts_workspace_id", "workspace_id"),
    )
    op.create_table(
        "members",
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), primary_key=True),
        Column("user_id", exact(36), ForeignKey("users.id"), primary_key=True),
        Column("role", exact(16), nullable=False),
        Index("ix_members_user_id", "user_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "active_workspaces",
        Column("user_id", exact(36), ForeignKey("users.id"), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), nullable=False),
        Index("ix_active_workspaces_workspace_id", "workspace_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tokens",
        Column("id", exact(36), primary_key=True),
        Column("digest", blob(32), nullable=False),
        Column("kind", exact(16), nullable=False),
        Column("user_id", exact(36), ForeignKey("users.id")),
        Column("name", exact(255)),
        Column("created", BigInteger, nullable=False),
        Column("expires", BigInteger),
        Index("uq_tokens_digest", "digest", unique=True),
        Index("uq_tokens_user_id_kind_name", "user_id", "kind", "name", unique=True),
    )
    op.create_table(
        "login_failures",
        Column("subject", exact(64), primary_key=True),
        Column("since", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Index("ix_login_failures_since", "since"),
        sqlite_with_rowid=False,
    )
