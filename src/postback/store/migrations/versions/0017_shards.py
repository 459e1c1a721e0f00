"""Shards of the event store, and which one has the events of an account; without a row it is the first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "shard",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
    )
    op.create_table(
        "placement",
        sa.Column("account_id", sa.Text, sa.ForeignKey("account.account_id"), primary_key=True),
        sa.Column("shard", sa.Integer, nullable=False),
    )
    op.add_column("node", sa.Column("by_shard", sa.JSON(none_as_null=True)))
