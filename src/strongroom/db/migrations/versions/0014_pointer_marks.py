"""A secret's row has a mark over which version is the current one. `service/binding.py` makes those of former rows."""

from alembic import op
from sqlalchemy import Column

from strongroom.db.tables import blob

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("secrets", Column("pointer_mark", blob(32)))
