"""The servers that share these data, and through which time each has stored what it received."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "node",
        sa.Column("node_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("stored_through", sa.BigInteger),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
