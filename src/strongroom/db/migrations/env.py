"""Runs migrations on the connection that `db.schema` hands over, inside its transaction."""

from alembic import context

from strongroom.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
