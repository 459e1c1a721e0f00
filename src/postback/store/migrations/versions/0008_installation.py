"""Which secret, event store and kind of server belong to the control data, and how many transactions wrote them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("installation_id", sa.Text, primary_key=True),
        sa.Column("secret_check", sa.Text, nullable=False),
        sa.Column("sandbox", sa.Boolean, nullable=False),
        sa.Column("rotation", sa.Integer, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
    )
    op.create_table("commit_count", sa.Column("commits", sa.BigInteger, nullable=False))
    op.execute("INSERT INTO commit_count (commits) VALUES (0)")
