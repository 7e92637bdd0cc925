"""Contacts of the former CRM, against which verified leads are checked.

The archive stands in for a table that grew for years. The migration sizes it so that the app's unindexed look-up takes
between 10 and 25 ms *on this machine*, as the example promises. A fixed number of rows would be slow on one laptop and
fast on the next.
"""

from time import perf_counter, process_time

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LOOKUP_SECONDS = 0.0145
BATCH = 4_000
MOST_ROWS = 400_000


def upgrade() -> None:
    contacts = op.create_table(
        "contacts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_contacts"),
    )
    op.create_index("ix_contacts_email", "contacts", ["email"], unique=True)
    if context.is_offline_mode():
        return
    rows = 0
    while rows < MOST_ROWS and _lookup_seconds(contacts) < LOOKUP_SECONDS:
        op.bulk_insert(contacts, [{"email": f"contact{row}@crm.example"} for row in range(rows, rows + BATCH)])
        rows += BATCH


def _lookup_seconds(contacts: sa.Table) -> float:
    """The shortest of several runs of the app's unindexed look-up: noise can only make one longer.

    SQLite computes in this process, whose own time does not grow with what else the machine does.
    """
    lookup = sa.select(sa.func.count()).where(sa.func.lower(sa.func.replace(contacts.c.email, ".", "")) == "nobody")
    bind, best = op.get_bind(), float("inf")
    clock = process_time if bind.dialect.name == "sqlite" else perf_counter
    for _ in range(7):
        start = clock()
        bind.execute(lookup)
        best = min(best, clock() - start)
    return best


def downgrade() -> None:
    op.drop_index("ix_contacts_email", table_name="contacts")
    op.drop_table("contacts")
