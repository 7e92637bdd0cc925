"""A lead has a region, which the API requires from this revision on. Nothing fills the column yet."""

import sqlalchemy as sa
from alembic import op

revision = "0002b"
down_revision = "0002a"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("leads", sa.Column("region", sa.String(4)))


def downgrade() -> None:
    op.drop_column("leads", "region")
