"""Which deliveries one of several servers is sending."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("forward", sa.Column("leased_until", sa.BigInteger))
