"""What Alembic runs to apply the steps: on the connection that `migrations.upgrade` was given, in its transaction."""

from __future__ import annotations

from alembic import context

from gamearchive.database.schema import metadata, versions

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, version_table=versions.name)
with context.begin_transaction():
    context.run_migrations()
