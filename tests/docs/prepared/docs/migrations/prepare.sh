# A project of two revisions on SQLite.
mkdir -p migrations/versions
printf '[alembic]\nscript_location = %%(here)s/migrations\nsqlalchemy.url = sqlite:///shop.db\n' > alembic.ini
cat > migrations/env.py <<'PY'
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
PY
revision() {
  printf 'import sqlalchemy as sa\nfrom alembic import op\nrevision = "%s"\ndown_revision = %s\n' "$1" "$2"
  printf 'def upgrade():\n    %s\ndef downgrade():\n    %s\n' "$3" "$4"
}
revision 0001 None 'op.create_table("orders", sa.Column("id", sa.Integer(), primary_key=True))' 'op.drop_table("orders")' \
  > migrations/versions/0001_orders.py
revision 0002 '"0001"' 'op.add_column("orders", sa.Column("phone", sa.String(20)))' 'op.drop_column("orders", "phone")' \
  > migrations/versions/0002_phone.py
