"""Leads have a region, which the API requires from then on. Of the next release: `alembic -n next upgrade head`."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # with a default: the release before this one, which still runs, inserts without it
    with op.batch_alter_table("leads") as leads:
        leads.add_column(sa.Column("region", sa.String(4), nullable=False, server_default="EU"))


def downgrade() -> None:
    with op.batch_alter_table("leads") as leads:
        leads.drop_column("region")
