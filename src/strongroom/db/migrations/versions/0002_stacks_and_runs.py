"""Components, stacks and runs."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer

from strongroom.db.tables import exact, prose

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "flavors",
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), primary_key=True),
        Column("type", exact(32), primary_key=True),
        Column("name", exact(255), primary_key=True),
        Column("description", prose(), nullable=False),
        Column("created", BigInteger, nullable=False),
    )
    op.create_table(
        "components",
        Column("id", exact(36), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), nullable=False),
        Column("type", exact(32), nullable=False),
        Column("name", exact(255), nullable=False),
        Column("flavor", exact(255), nullable=False),
        Column("configuration", prose(), nullable=False),
        Column("owner_id", exact(36), ForeignKey("users.id"), nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("updated", BigInteger, nullable=False),
        Index("uq_components_name", "workspace_id", "type", "name", unique=True),
        Index("ix_components_owner_id", "owner_id"),
    )
    op.create_table(
        "stacks",
        Column("id", exact(36), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), nullable=False),
        Column("name", exact(255), nullable=False),
        Column("owner_id", exact(36), ForeignKey("users.id"), nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("updated", BigInteger, nullable=False),
        Index("uq_stacks_name", "workspace_id", "name", unique=True),
        Index("ix_stacks_owner_id", "owner_id"),
    )
    op.create_table(
        "stack_components",
        Column("stack_id", exact(36), ForeignKey("stacks.id"), primary_key=True),
        Column("type", exact(32), primary_key=True),
        Column("component_id", exact(36), ForeignKey("components.id"), nullable=False),
        Index("ix_stack_components_component_id", "component_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "active_stacks",
        Column("user_id", exact(36), ForeignKey("users.id"), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), primary_key=True),
        Column("stack_id", exact(36), ForeignKey("stacks.id"), nullable=False),
        Index("ix_active_stacks_stack_id", "stack_id"),
        Index("ix_active_stacks_workspace_id", "workspace_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        Column("id", exact(36), primary_key=True),
        Column("workspace_id", exact(36), ForeignKey("workspaces.id"), nullable=False),
        Column("name", exact(255), nullable=False),
        Column("pipeline", exact(255), nullable=False),
        Column("stack", exact(255), nullable=False),
        Column("status", exact(16), nullable=False),
        Column("owner_id", exact(36), ForeignKey("users.id"), nullable=False),
        Column("parameters", prose(), nullable=False),
        Column("started", BigInteger, nullable=False),
        Column("finished", BigInteger),
        Column("error", prose()),
        Index("uq_runs_name", "workspace_id", "name", unique=True),
        Index("ix_runs_workspace_id", "workspace_id", "id"),
        Index("ix_runs_owner_id", "owner_id"),
    )
    op.create_table(
        "run_steps",
        Column("run_id", exact(36), ForeignKey("runs.id"), primary_key=True),
        Column("name", exact(255), primary_key=True),
        Column("position", Integer, nullable=False),
        Column("status", exact(16), nullable=False),
        Column("plan", prose(), nullable=False),
        Column("outputs", prose(), nullable=False),
        Column("facts", prose(), nullable=False),
        Column("cache_key", exact(64)),
        Column("cached_from", exact(36)),
        Column("started", BigInteger),
        Column("finished", BigInteger),
        Column("error", prose()),
        Index("ix_run_steps_cache_key", "cache_key", "finished"),
    )
    op.create_table(
        "secret_reads",
        Column("run_id", exact(36), ForeignKey("runs.id"), primary_key=True),
        Column("step", exact(255), primary_key=True),
        Column("secret_id", exact(36), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("key_name", exact(255), primary_key=True),
        Column("secret_name", exact(255), nullable=False),
        Column("moment", BigInteger, nullable=False),
        Index("ix_secret_reads_secret_id", "secret_id", "moment"),
        sqlite_with_rowid=False,
    )
