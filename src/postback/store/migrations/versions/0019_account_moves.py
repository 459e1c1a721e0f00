"""How far an account has come that moves to another shard, and which servers go by that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("placement", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("placement", sa.Column("phase", sa.Text))
    op.add_column("placement", sa.Column("other", sa.Integer))
    op.create_index("ix_placement_version", "placement", ["version"])
    op.add_column("node", sa.Column("placements", sa.BigInteger, nullable=False, server_default="0"))
