"""Secrets are found by the values of labels, too."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    beginning = {"value": 64}  # of a text, an index of these two takes no more than a beginning
    columns = ["key", "value", "secret_id"]
    op.create_index("ix_secret_labels_value", "secret_labels", columns, mysql_length=beginning, mariadb_length=beginning)
    op.drop_index("ix_secret_labels_key", "secret_labels")
