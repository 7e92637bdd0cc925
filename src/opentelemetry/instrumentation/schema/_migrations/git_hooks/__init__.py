"""What Git hooks find in migrations before they are committed. No application, no Alembic and no database is needed."""
