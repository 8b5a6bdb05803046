"""Events of the audit trail wait for their place in the chain; replies are kept with their change; leases name a process."""

from alembic import op
from sqlalchemy import Column

from strongroom.db.tables import blob, exact, replies

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "audit_outbox",
        Column("id", exact(36), primary_key=True),
        Column("facts", blob(), nullable=False),
        Column("mark", blob(32), nullable=False),
    )
    op.add_column("leases", Column("process", exact(255)))
    op.execute(replies.delete().where(replies.c.status.is_(None)))
