"""Run the migrations on the database that the app uses."""

from alembic import context

from leads_api.db import database_url, engine
from leads_api.models import Base


def run_offline() -> None:
    """Print SQL (`alembic upgrade head --sql`) without a connection."""
    context.configure(url=database_url(), target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    with engine().connect() as connection:
        # SQLite cannot alter a column in place: batch mode copies the table
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
