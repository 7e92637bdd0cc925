"""Harmless: an index for the search by company."""

from alembic import op

revision = "0002a"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_leads_company", "leads", ["company"])


def downgrade() -> None:
    op.drop_index("ix_leads_company", "leads")
