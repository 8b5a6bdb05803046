"""How much of each journal is in the audit trail."""

from alembic import op
from sqlalchemy import BigInteger, Column

from strongroom.db.tables import blob, exact

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "audit_journals",
        Column("name", exact(64), primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("mark", blob(32), nullable=False),
        sqlite_with_rowid=False,
    )
