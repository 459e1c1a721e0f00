"""What each of several servers does, and the packages whose numbers are to be made final."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("node", sa.Column("role", sa.Text, nullable=False, server_default="all"))
    op.create_table(
        "finality_request",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("media_buy_id", sa.Text, primary_key=True),
        sa.Column("package_id", sa.Text, primary_key=True),
        sa.Column("received_through", sa.BigInteger, nullable=False),
    )
