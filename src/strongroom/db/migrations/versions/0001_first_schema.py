"""The first schema."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
)

from strongroom.db.tables import blob, exact, prose

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "encryption_keys",
        Column("id", exact(16), primary_key=True),
        Column("active", Boolean(name="active"), nullable=False),
        Column("created", BigInteger, nullable=False),
    )
    op.create_table(
        "deployment",
        Column("id", exact(36), primary_key=True),
        Column("created", BigInteger, nullable=False),
        Column("key_id", exact(16), ForeignKey("encryption_keys.id"), nullable=False),
        Column("wrapped_key", blob(), nullable=False),
        Column("digest_key", blob(), nullable=False),
    )
    op.create_table(
        "users",
        Column("id", exact(36), primary_key=True),
        Column("name", exact(255), nullable=False, unique=True),
        Column("admin", Boolean(name="admin"), nullable=False),
        Column("created", BigInteger, nullable=False),
    )
    op.create_table(
        "workspaces",
        Column("id", exact(36), primary_key=True),
        Column("name", exact(255), nullable=False, unique=True),
        Column("created", BigInteger, nullable=False),
    )
    op.create_table(
        "secrets",
        Column("id", exact(36), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), nullable=False),
        Column("private_to", exact(36), nullable=False),
        Column("name", exact(255), nullable=False),
        Column("owner_id", exact(36), ForeignKey("users.id"), nullable=False),
        Column("created_by_id", exact(36), ForeignKey("users.id"), nullable=False),
        Column("description", prose(), nullable=False),
        Column("labels", prose(), nullable=False),
        Column("current_version", Integer, nullable=False),
        Column("last_version", Integer, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("updated", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Index("uq_secrets_namespace_name", "workspace_id", "private_to", "name", unique=True),
        Index("ix_secrets_namespace_id", "workspace_id", "private_to", "id"),
        Index("ix_secrets_namespace_updated", "workspace_id", "private_to", "updated", "id"),
        Index("ix_secrets_owner_id", "owner_id"),
        Index("ix_secrets_created_by_id", "created_by_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secret_labels",
        Column("secret_id", exact(36), ForeignKey("secrets.id"), primary_key=True),
        Column("key", exact(63), primary_key=True),
        Column("value", prose(), nullable=False),
        Index("ix_secret_labels_key", "key", "secret_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secret_counts",
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), primary_key=True),
        Column("private_to", exact(36), primary_key=True),
        Column("first_id", exact(36), primary_key=True),
        Column("size", Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "versions",
        Column("secret_id", exact(36), ForeignKey("secrets.id"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("key_names", prose(), nullable=False),
        Column("digest", blob(32), nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("created_by_id", exact(36), ForeignKey("users.id"), nullable=False),
        Index("ix_versions_created_by_id", "created_by_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stores",
        Column("id", exact(255), primary_key=True),
        Column("type", exact(32), nullable=False),
        Column("created", BigInteger, nullable=False),
    )
    op.create_table(
        "placements",
        Column("secret_id", exact(36), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
        Column("locator", exact(255), nullable=False),
        Column("state", exact(16), nullable=False),
        ForeignKeyConstraint(["secret_id", "number"], ["versions.secret_id", "versions.number"]),
        Index("uq_placements_locator", "store_id", "locator", unique=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "intents",
        Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
        Column("locator", exact(255), primary_key=True),
        Column("deadline", BigInteger, nullable=False),
        Index("ix_intents_deadline", "deadline"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "deletions",
        Column("store_id", exact(255), ForeignKey("stores.id"), primary_key=True),
        Column("locator", exact(255), primary_key=True),
        Column("created", BigInteger, nullable=False),
        Index("ix_deletions_created", "created"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sql_values",
        Column("locator", exact(36), primary_key=True),
        Column("secret_id", exact(36), nullable=False),
        Column("number", Integer, nullable=False),
        Column("key_id", exact(16), ForeignKey("encryption_keys.id"), nullable=False),
        Column("wrapped_key", blob(64), nullable=False),
        Column("sealed", blob(), nullable=False),
        Index("ix_sql_values_secret_id", "secret_id", "number"),
        Index("ix_sql_values_key_id", "key_id"),
    )
