"""What is wrong with event sources since when, and when a source was deleted."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "source_signal",
        sa.Column("account_id", sa.Text, sa.ForeignKey("account.account_id"), primary_key=True),
        sa.Column("event_source_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("signal_id", sa.Text, nullable=False),
        sa.Column("observed_at", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("status_before", sa.Text),
    )
    op.create_table(
        "source_watch",
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.add_column("event_source", sa.Column("archived_at", sa.BigInteger))
    archived = sa.table("event_source", sa.column("archived", sa.Boolean), sa.column("archived_at", sa.BigInteger))
    # When older ones were deleted isn't known: from now on they are.
    op.execute(archived.update().where(archived.c.archived.is_(True)).values(archived_at=int(time.time())))
