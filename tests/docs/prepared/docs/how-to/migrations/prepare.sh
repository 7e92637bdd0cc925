mkdir -p migrations/versions
printf '[alembic]\nscript_location = migrations\n' >alembic.ini
cat >migrations/env.py <<'ENV'
from alembic import context
from sqlalchemy import create_engine

with create_engine("sqlite:///leads.sqlite3").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
ENV
cat >migrations/versions/0001_lead.py <<'MIGRATION'
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("lead", sa.Column("id", sa.Integer))


def downgrade() -> None:
    op.drop_table("lead")
MIGRATION
