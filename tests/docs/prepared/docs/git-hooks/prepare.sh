git init -q
printf '[tool.otel-schema]\nmigrations = ["migrations/versions"]\n' >pyproject.toml
mkdir -p migrations/versions
cat >migrations/versions/0001_lead.py <<'MIGRATION'
revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("lead", sa.Column("id", sa.Integer))


def downgrade() -> None:
    op.drop_table("lead")  # otel-schema: allow destructive the first
MIGRATION
git add -A
git commit -qm "First"
git update-ref refs/remotes/origin/main HEAD
