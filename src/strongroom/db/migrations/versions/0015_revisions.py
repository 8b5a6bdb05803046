"""Components, stacks and custom flavors have revisions with an author; users approve those of others."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, text

from strongroom.db.tables import ID, exact, prose, revision_columns

revision = "0015"
down_revision = "0014"

_CHANGES = {"components": "component.update", "stacks": "stack.update"}


def upgrade() -> None:
    for table in ("flavors", "components", "stacks"):
        for column in revision_columns():
            op.add_column(table, column)
    op.add_column("components", Column("mixed", Integer, nullable=False, server_default=text("0")))
    op.create_table(
        "trusted_administrators",
        Column("workspace_id", exact(ID), ForeignKey("workspaces.id"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "approvals",
        Column("user_id", exact(ID), ForeignKey("users.id"), primary_key=True),
        Column("subject_id", exact(ID), primary_key=True),
        Column("state", exact(64), nullable=False),
        Column("document", prose(), nullable=False),
        Column("approved_by_id", exact(ID), ForeignKey("users.id"), nullable=False),
        Column("created", BigInteger, nullable=False),
        Index("ix_approvals_subject_id", "subject_id"),
        sqlite_with_rowid=False,
    )
    _find_authors()


def _find_authors() -> None:
    """Names the author where it is known: there is one user only, nothing changed since the owner made it, or the trail says who."""
    one = "(SELECT count(*) FROM users) = 1"
    op.execute(f"UPDATE flavors SET author_id = (SELECT min(id) FROM users) WHERE {one}")
    for table, operation in _CHANGES.items():
        op.execute(f"UPDATE {table} SET author_id = owner_id WHERE updated = created OR {one}")
        _read_trail(table, operation)


def _read_trail(table: str, operation: str) -> None:
    """Takes the author of the last change from the audit trail; a name there that no user has any more stays unknown."""
    last = "SELECT max(number) FROM audit_events WHERE operation = :operation AND outcome = 'ok' AND target_id = :id"
    name = f"SELECT users.id FROM audit_events JOIN users ON users.name = audit_events.actor WHERE audit_events.number = ({last})"
    connection = op.get_bind()
    for (row_id,) in connection.execute(text(f"SELECT id FROM {table} WHERE author_id IS NULL")).all():
        author = connection.execute(text(name), {"operation": operation, "id": row_id}).scalar()
        if author is not None:
            connection.execute(text(f"UPDATE {table} SET author_id = :author WHERE id = :id"), {"author": author, "id": row_id})
