"""Alembic: its runs, as they are and as the database holds them afterwards."""
